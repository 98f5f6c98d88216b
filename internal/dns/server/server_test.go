package server

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	wire "github.com/miekg/dns"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/dns"
	"github.com/fairlead-net/fairlead/internal/dns/server/forward"
	"github.com/fairlead-net/fairlead/internal/pmap"
)

// start runs a server on a free port of every local address.
func start(t testing.TB, config Config, table dns.Table) (*Plane, netip.AddrPort) {
	t.Helper()
	if config.Listen == nil {
		config.Listen = []netip.AddrPort{netip.MustParseAddrPort("[::]:0")}
	}
	p, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	p.Apply(t.Context(), table)
	for try := 0; ; try++ {
		// The port that UDP got may be taken for TCP.
		if err = p.Start(t.Context()); err == nil {
			break
		} else if try == 5 {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { p.Close() })
	return p, netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), p.Addresses()[0].Port())
}

// cluster returns a Table of a small cluster; big is a headless Service with
// that many endpoints.
func cluster(t testing.TB, big int, more ...*desired.Service) dns.Table {
	t.Helper()
	list := append([]*desired.Service{
		{
			Name: desired.Name{Namespace: "shop", Name: "web"}, Type: desired.ClusterIP,
			Addresses: []netip.Addr{netip.MustParseAddr("10.96.0.1"), netip.MustParseAddr("fd00:96::1")},
			Ports:     []desired.Port{{Name: "http", Protocol: desired.TCP, Port: 80}},
		},
		{Name: desired.Name{Namespace: "shop", Name: "out"}, Type: desired.ExternalName, ExternalName: "www.example.com"},
	}, more...)
	if big > 0 {
		slice := &desired.Slice{Ports: []desired.EndpointPort{{Name: "http", Protocol: desired.TCP, Port: 8080}}}
		for i := range big {
			slice.Endpoints = append(slice.Endpoints, desired.Endpoint{Address: netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}), Ready: true})
		}
		list = append(list, &desired.Service{Name: desired.Name{Namespace: "shop", Name: "big"}, Type: desired.ClusterIP, Headless: true, Slices: []*desired.Slice{slice}})
	}
	state := &desired.State{Revision: 7, Synced: true, Namespaces: pmap.Map[string, *desired.Namespace]{}.Set("shop", &desired.Namespace{})}
	for _, s := range list {
		state.Services = state.Services.Set(s.Name, s)
	}
	table, reasons := dns.Compile(state, dns.Table{}, dns.Config{})
	if len(reasons) > 0 {
		t.Fatal(reasons)
	}
	return table
}

// nobody is a client with an IPv4 address.
var nobody = client{address: netip.MustParseAddr("192.0.2.1"), now: time.Now()}

func query(name string, qtype uint16) *wire.Msg {
	return new(wire.Msg).SetQuestion(name, qtype)
}

// ask asks and expects a well-formed reply to what was asked.
func ask(t testing.TB, network string, to netip.AddrPort, m *wire.Msg) *wire.Msg {
	t.Helper()
	client := wire.Client{Net: network, Timeout: 8 * time.Second, UDPSize: 65000}
	reply, _, err := client.Exchange(m, to.String())
	if err != nil {
		t.Fatalf("%s over %s from %s: %v", m.Question[0].Name, network, to, err)
	}
	if !reply.Response || reply.Id != m.Id || reply.Question[0] != m.Question[0] {
		t.Fatalf("reply to another query: %v", reply)
	}
	return reply
}

func expect(t testing.TB, reply *wire.Msg, rcode int, answers ...string) {
	t.Helper()
	var got []string
	for _, rr := range reply.Answer {
		switch rr := rr.(type) {
		case *wire.A:
			got = append(got, rr.A.String())
		case *wire.AAAA:
			got = append(got, rr.AAAA.String())
		case *wire.CNAME:
			got = append(got, rr.Target)
		default:
			got = append(got, rr.String())
		}
	}
	if reply.Rcode != rcode || fmt.Sprint(got) != fmt.Sprint(answers) {
		t.Fatalf("got %s %v, want %s %v in\n%v", wire.RcodeToString[reply.Rcode], got, wire.RcodeToString[rcode], answers, reply)
	}
}

// TestTransports asks over every network and family, at addresses that the
// socket is not bound to one by one: replies must come from where they were
// asked for, or the connected sockets of the client would not get them.
func TestTransports(t *testing.T) {
	_, at := start(t, Config{}, cluster(t, 0))
	for _, address := range []string{"127.0.0.1", "127.0.0.2", "127.1.2.3", "::1"} {
		to := netip.AddrPortFrom(netip.MustParseAddr(address), at.Port())
		for _, network := range []string{"udp", "tcp"} {
			expect(t, ask(t, network, to, query("Web.shop.SVC.cluster.local.", wire.TypeA)), wire.RcodeSuccess, "10.96.0.1")
			expect(t, ask(t, network, to, query("web.shop.svc.cluster.local.", wire.TypeAAAA)), wire.RcodeSuccess, "fd00:96::1")
			expect(t, ask(t, network, to, query("nope.shop.svc.cluster.local.", wire.TypeA)), wire.RcodeNameError)
			expect(t, ask(t, network, to, query("www.example.com.", wire.TypeA)), wire.RcodeRefused)
		}
	}
}

// TestSingleFamily serves on sockets of one family each.
func TestSingleFamily(t *testing.T) {
	for _, listen := range []string{"127.0.0.9:0", "[::1]:0", "0.0.0.0:0"} {
		p, _ := start(t, Config{Listen: []netip.AddrPort{netip.MustParseAddrPort(listen)}, Sockets: 3}, cluster(t, 0))
		to := p.Addresses()[0]
		if to.Addr().IsUnspecified() {
			to = netip.AddrPortFrom(netip.MustParseAddr("127.7.7.7"), to.Port())
		}
		for range 20 {
			expect(t, ask(t, "udp", to, query("web.shop.svc.cluster.local.", wire.TypeA)), wire.RcodeSuccess, "10.96.0.1")
		}
		expect(t, ask(t, "tcp", to, query("web.shop.svc.cluster.local.", wire.TypeA)), wire.RcodeSuccess, "10.96.0.1")
	}
}

func TestTruncation(t *testing.T) {
	const all = 700
	_, at := start(t, Config{}, cluster(t, all))
	for _, c := range []struct {
		advertised uint16
		size       int
	}{{0, 512}, {100, 512}, {600, 600}, {1232, 1232}, {4096, 1232}} {
		m := query("big.shop.svc.cluster.local.", wire.TypeA)
		if c.advertised > 0 {
			m.SetEdns0(c.advertised, false)
		}
		reply := ask(t, "udp", at, m)
		reply.Compress = true
		if !reply.Truncated || reply.Len() > c.size || reply.Len() < c.size-16 {
			t.Errorf("size %d advertised: reply of %d bytes, TC %t; want just below %d, truncated", c.advertised, reply.Len(), reply.Truncated, c.size)
		}
		if (reply.IsEdns0() != nil) != (c.advertised > 0) {
			t.Errorf("size %d advertised: OPT record %v", c.advertised, reply.IsEdns0())
		}
	}
	if reply := ask(t, "tcp", at, query("big.shop.svc.cluster.local.", wire.TypeA)); reply.Truncated || len(reply.Answer) != all {
		t.Errorf("over TCP %d answers, TC %t", len(reply.Answer), reply.Truncated)
	}
	_, at = start(t, Config{}, cluster(t, 7))
	if reply := ask(t, "udp", at, query("big.shop.svc.cluster.local.", wire.TypeSRV)); reply.Truncated || len(reply.Answer) != 7 {
		t.Errorf("additional records that do not fit truncate the answer: %d answers, TC %t", len(reply.Answer), reply.Truncated)
	}
}

func TestShuffle(t *testing.T) {
	_, at := start(t, Config{}, cluster(t, 4))
	first := map[string]int{}
	for range 200 {
		reply := ask(t, "udp", at, query("big.shop.svc.cluster.local.", wire.TypeA))
		first[reply.Answer[0].String()]++
	}
	if len(first) != 4 {
		t.Errorf("first answers %v, want each of 4", first)
	}
}

func TestEDNS(t *testing.T) {
	_, at := start(t, Config{}, cluster(t, 0))
	m := query("web.shop.svc.cluster.local.", wire.TypeA)
	m.SetEdns0(1232, true)
	m.IsEdns0().Option = append(m.IsEdns0().Option, &wire.EDNS0_LOCAL{Code: 65001, Data: []byte("x")})
	reply := ask(t, "udp", at, m)
	expect(t, reply, wire.RcodeSuccess, "10.96.0.1")
	if opt := reply.IsEdns0(); opt == nil || opt.UDPSize() != 1232 || !opt.Do() || len(opt.Option) != 0 {
		t.Errorf("OPT record %v", opt)
	}
	m.IsEdns0().SetVersion(1)
	reply = ask(t, "udp", at, m)
	if expect(t, reply, wire.RcodeBadVers); reply.IsEdns0().Version() != 0 {
		t.Errorf("OPT record %v", reply.IsEdns0())
	}
	m = query("www.example.com.", wire.TypeA)
	m.SetEdns0(1232, false)
	reply = ask(t, "udp", at, m)
	if expect(t, reply, wire.RcodeRefused); len(reply.IsEdns0().Option) != 1 {
		t.Fatalf("no extended error in %v", reply)
	}
	if ede, ok := reply.IsEdns0().Option[0].(*wire.EDNS0_EDE); !ok || ede.InfoCode != dns.ErrorNotAuthoritative {
		t.Errorf("extended error %v", reply.IsEdns0().Option[0])
	}
}

// TestOddQueries expects a proper refusal, or silence, to what is no query that
// makes sense, and a server that still works afterwards.
func TestOddQueries(t *testing.T) {
	p, at := start(t, Config{}, cluster(t, 0))
	send := func(change func(*wire.Msg)) []byte {
		m := query("web.shop.svc.cluster.local.", wire.TypeA)
		change(m)
		packed, err := m.Pack()
		if err != nil {
			t.Fatal(err)
		}
		return packed
	}
	record := &wire.A{Hdr: wire.RR_Header{Name: "x.", Rrtype: wire.TypeA, Class: 1}, A: net.IPv4(192, 0, 2, 1)}
	for name, c := range map[string]struct {
		packet []byte
		rcode  int
	}{
		"response":      {send(func(m *wire.Msg) { m.Response = true }), -1},
		"short":         {[]byte{1, 2, 3}, -1},
		"empty":         {nil, -1},
		"notify":        {send(func(m *wire.Msg) { m.Opcode = wire.OpcodeNotify }), wire.RcodeNotImplemented},
		"update":        {send(func(m *wire.Msg) { m.Opcode = wire.OpcodeUpdate }), wire.RcodeNotImplemented},
		"no question":   {send(func(m *wire.Msg) { m.Question = nil }), wire.RcodeFormatError},
		"two questions": {send(func(m *wire.Msg) { m.Question = append(m.Question, m.Question[0]) }), wire.RcodeFormatError},
		"two OPTs":      {send(func(m *wire.Msg) { m.SetEdns0(512, false).SetEdns0(512, false) }), wire.RcodeFormatError},
		"two answers":   {send(func(m *wire.Msg) { m.Answer = []wire.RR{record, record} }), wire.RcodeFormatError},
		"two proofs":    {send(func(m *wire.Msg) { m.Ns = []wire.RR{record, record} }), wire.RcodeFormatError},
		"five more":     {send(func(m *wire.Msg) { m.Extra = []wire.RR{record, record, record, record, record} }), wire.RcodeFormatError},
		"half":          {send(func(*wire.Msg) {})[:20], wire.RcodeFormatError},
		"chaos":         {send(func(m *wire.Msg) { m.Question[0].Qclass = wire.ClassCHAOS }), wire.RcodeRefused},
		"class any":     {send(func(m *wire.Msg) { m.Question[0].Qclass = wire.ClassANY }), wire.RcodeRefused},
		"transfer":      {send(func(m *wire.Msg) { m.Question[0].Qtype = wire.TypeAXFR }), wire.RcodeRefused},
		"any":           {send(func(m *wire.Msg) { m.Question[0].Qtype = wire.TypeANY }), wire.RcodeSuccess},
	} {
		reply, later := p.handle(c.packet, p.tallies[0], overUDP, nobody)
		if later != nil || (reply == nil) != (c.rcode < 0) {
			t.Errorf("%s: reply %x, later %v", name, reply, later)
			continue
		}
		m := new(wire.Msg)
		if reply != nil && (m.Unpack(reply) != nil || m.Rcode != c.rcode || m.Id != uint16(c.packet[0])<<8|uint16(c.packet[1])) {
			t.Errorf("%s: got %v", name, m)
		}
		conn, err := net.Dial("udp", at.String())
		if err != nil {
			t.Fatal(err)
		}
		conn.Write(c.packet)
		conn.Close()
	}
	expect(t, ask(t, "udp", at, query("web.shop.svc.cluster.local.", wire.TypeA)), wire.RcodeSuccess, "10.96.0.1")
}

// TestPanic expects a query that breaks the server to cost that query only.
func TestPanic(t *testing.T) {
	p, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	p.answer = func(dns.Table, dns.Question) dns.Answer { panic("on purpose") }
	packed, _ := query("web.shop.svc.cluster.local.", wire.TypeA).Pack()
	reply, _ := p.handle(packed, p.tallies[0], overUDP, nobody)
	m := new(wire.Msg)
	if err := m.Unpack(reply); err != nil || m.Rcode != wire.RcodeServerFailure || len(m.Question) != 1 || p.tallies[0].panics.Load() != 1 {
		t.Errorf("reply %v, %v", m, err)
	}
}

func TestUnsynced(t *testing.T) {
	p, at := start(t, Config{}, dns.Table{})
	if ready, reasons := p.Ready(); ready || len(reasons) != 1 {
		t.Errorf("ready %t, %v", ready, reasons)
	}
	table, _ := dns.Compile(&desired.State{}, dns.Table{}, dns.Config{})
	p.Apply(t.Context(), table)
	expect(t, ask(t, "udp", at, query("web.shop.svc.cluster.local.", wire.TypeA)), wire.RcodeServerFailure)
	p.Apply(t.Context(), cluster(t, 0))
	if ready, reasons := p.Ready(); !ready {
		t.Errorf("not ready: %v", reasons)
	}
	expect(t, ask(t, "udp", at, query("web.shop.svc.cluster.local.", wire.TypeA)), wire.RcodeSuccess, "10.96.0.1")
}

// upstream runs a DNS server on a loopback address for the test.
func upstream(t testing.TB, answer wire.HandlerFunc) netip.AddrPort {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.11:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &wire.Server{PacketConn: conn, Handler: answer}
	go s.ActivateAndServe()
	t.Cleanup(func() { s.ShutdownContext(context.Background()) })
	return conn.LocalAddr().(*net.UDPAddr).AddrPort()
}

// addresses answers every A question with 192.0.2.1.
func addresses(w wire.ResponseWriter, m *wire.Msg) {
	reply := new(wire.Msg).SetReply(m)
	reply.Answer = []wire.RR{&wire.A{Hdr: wire.RR_Header{Name: m.Question[0].Name, Rrtype: wire.TypeA, Class: 1, Ttl: 60}, A: net.IPv4(192, 0, 2, 1)}}
	w.WriteMsg(reply)
}

func TestForwarding(t *testing.T) {
	up := upstream(t, func(w wire.ResponseWriter, m *wire.Msg) {
		if m.Question[0].Name == "none.example.com." {
			reply := new(wire.Msg).SetRcode(m, wire.RcodeNameError)
			w.WriteMsg(reply)
			return
		}
		addresses(w, m)
	})
	_, at := start(t, Config{Forward: forward.Config{Upstreams: []netip.AddrPort{up}}}, cluster(t, 0))
	for _, network := range []string{"udp", "tcp"} {
		for range 2 { // the second one is from the cache
			reply := ask(t, network, at, query("WWW.example.com.", wire.TypeA))
			expect(t, reply, wire.RcodeSuccess, "192.0.2.1")
			if reply.Answer[0].Header().Name != "WWW.example.com." || reply.Authoritative || !reply.RecursionAvailable {
				t.Errorf("reply %v", reply)
			}
			expect(t, ask(t, network, at, query("none.example.com.", wire.TypeA)), wire.RcodeNameError)
			reply = ask(t, network, at, query("out.shop.svc.cluster.local.", wire.TypeA))
			expect(t, reply, wire.RcodeSuccess, "www.example.com.", "192.0.2.1")
			if !reply.Authoritative {
				t.Errorf("reply %v", reply)
			}
		}
	}
}

// TestNoUpstreamAnswers expects SERVFAIL that says why, and the alias of the
// cluster even so.
func TestNoUpstreamAnswers(t *testing.T) {
	conn, err := net.ListenPacket("udp", "127.0.0.12:0")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	silent := conn.LocalAddr().(*net.UDPAddr).AddrPort()
	_, at := start(t, Config{Forward: forward.Config{Upstreams: []netip.AddrPort{silent}, Timeout: 300 * time.Millisecond}}, cluster(t, 0))
	m := query("www.example.com.", wire.TypeA)
	m.SetEdns0(1232, false)
	reply := ask(t, "udp", at, m)
	if expect(t, reply, wire.RcodeServerFailure); len(reply.IsEdns0().Option) != 1 {
		t.Errorf("no extended error in %v", reply)
	}
	expect(t, ask(t, "udp", at, query("out.shop.svc.cluster.local.", wire.TypeA)), wire.RcodeServerFailure, "www.example.com.")
}
