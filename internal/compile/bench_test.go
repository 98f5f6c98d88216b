package compile

import (
	"fmt"
	"runtime"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/dns"
	"github.com/fairlead-net/fairlead/internal/lb"
)

// The sizes at which a change is measured. It must cost the same at each.
var sizes = []struct {
	name     string
	services int
}{{"1k", 1_000}, {"10k", 10_000}, {"50k", 50_000}}

func benchName(i int) desired.Name {
	return desired.Name{Namespace: fmt.Sprintf("team-%d", i%200), Name: fmt.Sprintf("service-%d", i)}
}

func benchService(i int) *corev1.Service {
	name := benchName(i)
	address := fmt.Sprintf("10.%d.%d.%d", 96+i>>16, i>>8&255, i&255)
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: name.Namespace, Name: name.Name},
		Spec: corev1.ServiceSpec{
			Type: corev1.ServiceTypeClusterIP, ClusterIP: address, ClusterIPs: []string{address},
			Ports: []corev1.ServicePort{{Name: "http", Protocol: corev1.ProtocolTCP, Port: 80, TargetPort: intstr.FromInt32(8080)}},
		},
	}
}

// benchSlice returns two endpoints; another version has other addresses.
func benchSlice(i, version int) *discoveryv1.EndpointSlice {
	name := benchName(i)
	port, number, protocol := "http", int32(8080), corev1.ProtocolTCP
	node, ready := fmt.Sprintf("node-%d", i%100), true
	s := &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: name.Namespace, Name: name.Name,
			Labels: map[string]string{discoveryv1.LabelServiceName: name.Name},
		},
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports:       []discoveryv1.EndpointPort{{Name: &port, Port: &number, Protocol: &protocol}},
	}
	for e := range 2 {
		at := 2*i + e
		s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{
			Addresses:  []string{fmt.Sprintf("10.%d.%d.%d", 128+version*8+at>>16, at>>8&255, at&255)},
			NodeName:   &node,
			Conditions: discoveryv1.EndpointConditions{Ready: &ready, Serving: &ready},
			TargetRef:  &corev1.ObjectReference{Kind: "Pod", Name: fmt.Sprintf("service-%d-%d", i, e)},
		})
	}
	return s
}

// written are objects as the API server gives them.
type written struct {
	service *corev1.Service
	slice   *discoveryv1.EndpointSlice
}

func benchWritten(n int) []written {
	all := make([]written, n)
	for i := range all {
		all[i] = written{benchService(i), benchSlice(i, 0)}
	}
	return all
}

func benchObjects(all []written) desired.Objects {
	services, slices, namespaces := desired.Objects{}.Services.Edit(), desired.Objects{}.Slices.Edit(), desired.Objects{}.Namespaces.Edit()
	for _, w := range all {
		service, slice := desired.ParseService(w.service), desired.ParseSlice(w.slice)
		services.Set(service.Name, service)
		slices.Set(slice.Name, slice)
		namespaces.Set(service.Name.Namespace, nil)
	}
	return desired.Objects{Services: services.Map(), Slices: slices.Map(), Namespaces: namespaces.Map(), Synced: true}
}

// compiled is a State with everything made from it.
type compiled struct {
	state *desired.State
	table lb.Table
	zone  dns.Table
}

func (c compiled) next(o desired.Objects) compiled {
	c.state, _ = desired.Build(o, desired.Node{Name: "node-1"}, c.state)
	c.table, _ = lb.Compile(c.state, c.table, lb.Options{})
	c.zone, _ = dns.Compile(c.state, c.zone, dns.Config{})
	return c
}

// BenchmarkChange is the way of one changed EndpointSlice through ParseSlice, Build
// and all compile steps.
func BenchmarkChange(b *testing.B) {
	for _, size := range sizes {
		b.Run(size.name, func(b *testing.B) {
			o := benchObjects(benchWritten(size.services))
			c := compiled{}.next(o)
			runtime.GC()
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				at := i * 7 % size.services
				o.Slices = o.Slices.Set(benchName(at), desired.ParseSlice(benchSlice(at, 1+i/size.services%2)))
				c = c.next(o)
			}
		})
	}
}

// BenchmarkCold parses, builds and compiles everything from nothing.
func BenchmarkCold(b *testing.B) {
	for _, size := range sizes {
		b.Run(size.name, func(b *testing.B) {
			all := benchWritten(size.services)
			for b.Loop() {
				compiled{}.next(benchObjects(all))
			}
		})
	}
}

// BenchmarkHeap reports the live heap per Service, two endpoints each, that
// the State, the tables of all features and the parsed objects take together.
func BenchmarkHeap(b *testing.B) {
	const services = 50_000
	for b.Loop() {
		before := liveHeap()
		c := compiled{}.next(benchObjects(benchWritten(services)))
		b.ReportMetric(float64(liveHeap()-before)/services, "B/service")
		runtime.KeepAlive(c)
	}
}

func liveHeap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
