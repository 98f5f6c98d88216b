package kubeproxy

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/fairlead-net/fairlead/internal/lb/nft"
)

// TestRunning tells kube-proxy from others at its port.
func TestRunning(t *testing.T) {
	for _, c := range []struct {
		body, server string
		want         Answer
	}{
		{`{"kubeproxy.config.k8s.io": {}}`, "", KubeProxy}, {"404 page not found", "", Somebody}, {"404 page not found", Server, Nobody},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Server", c.server)
			if r.URL.Path == "/configz" {
				_, _ = w.Write([]byte(c.body))
			}
		}))
		address := server.Listener.Addr().String()
		if got := Running(t.Context(), address); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
		if got := Running(t.Context(), "[::1]:1", address, "[::1]:1"); got != c.want {
			t.Errorf("%+v, among others: %v", c, got)
		}
		server.Close()
		if got := Running(t.Context(), address); got != Nobody {
			t.Errorf("nobody there: %v", got)
		}
	}
	if all := MetricsAddresses(); len(all) != 2 || all[0] != "127.0.0.1:10249" || all[1] != "[::1]:10249" {
		t.Errorf("%q", all)
	}
}

// TestAgain looks again as long as others change the rules, but not for ever.
func TestAgain(t *testing.T) {
	for _, c := range []struct{ changes, wantLooks int }{{0, 1}, {3, 4}, {100, tries}} {
		looks := 0
		find := func() (*Leftovers, error) { looks++; return &Leftovers{}, nil }
		l, err := again(find, func(*Leftovers) error {
			if looks <= c.changes {
				return fmt.Errorf("removing the rules: %w", nft.ErrChanged)
			}
			return nil
		})
		if l == nil || looks != c.wantLooks || (err == nil) != (c.changes < tries) || err != nil && !errors.Is(err, nft.ErrChanged) {
			t.Errorf("%d changes: looked %d times, %v, %v", c.changes, looks, l, err)
		}
	}
	other := errors.New("no permission")
	looks := 0
	_, err := again(func() (*Leftovers, error) { looks++; return &Leftovers{}, nil }, func(*Leftovers) error { return other })
	if looks != 1 || !errors.Is(err, other) {
		t.Errorf("another error: looked %d times, %v", looks, err)
	}
	if l, err := again(func() (*Leftovers, error) { return nil, other }, nil); l != nil || !errors.Is(err, other) {
		t.Errorf("nothing found: %v, %v", l, err)
	}
}
