package dns

import (
	"slices"
	"testing"
)

// TestResolverNames follows resolv.conf(5), options search and ndots.
func TestResolverNames(t *testing.T) {
	r := PodResolver("demo", "cluster.local")
	for name, want := range map[string][]string{
		"cart.":       {"cart."},
		"cart":        {"cart.demo.svc.cluster.local.", "cart.svc.cluster.local.", "cart.cluster.local.", "cart."},
		"a.b.c.d.e.f": {"a.b.c.d.e.f.", "a.b.c.d.e.f.demo.svc.cluster.local.", "a.b.c.d.e.f.svc.cluster.local.", "a.b.c.d.e.f.cluster.local."},
	} {
		if got := r.Names(name); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
	if got := (Resolver{Ndots: 1}).Names("cart"); !slices.Equal(got, []string{"cart."}) {
		t.Error(got)
	}
}
