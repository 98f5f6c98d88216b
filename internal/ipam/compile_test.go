package ipam

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead-net/fairlead/api/metallb"
	"github.com/fairlead-net/fairlead/internal/desired"
)

func poolOf(name string, addresses ...string) *metallb.IPAddressPool {
	return &metallb.IPAddressPool{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: metallb.IPAddressPoolSpec{Addresses: addresses}}
}

func serviceOf(name string) *corev1.Service {
	return &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: name}}
}

func (s *server) state(before *desired.State) *desired.State {
	state, _ := desired.Build(s.objects, desired.Node{}, before)
	return state
}

func byDefault() Options { return Options{Default: true} }

// TestOnlyWhatCounts expects that what does not concern addresses leaves a Table as
// it is, and that a change leaves alone what it does not concern.
func TestOnlyWhatCounts(t *testing.T) {
	s := newServer()
	s.putPool(poolOf("p", "192.0.2.0/24"))
	s.put(serviceOf("a"))
	s.put(serviceOf("b"))
	state := s.state(nil)
	first, _ := Compile(state, Table{}, byDefault())

	port, portName := int32(8080), "http"
	slice := desired.ParseSlice(&discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Namespace: "demo", Name: "a-1", Labels: map[string]string{discoveryv1.LabelServiceName: "a"}},
		AddressType: discoveryv1.AddressTypeIPv4, Ports: []discoveryv1.EndpointPort{{Name: &portName, Port: &port}},
		Endpoints: []discoveryv1.Endpoint{{Addresses: []string{"10.244.0.1"}}},
	})
	s.objects.Slices = s.objects.Slices.Set(slice.Name, slice)
	other := serviceOf("cluster-ip")
	other.Spec.Type = corev1.ServiceTypeClusterIP
	s.put(other)
	state = s.state(state)
	second, _ := Compile(state, first, byDefault())
	if second.Services != first.Services || second.Claims != first.Claims || second.Pools != first.Pools || second.Revision != state.Revision || second.state != state {
		t.Error("endpoints or another Service changed the Table")
	}

	s.put(serviceOf("c"))
	third, _ := Compile(s.state(state), second, byDefault())
	for name, was := range second.Services.All() {
		if is, _ := third.Services.Get(name); is != was {
			t.Errorf("%s has another Assignment, of the same content", name)
		}
	}
	if third.Services.Len() != 3 || third.Claims.Len() != 3 || third.pools != first.pools {
		t.Errorf("%d Services, %d claims", third.Services.Len(), third.Claims.Len())
	}
	if again, _ := Compile(s.state(state), third, Options{}); again.Services.Len() != 0 {
		t.Error("options do not count")
	}
}

// TestUnsynced expects that nothing is concluded from what is not known yet.
func TestUnsynced(t *testing.T) {
	s := newServer()
	s.put(serviceOf("a"))
	address := netip.MustParseAddr("192.0.2.1")
	s.objects.Addressing.Claims = s.objects.Addressing.Claims.Set(address, &desired.Claim{Address: address, Services: []desired.Name{named("a")}})
	s.objects.Synced = false
	state := s.state(nil)
	table, reasons := Compile(state, Table{}, byDefault())
	if table.Synced || table.Services.Len() > 0 || len(reasons) > 0 || !table.Effects().Empty() || table.Revision != state.Revision {
		t.Errorf("%+v, %v", table, reasons)
	}
	s.objects.Synced = true
	state = s.state(state)
	if table, reasons = Compile(state, table, byDefault()); !table.Synced || len(reasons) != 2 {
		t.Errorf("%+v, %v", table, reasons)
	}
}

// TestNamedBeforeItExists has a claim for a Service that is not there yet, and then
// is of a type that has no such address: what it was named for is its to lose.
func TestNamedBeforeItExists(t *testing.T) {
	s := newServer()
	s.putPool(poolOf("p", "192.0.2.0/24"))
	address := netip.MustParseAddr("192.0.2.1")
	s.objects.Addressing.Claims = s.objects.Addressing.Claims.Set(address, &desired.Claim{Address: address, Services: []desired.Name{named("a")}})
	state := s.state(nil)
	table, _ := Compile(state, Table{}, byDefault())
	if e := table.Effects(); len(e.Releases) != 1 {
		t.Errorf("%+v", e)
	}
	a := serviceOf("a")
	a.Spec.Type = corev1.ServiceTypeNodePort
	s.put(a)
	table, _ = Compile(s.state(state), table, byDefault())
	if assignment, ok := table.Services.Get(named("a")); !ok || assignment.Lost == nil {
		t.Errorf("%+v", assignment)
	}
}

// TestSizes counts the addresses of ranges one by one.
func TestSizes(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		a, b := rng.IntN(2000), rng.IntN(2000)
		r := desired.Range{First: v4At(min(a, b)), Last: v4At(max(a, b))}
		pool := &desired.Pool{AvoidBuggyIPs: rng.IntN(2) == 0}
		want := int64(0)
		for address := r.First; r.Contains(address); address = address.Next() {
			if !pool.Avoids(address) {
				want++
			}
		}
		if got := size(r, pool.AvoidBuggyIPs).clamped(); got != want {
			t.Fatalf("%s has %d addresses, counted %d (avoided: %t)", r, got, want, pool.AvoidBuggyIPs)
		}
	}
	for text, want := range map[string]int64{
		"10.0.0.0/8": 1 << 24, "2001:db8::/66": 1 << 62, "2001:db8::/65": math.MaxInt64, "2001:db8::/64": math.MaxInt64,
		"1::-feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff": math.MaxInt64, "255.255.255.254-255.255.255.255": 2,
	} {
		p := desired.ParsePool(poolOf("p", text))
		if text[0] == '2' && text[1] == '5' {
			p.Ranges = []desired.Range{{First: netip.MustParseAddr("255.255.255.254"), Last: netip.MustParseAddr("255.255.255.255")}}
		}
		if got := size(p.Ranges[0], false).clamped(); got != want {
			t.Errorf("%s has %d addresses, want %d", text, got, want)
		}
	}
}

func v4At(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}) }

// TestCursor takes the lowest free address again and again, up to the very last of
// a family.
func TestCursor(t *testing.T) {
	parse := netip.MustParseAddr
	c := cursor{ranges: []desired.Range{
		{First: parse("192.0.2.1"), Last: parse("192.0.2.3")}, {First: parse("192.0.2.9"), Last: parse("192.0.2.9")},
		{First: parse("255.255.255.254"), Last: parse("255.255.255.255")},
	}}
	taken := map[netip.Addr]bool{parse("192.0.2.2"): true, parse("192.0.2.9"): true}
	var got []string
	for {
		address, ok := c.free(func(a netip.Addr) bool { return taken[a] })
		if !ok {
			break
		}
		if again, _ := c.free(func(a netip.Addr) bool { return taken[a] }); again != address {
			t.Errorf("%s, and then %s, which nobody took in between", address, again)
		}
		got = append(got, address.String())
		taken[address] = true
	}
	if want := []string{"192.0.2.1", "192.0.2.3", "255.255.255.254", "255.255.255.255"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// TestParty expects of a party what sharingProblem says of each two.
func TestParty(t *testing.T) {
	w := randomWorld(3)
	for range 20_000 {
		for range 6 {
			w.randomService()
		}
		var together []*desired.Service
		h := &holding{}
		for _, s := range w.objects.Services.All() {
			if s.Balancer == nil {
				continue
			}
			want := !slices.ContainsFunc(together, func(other *desired.Service) bool { return sharingProblem(other, s) != "" })
			if got := h.admits(s); got != want {
				t.Fatalf("%s may join %v: %t, want %t", s.Name, together, got, want)
			}
			if want {
				h.join(s)
				together = append(together, s)
			}
		}
	}
}

// TestFirstFit puts many Services with one key together, each where the first place
// is, as going through all of them does.
func TestFirstFit(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	s := newServer()
	s.putPool(poolOf("p", "10.0.0.0/8"))
	type place struct {
		address netip.Addr
		who     []*desired.Service
	}
	var places []*place
	want := map[desired.Name]netip.Addr{}
	for i := range 400 {
		o := serviceOf(fmt.Sprintf("s%03d", i))
		o.Annotations = map[string]string{annotationKey: "k"}
		for _, port := range rng.Perm(6)[:1+rng.IntN(3)] {
			o.Spec.Ports = append(o.Spec.Ports, corev1.ServicePort{Port: int32(port + 1)})
		}
		s.put(o)
		service, _ := s.objects.Services.Get(named(o.Name))
		at := slices.IndexFunc(places, func(p *place) bool {
			return !slices.ContainsFunc(p.who, func(other *desired.Service) bool { return sharingProblem(other, service) != "" })
		})
		if at < 0 {
			at = len(places)
			places = append(places, &place{address: v4At(at)})
		}
		places[at].who = append(places[at].who, service)
		want[service.Name] = places[at].address
	}
	table, _ := Compile(s.state(nil), Table{}, byDefault())
	for name, address := range want {
		if a, _ := table.Services.Get(name); a == nil || !slices.Equal(a.Addresses, []netip.Addr{address}) {
			t.Errorf("%s has %+v, want %s", name, a, address)
		}
	}
}

// TestManyNames expects that a message stays readable whatever the number of pools.
func TestManyNames(t *testing.T) {
	s := newServer()
	for i := range 9 {
		s.putPool(poolOf(fmt.Sprintf("p%d", i), "2001:db8::/32"))
	}
	s.put(serviceOf("a"))
	table, _ := Compile(s.state(nil), Table{}, byDefault())
	a, _ := table.Services.Get(named("a"))
	if want := "there are no IPv4 addresses in pool p0, pool p1, pool p2, pool p3, pool p4, 4 more; add some to one of them"; a.Problem.Message != want {
		t.Errorf("%s", a.Problem.Message)
	}
}
