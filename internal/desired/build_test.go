package desired

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

func testService(namespace, name string, i int) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: corev1.ServiceSpec{
			Type: corev1.ServiceTypeClusterIP, ClusterIP: address(10, 96, i), ClusterIPs: []string{address(10, 96, i)},
			Ports: []corev1.ServicePort{{Name: "http", Protocol: "TCP", Port: 80, TargetPort: intstr.FromInt32(8080)}},
		},
	}
}

func testSlice(namespace, name, service string, endpoints ...string) *discoveryv1.EndpointSlice {
	port, number, protocol := "http", int32(8080), corev1.ProtocolTCP
	s := &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{discoveryv1.LabelServiceName: service}},
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports:       []discoveryv1.EndpointPort{{Name: &port, Port: &number, Protocol: &protocol}},
	}
	for _, e := range endpoints {
		s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{Addresses: []string{e}})
	}
	return s
}

func address(a, b, i int) string { return fmt.Sprintf("%d.%d.%d.%d", a, b, i>>8&255, i&255) }

// cluster returns n Services with two endpoints each.
func cluster(n int) Objects {
	services, slices := Objects{}.Services.Edit(), Objects{}.Slices.Edit()
	for i := range n {
		name := Name{"demo", fmt.Sprintf("service-%d", i)}
		services.Set(name, ParseService(testService(name.Namespace, name.Name, i)))
		slices.Set(name, ParseSlice(testSlice(name.Namespace, name.Name, name.Name, address(10, 128, 2*i), address(10, 128, 2*i+1))))
	}
	return Objects{Services: services.Map(), Slices: slices.Map(), Synced: true}
}

// plain is a State without what only saves work.
func plain(s *State) map[string]any {
	services, statuses := map[Name]*Service{}, map[Ref]*Status{}
	for name, service := range s.Services.All() {
		services[name] = service
	}
	for ref, status := range s.Statuses.All() {
		statuses[ref] = status
	}
	imports := map[Name]*Service{}
	for name, service := range s.Imports.All() {
		imports[name] = service
	}
	return map[string]any{"services": services, "imports": imports, "pods": s.Pods.Len(), "statuses": statuses, "node": s.Node, "synced": s.Synced}
}

// TestIncrementalEqualsFresh applies random changes and expects that the State
// reached step by step is the State built at once from the final objects.
func TestIncrementalEqualsFresh(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	o := Objects{Synced: true}
	var state *State
	for step := range 400 {
		for range 1 + rng.IntN(3) {
			o = mutate(rng, o)
		}
		state, _ = Build(o, Node{Name: "a"}, state)
		fresh, _ := Build(o, Node{Name: "a"}, nil)
		if diff := cmp.Diff(plain(fresh), plain(state), cmp.AllowUnexported(Service{}, Slice{}), cmpopts.IgnoreFields(Slice{}, "Trigger"), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
			t.Fatalf("step %d, -fresh +incremental:\n%s", step, diff)
		}
	}
}

func mutate(rng *rand.Rand, o Objects) Objects {
	service := fmt.Sprintf("s%d", rng.IntN(5))
	name := Name{"demo", service}
	slice := Name{"demo", fmt.Sprintf("slice%d", rng.IntN(8))}
	switch rng.IntN(9) {
	case 0:
		o.Services = o.Services.Delete(name)
	case 1, 2:
		s := testService("demo", service, rng.IntN(4))
		if rng.IntN(4) == 0 {
			s.Spec.Ports[0].Name = "other"
		}
		o.Services = o.Services.Set(name, ParseService(s))
	case 3:
		o.Slices = o.Slices.Delete(slice)
	case 4:
		o.Imports = o.Imports.Delete(name)
	case 5:
		i := &ServiceImport{ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: service}}
		i.Spec.Type, i.Spec.IPs = "ClusterSetIP", []string{address(10, 97, rng.IntN(4)), "nonsense"[:rng.IntN(9)]}
		o.Imports = o.Imports.Set(name, ParseServiceImport(i))
	default:
		s := testSlice("demo", slice.Name, service, address(10, 128, rng.IntN(300)), "nonsense"[:rng.IntN(9)])
		s.Annotations = map[string]string{corev1.EndpointsLastChangeTriggerTime: fmt.Sprintf("2026-11-24T00:00:0%dZ", rng.IntN(9))}
		switch rng.IntN(3) {
		case 0: // of a ServiceImport alone
			s.Labels = map[string]string{LabelImport: service, LabelCluster: "East"}
		case 1: // of both
			s.Labels[LabelImport] = fmt.Sprintf("s%d", rng.IntN(5))
		}
		o.Slices = o.Slices.Set(slice, ParseSlice(s))
	}
	return o
}

// TestRevisionRisesOnlyForWhatCanBeSeen changes annotations, which no feature
// reads, and then a port.
func TestRevisionRisesOnlyForWhatCanBeSeen(t *testing.T) {
	o := cluster(10)
	first, _ := Build(o, Node{}, nil)
	name := Name{"demo", "service-3"}
	annotated := testService("demo", "service-3", 3)
	annotated.Annotations = map[string]string{"a": "b"}
	o.Services = o.Services.Set(name, ParseService(annotated))
	triggered := testSlice("demo", "service-3", "service-3", address(10, 128, 6), address(10, 128, 7))
	triggered.Annotations = map[string]string{corev1.EndpointsLastChangeTriggerTime: "2026-11-24T00:00:00Z"}
	o.Slices = o.Slices.Set(name, ParseSlice(triggered))
	second, _ := Build(o, Node{}, first)
	if second.Revision != first.Revision {
		t.Errorf("revision %d after an annotation, was %d", second.Revision, first.Revision)
	}
	changed := testService("demo", "service-3", 3)
	changed.Spec.Ports[0].Port = 81
	o.Services = o.Services.Set(name, ParseService(changed))
	third, _ := Build(o, Node{}, second)
	if third.Revision != first.Revision+1 {
		t.Errorf("revision %d after a change, was %d", third.Revision, first.Revision)
	}
}

// TestStatusTellsOfRecovery expects a Status without Reasons for an object that
// was bad and is not any more, or is gone.
func TestStatusTellsOfRecovery(t *testing.T) {
	name := Name{"demo", "x"}
	o := Objects{Synced: true}
	o.Slices = o.Slices.Set(name, ParseSlice(testSlice("demo", "x", "x", "nonsense")))
	state, statuses := Build(o, Node{}, nil)
	if len(statuses) != 1 || len(statuses[0].Reasons) != 1 || statuses[0].Reasons[0].Code != "AddressInvalid" || state.Statuses.Len() != 1 {
		t.Fatalf("%+v", statuses)
	}
	if _, again := Build(o, Node{}, state); len(again) != 0 {
		t.Errorf("said twice: %+v", again)
	}
	o.Slices = o.Slices.Delete(name)
	state, statuses = Build(o, Node{}, state)
	if len(statuses) != 1 || len(statuses[0].Reasons) != 0 || state.Statuses.Len() != 0 {
		t.Errorf("after the end of the object: %+v", statuses)
	}
}

// FuzzBuild builds from one Service and one EndpointSlice with any content: it
// must neither panic nor let a broken value through.
func FuzzBuild(f *testing.F) {
	f.Add("ClusterIP", "10.0.0.1", "http", "TCP", int32(80), int32(8080), "IPv4", "10.1.2.3", "pay.example.com", int32(10))
	f.Add("ExternalName", "None", "", "SCTP", int32(0), int32(70000), "FQDN", "::ffff:1.2.3.4", "1.2.3.4", int32(-1))
	f.Fuzz(func(t *testing.T, kind, clusterIP, port, protocol string, number, target int32, family, endpoint, external string, timeout int32) {
		s := testService("demo", "x", 1)
		s.Spec.Type, s.Spec.ClusterIP, s.Spec.ClusterIPs = corev1.ServiceType(kind), clusterIP, []string{clusterIP}
		s.Spec.ExternalName, s.Spec.SessionAffinity = external, corev1.ServiceAffinityClientIP
		s.Spec.SessionAffinityConfig = &corev1.SessionAffinityConfig{ClientIP: &corev1.ClientIPConfig{TimeoutSeconds: &timeout}}
		s.Spec.Ports = []corev1.ServicePort{{Name: port, Protocol: corev1.Protocol(protocol), Port: number, TargetPort: intstr.FromInt32(target)}}
		slice := testSlice("demo", "x", "x", endpoint)
		slice.AddressType = discoveryv1.AddressType(family)
		slice.Ports[0].Port = &target
		o := Objects{Synced: true}
		o.Services = o.Services.Set(Name{"demo", "x"}, ParseService(s))
		o.Slices = o.Slices.Set(Name{"demo", "x"}, ParseSlice(slice))
		state, _ := Build(o, Node{}, nil)
		service, _ := state.Services.Get(Name{"demo", "x"})
		for _, p := range service.Ports {
			if p.Port == 0 {
				t.Errorf("port 0 got through: %+v", p)
			}
		}
		for _, slice := range service.Slices {
			for _, e := range slice.Endpoints {
				if !e.Address.IsValid() || e.Address.Is6() != slice.IPv6 {
					t.Errorf("address got through: %+v", e)
				}
			}
		}
	})
}
