package dns

import (
	"strings"
	"testing"

	wire "github.com/miekg/dns"

	"github.com/fairlead-net/fairlead/internal/desired"
)

// FuzzName asks for any name and expects what an independent library finds in
// it: whether it is in the domain, which labels it has, which address it
// spells. No name may break Answer, and case must not matter.
func FuzzName(f *testing.F) {
	for _, name := range []string{
		"s1.n1.svc.cluster.local.", "_http._tcp.s1.n1.svc.cluster.local", `a\.b.cluster.local.`, `x\\.cluster.local.`, `x\.cluster.local.`, "1-2-3-4.n0.pod.cluster.local.",
		"1.0.20.172.in-addr.arpa.", "a.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.6.9.0.0.0.0.d.f.ip6.arpa.", ".", "", "..", `\`, `\.`, "-", "--.n0.pod.cluster.local",
	} {
		f.Add(name, uint16(1))
	}
	table, _ := Compile(bigState(200, 3), Table{}, Config{Server: desired.Name{Namespace: "n1", Name: "s1"}})
	everything, _ := Compile(bigState(200, 3), Table{}, Config{
		Pods: PodsVerified, Zonal: true, Multicluster: []string{"clusterset.local"}, EndpointPodNames: true, NamespaceLabels: "a!=b",
		External: External{Zones: []string{"example.org", "ext.cluster.local"}, Headless: true, Fallthrough: true},
	})
	for _, name := range []string{"s1.n1.example.org.", "_http._tcp.s1.n1.ext.cluster.local", "ns1.dns.example.org", "10-0-0-3.s1.n1.example.org", "a.b.pin._zone.s1.n1.svc.cluster.local", "x.y.s1.n1.svc.clusterset.local"} {
		f.Add(name, uint16(33))
	}
	f.Fuzz(func(t *testing.T, name string, qtype uint16) {
		q := Question{Name: name, Type: Type(qtype), Class: ClassIN}
		answer, trace := table.Explain(q)
		if len(trace) == 0 {
			t.Fatal("no explanation")
		}
		if answer.Forward && (len(answer.Answer)+len(answer.Authority)+len(answer.Additional) > 0 || answer.Rcode != NoError) {
			t.Fatalf("forwarded and answered: %+v", answer)
		}
		if _, trace := everything.Explain(q); len(trace) == 0 {
			t.Fatal("no explanation with every option")
		}
		if _, ok := wire.IsDomainName(name); !ok {
			return
		}
		upper := table.Answer(Question{Name: strings.ToUpper(name), Type: q.Type, Class: ClassIN})
		if ascii(name) && (upper.Rcode != answer.Rcode || upper.Forward != answer.Forward || len(upper.Answer) != len(answer.Answer)) {
			t.Fatalf("case matters: %+v and %+v", answer, upper)
		}
		labels := wire.SplitDomainName(strings.ToLower(name))
		inside := len(labels) >= 2 && labels[len(labels)-1] == "local" && labels[len(labels)-2] == "cluster"
		if refused := answer.Rcode == Refused; ascii(name) && !refused && inside != answer.Authoritative && !strings.Contains(strings.ToLower(name), ".arpa") {
			t.Fatalf("%q in the domain: %t, but %+v", labels, inside, answer)
		}
	})
}

func ascii(text string) bool {
	for _, c := range []byte(text) {
		if c >= 0x80 {
			return false
		}
	}
	return true
}
