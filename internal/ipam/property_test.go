package ipam

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/pmap"
)

// allocator is a process that gives addresses: what it has seen of the API server,
// what it made of it, and what it is about to do.
type allocator struct {
	view  desired.Objects
	state *desired.State
	table Table
	queue []any // ClaimChange and StatusChange
}

// race is two processes that both believe they are the one that gives addresses.
type race struct {
	*world
	t          *testing.T
	options    Options
	allocators [2]*allocator
	// agreed tells of two Services of one claim whether they could share the address
	// in the eyes of who brought them together.
	agreed map[netip.Addr]map[[2]desired.Name]bool
}

func newRace(t *testing.T, w *world) *race {
	return &race{
		world: w, t: t, options: Options{Default: true}, agreed: map[netip.Addr]map[[2]desired.Name]bool{},
		allocators: [2]*allocator{{view: w.objects}, {view: w.objects}},
	}
}

// TestRaces lets users and two allocators do what they like in any order, also with
// views of different age, and expects that no address becomes two Services' by an
// allocator's doing, that none changes without a Reason, and that all settles to
// what a second reading of the rules demands.
func TestRaces(t *testing.T) {
	sequences := uint64(10_000)
	if testing.Short() {
		sequences = 500
	}
	for seed := range sequences {
		r := newRace(t, randomWorld(seed))
		for range 8 {
			r.change()
		}
		for range 40 + r.pick(40) {
			r.step()
		}
		r.settle()
		if t.Failed() {
			t.Fatalf("sequence %d", seed)
		}
	}
}

// step is one thing that happens.
func (r *race) step() {
	a := r.allocators[r.pick(2)]
	switch r.pick(16) {
	case 0, 1, 2:
		r.change()
	case 3, 4:
		a.view = r.objects
	case 5: // watches of different kinds are not of the same moment
		switch r.pick(3) {
		case 0:
			a.view.Services = r.objects.Services
		case 1:
			a.view.Addressing.Claims = r.objects.Addressing.Claims
		default:
			a.view.Addressing.Pools, a.view.Namespaces = r.objects.Addressing.Pools, r.objects.Namespaces
		}
	case 6:
		if r.once(4) {
			*a = allocator{view: r.objects}
		}
	case 7, 8, 9:
		r.compile(a)
	default:
		r.act(a)
	}
}

// compile makes a Table of what an allocator has seen, and checks it.
func (r *race) compile(a *allocator) {
	a.state, _ = desired.Build(a.view, desired.Node{}, a.state)
	var reasons []desired.Reason
	a.table, reasons = Compile(a.state, a.table, r.options)
	fresh, freshReasons := Compile(a.state, Table{}, r.options)
	if !equal(fresh, a.table) || !slices.Equal(freshReasons, reasons) || describe(fresh.Effects()) != describe(a.table.Effects()) {
		r.t.Errorf("-fresh +with what was before:\n%s", cmp.Diff(show(fresh, freshReasons), show(a.table, reasons)))
	}
	check(r.t, a.state, a.table, r.options)
	e := a.table.Effects()
	a.queue = nil
	for _, c := range e.Claims {
		a.queue = append(a.queue, c)
	}
	for _, c := range e.Statuses {
		a.queue = append(a.queue, c)
		r.explained(a.table, c)
	}
	for _, c := range e.Releases {
		a.queue = append(a.queue, c)
	}
}

// equal tells whether two Tables have the same content.
func equal(a, b Table) bool {
	return a.Synced == b.Synced && a.Revision == b.Revision && sameMap(a.Services, b.Services, (*Assignment).equal) &&
		sameMap(a.Claims, b.Claims, sameClaim) && sameMap(a.Pools, b.Pools, func(a, b *Usage) bool { return *a == *b })
}

func sameMap[K, V comparable](a, b pmap.Map[K, V], same func(a, b V) bool) bool {
	for key, value := range a.All() {
		if other, ok := b.Get(key); !ok || !same(value, other) {
			return false
		}
	}
	return a.Len() == b.Len()
}

// explained expects that a Service is told why it loses what its status has.
func (r *race) explained(t Table, c StatusChange) {
	assignment, _ := t.Services.Get(c.Service.Name)
	for _, address := range c.Service.Balancer.Ingress {
		if slices.Contains(c.Addresses, address) || len(c.Without) > 0 && !slices.Contains(c.Without, address) {
			continue
		}
		if assignment.Lost == nil || !strings.Contains(assignment.Lost.Message, address.String()) {
			r.t.Errorf("%s loses %s without a Reason: %+v", c.Service.Name, address, assignment)
		}
	}
}

// act does the next thing that an allocator has decided, however long ago.
func (r *race) act(a *allocator) {
	if len(a.queue) == 0 {
		return
	}
	next := a.queue[0]
	a.queue = a.queue[1:]
	switch c := next.(type) {
	case ClaimChange:
		if r.server.change(c) && c.New != nil {
			r.agree(c, a.view)
		}
	case StatusChange:
		before := r.ingress(c.Service.Name)
		if r.write(c) {
			r.written(c, before, a.state)
		}
	}
	r.claimedAll()
}

// written expects that a status loses nothing that the writer did not know of, and
// that it has what is new alone.
func (r *race) written(c StatusChange, before []netip.Addr, knew *desired.State) {
	name := c.Service.Name
	if unknown := without(without(before, r.ingress(name)), c.Service.Balancer.Ingress); len(unknown) > 0 {
		r.t.Errorf("%s lost %v by a process that did not know that it has it", name, unknown)
	}
	for _, address := range c.Addresses {
		r.alone(name, address, knew)
	}
}

// claimedAll expects that every address in a status has a claim for the Service.
func (r *race) claimedAll() {
	for name := range r.objects.Services.All() {
		for _, address := range r.ingress(name) {
			if !r.given[had{name, address}] && !r.claimed(address, name) {
				claim, _ := r.objects.Addressing.Claims.Get(address)
				r.t.Errorf("%s is in the status of %s and claimed by %+v", address, name, claim)
			}
		}
	}
}

// agree notes which Services of a claim can share its address, as far as that is new.
func (r *race) agree(c ClaimChange, view desired.Objects) {
	pairs := map[[2]desired.Name]bool{}
	for i, one := range c.New.Services {
		for _, two := range c.New.Services[i+1:] {
			a, _ := view.Services.Get(one)
			b, _ := view.Services.Get(two)
			pair := [2]desired.Name{one, two}
			together := c.Old != nil && slices.Contains(c.Old.Services, one) && slices.Contains(c.Old.Services, two)
			pairs[pair] = together && r.agreed[c.Address][pair] ||
				a != nil && b != nil && a.Balancer != nil && b.Balancer != nil && sharingProblem(a, b) == ""
			pairs[[2]desired.Name{two, one}] = pairs[pair]
		}
	}
	r.agreed[c.Address] = pairs
}

// alone expects that a Service which was just given an address has it alone, or
// with others that it can share it with, or could when the claim was made: that a
// user changes one of them at the same moment cannot be prevented. If the writer
// knew of that it is no excuse.
func (r *race) alone(name desired.Name, address netip.Addr, knew *desired.State) {
	for other := range r.objects.Services.All() {
		if other == name || !slices.Contains(r.ingress(other), address) || r.given[had{other, address}] {
			continue
		}
		a, _ := r.objects.Services.Get(name)
		b, _ := r.objects.Services.Get(other)
		if sharingProblem(a, b) != "" && (!r.agreed[address][[2]desired.Name{name, other}] || conflict(knew, name, other, address)) {
			r.t.Errorf("%s was given to %s while %s has it", address, name, other)
		}
	}
}

// conflict tells whether one of two Services has an address in a State, and does not
// share it with the other, which has not.
func conflict(s *desired.State, without, with desired.Name, address netip.Addr) bool {
	a, _ := s.Services.Get(without)
	b, _ := s.Services.Get(with)
	return a != nil && b != nil && a.Balancer != nil && b.Balancer != nil && sharingProblem(a, b) != "" &&
		!slices.Contains(a.Balancer.Ingress, address) && slices.Contains(b.Balancer.Ingress, address)
}

// settle lets one allocator, that sees all, go on until there is nothing to do.
func (r *race) settle() {
	a := &allocator{}
	for round := 0; ; round++ {
		a.view = r.objects
		r.compile(a)
		if len(a.queue) == 0 {
			break
		}
		if round == 12 {
			r.t.Errorf("does not settle; still to do:\n%s", describe(a.table.Effects()))
			return
		}
		for len(a.queue) > 0 {
			r.act(a)
		}
	}
	settled(r.t, a.state, a.table)
	generous(r.t, a.state, a.table)
}

func FuzzCompile(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte("\x00\x0b\x01\x02\x03 a cluster from bytes \x06\x07\x08\x08\x08"))
	f.Add([]byte(strings.Repeat("\x00\x0b\x05\x07\x09\x08\x06\x03", 40)))
	f.Fuzz(func(t *testing.T, content []byte) {
		r := newRace(t, worldOf(&content))
		for len(content) > 0 {
			r.step()
		}
		r.settle()
	})
}
