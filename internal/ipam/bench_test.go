package ipam

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/fairlead-net/fairlead/internal/desired"
)

func sizes() []int { return []int{1_000, 10_000} }

// cluster has so many Services, none of which has an address yet.
func cluster(services int, edit func(i int, s *corev1.Service), addresses ...string) *server {
	s := newServer()
	s.putPool(poolOf("p", addresses...))
	for i := range services {
		o := serviceOf(fmt.Sprintf("s%05d", i))
		o.Spec.IPFamilies = []corev1.IPFamily{corev1.IPv4Protocol, corev1.IPv6Protocol}
		edit(i, o)
		s.put(o)
	}
	return s
}

func plainly(int, *corev1.Service) {}

// BenchmarkFirst gives all Services their first addresses, from a /8 and a /64.
func BenchmarkFirst(b *testing.B) {
	for _, n := range sizes() {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			state := cluster(n, plainly, "10.0.0.0/8", "2001:db8::/64").state(nil)
			for b.Loop() {
				Compile(state, Table{}, byDefault())
			}
		})
	}
}

// BenchmarkRestart compiles anew what is as it should be.
func BenchmarkRestart(b *testing.B) {
	for _, n := range sizes() {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			state, _ := served(n)
			for b.Loop() {
				Compile(state, Table{}, byDefault())
			}
		})
	}
}

// served is a cluster in which every Service has its addresses.
func served(services int) (*desired.State, Table) {
	s := cluster(services, plainly, "10.0.0.0/8", "2001:db8::/64")
	state := s.state(nil)
	table, _ := Compile(state, Table{}, byDefault())
	s.apply(table.Effects())
	state = s.state(state)
	table, _ = Compile(state, table, byDefault())
	return state, table
}

// BenchmarkOneMore adds one Service to those that have their addresses.
func BenchmarkOneMore(b *testing.B) {
	for _, n := range sizes() {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			state, table := served(n)
			more := *state
			name := desired.Name{Namespace: "demo", Name: "one-more"}
			one, _ := state.Services.Get(desired.Name{Namespace: "demo", Name: "s00000"})
			service, balancer := *one, *one.Balancer
			service.Name, balancer.Ingress = name, nil
			service.Balancer = &balancer
			more.Services = more.Services.Set(name, &service)
			for b.Loop() {
				Compile(&more, table, byDefault())
			}
		})
	}
}

// BenchmarkEndpoints changes endpoints of one Service, which does not matter.
func BenchmarkEndpoints(b *testing.B) {
	for _, n := range sizes() {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			state, table := served(n)
			more := *state
			one, _ := state.Services.Get(desired.Name{Namespace: "demo", Name: "s00000"})
			service := *one
			more.Services = more.Services.Set(one.Name, &service)
			for b.Loop() {
				Compile(&more, table, byDefault())
			}
		})
	}
}

// BenchmarkExhausted has one address for all Services.
func BenchmarkExhausted(b *testing.B) {
	for _, n := range sizes() {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			state := cluster(n, plainly, "192.0.2.1").state(nil)
			for b.Loop() {
				Compile(state, Table{}, byDefault())
			}
		})
	}
}

// BenchmarkShared gives all Services one key: with the same port each needs an
// address of its own, with different ports they all have the same.
func BenchmarkShared(b *testing.B) {
	for what, port := range map[string]func(i int) int32{"same port": func(int) int32 { return 80 }, "different ports": func(i int) int32 { return int32(i + 1) }} {
		for _, n := range sizes() {
			b.Run(fmt.Sprint(what, "/", n), func(b *testing.B) {
				state := cluster(n, func(i int, s *corev1.Service) {
					s.Annotations = map[string]string{annotationKey: "k"}
					s.Spec.Ports = []corev1.ServicePort{{Port: port(i)}}
				}, "10.0.0.0/8", "2001:db8::/64").state(nil)
				for b.Loop() {
					Compile(state, Table{}, byDefault())
				}
			})
		}
	}
}

// BenchmarkEffects looks for what must change where nothing must.
func BenchmarkEffects(b *testing.B) {
	for _, n := range sizes() {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			_, table := served(n)
			for b.Loop() {
				table.Effects()
			}
		})
	}
}
