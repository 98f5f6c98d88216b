package server

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	wire "github.com/miekg/dns"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/dns"
	"github.com/fairlead-net/fairlead/internal/pmap"
)

// TestBytesSayWhatAnswerSays asks random clusters random questions and expects
// the bytes on the wire, as an independent library reads them, to hold what
// Answer says, record by record.
func TestBytesSayWhatAnswerSays(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	p, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]int{}
	for range 60 {
		table := randomCluster(rng)
		p.Apply(t.Context(), table)
		for range 200 {
			q := dns.Question{Name: randomName(rng), Type: []dns.Type{dns.TypeA, dns.TypeAAAA, dns.TypeSRV, dns.TypePTR, dns.TypeCNAME, dns.TypeTXT, dns.TypeNS, dns.TypeSOA, dns.TypeMX, dns.TypeANY}[rng.IntN(10)], Class: dns.ClassIN}
			want := table.Answer(q)
			if want.Forward || want.Chase != "" {
				kinds["forward"]++
				continue
			}
			packed, err := query(q.Name, uint16(q.Type)).Pack()
			if err != nil {
				t.Fatal(err)
			}
			bytes, _ := p.handle(packed, p.tallies[0], overTCP, nobody)
			reply := new(wire.Msg)
			if err := reply.Unpack(bytes); err != nil {
				t.Fatalf("%v: %v", q, err)
			}
			kinds[fmt.Sprint(want.Rcode, " ", len(want.Answer) > 0)]++
			if reply.Rcode != int(want.Rcode) || reply.Authoritative != want.Authoritative || reply.Question[0].Name != q.Name {
				t.Fatalf("%v: got %v, want %+v", q, reply, want)
			}
			for name, section := range map[string]struct {
				got  []wire.RR
				want []dns.Record
			}{"answer": {reply.Answer, want.Answer}, "authority": {reply.Ns, want.Authority}, "additional": {reply.Extra, want.Additional}} {
				if diff := cmp.Diff(texts(section.want), rrTexts(section.got)); diff != "" {
					t.Fatalf("%v: %s (-Answer +bytes):\n%s", q, name, diff)
				}
			}
		}
	}
	for _, kind := range []string{"forward", "NOERROR true", "NOERROR false", "NXDOMAIN false", "NXDOMAIN true", "SERVFAIL false"} {
		if kinds[kind] < 10 {
			t.Errorf("only %d cases of %s in %v", kinds[kind], kind, kinds)
		}
	}
}

func texts(records []dns.Record) (lines []string) {
	for _, r := range records {
		lines = append(lines, r.String())
	}
	slices.Sort(lines)
	return lines
}

func rrTexts(section []wire.RR) (lines []string) {
	for _, rr := range section {
		lines = append(lines, strings.ReplaceAll(rr.String(), "\t", " "))
	}
	slices.Sort(lines)
	return lines
}

func randomCluster(rng *rand.Rand) dns.Table {
	state := &desired.State{Revision: rng.Uint64N(9), Synced: rng.IntN(8) > 0, Namespaces: pmap.Map[string, *desired.Namespace]{}.Set("n0", &desired.Namespace{}).Set("n1", &desired.Namespace{})}
	for range rng.IntN(12) {
		s := &desired.Service{Name: desired.Name{Namespace: fmt.Sprint("n", rng.IntN(2)), Name: fmt.Sprint("s", rng.IntN(5))}, Type: desired.ClusterIP}
		for i := range rng.IntN(3) {
			s.Ports = append(s.Ports, desired.Port{Name: []string{"http", "", "dns"}[rng.IntN(3)], Protocol: []desired.Protocol{desired.TCP, desired.UDP, desired.SCTP}[i], Port: uint16(80 + i)})
		}
		switch rng.IntN(4) {
		case 0:
			s.Headless = true
		case 1:
			s.Type, s.ExternalName = desired.ExternalName, []string{"www.example.com", "s1.n1.svc.cluster.local", "s2.n0.svc.cluster.local", "gone.n0.svc.cluster.local"}[rng.IntN(4)]
		default:
			s.Addresses = []netip.Addr{netip.AddrFrom4([4]byte{10, 96, 0, byte(rng.IntN(9))}), netip.MustParseAddr(fmt.Sprintf("fd00::%x", rng.IntN(9)))}[:1+rng.IntN(2)]
		}
		for range rng.IntN(3) {
			s.Slices = append(s.Slices, randomSlice(rng))
		}
		state.Services = state.Services.Set(s.Name, s)
	}
	table, _ := dns.Compile(state, dns.Table{}, randomConfig(rng))
	return table
}

// randomConfig returns one that is usual as often as not.
func randomConfig(rng *rand.Rand) dns.Config {
	c := dns.Config{Server: desired.Name{Namespace: "n0", Name: "s0"}}
	if rng.IntN(2) == 0 {
		return c
	}
	one := func(in int) bool { return rng.IntN(in) == 0 }
	c.Pods = []dns.Pods{dns.PodsInsecure, dns.PodsDisabled, dns.PodsVerified}[rng.IntN(3)]
	c.ZeroTTL, c.EndpointPodNames, c.NoEndpoints, c.IgnoreEmpty, c.Zonal = one(4), one(4), one(4), one(4), one(4)
	if c.NoEndpoints {
		c.IgnoreEmpty, c.Zonal = false, false
	}
	if one(4) {
		c.Namespaces = []string{"n0"}
	}
	if one(4) {
		c.External.Zones = []string{"n1.svc.cluster.local"}
	}
	return c
}

func randomSlice(rng *rand.Rand) *desired.Slice {
	slice := new(desired.Slice)
	for range rng.IntN(3) {
		slice.Ports = append(slice.Ports, desired.EndpointPort{Name: []string{"http", "", "dns"}[rng.IntN(3)], Protocol: desired.TCP, Port: uint16(8080 + rng.IntN(2))})
	}
	for range rng.IntN(4) {
		e := desired.Endpoint{Address: netip.AddrFrom4([4]byte{10, 1, 0, byte(rng.IntN(9))}), Ready: rng.IntN(5) > 0, Hostname: []string{"", "", "p0", "p1"}[rng.IntN(4)]}
		if rng.IntN(3) == 0 {
			e.Address = netip.MustParseAddr(fmt.Sprintf("fd01::%x", rng.IntN(9)))
		}
		slice.Endpoints = append(slice.Endpoints, e)
	}
	return slice
}

// randomName returns a name that exists, nearly exists, or is far off.
func randomName(rng *rand.Rand) string {
	pick := func(options ...string) string { return options[rng.IntN(len(options))] }
	n := fmt.Sprint(rng.IntN(9))
	service := pick("s0", "s1", "s2", "s3", "s4", "S1", "gone") + "." + pick("n0", "n1", "N1", "n2")
	name := pick(
		service+".svc", service+".svc", service+".svc",
		pick("_http", "_dns", "http", "_x")+"."+pick("_tcp", "_udp", "tcp")+"."+service+".svc",
		pick("p0", "p1", "10-1-0-"+n, "fd01--"+n, "_tcp")+"."+service+".svc",
		"a.b.c."+service+".svc", pick("n0", "n2")+"."+pick("svc", "pod"), pick("svc", "pod", "dns", "ns.dns", "dns-version", "x"),
		"1-2-3-"+n+"."+pick("n0", "n2")+".pod", `a\.b.n0.svc`,
	)
	switch rng.IntN(8) {
	case 0:
		return n + pick(".0.96.10", ".0.1.10", ".1.10") + ".in-addr.arpa."
	case 1:
		reverse, _ := wire.ReverseAddr(pick("fd00::", "fd01::") + n)
		return reverse
	case 2:
		return pick("", name+".") + pick("cluster.local.", "Cluster.Local.", "example.com.")
	}
	return name + pick(".cluster.local.", ".cluster.local.", ".CLUSTER.local.")
}
