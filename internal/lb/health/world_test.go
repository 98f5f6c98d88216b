package health

import (
	"bufio"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/lb"
)

// patience is how long anything may take.
const patience = 20 * time.Second

// newNamespace moves the test to a network namespace of its own, in which every
// port is free.
func newNamespace(t *testing.T) {
	t.Helper()
	runtime.LockOSThread() // and never unlock it: the thread ends with the test
	network, err := netns.New()
	if err != nil {
		t.Fatalf("network namespaces need root: %v", err)
	}
	t.Cleanup(func() { network.Close() })
	lo, err := netlink.LinkByName("lo")
	must(t, err)
	must(t, netlink.LinkSetUp(lo))
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func newPlane(t *testing.T, ranges ...string) (*Plane, *atomic.Bool) {
	t.Helper()
	healthy := new(atomic.Bool)
	healthy.Store(true)
	config := Config{Healthy: healthy.Load, Log: quiet()}
	for _, r := range ranges {
		config.Addresses = append(config.Addresses, netip.MustParsePrefix(r))
	}
	p := New(config)
	// A timer's goroutine is in another namespace than the test.
	p.after = func(time.Duration, func()) *time.Timer { return time.NewTimer(time.Hour) }
	t.Cleanup(func() { must(t, p.Close()) })
	return p, healthy
}

// checks are the health checks of Services in namespace shop.
type checks map[string]lb.HealthCheck

func table(c checks, nodeAddresses ...string) lb.Table {
	t := lb.Table{Revision: 1, Synced: true}
	for name, check := range c {
		t.HealthChecks = t.HealthChecks.Set(desired.Name{Namespace: "shop", Name: name}, check)
	}
	for _, a := range nodeAddresses {
		t.NodeAddresses = append(t.NodeAddresses, netip.MustParseAddr(a))
	}
	return t
}

func apply(t *testing.T, p *Plane, want lb.Table) {
	t.Helper()
	must(t, p.Apply(t.Context(), want))
}

type response struct {
	status int
	header http.Header
	body   string
}

// ask sends one request. It dials itself: an HTTP client would do so on another
// thread, in another namespace.
func ask(t *testing.T, address, request string) response {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	must(t, err)
	defer conn.Close()
	must(t, conn.SetDeadline(time.Now().Add(patience)))
	_, err = io.WriteString(conn, request+" HTTP/1.1\r\nHost: node\r\n\r\n")
	must(t, err)
	method, _, _ := strings.Cut(request, " ")
	r, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	must(t, err)
	content, err := io.ReadAll(r.Body)
	must(t, err)
	return response{r.StatusCode, r.Header, string(content)}
}

// expect asks a Service's port.
func expect(t *testing.T, address string, status int, body string) {
	t.Helper()
	if r := ask(t, address, "GET /"); r.status != status || r.body != body {
		t.Errorf("%s answers %d %s, want %d %s", address, r.status, r.body, status, body)
	}
}

// refused expects that nobody listens.
func refused(t *testing.T, address string) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err == nil {
		conn.Close()
		t.Errorf("somebody listens on %s", address)
	} else if !strings.Contains(err.Error(), "refused") {
		t.Error(err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
