package proxy

import (
	"context"
	"io"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/l7"
	"github.com/fairlead-net/fairlead/internal/l7/filter"
)

// TestRate holds that a client gets its burst and no more, others their own, and those
// that are exempt all.
func TestRate(t *testing.T) {
	up := serveHTTP(t, func(http.ResponseWriter, *http.Request) {})
	for name, c := range map[string]struct {
		limits filter.Limits
		want   int
		status int
	}{
		"second": {filter.Limits{PerSecond: 2, Burst: 3}, 7, 503}, // 6 ahead of the first
		"minute": {filter.Limits{PerMinute: 3, Burst: 1, Status: 429}, 4, 429},
		"exempt": {filter.Limits{PerMinute: 3, Burst: 1, Exempt: []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}}, 20, 0},
	} {
		config := Config{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}
		p := startFiltered(t, config, up, l7.Route{Filters: &filter.Filters{Limits: &c.limits}}, nil)
		served, refused := 0, 0
		for range 20 {
			switch status := ask(t, p, "GET", "/", "X-Forwarded-For: 203.0.113.1").StatusCode; status {
			case 200:
				served++
			case c.status:
				refused++
			default:
				t.Errorf("%s: %d", name, status)
			}
		}
		// In the time that this takes, one or two more may have been allowed.
		if served < c.want || served > c.want+2 || served+refused != 20 {
			t.Errorf("%s: %d served, %d refused, want %d served", name, served, refused, c.want)
		}
		if status := ask(t, p, "GET", "/", "X-Forwarded-For: 198.51.100.1").StatusCode; status != 200 {
			t.Errorf("%s: another client gets %d", name, status)
		}
	}
}

// TestConnections holds that so many requests of a client are under way, and that those
// which are over no longer count, however they ended.
func TestConnections(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	arrived := make(chan bool, 10)
	up := serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/wait" {
			arrived <- true
			<-ctx.Done()
		}
	})
	p := startFiltered(t, Config{}, up, l7.Route{Filters: &filter.Filters{Limits: &filter.Limits{Connections: 2}}}, nil)
	for range 10 {
		if status := ask(t, p, "GET", "/").StatusCode; status != 200 {
			t.Fatalf("one after the other: %d", status)
		}
	}
	// A client has its answer a little before that is counted.
	for p.limiters.get(toBackend()(nil).Source).busy() {
		time.Sleep(time.Millisecond)
	}
	var wait sync.WaitGroup
	for range 2 {
		wait.Go(func() { ask(t, p, "GET", "/wait") })
		<-arrived
	}
	if status := ask(t, p, "GET", "/").StatusCode; status != 503 {
		t.Errorf("the third: %d", status)
	}
	cancel()
	wait.Wait()
	for p.limiters.get(toBackend()(nil).Source).busy() {
		time.Sleep(time.Millisecond)
	}
	if status := ask(t, p, "GET", "/").StatusCode; status != 200 {
		t.Errorf("after that: %d", status)
	}
}

// TestClientsBounded holds that addresses cost only so much memory, and none after a while.
func TestClientsBounded(t *testing.T) {
	all := limiters{of: map[desired.Ref]*limiter{}}
	one := all.get(desired.Ref{Name: "a"})
	limits := &filter.Limits{PerSecond: 1, Burst: 1}
	address := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}) }
	if status := one.enter(address(0), limits, 1); status != 0 { // stays under way
		t.Fatal(status)
	}
	for i := range maxClients + 1000 {
		if one.enter(address(i+1), limits, 1) == 0 {
			one.leave(address(i + 1))
		}
	}
	if len(one.clients) > maxClients || one.clients[address(0)] == nil {
		t.Errorf("%d clients are known", len(one.clients))
	}
	later := int64(time.Hour)
	if all.prune(later); all.get(desired.Ref{Name: "a"}) != one {
		t.Error("what is under way is forgotten")
	}
	one.leave(address(0))
	if all.prune(later); all.get(desired.Ref{Name: "a"}) == one {
		t.Error("what nobody uses is kept")
	}
}

// TestPace holds that a body takes the time that it has to, and arrives whole.
func TestPace(t *testing.T) {
	body := strings.Repeat("0123456789abcdef", 1<<12) // 64 KB
	up := serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/length" {
			w.Header().Set("Content-Length", "65536")
		}
		io.WriteString(w, body)
	})
	limits := &filter.Limits{Rate: 256 << 10, After: 16 << 10}
	p := startFiltered(t, Config{}, up, l7.Route{Filters: &filter.Filters{Limits: limits}}, nil)
	for _, path := range []string{"/length", "/chunks"} {
		begin := time.Now()
		response, err := client(t).Get(p.url() + path)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(response.Body)
		response.Body.Close()
		// 48 KB at 256 KB a second are 187 ms; the last piece of 32 KB is sent at 62 ms.
		if took := time.Since(begin); err != nil || string(got) != body || took < 50*time.Millisecond {
			t.Errorf("%s: %d octets in %v, error %v", path, len(got), took, err)
		}
	}
}

// TestLongestIdleGoes holds that the client which makes room for a new one is the one that
// has been idle for longest, so that to find it takes no search, and never one that has
// something under way.
func TestLongestIdleGoes(t *testing.T) {
	one := (&limiters{of: map[desired.Ref]*limiter{}}).get(desired.Ref{Name: "a"})
	limits := &filter.Limits{PerMinute: 1, Burst: 1, Connections: 1}
	address := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}) }
	for i := range maxClients {
		if status := one.enter(address(i), limits, 1); status != 0 {
			t.Fatal(i, status)
		}
	}
	for i := range 100 {
		one.leave(address(99 - i)) // the first that came are the last that are idle
	}
	if status := one.enter(address(99), limits, 1); status != 0 { // nor is this one any more
		t.Fatal(status)
	}
	one.enter(address(maxClients), limits, 1)
	gone := []int{}
	for i := range maxClients {
		if one.clients[address(i)] == nil {
			gone = append(gone, i)
		}
	}
	if !slices.Equal(gone, []int{98}) || one.idle.Len() != 98 || !one.busy() {
		t.Errorf("%v are forgotten, %d are idle", gone, one.idle.Len())
	}
}
