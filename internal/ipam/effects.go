package ipam

import (
	"net/netip"
	"slices"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/pmap"
)

// Effects are what must change at the API server for claims and statuses to be as a
// Table has them: Claims first, then Statuses, then Releases. One that fails is left
// out; the others are safe without it, and the next Table has it again.
//
// Whoever applies them must make sure, so that even two processes at work at once
// never let an address be two Services' that do not share it:
//   - A claim is created only if there is none, and is changed or deleted only if it
//     still is what Old says.
//   - A status is changed only if the Service still is as the State had it (Same), and
//     only if at the API server the claims of all Addresses name the Service: they
//     are read right before.
//   - A Service is taken out of a claim only if at the API server its status does
//     not have the address, or the Service is gone: it is read right before.
//   - The next State that is compiled has seen these changes.
type Effects struct {
	// Claims are to be created, or to name more Services than they do; sorted.
	Claims []ClaimChange
	// Statuses are to be written; sorted by name.
	Statuses []StatusChange
	// Releases are claims to be deleted, or to name fewer Services; sorted.
	Releases []ClaimChange
}

// ClaimChange is a claim that is to be other than it is.
type ClaimChange struct {
	Address  netip.Addr
	Old, New *desired.Claim // nil if there is none, or is to be none
}

// StatusChange is a Service whose status.loadBalancer.ingress is to be other than
// it is.
type StatusChange struct {
	Service *desired.Service // as the State has it
	// Addresses are to be all that the status has.
	Addresses []netip.Addr
	// Without, if there are any, are to be taken out of the status; all else, which
	// another controller may have written, stays. There are no Addresses then.
	Without []netip.Addr
}

// Empty tells whether there is nothing to do.
func (e Effects) Empty() bool { return len(e.Claims)+len(e.Statuses)+len(e.Releases) == 0 }

// Effects returns what must change for the State that t was compiled from to become
// what t says. They must not be written.
func (t Table) Effects() Effects { return t.effects }

// claimChanges are the claims that do not name all whom they should, and those that
// do and name others too.
func claimChanges(are, want pmap.Map[netip.Addr, *desired.Claim]) (grants, releases []ClaimChange) {
	for c := range pmap.Diff(are, want) {
		change := ClaimChange{Address: c.Key, Old: c.Old, New: c.New}
		switch {
		case !c.HasOld:
			grants = append(grants, change)
		case !c.HasNew:
			releases = append(releases, change)
		default:
			more := without(c.New.Services, c.Old.Services)
			if len(more) == 0 {
				releases = append(releases, change)
				continue
			}
			// Who is named stays named until its status is without the address.
			change.New = &desired.Claim{Address: c.Key, Services: slices.Concat(c.Old.Services, more)}
			grants = append(grants, change)
		}
	}
	byAddress := func(a, b ClaimChange) int { return a.Address.Compare(b.Address) }
	slices.SortFunc(grants, byAddress)
	slices.SortFunc(releases, byAddress)
	return grants, releases
}

// Leaving are the Services that a change takes out of a claim.
func (c ClaimChange) Leaving() []desired.Name {
	switch {
	case c.Old == nil:
		return nil
	case c.New == nil:
		return c.Old.Services
	}
	return without(c.Old.Services, c.New.Services)
}

// without returns those of all that are not among some.
func without[T comparable](all, some []T) []T {
	var rest []T
	for _, one := range all {
		if !slices.Contains(some, one) {
			rest = append(rest, one)
		}
	}
	return rest
}

// statuses are those that must change.
func (c *compiler) statuses() []StatusChange {
	var changes []StatusChange
	for _, a := range c.asks {
		if a.service.Balancer == nil {
			continue // the API server clears the status of other types by itself
		}
		has, change := a.ingress(), StatusChange{Service: a.service}
		if a.former != "" {
			change.Without = without(has, without(has, a.claimed))
			if len(change.Without) > 0 {
				changes = append(changes, change)
			}
			continue
		}
		want := c.writable(a)
		n := len(valid(want))
		same := n == len(has) && !slices.ContainsFunc(has, func(address netip.Addr) bool { return want[familyOf(address)] != address })
		if same && !(n > 0 && a.service.Balancer.Hostnames) {
			continue
		}
		change.Addresses = valid(want)
		changes = append(changes, change)
	}
	slices.SortFunc(changes, func(a, b StatusChange) int { return a.Service.Name.Compare(b.Service.Name) })
	return changes
}

// writable are the addresses that a Service's status can have now. One that is still
// in the status of another, who is about to lose it and cannot share it, comes with
// the next Table, and for who needs an address of each family so does the other.
func (c *compiler) writable(a *ask) [2]netip.Addr {
	want, waits := a.addresses, false
	for _, f := range families() {
		if address := want[f]; address.IsValid() && !slices.Contains(a.ingress(), address) && c.inUse(address) {
			want[f], waits = netip.Addr{}, true
		}
	}
	if waits && a.service.Balancer.RequireDualStack {
		for _, f := range families() {
			if !slices.Contains(a.ingress(), want[f]) {
				want[f] = netip.Addr{}
			}
		}
	}
	return want
}

// inUse tells whether the status of a Service that loses an address still has it.
func (c *compiler) inUse(address netip.Addr) bool {
	return slices.ContainsFunc(c.holdings[address].leaving, func(name desired.Name) bool {
		a := c.byName[name]
		return a != nil && slices.Contains(a.ingress(), address)
	})
}
