package health

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fairlead-net/fairlead/internal/lb"
	"github.com/fairlead-net/fairlead/internal/reconcile"
)

const (
	webWithTwo  = `{"service":{"namespace":"shop","name":"web"},"localEndpoints":2,"serviceProxyHealthy":true}`
	webWithNone = `{"service":{"namespace":"shop","name":"web"},"localEndpoints":0,"serviceProxyHealthy":true}`
	apiWithOne  = `{"service":{"namespace":"shop","name":"api"},"localEndpoints":1,"serviceProxyHealthy":true}`
)

// TestAnswers is what load balancers get to see, in both families and whatever
// they ask for.
func TestAnswers(t *testing.T) {
	newNamespace(t)
	p, healthy := newPlane(t)
	var _ reconcile.Plane[lb.Table] = p
	apply(t, p, table(checks{"web": {Port: 30001, Endpoints: 2}, "api": {Port: 30002, Endpoints: 1}}))
	for _, request := range []string{"GET /", "GET /healthz", "POST /any?path", "OPTIONS *"} {
		for _, address := range []string{"127.0.0.1:30001", "[::1]:30001"} {
			r := ask(t, address, request)
			if r.status != 200 || r.body != webWithTwo {
				t.Errorf("%s: %d %s", request, r.status, r.body)
			}
			for name, want := range map[string]string{
				"Content-Type": "application/json", "X-Content-Type-Options": "nosniff", "X-Load-Balancing-Endpoint-Weight": "2",
			} {
				if got := r.header.Get(name); got != want {
					t.Errorf("%s: %s is %q, want %q", request, name, got, want)
				}
			}
		}
	}
	expect(t, "127.0.0.1:30002", 200, apiWithOne)
	if r := ask(t, "127.0.0.1:30001", "HEAD /"); r.status != 200 || r.body != "" {
		t.Errorf("HEAD: %+v", r)
	}

	// Another number: the listener stays.
	before := p.open[netip.MustParseAddrPort("[::]:30001")]
	apply(t, p, table(checks{"web": {Port: 30001}, "api": {Port: 30002, Endpoints: 1}}))
	expect(t, "127.0.0.1:30001", 503, webWithNone)
	if p.open[netip.MustParseAddrPort("[::]:30001")] != before {
		t.Error("another listener for another number")
	}

	healthy.Store(false)
	r := ask(t, "127.0.0.1:30002", "GET /")
	if r.status != 503 || r.body != strings.Replace(apiWithOne, "true", "false", 1) || r.header.Get("X-Load-Balancing-Endpoint-Weight") != "1" {
		t.Errorf("of a proxy that does not work: %+v", r)
	}
}

// TestChanges moves ports between Services, and closes what is not wanted.
func TestChanges(t *testing.T) {
	newNamespace(t)
	p, _ := newPlane(t)
	apply(t, p, table(checks{"web": {Port: 30001, Endpoints: 2}, "api": {Port: 30002, Endpoints: 1}}))
	apply(t, p, table(checks{"web": {Port: 30003, Endpoints: 2}, "api": {Port: 30001, Endpoints: 1}}))
	expect(t, "127.0.0.1:30001", 200, apiWithOne)
	expect(t, "127.0.0.1:30003", 200, webWithTwo)
	refused(t, "127.0.0.1:30002")

	// What is absent from a table that may lack objects stays.
	partial := table(checks{"web": {Port: 30003}})
	partial.Synced = false
	apply(t, p, partial)
	expect(t, "127.0.0.1:30001", 200, apiWithOne)
	expect(t, "127.0.0.1:30003", 503, webWithNone)

	apply(t, p, table(nil))
	refused(t, "127.0.0.1:30001")
	refused(t, "127.0.0.1:30003")
	if diff := cmp.Diff([]string{"answers health checks of 0 Services at 0 listeners"}, p.Describe()); diff != "" {
		t.Error(diff)
	}
	apply(t, p, table(checks{"web": {Port: 30003, Endpoints: 2}}))
	must(t, p.Close())
	refused(t, "127.0.0.1:30003")
	if err := p.Apply(t.Context(), table(checks{"web": {Port: 30003}})); err == nil {
		t.Error("a closed plane takes a table")
	}
	refused(t, "127.0.0.1:30003")
}

// TestPortTaken leaves one Service without its port; the others have theirs,
// and it gets it once it is free.
func TestPortTaken(t *testing.T) {
	newNamespace(t)
	taken, err := net.Listen("tcp", ":30001")
	must(t, err)
	p, _ := newPlane(t)
	want := table(checks{"web": {Port: 30001, Endpoints: 2}, "api": {Port: 30002, Endpoints: 1}, "old": {Port: 30003}})
	err = p.Apply(t.Context(), want)
	message := "health check of Service shop/web: cannot listen on :30001: another program listens on this port of the node; " +
		"stop it, kube-proxy for one, or free the port: listen tcp :30001: bind: address already in use"
	if err == nil || err.Error() != message {
		t.Errorf("Apply = %v", err)
	}
	expect(t, "127.0.0.1:30002", 200, apiWithOne)
	if diff := cmp.Diff([]string{"answers health checks of 2 Services at 2 listeners", message}, p.Describe()); diff != "" {
		t.Error(diff)
	}
	// The failure of one keeps no other from being closed.
	if p.Apply(t.Context(), table(checks{"web": {Port: 30001, Endpoints: 2}, "api": {Port: 30002, Endpoints: 1}})) == nil {
		t.Error("the port is not free")
	}
	refused(t, "127.0.0.1:30003")
	must(t, taken.Close())
	apply(t, p, want)
	expect(t, "127.0.0.1:30001", 200, webWithTwo)
	if len(p.Describe()) != 1 {
		t.Errorf("%q", p.Describe())
	}
}

// TestTakeover lets a second plane, as in the next version of the program, have
// the port before the first lets go.
func TestTakeover(t *testing.T) {
	newNamespace(t)
	old, _ := newPlane(t)
	next, _ := newPlane(t)
	apply(t, old, table(checks{"web": {Port: 30001, Endpoints: 2}}))
	apply(t, next, table(checks{"web": {Port: 30001, Endpoints: 2}}))
	must(t, old.Close())
	expect(t, "127.0.0.1:30001", 200, webWithTwo)
}

// TestSharedPort gives a port that several Services want to the first by name.
func TestSharedPort(t *testing.T) {
	newNamespace(t)
	p, _ := newPlane(t)
	all := checks{"api": {Port: 30001, Endpoints: 1}, "web": {Port: 30001, Endpoints: 2}}
	for i := range 20 {
		all[fmt.Sprint("more", i)] = lb.HealthCheck{Port: 30001}
	}
	apply(t, p, table(all))
	expect(t, "127.0.0.1:30001", 200, apiWithOne)
	notes := p.Describe()
	if !slices.Contains(notes, "Service shop/web is not served at health check port 30001, which Service shop/api has: give it another") || len(notes) != 22 {
		t.Errorf("%q", notes)
	}
	apply(t, p, table(checks{"web": {Port: 30001, Endpoints: 2}}))
	expect(t, "127.0.0.1:30001", 200, webWithTwo)
}

// TestRanges listens only on the node's addresses in the ranges, and follows
// them.
func TestRanges(t *testing.T) {
	newNamespace(t)
	p, _ := newPlane(t, "127.0.1.0/24", "::1/128", "192.0.2.0/24")
	want := checks{"web": {Port: 30001, Endpoints: 2}}
	apply(t, p, table(want, "127.0.0.1", "127.0.1.1", "::1"))
	expect(t, "127.0.1.1:30001", 200, webWithTwo)
	expect(t, "[::1]:30001", 200, webWithTwo)
	refused(t, "127.0.0.1:30001")
	apply(t, p, table(want, "127.0.0.1", "127.0.1.2"))
	expect(t, "127.0.1.2:30001", 200, webWithTwo)
	refused(t, "127.0.1.1:30001")
	refused(t, "[::1]:30001")
	// An address that is gone is an error, and the others are served.
	err := p.Apply(t.Context(), table(want, "127.0.1.3", "192.0.2.1"))
	if err == nil || !strings.Contains(err.Error(), "192.0.2.1:30001: the node has no such address") {
		t.Errorf("Apply = %v", err)
	}
	expect(t, "127.0.1.3:30001", 200, webWithTwo)
}

// TestCrowd keeps a port answering while somebody opens more connections than
// there is room for.
func TestCrowd(t *testing.T) {
	newNamespace(t)
	p, _ := newPlane(t)
	apply(t, p, table(checks{"web": {Port: 30001, Endpoints: 2}}))
	var crowd []net.Conn
	for range 3 * maxConnections {
		conn, err := net.Dial("tcp", "127.0.0.1:30001")
		must(t, err)
		defer conn.Close()
		crowd = append(crowd, conn)
	}
	expect(t, "127.0.0.1:30001", 200, webWithTwo)
	// The oldest had to go, the last that fit holds its place until time ends it.
	var one [1]byte
	start := time.Now()
	must(t, crowd[0].SetReadDeadline(start.Add(patience)))
	if _, err := crowd[0].Read(one[:]); err == nil || strings.Contains(err.Error(), "timeout") {
		t.Errorf("the oldest connection is still open: %v", err)
	}
	last := crowd[len(crowd)-1]
	must(t, last.SetReadDeadline(start.Add(patience)))
	if _, err := last.Read(one[:]); err == nil || strings.Contains(err.Error(), "timeout") {
		t.Errorf("a connection that says nothing is never closed: %v", err)
	}
}

// TestCrowdedListener sees who has to go, without the server's time limits.
func TestCrowdedListener(t *testing.T) {
	newNamespace(t)
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer inner.Close()
	listener := &crowded{Listener: inner}
	var clients, accepted []net.Conn
	enter := func() {
		client, err := net.Dial("tcp", inner.Addr().String())
		must(t, err)
		must(t, client.SetDeadline(time.Now().Add(patience)))
		conn, err := listener.Accept()
		must(t, err)
		t.Cleanup(func() { client.Close(); conn.Close() })
		clients, accepted = append(clients, client), append(accepted, conn)
	}
	var one [1]byte
	for range maxConnections + 1 {
		enter()
	}
	if _, err := clients[0].Read(one[:]); !errors.Is(err, io.EOF) {
		t.Errorf("the oldest connection: %v", err)
	}
	// A place that becomes free is nobody else's loss.
	must(t, accepted[5].Close())
	enter()
	_, err = accepted[1].Write(one[:])
	must(t, err)
	_, err = clients[1].Read(one[:])
	must(t, err)
	if n := listener.kept.Len(); n != maxConnections {
		t.Errorf("%d connections are kept", n)
	}
}

// TestHeader refuses a request larger than any probe's.
func TestHeader(t *testing.T) {
	newNamespace(t)
	p, _ := newPlane(t)
	apply(t, p, table(checks{"web": {Port: 30001, Endpoints: 2}}))
	conn, err := net.Dial("tcp", "127.0.0.1:30001")
	must(t, err)
	defer conn.Close()
	must(t, conn.SetDeadline(time.Now().Add(patience)))
	_, err = conn.Write([]byte("GET /" + strings.Repeat("x", 2*maxHeader)))
	must(t, err)
	// The server does not wait for the end, and closes; its answer may get lost.
	first := make([]byte, 12)
	if n, err := io.ReadFull(conn, first); n > 0 && string(first) != "HTTP/1.1 431" || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%q, %v", first[:n], err)
	}
}

// TestPortLeft takes over a port once the program that has it, such as
// kube-proxy, is gone, without another Apply.
func TestPortLeft(t *testing.T) {
	newNamespace(t)
	p, _ := newPlane(t)
	var again func()
	p.after = func(_ time.Duration, f func()) *time.Timer {
		again = f
		return time.NewTimer(time.Hour)
	}
	taken, err := net.Listen("tcp", ":31000")
	must(t, err)
	if err := p.Apply(t.Context(), table(checks{"a": {Port: 31000, Endpoints: 2}, "b": {Port: 31001, Endpoints: 1}})); err == nil {
		t.Error("no error for a port that is taken")
	}
	again()
	if len(p.Describe()) != 2 {
		t.Errorf("%q", p.Describe())
	}
	must(t, taken.Close())
	again()
	expect(t, "127.0.0.1:31000", 200, `{"service":{"namespace":"shop","name":"a"},"localEndpoints":2,"serviceProxyHealthy":true}`)
	if len(p.Describe()) != 1 || p.retrier != nil {
		t.Errorf("%q", p.Describe())
	}
}
