package dns

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/pmap"
)

var equateAddresses = cmp.Comparer(func(a, b netip.Addr) bool { return a == b })

// TestCompileIncrementally changes a cluster at random many times and expects
// the Table made from its predecessor to equal the one made from nothing.
func TestCompileIncrementally(t *testing.T) {
	for name, config := range map[string]Config{
		"default":          {},
		"verified":         {Pods: PodsVerified},
		"endpointPodNames": {EndpointPodNames: true},
		"noEndpoints":      {NoEndpoints: true, Namespaces: []string{"n1", "n2"}},
		"external":         {External: External{Zones: []string{"example.org"}, Headless: true}, Labels: "tier=b"},
		"multicluster":     {Multicluster: []string{"clusterset.local"}, Labels: "tier=a"},
		"labels":           {Labels: "tier=a", NamespaceLabels: "tier=a", IgnoreEmpty: true},
	} {
		t.Run(name, func(t *testing.T) { changeAtRandom(t, config) })
	}
}

func changeAtRandom(t *testing.T, config Config) {
	rng := rand.New(rand.NewPCG(3, 4))
	s := &desired.State{Synced: true}
	var table Table
	for step := range 400 {
		next := *s
		next.Revision++
		for range 1 + rng.IntN(4) {
			randomChange(rng, &next)
		}
		s = &next
		if rng.IntN(50) == 0 {
			// Another configuration in between.
			table, _ = Compile(s, table, Config{Domain: "other", Pods: PodsVerified, Labels: "tier=b"})
		}
		table, _ = Compile(s, table, config)
		fresh, _ := Compile(s, Table{}, config)
		checkEqual(t, step, table, fresh)
	}
}

func randomChange(rng *rand.Rand, s *desired.State) {
	name := desired.Name{Namespace: fmt.Sprint("n", rng.IntN(3)), Name: fmt.Sprint("s", rng.IntN(8))}
	switch rng.IntN(11) {
	case 0:
		s.Services = s.Services.Delete(name)
	case 1:
		s.Namespaces = s.Namespaces.Delete(name.Namespace)
	case 2:
		s.Namespaces = s.Namespaces.Set(name.Namespace, &desired.Namespace{Labels: randomLabels(rng)})
	case 3:
		s.Pods = s.Pods.Delete(desired.NewPodID(name))
	case 4:
		p := desired.Pod{Namespace: name.Namespace}
		for i := range rng.IntN(3) {
			p.Addresses[i] = netip.AddrFrom4([4]byte{10, 1, byte(i), byte(rng.IntN(5))})
		}
		s.Pods = s.Pods.Set(desired.NewPodID(name), p)
	case 5:
		s.Imports = s.Imports.Delete(name)
	case 6, 7:
		old, _ := s.Imports.Get(name)
		s.Imports = s.Imports.Set(name, randomService(rng, name, old))
	default:
		old, _ := s.Services.Get(name)
		s.Services = s.Services.Set(name, randomService(rng, name, old))
	}
}

func randomLabels(rng *rand.Rand) map[string]string {
	return map[string]string{"tier": []string{"a", "a", "b"}[rng.IntN(3)]}
}

func checkEqual(t *testing.T, step int, got, want Table) {
	t.Helper()
	for c := range pmap.Diff(got.namespaces, want.namespaces) {
		t.Fatalf("step %d: namespace %s is served: %t, want %t", step, c.Key, c.HasOld, c.HasNew)
	}
	for c := range pmap.Diff(got.pods, want.pods) {
		t.Fatalf("step %d: %d pods have %v, want %d", step, c.Old, c.Key, c.New)
	}
	for c := range pmap.Diff(got.reverse, want.reverse) {
		if !c.HasOld || !c.HasNew || !cmp.Equal(*c.Old, *c.New, cmp.AllowUnexported(owners{})) {
			t.Fatalf("step %d: owners of %s are %+v, want %+v", step, c.Key, c.Old, c.New)
		}
	}
	for c := range pmap.Diff(got.reasons, want.reasons) {
		if c.HasOld != c.HasNew {
			t.Fatalf("step %d: a reason against %s is there: %t, want %t", step, c.Key, c.HasOld, c.HasNew)
		}
	}
	checkServices(t, step, got.services, want.services)
	checkServices(t, step, got.imports, want.imports)
}

func checkServices(t *testing.T, step int, got, want pmap.Map[desired.Name, *service]) {
	t.Helper()
	for c := range pmap.Diff(got, want) {
		if !c.HasOld || !c.HasNew || c.Old.podNames != c.New.podNames || c.Old.imported != c.New.imported || !sameSource(c.Old.source, c.New.source) || !cmp.Equal(c.Old.ready, c.New.ready, cmp.AllowUnexported(ready{})) {
			t.Fatalf("step %d: Service %s differs", step, c.Key)
		}
	}
}

// sameSource compares what a Service was made from. Where slices were left out,
// that is a copy of the Service in the State.
func sameSource(a, b *desired.Service) bool {
	return a == b || slices.Equal(a.Slices, b.Slices) && slices.Equal(a.Addresses, b.Addresses) && a.Headless == b.Headless
}

// randomService returns a Service that shares some slices with old.
func randomService(rng *rand.Rand, name desired.Name, old *desired.Service) *desired.Service {
	s := &desired.Service{Name: name, Type: desired.ClusterIP, Labels: randomLabels(rng), Ports: []desired.Port{{Name: "http", Protocol: desired.TCP, Port: 80}, {Protocol: desired.UDP, Port: 53}}}
	switch rng.IntN(5) {
	case 0:
		s.Headless = true
	case 1:
		s.Type, s.ExternalName, s.Ports = desired.ExternalName, fmt.Sprintf("s%d.n%d.svc.cluster.local", rng.IntN(8), rng.IntN(3)), nil
	default:
		s.Addresses = []netip.Addr{netip.AddrFrom4([4]byte{10, 96, 0, byte(rng.IntN(40))}), netip.MustParseAddr(fmt.Sprintf("fd00::%x", rng.IntN(40)))}
	}
	if old != nil {
		for _, slice := range old.Slices {
			if rng.IntN(2) == 0 {
				s.Slices = append(s.Slices, slice)
			}
		}
	}
	for range rng.IntN(3) {
		slice := &desired.Slice{Labels: randomLabels(rng), Ports: []desired.EndpointPort{{Name: "http", Protocol: desired.TCP, Port: 8080}}}
		for range rng.IntN(5) {
			e := desired.Endpoint{Address: netip.AddrFrom4([4]byte{10, 1, 0, byte(rng.IntN(30))}), Ready: rng.IntN(4) > 0}
			if rng.IntN(3) == 0 {
				e.Hostname = fmt.Sprint("web-", rng.IntN(3))
			}
			if rng.IntN(2) == 0 {
				e.Pod = fmt.Sprint("pod-", rng.IntN(9))
			}
			slice.Endpoints = append(slice.Endpoints, e)
		}
		s.Slices = append(s.Slices, slice)
	}
	return s
}

// TestCompileShares expects a change of one Service to leave all others alone.
func TestCompileShares(t *testing.T) {
	s := bigState(1000, 3)
	before, _ := Compile(s, Table{}, Config{})
	next := *s
	name := desired.Name{Namespace: "n0", Name: "s0"}
	changed, _ := s.Services.Get(name)
	replaced := *changed
	replaced.Addresses = []netip.Addr{netip.MustParseAddr("10.200.0.1")}
	next.Services = s.Services.Set(name, &replaced)
	after, _ := Compile(&next, before, Config{})
	count := 0
	for range pmap.Diff(before.services, after.services) {
		count++
	}
	for range pmap.Diff(before.reverse, after.reverse) {
		count++
	}
	if count != 3 {
		t.Errorf("one new address changed %d entries, want 3: the Service, the old address and the new one", count)
	}
}

// bigState returns a cluster of ClusterIP Services, each with one slice.
func bigState(services, endpoints int) *desired.State {
	e := pmap.Map[desired.Name, *desired.Service]{}.Edit()
	namespaces := pmap.Map[string, *desired.Namespace]{}.Edit()
	for i := range services {
		name := desired.Name{Namespace: fmt.Sprint("n", i%50), Name: fmt.Sprint("s", i)}
		namespaces.Set(name.Namespace, &desired.Namespace{})
		slice := &desired.Slice{Ports: []desired.EndpointPort{{Name: "http", Protocol: desired.TCP, Port: 8080}}}
		for j := range endpoints {
			n := i*endpoints + j
			slice.Endpoints = append(slice.Endpoints, desired.Endpoint{Address: netip.AddrFrom4([4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)}), Ready: true})
		}
		e.Set(name, &desired.Service{
			Name: name, Type: desired.ClusterIP, Slices: []*desired.Slice{slice},
			Addresses: []netip.Addr{netip.AddrFrom4([4]byte{172, 20, byte(i >> 8), byte(i)})},
			Ports:     []desired.Port{{Name: "http", Protocol: desired.TCP, Port: 80}},
		})
	}
	return &desired.State{Revision: 1, Synced: true, Services: e.Map(), Namespaces: namespaces.Map()}
}

// TestNameTooLong expects a Service whose names do not fit to be left out with
// a reason, and to come back once they fit.
func TestNameTooLong(t *testing.T) {
	long := fmt.Sprintf("%063d.%063d.%057d", 0, 0, 0)
	s := bigState(1, 1)
	table, reasons := Compile(s, Table{}, Config{Domain: long})
	if len(reasons) != 0 {
		t.Fatalf("reasons %v", reasons)
	}
	name := desired.Name{Namespace: "n0", Name: "s0"}
	fits, _ := s.Services.Get(name)
	grown := *fits
	grown.Slices = []*desired.Slice{{Endpoints: []desired.Endpoint{{Address: netip.MustParseAddr("10.0.0.1"), Hostname: fmt.Sprintf("%063d", 0), Ready: true}}}}
	next := *s
	next.Services = s.Services.Set(name, &grown)
	table, reasons = Compile(&next, table, Config{Domain: long})
	if len(reasons) != 1 || reasons[0].Code != "NameTooLong" || table.services.Len() != 0 || table.reverse.Len() != 0 {
		t.Fatalf("reasons %v, %d services", reasons, table.services.Len())
	}
	if table, reasons = Compile(s, table, Config{Domain: long}); len(reasons) != 0 || table.services.Len() != 1 || table.reverse.Len() != 2 {
		t.Fatalf("reasons %v, %d services", reasons, table.services.Len())
	}
}

// TestBadConfig expects every mistake to be named and defaults to be served.
func TestBadConfig(t *testing.T) {
	for _, config := range []Config{
		{Domain: "a..b"}, {Domain: "a b"}, {TTL: MaxTTL + 1}, {TTL: 5, ZeroTTL: true}, {Pods: "verify"},
		{NoEndpoints: true, IgnoreEmpty: true}, {NoEndpoints: true, Zonal: true}, {Namespaces: []string{"a"}, NamespaceLabels: "a=b"}, {NamespaceLabels: "a=b=c"}, {Labels: "a in"},
		{External: External{Zones: []string{"a..b"}}}, {External: External{Zones: []string{"Cluster.local."}}}, {External: External{Zones: []string{"a.org", "a.org."}}},
		{Multicluster: []string{"a..b"}}, {Multicluster: []string{"Cluster.local"}}, {Multicluster: []string{"a.org"}, External: External{Zones: []string{"A.org"}}},
		{External: External{Zones: []string{"a.org"}, Apex: "a.b"}}, {External: External{Zones: []string{"a.org"}, TTL: MaxTTL + 1}},
	} {
		if _, err := config.Complete(); err == nil {
			t.Errorf("%+v is accepted", config)
		}
		if table, _ := Compile(&desired.State{}, Table{}, config); table.Config().Domain != DefaultDomain {
			t.Errorf("%+v serves %q", config, table.Config().Domain)
		}
	}
	if c, err := (Config{Domain: "Cluster.Example."}).Complete(); err != nil || c.Domain != "cluster.example" || c.TTL != 30 {
		t.Errorf("%+v, %v", c, err)
	}
	c, err := (Config{ZeroTTL: true}).Complete()
	if again, err2 := c.Complete(); err != nil || err2 != nil || c.TTL != 0 || again.TTL != 0 {
		t.Errorf("TTL 0 becomes %d, %v, then %d, %v", c.TTL, err, again.TTL, err2)
	}
}

func BenchmarkCompileOneChange(b *testing.B) {
	for _, size := range []int{1_000, 10_000, 50_000} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			s := bigState(size, 5)
			table, _ := Compile(s, Table{}, Config{})
			name := desired.Name{Namespace: "n1", Name: "s1"}
			old, _ := s.Services.Get(name)
			b.ReportAllocs()
			for b.Loop() {
				changed := *old
				slice := *old.Slices[0]
				changed.Slices = []*desired.Slice{&slice}
				next := *s
				next.Services = s.Services.Set(name, &changed)
				table, _ = Compile(&next, table, Config{})
				s = &next
			}
		})
	}
}

func BenchmarkAnswer(b *testing.B) {
	table, _ := Compile(bigState(10_000, 5), Table{}, Config{})
	for _, q := range []Question{
		{"s77.n27.svc.cluster.local.", TypeA, ClassIN},
		{"s77.n27.svc.cluster.local.n27.svc.cluster.local.", TypeA, ClassIN},
		{"_http._tcp.s77.n27.svc.cluster.local.", TypeSRV, ClassIN},
		{"77.0.20.172.in-addr.arpa.", TypePTR, ClassIN},
	} {
		b.Run(q.Type.String(), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				table.Answer(q)
			}
		})
	}
}
