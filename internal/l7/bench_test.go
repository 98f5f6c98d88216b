package l7

import (
	"fmt"
	"testing"

	"github.com/fairlead-net/fairlead/internal/desired"
)

const benchIngresses = 5000

// BenchmarkCompile: from nothing, and after a change, with 5,000 Ingresses of ten
// paths each.
func BenchmarkCompile(b *testing.B) {
	o := bigObjects(benchIngresses)
	state, _ := desired.Build(o, desired.Node{}, nil)
	b.Run("cold", func(b *testing.B) {
		for b.Loop() {
			Compile(state, Table{}, Config{})
		}
	})
	name := desired.Name{Namespace: "demo", Name: "app-7"}
	for _, kind := range []string{"ingress", "endpoints"} {
		b.Run(kind, func(b *testing.B) {
			last, _ := Compile(state, Table{}, Config{})
			now, objects := state, o
			for n := 0; b.Loop(); n++ {
				b.StopTimer()
				if kind == "ingress" {
					objects.Ingresses = objects.Ingresses.Set(name, desired.ParseIngress(bigIngress(7, fmt.Sprint(n))))
				} else {
					_, slice := testService(name.Namespace, name.Name, n%60000)
					objects.Slices = objects.Slices.Set(name, slice)
				}
				now, _ = desired.Build(objects, desired.Node{}, now)
				b.StartTimer()
				last, _ = Compile(now, last, Config{})
			}
		})
	}
}

// BenchmarkMatch: one request among 50,000 rules of 5,000 hosts, and among 5,000 rules
// of one host.
func BenchmarkMatch(b *testing.B) {
	o := bigObjects(benchIngresses)
	var paths []testPath
	for n := range 5000 {
		paths = append(paths, testPath{"big.example.com", fmt.Sprintf("/team-%d/app/%d", n%50, n), "Prefix", "app-1"})
	}
	big := testIngress("demo", "big", 0, paths...)
	o.Ingresses = o.Ingresses.Set(desired.Name{Namespace: "demo", Name: "big"}, desired.ParseIngress(big))
	state, _ := desired.Build(o, desired.Node{}, nil)
	table, _ := Compile(state, Table{}, Config{})
	routes := table.Listeners[ListenerHTTP].Routes
	for name, q := range map[string]Request{
		"hosts": {Host: "app-4321.example.com", Path: "/api/v7/items/42"},
		"paths": {Host: "big.example.com", Path: "/team-21/app/4321/items/42"},
		"none":  {Host: "nobody.example.org", Path: "/"},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				routes.Match(&q)
			}
		})
	}
}
