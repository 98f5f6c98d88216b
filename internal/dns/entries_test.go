package dns

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/fairlead-net/fairlead/internal/desired"
)

// TestEntries changes a cluster at random many times. It expects the changes of entries
// to lead from those of each Table to those of the next, and Answer to say of every
// name what they say.
func TestEntries(t *testing.T) {
	for name, config := range map[string]Config{
		"default": {}, "podNames": {EndpointPodNames: true, Pods: PodsVerified}, "noEndpoints": {NoEndpoints: true},
		"ignoreEmpty": {IgnoreEmpty: true, Zonal: true}, "external": {External: External{Zones: []string{"example.org"}}}, "labels": {Labels: "tier=a"},
	} {
		t.Run(name, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(5, 6))
			s := &desired.State{Synced: true}
			var table Table
			known := map[string]Entry{}
			for step := range 300 {
				next := *s
				next.Revision++
				for range 1 + rng.IntN(4) {
					randomChange(rng, &next)
				}
				s = &next
				before := table
				table, _ = Compile(s, table, config)
				if err := table.Indexable(); err != nil || !table.SameEntries(before) {
					t.Fatal(err)
				}
				for entry, gone := range table.Entries(before) {
					if gone {
						delete(known, entry.Name)
					} else {
						known[entry.Name] = entry
					}
				}
				all := map[string]Entry{}
				for entry := range table.Entries(Table{}) {
					all[entry.Name] = entry
				}
				if !maps.EqualFunc(known, all, Entry.equal) {
					t.Fatalf("step %d: got %v, want %v", step, known, all)
				}
				checkEntries(t, table, known)
			}
		})
	}
}

// checkEntries expects Answer to say what entries say.
func checkEntries(t *testing.T, table Table, known map[string]Entry) {
	t.Helper()
	names := []string{"svc", "pod", "dns", "dns-version", "hostmaster", "com", "x", "n9.svc"}
	for n := range 4 {
		names = append(names, fmt.Sprintf("n%d.svc", n))
		for s := range 9 {
			names = append(names, fmt.Sprintf("s%d.n%d.svc", s, n))
		}
	}
	for _, name := range names {
		wire, _ := appendLabels(nil, name)
		entry, there := known[string(wire)]
		for _, below := range []string{"", "a.", "a.b.c."} {
			for _, qtype := range []Type{TypeA, TypeAAAA} {
				answer := table.Answer(Question{Name: below + name + ".cluster.local.", Type: qtype, Class: ClassIN})
				if !there && answer.Rcode != NXDomain {
					t.Fatalf("%s%s has no entry: %+v", below, name, answer)
				}
				if !there || entry.Left || below != "" {
					continue
				}
				var want, got []netip.Addr
				for _, a := range entry.Addresses {
					if a.Is4() == (qtype == TypeA) {
						want = append(want, a)
					}
				}
				for _, record := range answer.Answer {
					got = append(got, record.Address)
				}
				if answer.Rcode != NoError || !slices.Equal(got, want) {
					t.Fatalf("%s: %+v, want %v", name, answer, want)
				}
			}
		}
	}
}

// TestNotIndexable names what entries cannot say.
func TestNotIndexable(t *testing.T) {
	for _, config := range []Config{
		{Namespaces: []string{"n1"}}, {NamespaceLabels: "tier=a"}, {External: External{Zones: []string{"n1.svc.cluster.local"}}}, {Multicluster: []string{"x.cluster.local"}},
		{Fallthrough: []string{"cluster.local"}},
	} {
		if table, _ := Compile(&desired.State{}, Table{}, config); table.Indexable() == nil {
			t.Errorf("%+v", config)
		}
	}
	if (Table{}).Indexable() == nil {
		t.Error("the zero Table")
	}
	a, _ := Compile(&desired.State{}, Table{}, Config{})
	b, _ := Compile(&desired.State{}, Table{}, Config{Serial: 5})
	c, _ := Compile(&desired.State{}, Table{}, Config{IgnoreEmpty: true})
	if !a.SameEntries(b) || a.SameEntries(c) || !a.SameEntries(Table{}) {
		t.Error("which Tables make the same entries")
	}
}
