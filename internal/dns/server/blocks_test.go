package server

import (
	"net"
	"net/netip"
	"os"
	"testing"

	wire "github.com/miekg/dns"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/dns/corefile"
	"github.com/fairlead-net/fairlead/internal/dns/rules"
	"github.com/fairlead-net/fairlead/internal/dns/server/forward"
)

// TestBlocks: server blocks of a Corefile change queries, answer them, and leave the
// cluster's names out.
func TestBlocks(t *testing.T) {
	up := startOther(t)
	_, at := start(t, Config{
		Forward: forward.Config{Upstreams: []netip.AddrPort{up}},
		Blocks: readBlocks(t, `. {
			kubernetes cluster.local
			rewrite name Old.example.org web.shop.svc.cluster.local
			rewrite name far.example.org www.example.com
			template IN A alias.example.org {
				answer "alias.example.org. 60 IN CNAME web.shop.svc.cluster.local."
			}
			template IN A away.example.org {
				answer "away.example.org. 60 IN CNAME www.example.com."
			}
			hosts /none hosts.example.org {
				192.0.2.77 hosts.example.org
			}
			acl drop.example.org {
				block type A
			}
		}
		96.10.in-addr.arpa {
			forward . 192.0.2.1
		}
		v6only.example.org {
			dns64 {
				allow_ipv4
			}
		}`),
	}, cluster(t, 0))
	for name, want := range map[string]struct {
		qtype   uint16
		rcode   int
		answers []string
	}{
		"web.shop.svc.cluster.local.":       {wire.TypeA, 0, []string{"10.96.0.1"}},
		"OLD.example.org.":                  {wire.TypeA, 0, []string{"10.96.0.1"}},
		"far.example.org.":                  {wire.TypeA, 0, []string{"198.51.100.1"}},
		"alias.example.org.":                {wire.TypeA, 0, []string{"web.shop.svc.cluster.local.", "10.96.0.1"}},
		"away.example.org.":                 {wire.TypeA, 0, []string{"www.example.com.", "198.51.100.1"}},
		"hosts.example.org.":                {wire.TypeA, 0, []string{"192.0.2.77"}},
		"drop.example.org.":                 {wire.TypeA, wire.RcodeRefused, nil},
		"1.0.96.10.in-addr.arpa.":           {wire.TypePTR, wire.RcodeNameError, nil}, // the cluster's, and its block has none
		"www.v6only.example.org.":           {wire.TypeAAAA, 0, []string{"64:ff9b::c633:6401"}},
		"not.there.shop.svc.cluster.local.": {wire.TypeA, wire.RcodeNameError, nil},
	} {
		for _, network := range []string{"udp", "tcp"} {
			t.Run(name+" "+network, func(t *testing.T) {
				reply := ask(t, network, at, query(name, want.qtype))
				expect(t, reply, want.rcode, want.answers...)
				if len(reply.Answer) > 0 && reply.Answer[0].Header().Name != name {
					t.Errorf("the answer is for %s", reply.Answer[0].Header().Name)
				}
			})
		}
	}
}

// TestTranslateAlone: addresses of the cluster are translated without any upstream.
func TestTranslateAlone(t *testing.T) {
	four := &desired.Service{Name: desired.Name{Namespace: "shop", Name: "four"}, Type: desired.ClusterIP, Addresses: []netip.Addr{netip.MustParseAddr("10.96.0.4")}}
	_, at := start(t, Config{Blocks: readBlocks(t, ". {\n kubernetes cluster.local\n dns64 {\n allow_ipv4\n }\n}")}, cluster(t, 0, four))
	expect(t, ask(t, "udp", at, query("four.shop.svc.cluster.local.", wire.TypeAAAA)), 0, "64:ff9b::a60:4")
	expect(t, ask(t, "udp", at, query("web.shop.svc.cluster.local.", wire.TypeAAAA)), 0, "fd00:96::1")
	expect(t, ask(t, "udp", at, query("gone.shop.svc.cluster.local.", wire.TypeAAAA)), wire.RcodeNameError)
}

// readBlocks makes Blocks of a Corefile.
func readBlocks(t *testing.T, text string) []Block {
	t.Helper()
	file, problem := corefile.Parse(corefile.Source{Name: "Corefile", Text: text}, corefile.Surroundings{})
	if problem != nil {
		t.Fatal(problem.Message)
	}
	c, _ := corefile.Read(file)
	var all []Block
	for _, s := range c.Servers {
		r, err := rules.New(s, func(string) ([]byte, error) { return nil, os.ErrNotExist })
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range s.Keys {
			all = append(all, Block{Zone: k.Zone, Rules: r, WithoutCluster: !s.Cluster()})
		}
	}
	return all
}

// startOther runs a server that knows the IPv4 address of every name that it is
// asked for by A, below example.com and example.org, and nothing else.
func startOther(t *testing.T) netip.AddrPort {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &wire.Server{PacketConn: conn, Handler: wire.HandlerFunc(func(w wire.ResponseWriter, m *wire.Msg) {
		reply := new(wire.Msg).SetReply(m)
		q := m.Question[0]
		switch {
		case !wire.IsSubDomain("example.com.", q.Name) && !wire.IsSubDomain("example.org.", q.Name):
			reply.Rcode = wire.RcodeNameError
		case q.Qtype == wire.TypeA:
			reply.Answer = []wire.RR{&wire.A{Hdr: wire.RR_Header{Name: q.Name, Rrtype: wire.TypeA, Class: wire.ClassINET, Ttl: 60}, A: net.IPv4(198, 51, 100, 1)}}
		}
		w.WriteMsg(reply)
	})}
	go s.ActivateAndServe()
	t.Cleanup(func() { s.Shutdown() })
	return conn.LocalAddr().(*net.UDPAddr).AddrPort()
}
