package proxy

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/fairlead-net/fairlead/internal/l7"
	"github.com/fairlead-net/fairlead/internal/l7/filter"
)

// named runs upstreams that answer with their number.
func named(t *testing.T, n int) []netip.AddrPort {
	var all []netip.AddrPort
	for i := range n {
		all = append(all, serveHTTP(t, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, i) }))
	}
	return all
}

// answers returns what comes back, and the cookie that is set, as NAME=VALUE.
func answers(t *testing.T, p *Proxy, path string, fields ...string) (body, cookie string) {
	t.Helper()
	request, _ := http.NewRequest("GET", p.url()+path, nil)
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		request.Header.Add(name, value)
	}
	response, err := client(t).Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	got, _ := io.ReadAll(response.Body)
	cookie, _, _ = strings.Cut(response.Header.Get("Set-Cookie"), ";")
	return string(got), cookie
}

func startBalanced(t *testing.T, b filter.Balance, addresses ...netip.AddrPort) *Proxy {
	t.Helper()
	p := startFiltered(t, Config{}, addresses[0], l7.Route{Filters: &filter.Filters{Balance: &b}}, nil)
	apply(t, p, addresses...)
	return p
}

func apply(t *testing.T, p *Proxy, addresses ...netip.AddrPort) {
	t.Helper()
	if err := p.Apply(context.Background(), tableFor(addresses...)); err != nil {
		t.Fatal(err)
	}
}

// TestSession holds that a client stays at its endpoint, also when others come and go,
// and gets another one when its own is gone.
func TestSession(t *testing.T) {
	addresses := named(t, 5)
	for _, persistent := range []bool{false, true} {
		p := startBalanced(t, filter.Balance{Session: &filter.Session{Name: "at", Persistent: persistent}}, addresses[:4]...)
		seen := map[string]string{} // cookies by endpoint
		for range 200 {
			body, cookie := answers(t, p, "/")
			if cookie == "" {
				t.Fatal("no cookie is set")
			}
			seen[body] = cookie
		}
		if len(seen) != 4 {
			t.Fatalf("sessions are at %d endpoints of 4", len(seen))
		}
		for at, cookie := range seen {
			for range 5 {
				if body, set := answers(t, p, "/", "Cookie: x=y; "+cookie); body != at || set != "" {
					t.Errorf("persistent %t: at %s after %s, cookie %q set", persistent, body, at, set)
				}
			}
		}
		apply(t, p, addresses[1], addresses[2], addresses[3], addresses[4])
		for at, cookie := range seen {
			body, set := answers(t, p, "/", "Cookie: "+cookie)
			stays := body == at || !persistent && body == "4" // a share moves to the new one
			if at == "0" && body == "0" || at != "0" && !stays || persistent && (set != "") != (at == "0") {
				t.Errorf("persistent %t: at %s after %s, cookie %q set", persistent, body, at, set)
			}
		}
	}
}

// TestSessionFails holds when a client changes its endpoint for good.
func TestSessionFails(t *testing.T) {
	addresses := append(named(t, 2), netip.MustParseAddrPort("127.0.0.1:1"))
	for _, changes := range []bool{false, true} {
		s := &filter.Session{Name: "at", ChangeOnFailure: changes}
		p := startBalanced(t, filter.Balance{Session: s}, addresses...)
		for i := range 100 { // some of these keys prefer the endpoint that is not there
			body, set := answers(t, p, "/", fmt.Sprintf("Cookie: at=key%d", i))
			if b, _ := p.state.Load().backends.Get(backendID); preferred(b.endpoints, hashOf(fmt.Sprint("key", i)), 1, nil).address != addresses[2] {
				if set != "" {
					t.Errorf("key%d: cookie %q set without need", i, set)
				}
				continue
			}
			if body == "" || (set != "") != changes {
				t.Errorf("changes %t: at %q, cookie %q set", changes, body, set)
			}
			if again, _ := answers(t, p, "/", "Cookie: "+set); changes && again != body {
				t.Errorf("at %s after %s", again, body)
			}
		}
	}
}

// TestSessionBackend holds that a client stays with the backend that it got first.
func TestSessionBackend(t *testing.T) {
	addresses := named(t, 2)
	other := l7.BackendID{Service: backendID.Service, Port: "canary"}
	table := tableFor(addresses[0])
	table.Backends = table.Backends.Set(other, &l7.Backend{ID: other, Endpoints: endpoints(addresses[1])})
	for _, any := range []bool{false, true} {
		route := *toBackend()(nil)
		route.Backends = []l7.Weighted{{Backend: backendID, Weight: 50}, {Backend: other, Weight: 50}}
		route.Filters = &filter.Filters{Balance: &filter.Balance{Session: &filter.Session{Name: "at", AnyBackend: any}}}
		p := start(t, Config{}, table, func(*l7.Request) *l7.Route { return &route })
		first, cookie := answers(t, p, "/")
		seen := map[string]bool{}
		for range 60 {
			body, _ := answers(t, p, "/", "Cookie: "+cookie)
			seen[body] = true
		}
		if !seen[first] || len(seen) != map[bool]int{false: 1, true: 2}[any] {
			t.Errorf("any %t: at %v after %s", any, seen, first)
		}
	}
}

// TestHashBy holds that requests which are alike go to one endpoint, or to a subset.
func TestHashBy(t *testing.T) {
	addresses := named(t, 6)
	for _, subset := range []int{0, 3} {
		p := startBalanced(t, filter.Balance{HashBy: template(t, "$http_x_user$arg_user"), Subset: subset}, addresses...)
		all := map[string]bool{}
		for user := range 90 { // so many that no endpoint is without one by chance
			at := map[string]bool{}
			for i := range 20 {
				body := ""
				if i%2 == 0 {
					body, _ = answers(t, p, "/", fmt.Sprintf("X-User: u%d", user))
				} else {
					body, _ = answers(t, p, fmt.Sprintf("/?a=b&user=u%d", user))
				}
				at[body], all[body] = true, true
			}
			if len(at) > max(subset, 1) || subset > 0 && len(at) == 1 {
				t.Errorf("subset %d: a user is at %v", subset, at)
			}
		}
		if len(all) != 6 {
			t.Errorf("subset %d: users are at %v of 6", subset, all)
		}
	}
}

// TestEWMA holds that an endpoint which answers late gets fewer requests.
func TestEWMA(t *testing.T) {
	late := serveHTTP(t, func(w http.ResponseWriter, _ *http.Request) {
		time.Sleep(10 * time.Millisecond)
		io.WriteString(w, "late")
	})
	p := startBalanced(t, filter.Balance{How: filter.EWMA}, append(named(t, 1), late)...)
	count := map[string]int{}
	b, _ := p.state.Load().backends.Get(backendID)
	for _, e := range b.all { // as after 10 s
		e.observe(map[bool]int64{true: int64(10 * time.Millisecond), false: int64(time.Millisecond)}[e.address == late], int64(10*time.Second), false)
	}
	for range 50 {
		body, _ := answers(t, p, "/")
		count[body]++
	}
	if count["late"] > 5 {
		t.Errorf("%v", count)
	}
}

func TestPreferred(t *testing.T) {
	var all []*endpoint
	for i := range 10 {
		all = append(all, newEndpoint(place{address: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), 80)}, l7.BackendID{}, 1))
	}
	moved, count := 0, map[*endpoint]int{}
	fewer := all[:9]
	for key := range uint64(10000) {
		e := preferred(all, key, 1, nil)
		count[e]++
		if now := preferred(fewer, key, 1, nil); now != e {
			moved++
			if e != all[9] {
				t.Fatal("a key moves whose endpoint stays")
			}
		}
		if preferred(all, key, 1, e) == e {
			t.Fatal("the endpoint that failed is chosen again")
		}
	}
	for e, n := range count {
		if n < 800 || n > 1200 {
			t.Errorf("%s gets %d of 10000", e.address, n)
		}
	}
	if moved == 0 {
		t.Error("no key moves")
	}
}

func hashOf(key string) uint64 { return xxhash.Sum64String(key) }
