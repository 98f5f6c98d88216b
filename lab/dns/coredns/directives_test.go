package coredns

import (
	"fmt"
	"net/http/httptest"
	"net/netip"
	"os"
	"testing"

	"github.com/miekg/dns"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead-net/fairlead/internal/desired"
	fairlead "github.com/fairlead-net/fairlead/internal/dns"
	"github.com/fairlead-net/fairlead/internal/dns/corefile"
	"github.com/fairlead-net/fairlead/internal/dns/rules"
	"github.com/fairlead-net/fairlead/internal/dns/server"
	"github.com/fairlead-net/fairlead/internal/dns/server/forward"
)

// directives is a Corefile for both servers; gaps are its port, the API server and the
// upstream.
const directives = `.:%d {
	nsid some server
	bufsize 1100
	rewrite continue rcode exact none.example.com NXDOMAIN REFUSED
	rewrite continue cname exact www.example.com. web.default.svc.cluster.local.
	kubernetes cluster.local {
		endpoint %s
		pods verified
		ttl 30
		startup_timeout 1m
		fallthrough legacy.cluster.local
	}
	autopath @kubernetes
	forward . %s {
		max_fails 0
	}
}`

// directiveObjects is a cluster in which the client of this test is a pod.
func directiveObjects() Objects {
	meta := func(namespace, name string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Namespace: namespace, Name: name, ResourceVersion: revision}
	}
	var o Objects
	for _, name := range []string{"default", "team-a"} {
		o.Namespaces = append(o.Namespaces, &corev1.Namespace{ObjectMeta: meta("", name)})
	}
	o.Services = append(o.Services, &corev1.Service{
		ObjectMeta: meta("default", "web"), Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeClusterIP, ClusterIP: "10.96.0.1", ClusterIPs: []string{"10.96.0.1"}, Ports: []corev1.ServicePort{{Name: "http", Port: 80, Protocol: corev1.ProtocolTCP}}},
	})
	o.Pods = append(o.Pods, &corev1.Pod{
		ObjectMeta: meta("default", "client"), Status: corev1.PodStatus{Phase: corev1.PodRunning, PodIP: "127.0.0.1", PodIPs: []corev1.PodIP{{IP: "127.0.0.1"}}},
	})
	return o
}

// startDirectives starts Fairlead's server with the same Corefile and cluster.
func startDirectives(t *testing.T, text string, objects Objects, upstream netip.AddrPort) *peer {
	t.Helper()
	file, problem := corefile.Parse(corefile.Source{Name: "Corefile", Text: text}, corefile.Surroundings{})
	if problem != nil {
		t.Fatal(problem)
	}
	said, problems := corefile.Read(file)
	for _, p := range problems {
		if p.Kind != corefile.Unsupported {
			t.Fatal(p)
		}
	}
	var blocks []server.Block
	for _, s := range said.Servers {
		r, err := rules.New(s, func(string) ([]byte, error) { return nil, os.ErrNotExist })
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range s.Keys {
			blocks = append(blocks, server.Block{Zone: k.Zone, Rules: r, WithoutCluster: !s.Cluster()})
		}
	}
	settings := said.Settings().DNS
	var o desired.Objects
	o.Synced = true
	for _, n := range objects.Namespaces {
		o.Namespaces = o.Namespaces.Set(n.Name, &desired.Namespace{})
	}
	for _, s := range objects.Services {
		o.Services = o.Services.Set(desired.Name{Namespace: s.Namespace, Name: s.Name}, desired.ParseService(s))
	}
	for _, p := range objects.Pods {
		o.Pods = o.Pods.Set(desired.NewPodID(desired.Name{Namespace: p.Namespace, Name: p.Name}), desired.ParsePod(p))
	}
	state, _ := desired.Build(o, desired.Node{}, nil)
	table, _ := fairlead.Compile(state, fairlead.Table{}, fairlead.Config{Pods: fairlead.Pods(settings.Pods), Fallthrough: settings.Fallthrough, Serial: 1})
	search, err := dns.ClientConfigFromFile("/etc/resolv.conf") // as CoreDNS has it
	if err != nil {
		t.Fatal(err)
	}
	plane := startPlane(t, server.Config{
		Blocks: blocks, Autopath: settings.Autopath, Search: search.Search, MaxUDP: settings.MaxUDP,
		Forward: forward.Config{Upstreams: []netip.AddrPort{upstream}, Cache: forward.Cache{Disabled: true}},
	})
	if err := plane.Apply(t.Context(), table); err != nil {
		t.Fatal(err)
	}
	return &peer{name: "Fairlead", address: plane.Addresses()[0], stop: plane.Close}
}

// TestDirectives asks both servers about what directives change, and expects the same
// replies.
func TestDirectives(t *testing.T) {
	upstream, objects := startUpstream(t), directiveObjects()
	handler, err := API(objects)
	if err != nil {
		t.Fatal(err)
	}
	api := httptest.NewServer(handler)
	defer api.Close()
	s, err := Start(fmt.Sprintf(directives, 0, api.URL, upstream))
	if err != nil {
		t.Fatal(err)
	}
	defer api.CloseClientConnections()
	address, err := s.TCP()
	if err != nil {
		t.Fatal(err)
	}
	core, other := &peer{name: "CoreDNS", address: address, stop: s.Stop}, startDirectives(t, fmt.Sprintf(directives, 53, api.URL, upstream), objects, upstream)
	for _, name := range []string{
		"www.example.com.default.svc.cluster.local.", "Under_Score.Example.com.default.svc.cluster.local.", "alias.example.com.default.svc.cluster.local.",
		"nothing.example.com.default.svc.cluster.local.", "www.example.com.team-a.svc.cluster.local.", "www.example.com.svc.cluster.local.",
		"web.default.svc.cluster.local.", "web.default.default.svc.cluster.local.", "wbe.default.svc.cluster.local.",
		"old.legacy.cluster.local.", "old.other.cluster.local.", "none.example.com.", "alias.example.com.", "www.example.com.",
	} {
		for _, qtype := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeTXT} {
			q := dns.Question{Name: name, Qtype: qtype, Qclass: dns.ClassINET}
			want, err := core.ask(q)
			if err != nil {
				t.Fatal(err)
			}
			got, err := other.ask(q)
			if err != nil {
				t.Fatal(err)
			}
			if a, b := outcomeOf(want), outcomeOf(got); !a.equal(b) {
				t.Errorf("%s:\nCoreDNS  %s\nFairlead %s", describe(q), a, b)
			}
		}
	}
	if want, got := nsid(t, core), nsid(t, other); want != got || want == "" {
		t.Errorf("CoreDNS calls itself %q, Fairlead %q", want, got)
	}
	for _, p := range []*peer{core, other} {
		if err := p.close(); err != nil {
			t.Errorf("closing: %v", err)
		}
	}
}

// nsid returns what a server calls itself.
func nsid(t *testing.T, p *peer) string {
	t.Helper()
	m := new(dns.Msg).SetQuestion("web.default.svc.cluster.local.", dns.TypeA).SetEdns0(1232, false)
	m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_NSID{Code: dns.EDNS0NSID}}
	client := dns.Client{Net: "tcp"}
	reply, _, err := client.Exchange(m, p.address.String())
	if err != nil {
		t.Fatalf("%s: %v", p.name, err)
	}
	for _, option := range reply.IsEdns0().Option {
		if name, ok := option.(*dns.EDNS0_NSID); ok {
			return name.Nsid
		}
	}
	return ""
}
