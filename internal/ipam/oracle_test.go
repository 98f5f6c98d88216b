package ipam

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/fairlead-net/fairlead/internal/desired"
)

// This is a second reading of the rules: slow, and without any of the code that it
// is to judge.

// poolsOf returns all pools by name, so that the first that has an address owns it.
func poolsOf(s *desired.State) []*desired.Pool {
	var all []*desired.Pool
	for _, p := range s.Addressing.Pools.All() {
		all = append(all, p)
	}
	slices.SortFunc(all, func(a, b *desired.Pool) int { return a.Name.Compare(b.Name) })
	return all
}

func ownerOf(s *desired.State, address netip.Addr) *desired.Pool {
	for _, p := range poolsOf(s) {
		if p.Contains(address) {
			return p
		}
	}
	return nil
}

func mayUse(state *desired.State, p *desired.Pool, s *desired.Service) bool {
	var labels map[string]string
	if n, ok := state.Namespaces.Get(s.Name.Namespace); ok {
		labels = n.Labels
	}
	return p.For(s.Name.Namespace, labels, s.Balancer.Labels) && (len(s.Balancer.Pools) == 0 || slices.Contains(s.Balancer.Pools, p.Name.Name))
}

func has(addresses []netip.Addr, four bool) bool {
	return slices.ContainsFunc(addresses, func(a netip.Addr) bool { return a.Is4() == four })
}

// check expects of a Table what must hold whatever the State.
func check(t *testing.T, state *desired.State, table Table, o Options) {
	t.Helper()
	for name, a := range table.Services.All() {
		s, ok := state.Services.Get(name)
		if !ok || len(a.Addresses) > 0 && !o.takes(s) || len(a.Pools) != len(a.Addresses) {
			t.Errorf("%s, which exists: %t, has %v from %v", name, ok, a.Addresses, a.Pools)
			continue
		}
		if o.takes(s) {
			checkAssignment(t, state, table, s, a)
		}
	}
	for address, claim := range table.Claims.All() {
		if claim.Foreign != "" {
			if is, _ := state.Addressing.Claims.Get(address); is != claim {
				t.Errorf("the claim of %s is not Fairlead's and is to be changed to %+v", address, claim)
			}
			continue
		}
		checkClaim(t, state, table, address, claim)
	}
	for name, u := range table.Pools.All() {
		p, _ := state.Addressing.Pools.Get(name)
		if u.Assigned4 < 0 || u.Assigned6 < 0 || u.Available4 < 0 || u.Available6 < 0 {
			t.Errorf("pool %s: %+v", name, *u)
		}
		checkUsage(t, state, table, p, u)
	}
}

func checkAssignment(t *testing.T, state *desired.State, table Table, s *desired.Service, a *Assignment) {
	t.Helper()
	unreadable := slices.Contains(s.Balancer.Requested, netip.Addr{})
	for i, address := range a.Addresses {
		p, _ := state.Addressing.Pools.Get(a.Pools[i])
		claim, _ := table.Claims.Get(address)
		switch {
		case i > 0 && (a.Addresses[0].Is6() || address.Is4()):
			t.Errorf("%s has %v", s.Name, a.Addresses)
		case !has(s.Addresses, address.Is4()):
			t.Errorf("%s has %s and cluster IPs %v", s.Name, address, s.Addresses)
		case p == nil || !p.Contains(address) || !mayUse(state, p, s):
			t.Errorf("%s has %s from %s", s.Name, address, a.Pools[i])
		case claim == nil || !slices.Contains(claim.Services, s.Name):
			t.Errorf("%s has %s without a claim", s.Name, address)
		case !unreadable && has(s.Balancer.Requested, address.Is4()) && !slices.Contains(s.Balancer.Requested, address):
			t.Errorf("%s has %s and asks for %v", s.Name, address, s.Balancer.Requested)
		}
	}
	if missing := len(s.Addresses) - len(a.Addresses); missing > 0 && a.Problem == nil {
		t.Errorf("%s has %v and no Problem", s.Name, a.Addresses)
	}
	if s.Balancer.RequireDualStack && len(a.Addresses) == 1 {
		switch a.Problem.Code {
		case "AddressInRelease", "RequestedAddressInvalid", "RequestedAddressesTooMany", "RequestedAddressFamily":
		default:
			t.Errorf("%s requires two families and has %v: %+v", s.Name, a.Addresses, a.Problem)
		}
	}
}

// checkClaim expects that an address is one Service's, or several's that can share
// it, and that who still has it stands in nobody's way.
func checkClaim(t *testing.T, state *desired.State, table Table, address netip.Addr, claim *desired.Claim) {
	t.Helper()
	for i, one := range claim.Services {
		a, _ := table.Services.Get(one)
		if a == nil || !slices.Contains(a.Addresses, address) {
			t.Errorf("%s is claimed for %s, which does not have it", address, one)
		}
		for _, two := range claim.Services[i+1:] {
			s, _ := state.Services.Get(one)
			other, _ := state.Services.Get(two)
			if why := sharingProblem(s, other); why != "" || one == two {
				t.Errorf("%s is that of %s and %s: %s", address, one, two, why)
			}
		}
	}
	is, claimed := state.Addressing.Claims.Get(address)
	if claimed && is.Foreign != "" {
		t.Errorf("%s is given to %v: %s", address, claim.Services, is.Foreign)
	}
	isHeld := func(name desired.Name) bool {
		s, ok := state.Services.Get(name)
		return claimed && slices.Contains(is.Services, name) || ok && s.Balancer != nil && slices.Contains(s.Balancer.Ingress, address)
	}
	var others []desired.Name
	for name := range state.Services.All() {
		if isHeld(name) && !slices.Contains(claim.Services, name) {
			others = append(others, name)
		}
	}
	if claimed {
		others = append(others, without(is.Services, claim.Services)...)
	}
	for _, name := range claim.Services {
		if len(others) > 0 && !isHeld(name) {
			t.Errorf("%s is given to %s while %v have it", address, name, others)
		}
	}
}

// checkUsage counts the addresses of a small pool one by one.
func checkUsage(t *testing.T, state *desired.State, table Table, p *desired.Pool, u *Usage) {
	t.Helper()
	var want Usage
	for address, claim := range table.Claims.All() {
		if claim.Foreign == "" && ownerOf(state, address) == p {
			if address.Is4() {
				want.Assigned4++
			} else {
				want.Assigned6++
			}
		}
	}
	for _, r := range p.Ranges {
		if r.First == netip.MustParseAddr("10.0.0.0") {
			want.Available4 = u.Available4 // not one by one
			continue
		}
		for address := r.First; r.Contains(address); address = address.Next() {
			if ownerOf(state, address) == p && !p.Avoids(address) && isFree(state, address) {
				if _, given := table.Claims.Get(address); given {
					continue
				}
				if address.Is4() {
					want.Available4++
				} else {
					want.Available6++
				}
			}
		}
	}
	if ten := slices.ContainsFunc(p.Ranges, func(r desired.Range) bool { return r.First == netip.MustParseAddr("10.0.0.0") }); ten {
		want.Available4 = u.Available4
	}
	if *u != want {
		t.Errorf("pool %s has %+v, counted one by one %+v", p.Name, *u, want)
	}
}

// isFree tells whether no claim and no status has an address.
func isFree(state *desired.State, address netip.Addr) bool {
	if claim, ok := state.Addressing.Claims.Get(address); ok && (claim.Foreign != "" || len(claim.Services) > 0) {
		return false
	}
	for _, s := range state.Services.All() {
		if s.Balancer != nil && slices.Contains(s.Balancer.Ingress, address) {
			return false
		}
	}
	return true
}

// settled expects that claims and statuses are as the Table has them.
func settled(t *testing.T, state *desired.State, table Table) {
	t.Helper()
	for address, claim := range state.Addressing.Claims.All() {
		if want, ok := table.Claims.Get(address); claim.Foreign == "" && (!ok || !slices.Equal(want.Services, claim.Services)) {
			t.Errorf("the claim of %s is %+v, want %+v", address, claim, want)
		}
	}
	for name, a := range table.Services.All() {
		s, _ := state.Services.Get(name)
		if len(without(a.Addresses, s.Balancer.Ingress))+len(without(s.Balancer.Ingress, a.Addresses)) > 0 || a.Lost != nil {
			t.Errorf("the status of %s has %v, want %+v", name, s.Balancer.Ingress, a)
		}
	}
}

// generous expects that who has no address could have had none.
func generous(t *testing.T, state *desired.State, table Table) {
	t.Helper()
	for name, a := range table.Services.All() {
		s, _ := state.Services.Get(name)
		if a.Problem == nil || len(s.Balancer.Requested) > 0 {
			continue
		}
		var possible []netip.Addr
		for _, family := range s.Addresses {
			if !has(a.Addresses, family.Is4()) {
				if address, ok := somewhere(state, table, s, family.Is4()); ok {
					possible = append(possible, address)
				}
			}
		}
		if len(possible) > 0 && (!s.Balancer.RequireDualStack || len(possible)+len(a.Addresses) == 2) {
			t.Errorf("%s has %v, and could have %v: %+v", name, a.Addresses, possible, a.Problem)
		}
	}
}

// somewhere looks through all pools for an address that a Service could have.
func somewhere(state *desired.State, table Table, s *desired.Service, four bool) (netip.Addr, bool) {
	for _, p := range poolsOf(state) {
		if !mayUse(state, p, s) || len(s.Balancer.Pools) == 0 && !p.AutoAssign {
			continue
		}
		for _, r := range p.Ranges {
			for address, i := r.First, 0; r.Contains(address) && i < 64; address, i = address.Next(), i+1 {
				if address.Is4() != four || ownerOf(state, address) != p {
					continue
				}
				if !p.Avoids(address) && isFree(state, address) || joinable(state, table, s, address) {
					return address, true
				}
			}
		}
	}
	return netip.Addr{}, false
}

// joinable tells whether a Service could share an address with all who have it.
func joinable(state *desired.State, table Table, s *desired.Service, address netip.Addr) bool {
	claim, ok := table.Claims.Get(address)
	if !ok || claim.Foreign != "" {
		return false
	}
	for name, other := range state.Services.All() {
		if other.Balancer != nil && slices.Contains(other.Balancer.Ingress, address) && !slices.Contains(claim.Services, name) {
			return false
		}
		if slices.Contains(claim.Services, name) && sharingProblem(s, other) != "" {
			return false
		}
	}
	return true
}
