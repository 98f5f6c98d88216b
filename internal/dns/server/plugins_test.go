package server

import (
	"bytes"
	"encoding/hex"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	wire "github.com/miekg/dns"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/dns"
	"github.com/fairlead-net/fairlead/internal/dns/server/forward"
	"github.com/fairlead-net/fairlead/internal/pmap"
)

// lines is a log that tests read.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// startWith runs a server of a small cluster with a Corefile's blocks, and its log.
func startWith(t *testing.T, config Config, text string) (*Plane, netip.AddrPort, *lines) {
	t.Helper()
	log := new(lines)
	config.Log = slog.New(slog.NewTextHandler(log, nil))
	config.Blocks = readBlocks(t, text)
	p, at := start(t, config, cluster(t, 0))
	return p, at, log
}

// TestLogging expects a line for every query, with the client's address and port, by
// UDP and TCP, and no line for a query that is not meant.
func TestLogging(t *testing.T) {
	p, at, log := startWith(t, Config{}, ". {\n kubernetes cluster.local\n log svc.cluster.local {\n class success\n }\n}")
	for _, network := range []string{"udp", "tcp"} {
		m := query("web.shop.svc.cluster.local.", wire.TypeA)
		ask(t, network, at, m)
		ask(t, network, at, query("gone.shop.svc.cluster.local.", wire.TypeA))
	}
	p.Close()
	said := log.String()
	for _, want := range []string{`msg="127.0.0.1:`, `\"A IN web.shop.svc.cluster.local. udp 44 false 512\" NOERROR qr,aa,rd`, `\"A IN web.shop.svc.cluster.local. tcp 44 false 65535\" NOERROR qr,aa,rd`} {
		if !strings.Contains(said, want) {
			t.Errorf("no %s in\n%s", want, said)
		}
	}
	if strings.Contains(said, "127.0.0.1:0 ") || strings.Contains(said, "gone.shop") {
		t.Errorf("%s", said)
	}
}

// TestLogIsBounded expects lines that nobody writes to be left out, and counted.
func TestLogIsBounded(t *testing.T) {
	l := newLogLines(slog.New(slog.DiscardHandler))
	for range maxLines + 5 {
		l.add(slog.LevelInfo, "line")
	}
	if n := l.left.Load(); n != 5 {
		t.Errorf("%d lines left out, want 5", n)
	}
}

// TestErrors expects failures to be logged, or summed up, the first one shown.
func TestErrors(t *testing.T) {
	refuser := upstream(t, func(wire.ResponseWriter, *wire.Msg) {})
	p, at, log := startWith(t, Config{Forward: forward.Config{Upstreams: []netip.AddrPort{refuser}, Timeout: 50 * time.Millisecond}},
		`. {
			kubernetes cluster.local
			forward . 192.0.2.1
			errors
		}
		sum.example {
			forward . 192.0.2.1
			errors {
				consolidate 1h ".*" warning show_first
			}
		}`)
	for _, name := range []string{"a.example.", "a.sum.example.", "b.sum.example.", "c.sum.example."} {
		expect(t, ask(t, "udp", at, query(name, wire.TypeA)), wire.RcodeServerFailure)
	}
	p.Close()
	said := log.String()
	for _, want := range []string{`level=ERROR msg="2 a.example. A: `, `level=WARN msg="2 a.sum.example. A: `, `level=WARN msg="3 errors like '.*' occurred in last 1h0m0s"`} {
		if strings.Count(said, want) != 1 {
			t.Errorf("no %s in\n%s", want, said)
		}
	}
	if strings.Contains(said, "b.sum.example") {
		t.Errorf("%s", said)
	}
}

// TestNSID tells the server's name to those who ask for it, and to nobody else.
func TestNSID(t *testing.T) {
	p, at, _ := startWith(t, Config{}, ". {\n kubernetes cluster.local\n nsid node one\n}\nexample.org {\n kubernetes cluster.local\n nsid\n}\nexample.net {\n kubernetes cluster.local\n}")
	if !p.live.Load().plain {
		t.Error("the hot path is off")
	}
	for name, want := range map[string]string{"web.shop.svc.cluster.local.": "node one", "www.example.org.": p.host, "www.example.net.": ""} {
		for _, asks := range []bool{true, false} {
			m := query(name, wire.TypeA).SetEdns0(1232, false)
			if asks {
				m.IsEdns0().Option = []wire.EDNS0{&wire.EDNS0_NSID{Code: wire.EDNS0NSID}}
			}
			got := ""
			for _, option := range ask(t, "udp", at, m).IsEdns0().Option {
				if nsid, ok := option.(*wire.EDNS0_NSID); ok {
					text, _ := hex.DecodeString(nsid.Nsid)
					got = string(text)
				}
			}
			if asks && got != want || !asks && got != "" {
				t.Errorf("%s, asked %t: %q, want %q", name, asks, got, want)
			}
		}
	}
}

// TestWhoami expects a block for it alone to say who asks, and one with the cluster's
// names to do so for others only.
func TestWhoami(t *testing.T) {
	_, at, _ := startWith(t, Config{}, ". {\n kubernetes cluster.local\n whoami\n}")
	expect(t, ask(t, "udp", at, query("web.shop.svc.cluster.local.", wire.TypeA)), 0, "10.96.0.1")
	expect(t, ask(t, "udp", at, query("gone.shop.svc.cluster.local.", wire.TypeA)), wire.RcodeNameError)
	reply := ask(t, "tcp", at, query("who.example.org.", wire.TypeA))
	if len(reply.Extra) != 2 || !strings.HasSuffix(reply.Extra[0].String(), "\tA\t127.0.0.1") || reply.Extra[1].(*wire.SRV).Port == 0 {
		t.Errorf("%v", reply)
	}
}

// TestRetarget expects an alias's new target to be looked up, in the cluster and
// elsewhere.
func TestRetarget(t *testing.T) {
	up := upstream(t, func(w wire.ResponseWriter, m *wire.Msg) {
		if name := m.Question[0].Name; strings.HasPrefix(name, "alias.") {
			reply := new(wire.Msg).SetReply(m)
			h := wire.RR_Header{Name: name, Rrtype: wire.TypeCNAME, Class: 1, Ttl: 60}
			reply.Answer = []wire.RR{&wire.CNAME{Hdr: h, Target: "cdn." + name}}
			w.WriteMsg(reply)
			return
		}
		addresses(w, m)
	})
	_, at, _ := startWith(t, Config{Forward: forward.Config{Upstreams: []netip.AddrPort{up}}}, `. {
		kubernetes cluster.local
		rewrite continue cname exact cdn.alias.example.org web.shop.svc.cluster.local
		rewrite continue cname suffix .example.com. .example.net.
		forward . 192.0.2.1
	}`)
	expect(t, ask(t, "udp", at, query("alias.example.org.", wire.TypeA)), 0, "web.shop.svc.cluster.local.", "10.96.0.1")
	expect(t, ask(t, "tcp", at, query("alias.example.com.", wire.TypeA)), 0, "cdn.alias.example.net.", "192.0.2.1")
	expect(t, ask(t, "udp", at, query("www.example.com.", wire.TypeA)), 0, "192.0.2.1")
}

// withPod is the small cluster with a pod of namespace shop at an address.
func withPod(t *testing.T, address string, config dns.Config) dns.Table {
	t.Helper()
	state := &desired.State{Revision: 7, Synced: true, Namespaces: pmap.Map[string, *desired.Namespace]{}.Set("shop", &desired.Namespace{}).Set("bank", &desired.Namespace{})}
	web := &desired.Service{Name: desired.Name{Namespace: "shop", Name: "web"}, Type: desired.ClusterIP, Addresses: []netip.Addr{netip.MustParseAddr("10.96.0.1")}}
	state.Services = state.Services.Set(web.Name, web)
	state.Pods = state.Pods.Set(desired.PodID{1}, desired.Pod{Namespace: "shop", Addresses: [2]netip.Addr{netip.MustParseAddr(address)}})
	table, reasons := dns.Compile(state, dns.Table{}, config)
	if len(reasons) > 0 {
		t.Fatal(reasons)
	}
	return table
}

// searched answers for www.example.com, and for node.corp.example, and that there are
// no other names.
func searched(w wire.ResponseWriter, m *wire.Msg) {
	switch name := strings.ToLower(m.Question[0].Name); {
	case name == "broken.":
		w.WriteMsg(new(wire.Msg).SetRcode(m, wire.RcodeServerFailure))
	case name != "www.example.com." && name != "node.corp.example.":
		reply := new(wire.Msg).SetRcode(m, wire.RcodeNameError)
		reply.Ns = []wire.RR{&wire.SOA{Hdr: wire.RR_Header{Name: ".", Rrtype: wire.TypeSOA, Class: 1, Ttl: 60}, Ns: ".", Mbox: ".", Minttl: 60}}
		w.WriteMsg(reply)
	case m.Question[0].Qtype == wire.TypeA:
		addresses(w, m)
	default:
		reply := new(wire.Msg).SetReply(m)
		reply.Ns = []wire.RR{&wire.SOA{Hdr: wire.RR_Header{Name: "example.com.", Rrtype: wire.TypeSOA, Class: 1, Ttl: 60}, Ns: ".", Mbox: ".", Minttl: 60}}
		w.WriteMsg(reply)
	}
}

// TestAutopath expects a pod to get at once what its search path leads to, as often
// as it asks, and others not to.
func TestAutopath(t *testing.T) {
	up := upstream(t, searched)
	config := Config{Autopath: true, Search: []string{"corp.example"}, Forward: forward.Config{Upstreams: []netip.AddrPort{up}}}
	p, at := start(t, config, withPod(t, "127.0.0.1", dns.Config{Pods: dns.PodsVerified}))
	for range 2 { // the second time from the cache
		for _, network := range []string{"udp", "tcp"} {
			expect(t, ask(t, network, at, query("web.shop.svc.cluster.local.", wire.TypeA)), 0, "10.96.0.1")
			reply := ask(t, network, at, query("WWW.example.com.shop.svc.cluster.local.", wire.TypeA))
			expect(t, reply, 0, "www.example.com.", "192.0.2.1")
			if reply.Authoritative || !reply.RecursionAvailable {
				t.Errorf("%v", reply)
			}
			reply = ask(t, network, at, query("www.example.com.shop.svc.cluster.local.", wire.TypeAAAA))
			if expect(t, reply, 0); len(reply.Ns) != 1 {
				t.Errorf("%v", reply)
			}
			expect(t, ask(t, network, at, query("node.shop.svc.cluster.local.", wire.TypeA)), 0, "node.corp.example.", "192.0.2.1")
			expect(t, ask(t, network, at, query("web.shop.shop.svc.cluster.local.", wire.TypeA)), 0, "web.shop.svc.cluster.local.", "10.96.0.1")
			for _, name := range []string{"none.example.com.shop.svc.cluster.local.", "www.example.com.bank.svc.cluster.local.", "www.example.com.svc.cluster.local.", "broken.shop.svc.cluster.local."} {
				reply = ask(t, network, at, query(name, wire.TypeA))
				if expect(t, reply, wire.RcodeNameError); !reply.Authoritative || len(reply.Ns) != 1 {
					t.Errorf("%v", reply)
				}
			}
		}
	}
	if n := newMetrics(p).sum().autopath.Load(); n != 16 {
		t.Errorf("%d queries are counted, want 16", n)
	}
	p.Apply(t.Context(), withPod(t, "127.0.0.1", dns.Config{}))
	expect(t, ask(t, "udp", at, query("www.example.com.shop.svc.cluster.local.", wire.TypeA)), wire.RcodeNameError)
}

// TestAutopathBusy expects a pod to get what it would get without autopath where too many
// queries wait already, for its resolver does not go on after a refusal.
func TestAutopathBusy(t *testing.T) {
	up := upstream(t, searched)
	p, at := start(t, Config{Autopath: true, Forward: forward.Config{Upstreams: []netip.AddrPort{up}}}, withPod(t, "127.0.0.1", dns.Config{Pods: dns.PodsVerified}))
	p.waiting.Add(int64(p.config.MaxWaiting))
	for _, network := range []string{"udp", "tcp"} {
		expect(t, ask(t, network, at, query("www.example.com.shop.svc.cluster.local.", wire.TypeA)), wire.RcodeNameError)
		expect(t, ask(t, network, at, query("www.example.com.", wire.TypeA)), wire.RcodeRefused)
	}
	p.waiting.Add(-int64(p.config.MaxWaiting))
	expect(t, ask(t, "udp", at, query("www.example.com.shop.svc.cluster.local.", wire.TypeA)), 0, "www.example.com.", "192.0.2.1")
}

// TestAutopathRetarget expects rules for aliases to have effect on what a search path
// leads to.
func TestAutopathRetarget(t *testing.T) {
	up := upstream(t, searched)
	config := Config{Autopath: true, Forward: forward.Config{Upstreams: []netip.AddrPort{up}}}
	config.Blocks = readBlocks(t, ". {\n kubernetes cluster.local\n rewrite cname exact www.example.com. web.shop.svc.cluster.local.\n forward . 192.0.2.1\n}")
	_, at := start(t, config, withPod(t, "127.0.0.1", dns.Config{Pods: dns.PodsVerified}))
	for range 2 {
		expect(t, ask(t, "udp", at, query("www.example.com.shop.svc.cluster.local.", wire.TypeA)), 0, "web.shop.svc.cluster.local.", "10.96.0.1")
		expect(t, ask(t, "udp", at, query("none.shop.svc.cluster.local.", wire.TypeA)), wire.RcodeNameError)
	}
}

// TestAutopathOptions expects rules about options to leave search paths as they are.
func TestAutopathOptions(t *testing.T) {
	up := upstream(t, searched)
	config := Config{Autopath: true, Forward: forward.Config{Upstreams: []netip.AddrPort{up}}}
	config.Blocks = readBlocks(t, ". {\n kubernetes cluster.local\n rewrite edns0 local set 0xffee {client_ip}\n forward . 192.0.2.1\n}")
	_, at := start(t, config, withPod(t, "127.0.0.1", dns.Config{Pods: dns.PodsVerified}))
	expect(t, ask(t, "udp", at, query("www.example.com.shop.svc.cluster.local.", wire.TypeA)), 0, "www.example.com.", "192.0.2.1")
}

// TestAutopathRules expects names that rules have a say about to be left to the pod's
// resolver, which asks for them, and so reaches the rules.
func TestAutopathRules(t *testing.T) {
	up := upstream(t, searched)
	for _, text := range []string{
		". {\n kubernetes cluster.local\n hosts {\n 10.0.0.5 www.example.com\n fallthrough\n }\n forward . 192.0.2.1\n}",
		". {\n kubernetes cluster.local\n forward . 192.0.2.1\n}\nexample.com {\n acl {\n block\n }\n forward . 192.0.2.1\n}",
	} {
		config := Config{Autopath: true, Forward: forward.Config{Upstreams: []netip.AddrPort{up}}, Blocks: readBlocks(t, text)}
		_, at := start(t, config, withPod(t, "127.0.0.1", dns.Config{Pods: dns.PodsVerified}))
		for range 2 {
			expect(t, ask(t, "udp", at, query("www.example.com.shop.svc.cluster.local.", wire.TypeA)), wire.RcodeNameError)
			expect(t, ask(t, "udp", at, query("web.shop.shop.svc.cluster.local.", wire.TypeA)), 0, "web.shop.svc.cluster.local.", "10.96.0.1")
		}
	}
}

// TestFallthrough expects names that the cluster does not have to be asked upstream,
// in the zones that are meant.
func TestFallthrough(t *testing.T) {
	up := upstream(t, addresses)
	config := Config{Forward: forward.Config{Upstreams: []netip.AddrPort{up}}}
	_, at := start(t, config, withPod(t, "127.0.0.1", dns.Config{Fallthrough: []string{"Legacy.cluster.local."}}))
	for _, network := range []string{"udp", "tcp"} {
		expect(t, ask(t, network, at, query("web.shop.svc.cluster.local.", wire.TypeA)), 0, "10.96.0.1")
		expect(t, ask(t, network, at, query("old.legacy.cluster.local.", wire.TypeA)), 0, "192.0.2.1")
		expect(t, ask(t, network, at, query("old.other.cluster.local.", wire.TypeA)), wire.RcodeNameError)
	}
	_, at = start(t, config, withPod(t, "127.0.0.1", dns.Config{Fallthrough: []string{"."}}))
	expect(t, ask(t, "udp", at, query("old.other.cluster.local.", wire.TypeA)), 0, "192.0.2.1")
	expect(t, ask(t, "udp", at, query("web.shop.svc.cluster.local.", wire.TypeTXT)), 0)
}
