package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	wire "github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/dns"
	"github.com/fairlead-net/fairlead/internal/dns/server/forward"
	"github.com/fairlead-net/fairlead/internal/pmap"
)

// TestSwapUnderLoad replaces the Table all the time while clients ask, and
// expects every reply to be right for one Table: both Services of a Table have
// the address of its generation, and no generation comes after a later one.
func TestSwapUnderLoad(t *testing.T) {
	generation := func(n int) dns.Table {
		address := []netip.Addr{netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)})}
		state := &desired.State{Revision: uint64(n), Synced: true}
		for _, name := range []desired.Name{{Namespace: "shop", Name: "web"}, {Namespace: "shop", Name: "api"}} {
			state.Services = state.Services.Set(name, &desired.Service{
				Name: name, Type: desired.ClusterIP, Addresses: address, Ports: []desired.Port{{Name: "p", Protocol: desired.TCP, Port: uint16(n)}},
			})
		}
		table, _ := dns.Compile(state, dns.Table{}, dns.Config{})
		return table
	}
	p, at := start(t, Config{Sockets: 2}, generation(0))
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	var all sync.WaitGroup
	var applied atomic.Int64
	all.Go(func() {
		for n := 1; ctx.Err() == nil && n < 1<<16; n++ {
			p.Apply(ctx, generation(n))
			applied.Store(int64(n))
		}
	})
	for i := range 3 {
		all.Go(func() {
			network, last := []string{"udp", "tcp", "udp"}[i], int64(0)
			client := wire.Client{Net: network}
			conn, err := client.Dial(at.String())
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			for asked := 0; ctx.Err() == nil; asked++ {
				least := applied.Load()
				reply, _, err := client.ExchangeWithConn(query([]string{"web", "api"}[asked%2]+".shop.svc.cluster.local.", wire.TypeSRV), conn)
				if err != nil || len(reply.Answer) != 1 || len(reply.Extra) != 1 {
					t.Errorf("query %d: %v, %v", asked, reply, err)
					return
				}
				port, a := reply.Answer[0].(*wire.SRV).Port, reply.Extra[0].(*wire.A).A.To4()
				now := int64(a[1])<<16 | int64(a[2])<<8 | int64(a[3])
				if int64(port) != now || now < least || now < last {
					t.Errorf("generation %d with port %d after %d, applied %d", now, port, last, least)
					return
				}
				last = now
			}
		})
	}
	all.Wait()
	t.Logf("%d tables applied", applied.Load())
}

// TestClose keeps asking while the server closes, and expects every query sent
// before the end of lameduck to be answered, also those that wait for an
// upstream, while readiness is withdrawn at once.
func TestClose(t *testing.T) {
	up := upstream(t, func(w wire.ResponseWriter, m *wire.Msg) {
		time.Sleep(150 * time.Millisecond)
		addresses(w, m)
	})
	const lameduck = 600 * time.Millisecond
	p, at := start(t, Config{Lameduck: lameduck, Forward: forward.Config{Upstreams: []netip.AddrPort{up}, Cache: forward.Cache{Disabled: true}}}, cluster(t, 0))
	if status, _ := get(p.ReadyHandler()); status != http.StatusOK {
		t.Fatalf("ready: %d", status)
	}
	var all sync.WaitGroup
	var late atomic.Int64 // queries that were sent while the server was closing
	// Long before the end of lameduck, as a busy machine may send a query late.
	end := time.Now().Add(200*time.Millisecond + lameduck/2)
	for i := range 4 {
		all.Go(func() {
			client := wire.Client{Net: []string{"udp", "tcp"}[i%2], Timeout: 3 * time.Second}
			for n := 0; time.Now().Before(end); n++ {
				name := "web.shop.svc.cluster.local."
				if i < 2 {
					name = fmt.Sprintf("n%d-%d.example.com.", i, n)
				}
				if p.closing.Load() {
					late.Add(1)
				}
				if reply, _, err := client.Exchange(query(name, wire.TypeA), at.String()); err != nil || len(reply.Answer) != 1 {
					t.Errorf("%s: %v, %v", name, reply, err)
				}
			}
		})
	}
	time.Sleep(200 * time.Millisecond)
	closed := make(chan struct{})
	go func() { p.Close(); close(closed) }()
	time.Sleep(50 * time.Millisecond)
	if status, body := get(p.ReadyHandler()); status != http.StatusServiceUnavailable || !strings.Contains(body, "closing") {
		t.Errorf("while closing ready says %d %s", status, body)
	}
	if status, _ := get(p.HealthHandler()); status != http.StatusOK {
		t.Errorf("while closing health says %d", status)
	}
	all.Wait()
	<-closed
	if late.Load() == 0 {
		t.Error("no query was sent while the server was closing")
	}
	p.Close()
}

func get(h http.Handler) (int, string) {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	body, _ := io.ReadAll(w.Result().Body)
	return w.Code, string(body)
}

func TestBindErrors(t *testing.T) {
	taken, err := net.ListenPacket("udp", "127.0.0.13:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for listen, want := range map[string]string{
		taken.LocalAddr().String(): "another program serves this port",
		"192.0.2.77:5353":          "no interface has this address",
	} {
		p, err := New(Config{Listen: []netip.AddrPort{netip.MustParseAddrPort(listen)}})
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Start(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", listen, err, want)
		}
		if ready, _ := p.Ready(); ready {
			t.Error("ready without sockets")
		}
		p.Close()
	}
}

func TestBindAdvice(t *testing.T) {
	err := explainBind("UDP", netip.MustParseAddrPort("[::]:53"), &net.OpError{Err: os.NewSyscallError("bind", unix.EACCES)})
	if !strings.Contains(err.Error(), "NET_BIND_SERVICE") || !errors.Is(err, unix.EACCES) {
		t.Error(err)
	}
}

func TestBadConfig(t *testing.T) {
	for _, c := range []Config{
		{Listen: []netip.AddrPort{{}}}, {MaxUDP: 100}, {MaxUDP: 10000}, {Sockets: -1}, {Lameduck: -1},
		{Forward: forward.Config{Policy: "best"}}, {Forward: forward.Config{Upstreams: []netip.AddrPort{netip.MustParseAddrPort("0.0.0.0:53")}}},
	} {
		if _, err := New(c); err == nil {
			t.Errorf("%+v is accepted", c)
		}
	}
}

// TestLoop gives the server itself as upstream, by a port that it cannot
// recognise beforehand, and expects it to find out and say so.
func TestLoop(t *testing.T) {
	relayTo := atomic.Pointer[netip.AddrPort]{}
	relay := upstream(t, func(w wire.ResponseWriter, m *wire.Msg) {
		if to := relayTo.Load(); to != nil {
			if reply, _, err := new(wire.Client).Exchange(m, to.String()); err == nil {
				w.WriteMsg(reply)
			}
		}
	})
	p, err := New(Config{
		Listen: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.14:0")}, Log: slog.New(slog.DiscardHandler),
		Forward: forward.Config{Upstreams: []netip.AddrPort{relay}},
	})
	if err != nil {
		t.Fatal(err)
	}
	p.Apply(t.Context(), cluster(t, 0))
	conn, err := listenUDP(t.Context(), netip.MustParseAddrPort("127.0.0.14:0"))
	if err != nil {
		t.Fatal(err)
	}
	at := conn.LocalAddr().String()
	conn.Close()
	to := netip.MustParseAddrPort(at)
	p.config.Listen[0] = to
	relayTo.Store(&to)
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	for range 200 {
		if strings.Contains(strings.Join(p.Describe(), "\n"), "leads back to this server") {
			m := query("www.example.com.", wire.TypeA)
			m.SetEdns0(1232, false)
			expect(t, ask(t, "udp", to, m), wire.RcodeServerFailure)
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Errorf("the loop is not found: %v", p.Describe())
}

// TestOwnUpstream expects upstreams that are plainly this server to be left out.
func TestOwnUpstream(t *testing.T) {
	service := &desired.Service{
		Name: desired.Name{Namespace: "kube-system", Name: "kube-dns"}, Type: desired.ClusterIP, Addresses: []netip.Addr{netip.MustParseAddr("10.96.0.10")},
	}
	state := &desired.State{Synced: true, Services: pmap.Map[desired.Name, *desired.Service]{}.Set(service.Name, service)}
	table, _ := dns.Compile(state, dns.Table{}, dns.Config{Server: service.Name})
	p, err := New(Config{Forward: forward.Config{Upstreams: []netip.AddrPort{
		netip.MustParseAddrPort("127.0.0.53:53"), netip.MustParseAddrPort("10.96.0.10:53"), netip.MustParseAddrPort("127.0.0.1:5300"),
	}}})
	if err != nil {
		t.Fatal(err)
	}
	p.Apply(t.Context(), table)
	text := strings.Join(p.Describe(), "\n")
	if strings.Count(text, "leads back to this server") != 2 || !strings.Contains(text, "127.0.0.1:5300 answers") {
		t.Error(text)
	}
}

func TestMetrics(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	p, at := start(t, Config{Registry: registry}, cluster(t, 0))
	for range 3 {
		ask(t, "udp", at, query("web.shop.svc.cluster.local.", wire.TypeA))
	}
	ask(t, "tcp", at, query("nope.shop.svc.cluster.local.", wire.TypeAAAA))
	// What replies took is counted when they have been sent.
	for range 500 {
		total, taken := newMetrics(p).sum(), uint64(0)
		for i := range total.duration.counts {
			taken += total.duration.counts[i].Load()
		}
		if taken == 4 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			key := f.GetName()
			for _, l := range m.GetLabel() {
				key += " " + l.GetValue()
			}
			got[key] = m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	for key, want := range map[string]float64{
		"coredns_dns_requests_total 1 udp dns://:0 A  .":              3,
		"coredns_dns_requests_total 1 tcp dns://:0 AAAA  .":           1,
		"coredns_dns_responses_total kubernetes NOERROR dns://:0  .":  3,
		"coredns_dns_responses_total kubernetes NXDOMAIN dns://:0  .": 1,
		"coredns_dns_request_duration_seconds dns://:0  .":            4,
		"coredns_dns_request_size_bytes udp dns://:0  .":              3,
		"coredns_panics_total":                                        0,
	} {
		if value, ok := got[key]; !ok || value != want {
			t.Errorf("%s is %v (there: %t), want %v", key, value, ok, want)
		}
	}
	if t.Failed() {
		t.Log(got)
	}
}
