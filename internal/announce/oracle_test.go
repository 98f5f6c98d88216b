package announce

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fairlead-net/fairlead/internal/desired"
)

// plain writes what a Table says, one fact a line, sorted.
func plain(t Table) []string {
	lines := []string{"unavailable: " + t.Unavailable}
	for _, n := range t.Nodes {
		lines = append(lines, fmt.Sprint("node ", n.Name, " ", n.Addresses))
	}
	for _, o := range t.Offers {
		lines = append(lines, "offers "+o.Name)
	}
	for _, p := range t.Peers {
		line := "peer " + p.Name.Name
		if p.Refused != "" {
			line += " refused: " + p.Refused
		}
		lines = append(lines, line)
	}
	for _, a := range t.L2 {
		line := fmt.Sprint("l2 ", a.Address, " of ", a.Services)
		for _, by := range a.By {
			line += fmt.Sprint(" by ", by.Advertisement.Name, " ", by.Interfaces)
		}
		if a.Nodes != nil {
			line += fmt.Sprint(" at ", a.Nodes)
		}
		lines = append(lines, line)
	}
	for _, r := range t.Routes {
		lines = append(lines, fmt.Sprint("route ", r.Prefix, " ", r.LocalPref, " ", r.Communities, " to ", r.Peers, len(r.Peers), " for ", r.Services))
	}
	slices.Sort(lines)
	return lines
}

// expected reads the same rules a second time, address by address, without any
// regard for cost, and leaves the joining to maps. Endpoints and what a Reason says
// is checked elsewhere.
func expected(s *desired.State, o Options, unavailable string) []string {
	lines := []string{"unavailable: " + unavailable}
	available := s.Node.About != nil && s.Node.About.Unavailable == ""
	matches := func(of desired.Selectors) bool { return available && of.Match(s.Node.About.Labels) }
	for name, addresses := range nodesOf(s, o) {
		valid := slices.DeleteFunc(addresses[:], func(a netip.Addr) bool { return !a.IsValid() })
		lines = append(lines, fmt.Sprint("node ", name, " ", valid))
	}
	for name, a := range s.Addressing.L2Advertisements.All() {
		if matches(a.NodeSelectors) {
			lines = append(lines, "offers "+name.Name)
		}
	}
	for name, p := range s.Addressing.Peers.All() {
		if p.Usable() && matches(p.NodeSelectors) {
			lines = append(lines, "peer "+name.Name)
		}
	}
	l2, routes := map[netip.Addr][]claimed{}, map[string]map[string]bool{}
	for _, service := range s.Services.All() {
		if service.Balancer == nil || service.Balancer.Class != "" && service.Balancer.Class != "own" {
			continue
		}
		for _, address := range service.Balancer.Ingress {
			pool := poolOf(s, address)
			if pool == nil {
				continue
			}
			one := claimed{service: service, at: readyNodes(service, address.Is6()), by: map[string][]string{}}
			for name, a := range s.Addressing.L2Advertisements.All() {
				if a.Covers(pool, service.Balancer.Labels) {
					one.by[name.Name] = a.Interfaces
				}
			}
			if len(one.by) > 0 {
				l2[address] = append(l2[address], one)
			}
			for _, a := range s.Addressing.BGPAdvertisements.All() {
				if !a.Covers(pool, service.Balancer.Labels) || !matches(a.NodeSelectors) || len(one.at) == 0 || service.ExternalLocal && !one.at[s.Node.Name] {
					continue
				}
				if key := routeOf(s, a, pool, address); key != "" {
					if routes[key] == nil {
						routes[key] = map[string]bool{}
					}
					routes[key][service.Name.String()] = true
				}
			}
		}
	}
	for address, all := range l2 {
		lines = append(lines, lineOf(address, all))
	}
	for key, services := range routes {
		lines = append(lines, fmt.Sprint(key, " for ", slices.Sorted(maps.Keys(services))))
	}
	slices.Sort(lines)
	return lines
}

// claimed is an address of one Service. at has the nodes with endpoints, and the
// empty name for those on none.
type claimed struct {
	service *desired.Service
	at      map[string]bool
	by      map[string][]string
}

func poolOf(s *desired.State, a netip.Addr) *desired.Pool {
	for _, name := range []string{"p", "q"} {
		if p, ok := s.Addressing.Pools.Get(desired.Name{Namespace: system, Name: name}); ok && p.Contains(a) {
			return p
		}
	}
	return nil
}

func readyNodes(s *desired.Service, ipv6 bool) map[string]bool {
	ready, serving := map[string]bool{}, map[string]bool{}
	for _, slice := range s.Slices {
		if _, offered := slice.Port("", desired.TCP); slice.IPv6 != ipv6 || slice.Headless || !offered {
			continue
		}
		for _, e := range slice.Endpoints {
			if e.Ready {
				ready[e.Node] = true
			}
			if e.Serving && e.Terminating {
				serving[e.Node] = true
			}
		}
	}
	if len(ready) == 0 {
		return serving
	}
	return ready
}

func routeOf(s *desired.State, a *desired.BGPAdvertisement, pool *desired.Pool, address netip.Addr) string {
	if len(a.Aliases) > 0 {
		return "" // there are no Community objects
	}
	var peers []string
	for _, name := range a.Peers {
		if _, ok := s.Addressing.Peers.Get(desired.Name{Namespace: system, Name: name}); ok {
			peers = append(peers, name)
		}
	}
	if len(a.Peers) > 0 && len(peers) == 0 {
		return ""
	}
	slices.Sort(peers)
	bits := a.Bits4
	if address.Is6() {
		bits = a.Bits6
	}
	prefix := netip.PrefixFrom(address, bits).Masked()
	for at := prefix.Addr(); prefix.Contains(at); at = at.Next() {
		if !pool.Contains(at) {
			prefix = netip.PrefixFrom(address, address.BitLen())
			break
		}
	}
	communities := map[desired.Community]bool{}
	for _, c := range a.Communities {
		communities[c] = true
	}
	list := slices.SortedFunc(maps.Keys(communities), func(a, b desired.Community) int { return slices.Compare(a.Numbers[:], b.Numbers[:]) })
	return fmt.Sprint("route ", prefix, " ", a.LocalPref, " ", list, " to ", peers, len(peers))
}

func lineOf(address netip.Addr, all []claimed) string {
	services, by := map[string]bool{}, map[string][]string{}
	var each, any map[string]bool
	for _, one := range all {
		services[one.service.Name.String()] = true
		maps.Copy(by, one.by)
		if !one.service.ExternalLocal {
			continue
		}
		delete(one.at, "")
		if any == nil {
			each, any = maps.Clone(one.at), map[string]bool{}
		}
		maps.Copy(any, one.at)
		maps.DeleteFunc(each, func(name string, _ bool) bool { return !one.at[name] })
	}
	line := fmt.Sprint("l2 ", address, " of ", slices.Sorted(maps.Keys(services)))
	for _, name := range slices.Sorted(maps.Keys(by)) {
		line += fmt.Sprint(" by ", name, " ", by[name])
	}
	if len(each) == 0 {
		each = any
	}
	if each != nil {
		line += fmt.Sprint(" at ", slices.Sorted(maps.Keys(each)))
	}
	return line
}

// TestCompile changes a cluster at random, and expects each Table to be what a
// second reading of the rules says, with the same reasons as one compiled afresh.
func TestCompile(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { compileRandomly(t, randomWorld(seed), 1500) })
	}
}

func compileRandomly(t *testing.T, w *world, steps int) {
	var state *desired.State
	var table Table
	o := options()
	l2, routes, reasons := 0, 0, 0
	for step := range steps {
		for range 1 + w.pick(3) {
			w.change()
		}
		state, _ = desired.Build(w.Objects, w.node, state)
		before := table
		var got []desired.Reason
		table, got = Compile(state, table, o)
		want := expected(state, o, table.Unavailable)
		if diff := cmp.Diff(want, plain(table)); diff != "" {
			t.Fatalf("step %d, -expected +got:\n%s", step, diff)
		}
		fresh, wantReasons := Compile(state, Table{}, o)
		if diff := cmp.Diff(plain(fresh), plain(table)); diff != "" {
			t.Fatalf("step %d, -fresh +incremental:\n%s", step, diff)
		}
		if diff := cmp.Diff(wantReasons, got); diff != "" {
			t.Fatalf("step %d, reasons, -fresh +incremental:\n%s", step, diff)
		}
		if (table.Unavailable == "") != (state.Node.About != nil && state.Node.About.Unavailable == "") {
			t.Fatalf("step %d: unavailable: %q", step, table.Unavailable)
		}
		if !slices.IsSortedFunc(table.L2, func(a, b L2Address) int { return a.Address.Compare(b.Address) }) ||
			!slices.IsSortedFunc(table.Routes, func(a, b Route) int { return a.Prefix.Compare(b.Prefix) }) ||
			table.Revision != state.Revision || table.Synced != state.Synced || !state.Synced && got != nil {
			t.Fatalf("step %d: %+v", step, table)
		}
		unharmed(t, before)
		l2, routes, reasons = l2+len(table.L2), routes+len(table.Routes), reasons+len(got)
	}
	if l2 < steps/4 || routes < steps/20 || reasons < steps {
		t.Errorf("hardly anything was tested: %d addresses, %d routes, %d reasons", l2, routes, reasons)
	}
}

// FuzzCompile lets bytes decide what users do.
func FuzzCompile(f *testing.F) {
	f.Add([]byte("\x01\x02\x03 a cluster from bytes \x08\x00\x01\x09\x00\x00\x0a\x01\x00"))
	f.Add([]byte(strings.Repeat("\x01\x00\x04\x01\x08\x00\x09\x01\x0a", 20)))
	f.Fuzz(func(t *testing.T, content []byte) {
		w := newWorld(func(n int) int {
			if len(content) == 0 {
				return 0
			}
			b := content[0]
			content = content[1:]
			return int(b) % n
		})
		var state *desired.State
		var table Table
		for len(content) > 0 {
			w.change()
			state, _ = desired.Build(w.Objects, w.node, state)
			table, _ = Compile(state, table, options())
			if diff := cmp.Diff(expected(state, options(), table.Unavailable), plain(table)); diff != "" {
				t.Fatalf("-expected +got:\n%s", diff)
			}
		}
	})
}

// nodesOf reads the endpoints of the nodes' Service a second time.
func nodesOf(s *desired.State, o Options) map[string][2]netip.Addr {
	all := map[string][2]netip.Addr{}
	service, _ := s.Services.Get(o.NodeService)
	if service == nil {
		return all
	}
	for _, terminating := range []bool{true, false} {
		best := map[string][2]netip.Addr{}
		for _, slice := range service.Slices {
			for _, e := range slice.Endpoints {
				if e.Node == "" || e.Terminating != terminating {
					continue
				}
				have, family := best[e.Node], 0
				if slice.IPv6 {
					family = 1
				}
				if !have[family].IsValid() || e.Address.Less(have[family]) {
					have[family] = e.Address
				}
				best[e.Node] = have
			}
		}
		for name, found := range best {
			have := all[name]
			for family := range found {
				if found[family].IsValid() {
					have[family] = found[family]
				}
			}
			all[name] = have
		}
	}
	return all
}

// unharmed fails if compiling the next Table has written to this one.
func unharmed(t *testing.T, before Table) {
	t.Helper()
	if before.state == nil {
		return
	}
	again, _ := Compile(before.state, Table{}, before.options)
	if diff := cmp.Diff(plain(again), plain(before)); diff != "" {
		t.Fatalf("an earlier Table has changed:\n%s", diff)
	}
}

// TestSameForAll expects what all nodes must agree on: the same addresses, and the
// same reasons, whatever node it is.
func TestSameForAll(t *testing.T) {
	w := randomWorld(9)
	about := func(t Table) []string {
		return slices.DeleteFunc(plain(t), func(line string) bool { return !strings.HasPrefix(line, "l2 ") && !strings.HasPrefix(line, "node ") })
	}
	for range 500 {
		w.change()
		w.Synced = true
		one, _ := desired.Build(w.Objects, desired.Node{Name: "a", About: &desired.NodeObject{}}, nil)
		other, _ := desired.Build(w.Objects, desired.Node{Name: "b"}, nil)
		a, reasons := Compile(one, Table{}, options())
		b, others := Compile(other, Table{}, options())
		if diff := cmp.Diff(about(a), about(b)) + cmp.Diff(reasons, others); diff != "" {
			t.Fatal(diff)
		}
	}
}
