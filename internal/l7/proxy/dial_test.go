package proxy

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/fairlead-net/fairlead/internal/l7"
	"github.com/fairlead-net/fairlead/internal/pmap"
)

// resolving returns a resolver that knows the given names, and no others; it does not
// answer at all for silent.example.
func resolving(t *testing.T, names map[string][]string) *net.Resolver {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &dns.Server{PacketConn: conn, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		asked := q.Question[0]
		reply := new(dns.Msg).SetReply(q)
		addresses, known := names[asked.Name]
		if asked.Name == "silent.example." {
			return
		}
		if !known {
			reply.Rcode = dns.RcodeNameError
		}
		for _, a := range addresses {
			header := dns.RR_Header{Name: asked.Name, Class: dns.ClassINET, Rrtype: asked.Qtype, Ttl: 1}
			if ip := net.ParseIP(a); asked.Qtype == dns.TypeA && ip.To4() != nil {
				reply.Answer = append(reply.Answer, &dns.A{Hdr: header, A: ip})
			} else if asked.Qtype == dns.TypeAAAA && ip.To4() == nil {
				reply.Answer = append(reply.Answer, &dns.AAAA{Hdr: header, AAAA: ip})
			}
		}
		w.WriteMsg(reply)
	})}
	go server.ActivateAndServe()
	t.Cleanup(func() { server.Shutdown() })
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
}

func tableOfName(host string, port uint16) l7.Table {
	table := tableFor()
	var m pmap.Map[l7.BackendID, *l7.Backend]
	table.Backends = m.Set(backendID, &l7.Backend{ID: backendID, Host: host, HostPort: port})
	return table
}

// peers are the addresses of those who have connected.
type peers struct{ all sync.Map }

func (p *peers) add(address string) { p.all.Store(address, true) }
func (p *peers) clear()             { p.all.Clear() }

func (p *peers) len() int {
	n := 0
	p.all.Range(func(any, any) bool { n++; return true })
	return n
}

// TestBackendByName holds that a name is resolved when a connection is made, that all
// its addresses are tried, and that none is connected to that is forbidden.
func TestBackendByName(t *testing.T) {
	var connections peers
	up := serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		connections.add(r.RemoteAddr)
		io.WriteString(w, "here")
	})
	resolver := resolving(t, map[string][]string{
		"one.example.": {"127.0.0.1"}, "many.example.": {"127.0.0.9", "127.0.0.8", "127.0.0.1"}, "none.example.": {},
		"evil.example.": {"169.254.169.254", "::1", "fe80::1", "127.0.0.99"}, "half.example.": {"169.254.169.254", "127.0.0.1"},
	})
	// Only this test's endpoint is at 127.0.0.1 and not forbidden.
	reach := func(a netip.Addr) bool {
		return forbidden(a) && a != netip.MustParseAddr("127.0.0.1") && !netip.MustParsePrefix("127.0.0.8/31").Contains(a)
	}
	for host, want := range map[string]string{
		"one.example": "200", "many.example": "200", "half.example": "200", "evil.example": "502", "none.example": "502", "unknown.example": "502", "silent.example": "504",
	} {
		config := Config{}
		if host == "silent.example" {
			config.ConnectTimeout = 100 * time.Millisecond
		}
		connections.clear()
		p := startChanged(t, config, tableOfName(host, up.Port()), toBackend(), func(p *Proxy) { p.resolver, p.forbidden = resolver, reach })
		got := talk(t, p, strings.Repeat("GET / HTTP/1.1\r\nHost: x\r\n\r\n", 3))
		if !strings.HasPrefix(got, "HTTP/1.1 "+want) || want == "200" && (strings.Count(got, "here") != 3 || connections.len() != 1) {
			t.Errorf("%s: %.150q over %d connections, want %s", host, got, connections.len(), want)
		}
	}
	// Without the test's exception nothing of it is reached.
	connections.clear()
	p := startChanged(t, Config{}, tableOfName("one.example", up.Port()), toBackend(), func(p *Proxy) { p.resolver = resolver })
	if got := talk(t, p, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 502") || !strings.Contains(got, "not connected to") || connections.len() > 0 {
		t.Errorf("%.150q", got)
	}
}

// TestBackendByNameAges holds that a connection to what a name led to is not used for
// ever.
func TestBackendByNameAges(t *testing.T) {
	var connections peers
	up := serveHTTP(t, func(_ http.ResponseWriter, r *http.Request) { connections.add(r.RemoteAddr) })
	resolver := resolving(t, map[string][]string{"one.example.": {"127.0.0.1"}})
	p := startChanged(t, Config{}, tableOfName("one.example", up.Port()), toBackend(), func(p *Proxy) {
		p.resolver, p.forbidden = resolver, func(netip.Addr) bool { return false }
	})
	for i := range 3 {
		talk(t, p, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		if want := []int{1, 1, 2}[i]; connections.len() != want {
			t.Errorf("%d connections after %d requests", connections.len(), i+1)
		}
		b, _ := p.state.Load().backends.Get(backendID)
		up := b.all[0].plain.take(0)
		if up == nil || up.until <= p.clock.now() {
			t.Fatalf("%d: no connection is kept", i)
		}
		if i == 1 {
			up.until = p.clock.now()
		}
		b.all[0].plain.put(up, 0, p.config.MaxIdle, p.clock.now())
	}
}

func TestForbidden(t *testing.T) {
	for text, want := range map[string]bool{
		"127.0.0.1": true, "127.9.9.9": true, "::1": true, "::ffff:127.0.0.1": true, "169.254.169.254": true, "fe80::1": true, "fe80::1%eth0": true,
		"0.0.0.0": true, "0.1.2.3": true, "::": true, "224.0.0.1": true, "ff02::1": true, "255.255.255.255": true, "240.0.0.1": true,
		"64:ff9b::7f00:1": true, "64:ff9b::a9fe:a9fe": true, "64:ff9b::102:304": false, "fd00:ec2::254": true, "100.100.100.200": true, "192.0.0.192": true,
		"2002:7f00:1::": true, "2002:a9fe:a9fe::1": true, "2002:102:304::1": false, "::127.0.0.1": true, "::a00:1": false, "fec0::1": true,
		"10.0.0.1": false, "192.0.2.1": false, "2001:db8::1": false, "fd00::1": false, "::ffff:10.0.0.1": false,
	} {
		if got := forbidden(netip.MustParseAddr(text)); got != want {
			t.Errorf("%s: %t", text, got)
		}
	}
	if !forbidden(netip.Addr{}) {
		t.Error("no address is allowed")
	}
}

// TestReach holds what an administrator's ranges change, and that the addresses which
// the process has are not reached, also those that it gets later.
func TestReach(t *testing.T) {
	prefixes := func(texts ...string) (all []netip.Prefix) {
		for _, text := range texts {
			all = append(all, netip.MustParsePrefix(text))
		}
		return all
	}
	has := []net.Addr{&net.IPNet{IP: net.ParseIP("10.1.0.9")}, &net.IPNet{IP: net.ParseIP("2001:db8::9")}}
	own := &ownAddresses{list: func() ([]net.Addr, error) { return has, nil }}
	r := reach{allowed: prefixes("127.0.0.9/32", "10.96.0.0/24"), denied: prefixes("10.96.0.0/12", "192.0.2.0/24"), own: own}
	for text, want := range map[string]bool{
		"127.0.0.9": false, "::ffff:127.0.0.9": false, "127.0.0.8": true, "10.96.0.1": false, "10.97.0.1": true, "::ffff:192.0.2.1": true, "198.51.100.1": false,
		"10.1.0.9": true, "::ffff:10.1.0.9": true, "2001:db8::9": true, "10.1.0.8": false,
	} {
		if got := r.forbids(netip.MustParseAddr(text)); got != want {
			t.Errorf("%s: %t", text, got)
		}
	}
	has = []net.Addr{&net.IPNet{IP: net.ParseIP("10.1.0.8")}}
	own.read = own.read.Add(-2 * ownAge)
	if !r.forbids(netip.MustParseAddr("10.1.0.8")) || r.forbids(netip.MustParseAddr("10.1.0.9")) {
		t.Error("a new address is not seen")
	}
}

// TestReservedPort holds that no endpoint is a port of the process that is for nobody's
// requests.
func TestReservedPort(t *testing.T) {
	up := serveHTTP(t, func(http.ResponseWriter, *http.Request) { t.Error("it is reached") })
	p := start(t, Config{ReservedPorts: []uint16{up.Port()}}, tableFor(up), toBackend())
	if got := talk(t, p, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); !strings.HasPrefix(got, "HTTP/1.1 502") || !strings.Contains(got, "not connected to") {
		t.Errorf("%.200q", got)
	}
	p.own.list = func() ([]net.Addr, error) { return []net.Addr{&net.IPNet{IP: net.ParseIP("10.1.0.9")}}, nil }
	p.own.all = nil
	for text, want := range map[string]bool{"10.1.0.9": true, "::ffff:10.1.0.9": true, "10.1.0.8": false} {
		if got := p.reserved(netip.AddrPortFrom(netip.MustParseAddr(text), up.Port())); got != want {
			t.Errorf("%s: %t", text, got)
		}
		if p.reserved(netip.AddrPortFrom(netip.MustParseAddr(text), up.Port()+1)) {
			t.Errorf("%s: another port is reserved", text)
		}
	}
}
