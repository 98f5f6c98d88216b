package conntrack

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// sysctls makes a folder that looks like /proc/sys/net.
func sysctls(t *testing.T, values map[string]string) string {
	t.Helper()
	directory := t.TempDir()
	if err := os.Mkdir(filepath.Join(directory, "netfilter"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, value := range values {
		if err := os.WriteFile(filepath.Join(directory, "netfilter", name), []byte(value+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return directory
}

func read(t *testing.T, directory, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(directory, "netfilter", name))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}

// likeKubeProxy are kube-proxy's defaults.
var likeKubeProxy = Config{MaxPerCore: 32768, Min: 131072, TCPEstablishedTimeout: 24 * time.Hour, TCPCloseWaitTimeout: time.Hour}

func TestApply(t *testing.T) {
	kernel := map[string]string{
		"nf_conntrack_max": "65536", "nf_conntrack_tcp_timeout_established": "432000",
		"nf_conntrack_tcp_timeout_close_wait": "60", "nf_conntrack_tcp_be_liberal": "0",
		"nf_conntrack_udp_timeout": "30", "nf_conntrack_udp_timeout_stream": "120",
	}
	for name, test := range map[string]struct {
		config     Config
		processors int
		want       map[string]string
	}{
		"defaults":       {likeKubeProxy, 2, map[string]string{"nf_conntrack_max": "131072", "nf_conntrack_tcp_timeout_established": "86400", "nf_conntrack_tcp_timeout_close_wait": "3600", "nf_conntrack_udp_timeout": "30"}},
		"many cores":     {likeKubeProxy, 64, map[string]string{"nf_conntrack_max": "2097152"}},
		"never lowered":  {Config{MaxPerCore: 1}, 1, map[string]string{"nf_conntrack_max": "65536"}},
		"nothing wanted": {Config{}, 64, kernel},
		"UDP":            {Config{UDPTimeout: 10 * time.Second, UDPStreamTimeout: time.Minute, TCPBeLiberal: true}, 1, map[string]string{"nf_conntrack_udp_timeout": "10", "nf_conntrack_udp_timeout_stream": "60", "nf_conntrack_tcp_be_liberal": "1"}},
	} {
		t.Run(name, func(t *testing.T) {
			directory := sysctls(t, kernel)
			if err := Apply(test.config, directory, test.processors); err != nil {
				t.Fatal(err)
			}
			for sysctl, want := range test.want {
				if got := read(t, directory, sysctl); got != want {
					t.Errorf("%s is %s, want %s", sysctl, got, want)
				}
			}
		})
	}
}

func TestApplyWithoutTracking(t *testing.T) {
	if err := Apply(likeKubeProxy, t.TempDir(), 1); !errors.Is(err, ErrNotTracking) {
		t.Errorf("got %v, want ErrNotTracking", err)
	}
}

// A setting that cannot be made does not keep the others from being made.
func TestApplyInPart(t *testing.T) {
	directory := sysctls(t, map[string]string{"nf_conntrack_max": "1", "nf_conntrack_tcp_timeout_close_wait": "60"})
	err := Apply(likeKubeProxy, directory, 1)
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "nf_conntrack_tcp_timeout_established") {
		t.Errorf("got %v, want the missing sysctl's name", err)
	}
	if got := read(t, directory, "nf_conntrack_tcp_timeout_close_wait"); got != "3600" {
		t.Errorf("the timeout is %s, want 3600", got)
	}
}
