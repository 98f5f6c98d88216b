package coredns

import (
	"fmt"
	"net"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/fairlead-net/fairlead/internal/desired"
	fairlead "github.com/fairlead-net/fairlead/internal/dns"
	"github.com/fairlead-net/fairlead/internal/dns/server"
	"github.com/fairlead-net/fairlead/internal/dns/server/forward"
)

// peer is a server that is asked over one TCP connection, where no answer is too
// large.
type peer struct {
	name    string
	address netip.AddrPort
	conn    *dns.Conn
	stop    func() error
}

func (p *peer) ask(q dns.Question) (*dns.Msg, error) {
	m := &dns.Msg{MsgHdr: dns.MsgHdr{Id: dns.Id(), RecursionDesired: true}, Question: []dns.Question{q}}
	var failure error
	for range 2 { // the server may have closed the connection
		if p.conn == nil {
			conn, err := net.DialTimeout("tcp", p.address.String(), 5*time.Second)
			if err != nil {
				return nil, err
			}
			p.conn = &dns.Conn{Conn: conn}
		}
		_ = p.conn.SetDeadline(time.Now().Add(10 * time.Second))
		var reply *dns.Msg
		if failure = p.conn.WriteMsg(m); failure == nil {
			if reply, failure = p.conn.ReadMsg(); failure == nil && reply.Id == m.Id {
				return reply, nil
			}
		}
		p.conn.Close()
		p.conn = nil
	}
	return nil, fmt.Errorf("no reply: %w", failure)
}

func (p *peer) close() error {
	if p.conn != nil {
		p.conn.Close()
	}
	return p.stop()
}

// startCoreDNS starts CoreDNS with the cluster behind an API of its own.
func startCoreDNS(t *testing.T, c *cluster, upstream netip.AddrPort) *peer {
	t.Helper()
	handler, err := API(c.Objects)
	if err != nil {
		t.Fatal(err)
	}
	api := httptest.NewServer(handler)
	s, err := Start(fmt.Sprintf(`.:0 {
		kubernetes %s in-addr.arpa ip6.arpa {
			endpoint %s
			pods %s
			ttl %d
			startup_timeout 1m
			fallthrough in-addr.arpa ip6.arpa
		}
		forward . %s {
			max_fails 0
		}
	}`, c.domain, api.URL, c.pods, c.ttl, upstream))
	if err != nil {
		t.Fatal(err)
	}
	address, err := s.TCP()
	if err != nil {
		t.Fatal(err)
	}
	return &peer{name: "CoreDNS", address: address, stop: func() error {
		defer api.Close()
		defer api.CloseClientConnections()
		return s.Stop()
	}}
}

// startFairlead starts Fairlead's server with the same cluster.
func startFairlead(t *testing.T, c *cluster, upstream netip.AddrPort, local []netip.Addr) *peer {
	t.Helper()
	var o desired.Objects
	o.Synced = true
	for _, n := range c.Namespaces {
		o.Namespaces = o.Namespaces.Set(n.Name, &desired.Namespace{Labels: n.Labels})
	}
	for _, s := range c.Services {
		o.Services = o.Services.Set(desired.Name{Namespace: s.Namespace, Name: s.Name}, desired.ParseService(s))
	}
	for _, s := range c.Slices {
		o.Slices = o.Slices.Set(desired.Name{Namespace: s.Namespace, Name: s.Name}, desired.ParseSlice(s))
	}
	state, _ := desired.Build(o, desired.Node{}, nil)
	table, reasons := fairlead.Compile(state, fairlead.Table{}, fairlead.Config{
		Domain: c.domain, TTL: c.ttl, Pods: fairlead.Pods(c.pods), Serial: 1,
		Server: desired.Name{Namespace: "kube-system", Name: "kube-dns"}, ServerAddresses: local,
	})
	if len(reasons) > 0 {
		t.Fatalf("a cluster that cannot be served as written: %v", reasons)
	}
	plane := startPlane(t, server.Config{Forward: forward.Config{Upstreams: []netip.AddrPort{upstream}, Cache: forward.Cache{Disabled: true}}})
	if err := plane.Apply(t.Context(), table); err != nil {
		t.Fatal(err)
	}
	return &peer{name: "Fairlead", address: plane.Addresses()[0], stop: plane.Close}
}

// startPlane starts a server without a Table. A free UDP port is not always one
// for TCP as well, so it tries again.
func startPlane(t *testing.T, config server.Config) *server.Plane {
	t.Helper()
	config.Listen = []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:0")}
	var failure error
	for range 10 {
		plane, err := server.New(config)
		if err != nil {
			t.Fatal(err)
		}
		if failure = plane.Start(t.Context()); failure == nil {
			return plane
		}
	}
	t.Fatal(failure)
	return nil
}

// startUpstream starts the server for all other names. What it answers depends
// on the question alone.
func startUpstream(t *testing.T) netip.AddrPort {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().(*net.TCPAddr).AddrPort()
	packets, err := net.ListenPacket("udp", address.String())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []*dns.Server{{Listener: listener}, {PacketConn: packets}} {
		s.Handler = dns.HandlerFunc(outsideWorld)
		go func() { _ = s.ActivateAndServe() }()
		t.Cleanup(func() { _ = s.Shutdown() })
	}
	return address
}

func outsideWorld(w dns.ResponseWriter, m *dns.Msg) {
	reply := new(dns.Msg).SetReply(m)
	q := m.Question[0]
	record := func(text string) dns.RR {
		rr, err := dns.NewRR(text)
		if err != nil {
			panic(err)
		}
		return rr
	}
	switch name := dns.CanonicalName(q.Name); {
	case name == "www.example.com." && q.Qtype == dns.TypeA, name == "under_score.example.com." && q.Qtype == dns.TypeA:
		reply.Answer = append(reply.Answer, record(q.Name+" 60 A 192.0.2.1"))
	case name == "www.example.com." && q.Qtype == dns.TypeAAAA:
		reply.Answer = append(reply.Answer, record(q.Name+" 60 AAAA 2001:db8::1"))
	case name == "alias.example.com." && q.Qtype == dns.TypeA:
		reply.Answer = append(reply.Answer, record(q.Name+" 60 CNAME www.example.com."), record("www.example.com. 60 A 192.0.2.1"))
	case name == "1.2.0.192.in-addr.arpa." && q.Qtype == dns.TypePTR:
		reply.Answer = append(reply.Answer, record(q.Name+" 60 PTR www.example.com."))
	default:
		if name != "www.example.com." && name != "alias.example.com." && name != "." && name != "com." {
			reply.Rcode = dns.RcodeNameError
		}
		reply.Ns = append(reply.Ns, record(". 60 SOA a.root-servers.net. nstld.example. 1 1800 900 604800 60"))
	}
	_ = w.WriteMsg(reply)
}
