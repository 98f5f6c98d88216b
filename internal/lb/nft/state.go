package nft

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/fairlead-net/fairlead/internal/lb"
	"github.com/fairlead-net/fairlead/internal/pmap"
)

// state is what the table in the kernel holds. A transaction is made from what
// it holds and what is wanted; when the kernel has taken it, the state follows.
type state struct {
	entries pmap.Map[lb.Frontend, *lb.Entry]
	orders  map[lb.Frontend]order
	// picks are the chains that exist, with the number of frontends that use each.
	picks      map[pick]int
	unused     int // picks that nobody uses
	clusterIPs pmap.Map[netip.Addr, int]
	local      pmap.Map[netip.Addr, int]
	node       []netip.Addr
	uplinks    []string
	ranges     []netip.Prefix
}

func emptyState() *state {
	return &state{orders: map[lb.Frontend]order{}, picks: map[pick]int{}}
}

// manyUnused is how many unused chains may stay. One that went with its last
// user could be missed by a packet that is on its way to it.
const manyUnused = 64

// update is a transaction in the making, and what the state becomes by it.
type update struct {
	*transaction
	edits *edits
	have  *state
	want  lb.Table
	// changed are the frontends that differ, with what becomes of them.
	changed map[lb.Frontend]changed
	picks   map[pick]int  // what is added to the number of users
	fresh   []pick        // chains that come
	drop    []pick        // chains that go
	wrong   error         // Entries that cannot be written
	left    []lb.Frontend // that stay as they are, though they differ
}

type changed struct {
	old, now *lb.Entry
	order    order
}

// newUpdate makes the messages that lead from have to want. Frontends in skip
// stay as they are, those in alone get messages of their own.
func newUpdate(t *transaction, have *state, want lb.Table, skip, alone map[lb.Frontend]bool) *update {
	u := &update{
		transaction: t, edits: newEdits(alone), have: have, want: want,
		changed: map[lb.Frontend]changed{}, picks: map[pick]int{},
	}
	u.edits.spoil = t.spoil
	u.addresses()
	for c := range pmap.Diff(have.entries, want.Entries) {
		if skip[c.Key] {
			u.left = append(u.left, c.Key)
			continue
		}
		u.entry(c.Key, c.Old, c.New)
	}
	u.chains()
	u.strays()
	u.edits.write(t)
	return u
}

// empty tells whether nothing has to be done.
func (u *update) empty() bool { return u.count == 1 }

// addresses writes what is not about a single frontend.
func (u *update) addresses() {
	for c := range pmap.Diff(u.have.clusterIPs, u.want.ClusterIPs) {
		u.toggle(u.layout.of(c.Key).clusterIPs, c.Key.AsSlice(), c.HasOld, c.HasNew)
	}
	for c := range pmap.Diff(u.have.local, u.want.LocalBackends) {
		f := u.layout.of(c.Key)
		u.toggle(f.local, c.Key.AsSlice(), c.HasOld, c.HasNew)
		u.toggle(f.hairpin, append(c.Key.AsSlice(), c.Key.AsSlice()...), c.HasOld, c.HasNew)
	}
	each := func(s func(netip.Addr) set, from, to []netip.Addr, has, will bool) {
		for _, a := range from {
			if !slices.Contains(to, a) {
				u.toggle(s(a), a.AsSlice(), has, will)
			}
		}
	}
	node := func(a netip.Addr) set { return u.layout.of(a).node }
	each(node, u.have.node, u.want.NodeAddresses, true, false)
	each(node, u.want.NodeAddresses, u.have.node, false, true)
	for _, name := range u.have.uplinks {
		u.toggle(u.layout.uplinks, interfaceKey(name), true, slices.Contains(u.want.Uplinks, name))
	}
	for _, name := range u.want.Uplinks {
		u.toggle(u.layout.uplinks, interfaceKey(name), slices.Contains(u.have.uplinks, name), true)
	}
	if !slices.Equal(u.have.ranges, u.want.ServiceCIDRs) {
		u.setRanges(u.want.ServiceCIDRs)
	}
}

func interfaceKey(name string) []byte {
	key := make([]byte, unix.IFNAMSIZ)
	copy(key[:unix.IFNAMSIZ-1], name)
	return key
}

func (u *update) toggle(s set, key []byte, has, will bool) {
	switch {
	case has && !will:
		u.edits.put(u.edits.remove, element{set: s.name, key: key}, nil)
	case will && !has:
		u.put(element{set: s.name, key: key}, nil)
	}
}

// put adds an element; one that is there with other data is removed first.
func (u *update) put(x element, owner *lb.Frontend) {
	data, there := u.present[keyOf(x)]
	if there {
		delete(u.present, keyOf(x))
		if data == string(x.data) {
			return
		}
		u.edits.put(u.edits.remove, element{set: x.set, key: x.key, end: x.end}, nil)
	}
	u.edits.put(u.edits.add, x, owner)
}

// strays removes elements that are there and that nobody wants.
func (u *update) strays() {
	for k := range u.present {
		x := element{set: k.set, key: []byte(k.key)}
		if k.end != "" {
			x.end = []byte(k.end)
		}
		u.edits.put(u.edits.remove, x, nil)
	}
}

// entry writes the difference between two Entries of a frontend, of which one
// may be nil.
func (u *update) entry(f lb.Frontend, old, now *lb.Entry) {
	if now != nil {
		if err := problem(f, now); err != nil {
			u.left = append(u.left, f)
			u.wrong = errors.Join(u.wrong, fmt.Errorf("%s of Service %s is left as it was: %w", f, now.Service, err))
			return
		}
	}
	c := changed{old: old, now: now}
	if now != nil {
		c.order = arrangeEntry(u.have.orders[f], now)
		for _, p := range picks(f, now) {
			u.picks[p]++
		}
	}
	u.changed[f] = c
	if old == nil {
		u.layout.elements(f, now, c.order, func(x element) { u.put(x, &f) })
		return
	}
	for _, p := range picks(f, old) {
		u.picks[p]--
	}
	had := map[elementKey]string{}
	u.layout.elements(f, old, u.have.orders[f], func(x element) {
		had[keyOf(x)] = string(x.data)
	})
	if now != nil {
		u.layout.elements(f, now, c.order, func(x element) {
			k := keyOf(x)
			data, has := had[k]
			if has && data == string(x.data) {
				delete(had, k)
				return
			}
			// An element that is there with other data is removed first.
			u.edits.put(u.edits.add, x, &f)
		})
	}
	for k := range had {
		x := element{set: k.set, key: []byte(k.key)}
		if k.end != "" {
			x.end = []byte(k.end)
		}
		u.edits.put(u.edits.remove, x, &f)
	}
}

// chains makes the chains that are used now, and removes some that long are not.
func (u *update) chains() {
	for p, n := range u.picks {
		if _, exists := u.have.picks[p]; !exists && n > 0 {
			u.fresh = append(u.fresh, p)
			u.addPick(p)
			u.elements(unix.NFT_MSG_NEWSETELEM, u.familyOf(p).actions.name, p.verdict(), nil)
		}
	}
	if u.have.unused <= manyUnused {
		return
	}
	for p, users := range u.have.picks {
		if users > 0 || u.picks[p] > 0 {
			continue
		}
		u.drop = append(u.drop, p)
		var list attributes
		list.nested(unix.NFTA_LIST_ELEM, func(a *attributes) { a.value(unix.NFTA_SET_ELEM_KEY, p.action().key()) })
		u.elements(unix.NFT_MSG_DELSETELEM, u.familyOf(p).actions.name, list, nil)
		u.deleteRules(p.chain())
		u.deleteChain(p.chain())
	}
}

// verdict is the element of the map of actions that leads to the pick's chain.
func (p pick) verdict() attributes {
	var list attributes
	list.verdictElement(p.action(), unix.NFT_GOTO, p.chain())
	return list
}

func (t *transaction) familyOf(p pick) *family {
	if p.six {
		return t.layout.families[1]
	}
	return t.layout.families[0]
}

// verdictElement writes an element of a map of actions.
func (a *attributes) verdictElement(key action, code int32, chain string) {
	a.nested(unix.NFTA_LIST_ELEM, func(a *attributes) {
		a.value(unix.NFTA_SET_ELEM_KEY, key.key())
		a.nested(unix.NFTA_SET_ELEM_DATA, func(a *attributes) { a.verdict(code, chain) })
	})
}

// done makes the state follow, once the kernel has taken the transaction.
func (u *update) done() {
	h := u.have
	for f, c := range u.changed {
		delete(h.orders, f)
		if c.now != nil && len(c.order.inside)+len(c.order.outside) > 0 {
			h.orders[f] = c.order
		}
	}
	// What is wanted is what is there; starting from it keeps the next difference small.
	entries := u.want.Entries.Edit()
	for _, f := range u.left {
		if old, has := h.entries.Get(f); has {
			entries.Set(f, old)
		} else {
			entries.Delete(f)
		}
	}
	h.entries = entries.Map()
	for p, n := range u.picks {
		if _, exists := h.picks[p]; exists || n > 0 {
			h.picks[p] += n
		}
	}
	for _, p := range u.drop {
		delete(h.picks, p)
	}
	h.unused = 0
	for _, users := range h.picks {
		if users == 0 {
			h.unused++
		}
	}
	h.clusterIPs, h.local = u.want.ClusterIPs, u.want.LocalBackends
	h.node, h.uplinks, h.ranges = slices.Clone(u.want.NodeAddresses), slices.Clone(u.want.Uplinks), slices.Clone(u.want.ServiceCIDRs)
}

// union returns want with all that the kernel has besides.
func (s *state) union(want lb.Table) lb.Table {
	want.Entries = union(s.entries, want.Entries)
	want.ClusterIPs = union(s.clusterIPs, want.ClusterIPs)
	want.LocalBackends = union(s.local, want.LocalBackends)
	for _, r := range s.ranges {
		if !slices.Contains(want.ServiceCIDRs, r) {
			want.ServiceCIDRs = append(slices.Clip(want.ServiceCIDRs), r)
		}
	}
	return want
}

func union[K, V comparable](have, want pmap.Map[K, V]) pmap.Map[K, V] {
	edit := want.Edit()
	for c := range pmap.Diff(have, want) {
		if !c.HasNew {
			edit.Set(c.Key, c.Old)
		}
	}
	return edit.Map()
}

// expected returns how many rules the table must have.
func (s *state) expected(l *layout, dropInvalid bool) int {
	t := newTransaction(l)
	t.addChains(dropInvalid)
	t.setRanges(s.ranges)
	for p := range maps.Keys(s.picks) {
		t.addPick(p)
	}
	return t.rules
}
