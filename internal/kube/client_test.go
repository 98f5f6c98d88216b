package kube

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/rest"
)

// acceptor takes connections and counts nothing: who dials knows whom it got.
func acceptor(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_ = conn.Close()
		}
	}()
	return l
}

func dialed(t *testing.T, d *dialer) string {
	t.Helper()
	conn, err := d.dial(t.Context(), "tcp", "ignored:1")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return conn.RemoteAddr().String()
}

// TestDialer goes through API servers that end one after the other.
func TestDialer(t *testing.T) {
	a, b, c := acceptor(t), acceptor(t), acceptor(t)
	d := &dialer{addresses: []string{a.Addr().String(), b.Addr().String(), c.Addr().String()}}
	for _, step := range []struct {
		ends net.Listener
		want net.Listener
	}{{nil, a}, {a, b}, {nil, b}, {b, c}} {
		if step.ends != nil {
			_ = step.ends.Close()
		}
		if got := dialed(t, d); got != step.want.Addr().String() {
			t.Errorf("connected to %s, want %s", got, step.want.Addr())
		}
	}
	back, err := net.Listen("tcp", a.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer back.Close()
	if got := dialed(t, d); got != c.Addr().String() {
		t.Errorf("left %s, which works, for %s", c.Addr(), got)
	}
	_ = c.Close()
	if got := dialed(t, d); got != a.Addr().String() {
		t.Errorf("after the last one the first is next, not %s", got)
	}
	_ = back.Close()
	if _, err := d.dial(t.Context(), "tcp", ""); err == nil || !strings.Contains(err.Error(), b.Addr().String()) {
		t.Errorf("all are gone: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Nanosecond)
	defer cancel()
	if _, err := d.dial(ctx, "tcp", ""); err == nil {
		t.Error("connected after the deadline")
	}
}

func TestDirect(t *testing.T) {
	for name, c := range map[string]struct {
		servers          []string
		host, serverName string
		dials            bool
	}{
		"none":        {nil, "https://before", "", false},
		"one":         {[]string{"https://192.0.2.1:6443"}, "https://192.0.2.1:6443", "", false},
		"usual port":  {[]string{"https://192.0.2.1"}, "https://192.0.2.1:443", "", false},
		"two, IPv6":   {[]string{"https://[2001:db8::1]:6443", "https://192.0.2.1"}, "https://[2001:db8::1]:6443", apiServerName, true},
		"not https":   {[]string{"http://192.0.2.1"}, "", "", false},
		"only a host": {[]string{"https://192.0.2.1", "192.0.2.2:6443"}, "", "", false},
	} {
		config := &rest.Config{Host: "https://before"}
		err := Access{Servers: c.servers}.direct(config)
		if c.host == "" {
			if err == nil || !strings.Contains(err.Error(), "https://HOST:PORT") {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if err != nil || config.Host != c.host || config.ServerName != c.serverName || (config.Dial != nil) != c.dials {
			t.Errorf("%s: host %s, name %s, %v", name, config.Host, config.ServerName, err)
		}
	}
}

func TestAccessMistakes(t *testing.T) {
	broken := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(broken, []byte("clusters: {"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, a := range map[string]Access{
		"no file": {Kubeconfig: broken + ".gone"}, "broken": {Kubeconfig: broken}, "no context": {Context: "nowhere"},
	} {
		if _, err := NewClient(a); err == nil || !strings.Contains(err.Error(), "name a kubeconfig with --kubeconfig or $KUBECONFIG") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
