package proxy

import (
	"bufio"
	"context"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"runtime/debug"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fairlead-net/fairlead/internal/l7"
	"github.com/fairlead-net/fairlead/internal/l7/filter"
)

// balanced is a Table whose backend has settings.
func balanced(change func(*l7.Balance), addresses ...netip.AddrPort) l7.Table {
	by := l7.DefaultBalance()
	change(&by)
	table := tableFor()
	table.Backends = table.Backends.Set(backendID, &l7.Backend{ID: backendID, Endpoints: endpoints(addresses...), Balance: &by})
	return table
}

// state of the one backend.
func backendOf(p *Proxy) *backend {
	b, _ := p.state.Load().backends.Get(backendID)
	return b
}

// nowhere is an address that nobody listens at.
func nowhere(t *testing.T) netip.AddrPort {
	address, stop := startRaw(t, nil)
	stop()
	return address
}

// TestEjects holds that an endpoint which takes no connections is soon left alone, and
// that no client notices.
func TestEjects(t *testing.T) {
	p := start(t, Config{}, tableFor(append(named(t, 1), nowhere(t))...), toBackend())
	for range 30 {
		if body, _ := answers(t, p, "/"); body != "0" {
			t.Fatalf("%q", body)
		}
	}
	got := counters(t, p, "upstream_ejections_total shop/web:http connect", 1)
	for name, want := range map[string]float64{
		"upstream_failures_total shop/web:http connect":   5,
		"upstream_unused_endpoints shop/web:http ejected": 1,
	} {
		if got[name] != want {
			t.Errorf("%s is %v, want %v", name, got[name], want)
		}
	}
}

// detained is an upstream whose answers wait; come says that a request is there.
func detained(t *testing.T) (at netip.AddrPort, come chan bool, release chan bool) {
	come, release = make(chan bool, 100), make(chan bool, 100)
	return serveHTTP(t, func(w http.ResponseWriter, _ *http.Request) {
		come <- true
		<-release
		io.WriteString(w, "ok")
	}), come, release
}

// TestRequestLimit holds that no more requests get to a backend than may, that others
// wait or are refused in words, and that this is counted.
func TestRequestLimit(t *testing.T) {
	for name, limits := range map[string]l7.Limits{"requests": {Requests: 1, Pending: 1}, "connections": {Connections: 1, Pending: 1}} {
		up, come, release := detained(t)
		p := start(t, Config{ConnectTimeout: time.Minute}, balanced(func(by *l7.Balance) { by.Limits = limits }, up), toBackend())
		done := make(chan string, 2)
		get := func() {
			body, _ := answers(t, p, "/")
			done <- body
		}
		go get()
		<-come
		go get()
		for backendOf(p).shared.waiting.Load() == 0 {
			time.Sleep(time.Millisecond)
		}
		if body, _ := answers(t, p, "/"); !strings.Contains(body, "503") || !strings.Contains(body, "as many requests as its Service allows") {
			t.Errorf("%s: %q", name, body)
		}
		select {
		case <-come:
			t.Fatal("two requests are there")
		default:
		}
		release <- true
		release <- true
		for range 2 {
			if body := <-done; body != "ok" {
				t.Errorf("%s: %q", name, body)
			}
		}
		counters(t, p, "upstream_refused_total shop/web:http pending", 1)
		for b := backendOf(p); b.shared.counts.Load() != 0; {
			time.Sleep(time.Millisecond)
		}
	}
}

// TestRequestLimitGone holds that one who waits for too long is refused, and leaves no
// trace.
func TestRequestLimitGone(t *testing.T) {
	up, come, release := detained(t)
	p := start(t, Config{ConnectTimeout: 200 * time.Millisecond}, balanced(func(by *l7.Balance) { by.Limits = l7.Limits{Requests: 1, Pending: 5} }, up), toBackend())
	done := make(chan string)
	go func() {
		body, _ := answers(t, p, "/")
		done <- body
	}()
	<-come
	for range 3 {
		if body, _ := answers(t, p, "/"); !strings.Contains(body, "503") {
			t.Errorf("%q", body)
		}
	}
	release <- true
	<-done
	until(t, func() bool { return backendOf(p).shared.counts.Load() == 0 })
	counters(t, p, "upstream_refused_total shop/web:http wait", 3)
	release <- true
	if body, _ := answers(t, p, "/"); body != "ok" {
		t.Errorf("%q", body)
	}
}

// TestConnectionLimit holds that there are never more connections than may be, and that
// those that are idle make room.
func TestConnectionLimit(t *testing.T) {
	p := start(t, Config{}, balanced(func(by *l7.Balance) { by.Limits.Connections = 2 }, named(t, 3)...), toBackend())
	for range 30 {
		if status := ask(t, p, "GET", "/").StatusCode; status != 200 {
			t.Fatal(status)
		}
		if n := backendOf(p).shared.connections.Load(); n > 2 {
			t.Fatalf("%d connections", n)
		}
	}
	if n := backendOf(p).meter.refused[boundConnections].Load(); n != 0 {
		t.Errorf("%d are refused", n)
	}
	apply(t, p) // no endpoints any more
	for backendOf(p).shared.connections.Load() != 0 {
		time.Sleep(time.Millisecond)
	}
}

// TestRetryBudget holds that requests which an endpoint has got are sent once more only
// within the budget, others always.
func TestRetryBudget(t *testing.T) {
	for least, want := range map[int]int64{0: 1, 1: 3} {
		var requests atomic.Int64
		up := serveRaw(t, func(conn net.Conn) {
			if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
				requests.Add(1)
			}
		})
		p := start(t, Config{}, balanced(func(by *l7.Balance) { by.Retries = l7.RetryBudget{Least: least} }, up), toBackend())
		for i := range int64(5) {
			if status := ask(t, p, "GET", "/").StatusCode; status != 502 {
				t.Errorf("status %d", status)
			}
			if got := requests.Load(); got != want*(i+1) {
				t.Errorf("least %d: %d requests arrived, want %d", least, got, want*(i+1))
			}
		}
		if b := backendOf(p); b.shared.retrying.Load() != 0 || (b.meter.refused[boundRetries].Load() != 0) != (least == 0) {
			t.Errorf("least %d: %d are sent once more, %d were refused", least, b.shared.retrying.Load(), b.meter.refused[boundRetries].Load())
		}
	}
	p := start(t, Config{}, balanced(func(by *l7.Balance) { by.Retries = l7.RetryBudget{} }, append(named(t, 1), nowhere(t))...), toBackend())
	for range 4 {
		if body, _ := answers(t, p, "/"); body != "0" {
			t.Errorf("%q of an endpoint beside one that takes no connections", body)
		}
	}
}

// TestRetryBudgetStatus holds that an answer is passed on that may not be asked for again.
func TestRetryBudgetStatus(t *testing.T) {
	var requests atomic.Int64
	up := serveHTTP(t, func(w http.ResponseWriter, _ *http.Request) {
		requests.Add(1)
		w.WriteHeader(503)
		io.WriteString(w, "busy")
	})
	route := *toBackend()(nil)
	route.Filters = &filter.Filters{Retry: &filter.Retry{Statuses: []int{503}}}
	for least, want := range map[int]int64{0: 1, 1: 3} {
		requests.Store(0)
		p := start(t, Config{}, balanced(func(by *l7.Balance) { by.Retries = l7.RetryBudget{Least: least} }, up), func(*l7.Request) *l7.Route { return &route })
		if body, _ := answers(t, p, "/"); body != "busy" || requests.Load() != want {
			t.Errorf("least %d: %q after %d requests, want %d", least, body, requests.Load(), want)
		}
	}
}

// checked returns a proxy that does nothing by itself, the endpoint of its backend that is
// asked, and what asks it once more, a while later.
func checked(t *testing.T, protocol l7.CheckProtocol, at netip.AddrPort) (b *backend, e *endpoint, once func()) {
	p, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	check := l7.HealthCheck{Protocol: protocol, Path: "/healthy", Host: "shop.example", Interval: time.Second, Timeout: 10 * time.Second, Unhealthy: 3, Healthy: 2}
	table := balanced(func(by *l7.Balance) { by.Check = check }, at, netip.MustParseAddrPort("127.0.0.1:9"))
	if err := p.Apply(context.Background(), table); err != nil {
		t.Fatal(err)
	}
	b, now := backendOf(p), int64(1)
	// The other one is not asked, but gets requests.
	b.endpoints = slices.DeleteFunc(slices.Clone(b.endpoints), func(e *endpoint) bool { return e.address != at })
	return b, b.endpoints[0], func() {
		one := maps.All(map[l7.BackendID]*backend{backendID: b})
		p.check(one, now)
		p.check(one, now) // is not due
		p.background.Wait()
		now += 2 * second
	}
}

// checkedServer answers health checks with a status that can be changed.
func checkedServer(t *testing.T, status *atomic.Int64) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/healthy" || r.Host != "shop.example" {
			t.Errorf("%s %s is asked", r.Host, r.URL)
		}
		http.Redirect(w, r, "/elsewhere", int(status.Load()))
	}
}

// TestHealthChecks holds what is found well.
func TestHealthChecks(t *testing.T) {
	var status atomic.Int64
	handler := checkedServer(t, &status)
	secured := httptest.NewTLSServer(handler)
	t.Cleanup(secured.Close)
	open, plain, byTLS := serveRaw(t, func(net.Conn) {}), serveHTTP(t, handler), netip.MustParseAddrPort(secured.Listener.Addr().String())
	for name, c := range map[string]struct {
		protocol l7.CheckProtocol
		at       netip.AddrPort
		status   int64
		well     bool
	}{
		"200":         {l7.CheckHTTP, plain, 200, true},
		"302":         {l7.CheckHTTP, plain, 302, true},
		"500":         {l7.CheckHTTP, plain, 500, false},
		"404":         {l7.CheckHTTPS, byTLS, 404, false},
		"204 by TLS":  {l7.CheckHTTPS, byTLS, 204, true},
		"no TLS":      {l7.CheckHTTPS, plain, 200, false},
		"no answer":   {l7.CheckHTTP, open, 200, false},
		"connects":    {l7.CheckTCP, open, 200, true},
		"connects no": {l7.CheckTCP, nowhere(t), 200, false},
	} {
		b, e, once := checked(t, c.protocol, c.at)
		status.Store(c.status)
		for i := 1; i <= 4; i++ {
			once()
			if e.sick.Load() != (!c.well && i >= 3) {
				t.Errorf("%s: sick %t after %d checks", name, e.sick.Load(), i)
			}
		}
		if n := b.meter.checks[bit(c.well)].Load(); n != 4 {
			t.Errorf("%s: %d checks had this result", name, n)
		}
	}
}

// TestHealthCheckRecovers holds that an endpoint which is not well gets no requests, until
// it is again.
func TestHealthCheckRecovers(t *testing.T) {
	var status atomic.Int64
	b, e, once := checked(t, l7.CheckHTTP, serveHTTP(t, checkedServer(t, &status)))
	for i, c := range []struct {
		status int64
		sick   bool
	}{{200, false}, {500, false}, {500, false}, {200, false}, {500, false}, {500, false}, {500, true}, {200, true}, {500, true}, {200, true}, {200, false}} {
		status.Store(c.status)
		once()
		got := b.usable.Load().endpoints
		if e.sick.Load() != c.sick || slices.Contains(got, e) == c.sick || len(got) != 2-bit(c.sick) {
			t.Errorf("check %d: sick %t, %d endpoints get requests", i, e.sick.Load(), len(got))
		}
	}
	b.balance = &usualBalance
	b.endpoints[0].sick.Store(true)
	b.unchecked()
	if b.look(second); len(b.usable.Load().endpoints) != 2 {
		t.Error("what checks have found counts though there are none any more")
	}
}

// TestNoAllocationsBalanced holds that neither algorithms nor limits allocate.
func TestNoAllocationsBalanced(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	up := []netip.AddrPort{serveRaw(t, quick(answer1K)), serveRaw(t, quick(answer1K)), serveRaw(t, quick(answer1K))}
	for _, how := range []filter.Algorithm{filter.RoundRobin, filter.LeastRequest, filter.Random, filter.EWMA, filter.PeakEWMA, filter.RingHash, filter.Maglev} {
		table := balanced(func(by *l7.Balance) {
			by.How, by.SlowStart = how, time.Hour
			by.Ejection.Server, by.Ejection.Gateway = 5, 5
			by.Limits = l7.Limits{Requests: 100, Pending: 10, Connections: 50}
		}, up...)
		p := start(t, Config{}, table, toBackend())
		backendOf(p).endpoints[1].born.Store(1)
		once := roundTrip(t, p)
		for range 100 {
			once()
		}
		func() {
			defer debug.SetGCPercent(debug.SetGCPercent(-1)) // which would empty the pools
			if n := testing.AllocsPerRun(1000, once); n != 0 {
				t.Errorf("%s: %v allocations a request", how, n)
			}
		}()
	}
}

// TestStreamEjects holds that connections which are passed on leave an endpoint alone that
// takes none, after as many failures as requests do, and that limits count them.
func TestStreamEjects(t *testing.T) {
	table := streamTable(l7.TCP, anyStream(streamTo("")), nowhere(t), serveRaw(t, echo))
	p := start(t, Config{}, table, nil)
	said := func(conn net.Conn) string {
		var b [2]byte
		io.WriteString(conn, "hi")
		n, _ := io.ReadFull(conn, b[:])
		return string(b[:n])
	}
	for range 20 {
		conn := dialWeb(t, p)
		if got := said(conn); got != "hi" {
			t.Fatalf("%q", got)
		}
		conn.Close()
	}
	if got := counters(t, p, "upstream_ejections_total shop/web:http connect", 1)["upstream_failures_total shop/web:http connect"]; got != 5 {
		t.Errorf("ejected after %v failures", got)
	}
	limited := balanced(func(by *l7.Balance) { by.Limits.Connections = 1 }, serveRaw(t, echo))
	table.Backends = limited.Backends
	if err := p.Apply(context.Background(), table); err != nil {
		t.Fatal(err)
	}
	first := dialWeb(t, p)
	if got := said(first); got != "hi" {
		t.Fatalf("%q", got)
	}
	if got := said(dialWeb(t, p)); got != "" {
		t.Errorf("%q beyond the limit", got)
	}
	counters(t, p, "upstream_refused_total shop/web:http requests", 1)
	first.Close()
	for backendOf(p).shared.counts.Load() != 0 {
		time.Sleep(time.Millisecond)
	}
	if got := said(dialWeb(t, p)); got != "hi" {
		t.Errorf("%q when there is room again", got)
	}
}
