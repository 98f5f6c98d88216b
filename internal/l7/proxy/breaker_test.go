package proxy

import (
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fairlead-net/fairlead/internal/l7"
)

// stays is somebody who waits as long as he may.
type stays struct{}

func (stays) departure(time.Duration) (<-chan struct{}, func()) { return nil, func() {} }

func entering(b *breaker, most int64, pending int, patience time.Duration) (bool, bound) {
	return b.enter(&l7.Limits{Requests: int(most), Pending: pending}, false, patience, nil, stays{})
}

// TestBreaker holds that never more are under way than may be, that those who wait have
// their turn in order, and that nobody waits while there is room.
func TestBreaker(t *testing.T) {
	var b breaker
	if ok, _ := entering(&b, 2, 0, time.Hour); !ok {
		t.Fatal("there is room")
	}
	entering(&b, 2, 0, time.Hour)
	if ok, why := entering(&b, 2, 0, time.Hour); ok || why != boundRequests {
		t.Error(ok, why)
	}
	if ok, why := entering(&b, 2, 1, time.Nanosecond); ok || why != boundWait {
		t.Error(ok, why)
	}
	order := make(chan int, 10)
	for i := range 3 {
		go func() {
			ok, _ := entering(&b, 2, 3, time.Hour)
			if !ok {
				i = -1
			}
			order <- i
		}()
		for b.waiting.Load() != int64(i+1) {
			runtime.Gosched()
		}
	}
	if ok, why := entering(&b, 2, 3, time.Hour); ok || why != boundPending {
		t.Error(ok, why)
	}
	for want := range 3 {
		b.leave(false)
		if got := <-order; got != want {
			t.Errorf("%d comes as number %d", got, want)
		}
	}
	b.leave(false)
	b.leave(false)
	if b.counts.Load() != 0 || b.waiting.Load() != 0 {
		t.Error("somebody is left")
	}
}

// TestBreakerCrowd holds the same of many at once.
func TestBreakerCrowd(t *testing.T) {
	var (
		b         breaker
		now, most atomic.Int64
		all       sync.WaitGroup
	)
	for range 50 {
		all.Go(func() {
			for range 200 {
				if ok, why := entering(&b, 3, 100, time.Minute); !ok {
					t.Errorf("refused: %s", why)
					return
				}
				if n := now.Add(1); n > most.Load() {
					most.Store(n)
				}
				runtime.Gosched()
				now.Add(-1)
				b.leave(false)
			}
		})
	}
	all.Wait()
	if most.Load() > 3 || b.counts.Load() != 0 {
		t.Errorf("%d were under way, %x are", most.Load(), b.counts.Load())
	}
}

// TestBreakerAlone holds that requests which share connections are none of those that need
// one each, and that neither are held up by what bounds only the others.
func TestBreakerAlone(t *testing.T) {
	var b breaker
	limits := l7.Limits{Requests: 4, Connections: 1, Pending: 2}
	enter := func(alone bool) bool {
		may, _ := b.enter(&limits, alone, time.Hour, nil, stays{})
		return may
	}
	for _, alone := range []bool{false, false, true} {
		if !enter(alone) {
			t.Fatal("there is room")
		}
	}
	came := make(chan bool, 10)
	for i, alone := range []bool{true, false} {
		if alone {
			go func() { came <- enter(true) }()
			for b.waiting.Load() != int64(i+1) {
				runtime.Gosched()
			}
		} else if !enter(false) {
			t.Fatal("a request that shares a connection waits for one")
		}
	}
	go func() { came <- enter(false) }() // as there are as many requests as may be
	for b.waiting.Load() != 2 {
		runtime.Gosched()
	}
	if b.leave(false); !<-came {
		t.Error("refused")
	}
	if all, alone := b.underWay(); all != 4 || alone != 1 || b.waiting.Load() != 1 || len(b.line) != 1 || !b.line[0].alone {
		t.Errorf("%d are under way, %d alone, %v wait", all, alone, b.line)
	}
	if b.leave(true); !<-came {
		t.Error("refused")
	}
	for range 3 {
		b.leave(false)
	}
	b.leave(true)
	if b.counts.Load() != 0 || b.waiting.Load() != 0 {
		t.Error("somebody is left")
	}
}

// TestLimitsOfBothProtocols holds the same of a proxy: requests of gRPC under way take no
// connection from those of HTTP/1.1 to the same backend, but both are counted as requests.
func TestLimitsOfBothProtocols(t *testing.T) {
	come, release := make(chan bool, 10), make(chan bool)
	handler := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/wait" {
			come <- true
			<-release
		}
	})
	both := new(http.Protocols)
	both.SetHTTP1(true)
	both.SetUnencryptedHTTP2(true)
	up := httptest.NewUnstartedServer(handler)
	up.Config.Protocols = both
	up.Start()
	t.Cleanup(up.Close)
	end := sync.OnceFunc(func() { close(release) })
	t.Cleanup(end)
	table := balanced(func(by *l7.Balance) { by.Limits = l7.Limits{Requests: 4, Connections: 2} }, addressOf(up))
	calls, others := grpcRoute(), toBackend()(nil)
	p := start(t, Config{DrainTimeout: time.Second}, table, func(r *l7.Request) *l7.Route {
		if r.Host == "grpc" {
			return calls
		}
		return others
	})
	arrives := func() {
		t.Helper()
		select {
		case <-come:
		case <-time.After(10 * time.Second):
			t.Fatal("the request does not arrive")
		}
	}
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() { talk(t, p, "GET /wait HTTP/1.1\r\nHost: grpc\r\n\r\n") })
		arrives()
	}
	if n, alone := backendOf(p).shared.underWay(); n != 3 || alone != 0 {
		t.Errorf("%d are under way, %d alone", n, alone)
	}
	if got := talk(t, p, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 200") {
		t.Errorf("a request with a connection to itself, beside three calls: %q", got)
	}
	all.Go(func() { talk(t, p, "GET /wait HTTP/1.1\r\nHost: x\r\n\r\n") })
	arrives()
	for _, host := range []string{"grpc", "x"} {
		if got := talk(t, p, "GET / HTTP/1.1\r\nHost: "+host+"\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 503") {
			t.Errorf("%s: %q beyond the limit", host, got)
		}
	}
	end()
	all.Wait()
	until(t, func() bool { return backendOf(p).shared.counts.Load() == 0 })
}
