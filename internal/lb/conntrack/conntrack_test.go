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
		"nf_conntrack_max": "65536", "nf_conntrack_buckets": "16384", "nf_conntrack_tcp_timeout_established": "432000",
		"nf_conntrack_tcp_timeout_close_wait": "60", "nf_conntrack_tcp_be_liberal": "0",
		"nf_conntrack_udp_timeout": "30", "nf_conntrack_udp_timeout_stream": "120",
	}
	for name, test := range map[string]struct {
		config     Config
		processors int
		want       map[string]string
	}{
		"defaults":       {likeKubeProxy, 2, map[string]string{"nf_conntrack_max": "131072", "nf_conntrack_buckets": "32768", "nf_conntrack_tcp_timeout_established": "86400", "nf_conntrack_tcp_timeout_close_wait": "3600", "nf_conntrack_udp_timeout": "30"}},
		"some cores":     {likeKubeProxy, 8, map[string]string{"nf_conntrack_max": "262144", "nf_conntrack_buckets": "65536"}},
		"many cores":     {likeKubeProxy, 64, map[string]string{"nf_conntrack_max": "1048576", "nf_conntrack_buckets": "262144"}},
		"high minimum":   {Config{MaxPerCore: 32768, Min: 1 << 21}, 64, map[string]string{"nf_conntrack_max": "2097152", "nf_conntrack_buckets": "524288"}},
		"never lowered":  {Config{MaxPerCore: 1}, 1, map[string]string{"nf_conntrack_max": "65536", "nf_conntrack_buckets": "16384"}},
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

func TestProcessors(t *testing.T) {
	file := filepath.Join(t.TempDir(), "online")
	for text, want := range map[string]int{"0\n": 1, "0-3\n": 4, "0-3,8": 5, "0,2,4-5,65535": 5, "": 0, "3-1": 0, "0-3,2": 0, "x": 0, "0-": 0, "0-65536": 0} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := Processors(file); got != want || (err == nil) != (want > 0) {
			t.Errorf("%q: %d, %v; want %d", text, got, err, want)
		}
	}
	if _, err := Processors(file + "-none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	if n, err := Processors(OnlineProcessors); err != nil || n < 1 {
		t.Errorf("here: %d, %v", n, err)
	}
}

func FuzzCountList(f *testing.F) {
	f.Add("0-3,8")
	f.Fuzz(func(t *testing.T, text string) {
		if n, err := countList(text); err == nil && (n < 1 || n > 1<<16) {
			t.Errorf("%q: %d", text, n)
		}
	})
}
