package uplink

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/lb"
	"github.com/fairlead-net/fairlead/internal/lb/pin"
)

// maxReported bounds how many failed frontends one error names.
const maxReported = 5

// known is what the kernel holds for a frontend.
type known struct {
	list     uint64
	span     span
	flags    uint32
	backends []target // sorted; nil if its slots turned out not to be whole
}

// handles says why a frontend is left to nftables, whatever the node is like;
// empty if it is not.
func handles(f lb.Frontend, e *lb.Entry) string {
	switch {
	case e.Kind != lb.NodePort && e.Kind != lb.LoadBalancerIP && e.Kind != lb.ExternalIP:
		return "it is not for clients outside the cluster"
	case f.Protocol != desired.TCP && f.Protocol != desired.UDP:
		return "its protocol is neither TCP nor UDP"
	case e.Affinity > 0:
		return "it has session affinity"
	case e.Sources != nil:
		return "it has loadBalancerSourceRanges"
	case len(e.For(lb.Outside).Backends) == 0:
		return "it has no endpoints"
	case len(e.For(lb.Outside).Backends) > 1<<16:
		return "it has more than 65,536 endpoints"
	}
	return ""
}

func isLocal(e *lb.Entry, backend netip.AddrPort) bool {
	_, found := slices.BinarySearchFunc(e.Local, backend.Addr(), netip.Addr.Compare)
	return found
}

func nodeOf(e *lb.Entry, i int) string {
	if i < len(e.Nodes) {
		return e.Nodes[i]
	}
	return ""
}

// wanted returns what the kernel should hold for a frontend, and why nothing.
func (p *Plane) wanted(f lb.Frontend, e *lb.Entry) (flags uint32, backends []target, why string) {
	if why := handles(f, e); why != "" {
		return 0, nil, why
	}
	if p.applied.Options.DirectReturn && f.Protocol == desired.TCP {
		flags |= uint32(packetsFrontendFlagDIRECT)
	}
	for i, backend := range e.For(lb.Outside).Backends {
		local := isLocal(e, backend)
		backends = append(backends, target{at: backend, protocol: f.Protocol, local: local})
		if local || why != "" {
			continue
		}
		if p.noPorts != nil {
			why = p.noPorts.Error()
			continue
		}
		why = p.wayTo(backend.Addr(), nodeOf(e, i))
	}
	if why == "" {
		return flags, backends, ""
	}
	// Where an endpoint's node answers itself, it has to know the frontend, even
	// if it does not serve it.
	if flags&uint32(packetsFrontendFlagDIRECT) != 0 {
		return flags | uint32(packetsFrontendFlagPASSIVE), backends, why
	}
	return 0, nil, why
}

func (p *Plane) allPending() {
	for f := range p.applied.Entries.All() {
		p.pending[f] = struct{}{}
	}
	for f := range p.known {
		p.pending[f] = struct{}{}
	}
}

// write brings the pending frontends up to date, as far as it can.
func (p *Plane) write(ctx context.Context) error {
	var failed []error
	for f := range p.pending {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := p.writeFrontend(f); err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", f, err))
		}
	}
	if len(failed) > maxReported {
		failed = append(failed[:maxReported], fmt.Errorf("and %d more", len(failed)-maxReported))
	}
	return errors.Join(failed...)
}

// writeFrontend brings one frontend up to date.
func (p *Plane) writeFrontend(f lb.Frontend) error {
	have, exists := p.known[f]
	entry, ok := p.applied.Entries.Get(f)
	if !ok && exists && !p.applied.Synced {
		return nil
	}
	delete(p.left, f)
	var flags uint32
	var backends []target
	if ok {
		var why string
		if flags, backends, why = p.wanted(f, entry); why != "" && entry.Kind != lb.ClusterIP {
			p.left[f] = why
		}
	}
	switch {
	case backends == nil && exists:
		if err := deleteKey(p.maps[packetsMapFrontends], keyOf(f)); err != nil {
			return fmt.Errorf("removing it: %w", err)
		}
		delete(p.known, f)
		if err := p.discard(f, have); err != nil {
			return err
		}
	case backends == nil, exists && have.flags == flags && slices.Equal(have.backends, backends):
	default:
		if err := p.put(f, flags, backends); err != nil {
			return err
		}
	}
	delete(p.pending, f)
	return nil
}

// put writes a new list, then the frontend that names it, then frees the old one.
func (p *Plane) put(f lb.Frontend, flags uint32, backends []target) error {
	fresh := known{list: p.next, flags: flags, backends: backends}
	p.next++
	if err := p.putList(f, &fresh); err != nil {
		return errors.Join(err, p.discard(f, fresh))
	}
	if err := p.done("list"); err != nil {
		return err
	}
	s := fresh.span
	value := packetsFrontend{List: fresh.list, Page: s.page, Offset: s.offset, Slots: s.slots, Flags: flags}
	if err := p.maps[packetsMapFrontends].Put(keyOf(f), value); err != nil {
		return errors.Join(full(packetsMapFrontends, p.maps, err), p.discard(f, fresh))
	}
	have, exists := p.known[f]
	p.known[f] = fresh
	if err := p.done("frontend"); err != nil {
		return err
	}
	if exists {
		return p.discard(f, have)
	}
	return nil
}

// putList writes all that a frontend names.
func (p *Plane) putList(f lb.Frontend, list *known) error {
	addresses := make([]netip.AddrPort, len(list.backends))
	numbers := make([]uint32, len(list.backends))
	for i, t := range list.backends {
		number, err := p.targets.hold(t)
		if err != nil {
			list.backends = list.backends[:i]
			return full(packetsMapBackends, p.maps, err)
		}
		addresses[i], numbers[i] = t.at, number
	}
	for _, key := range membersOf(f, *list) {
		if err := p.maps[packetsMapMembers].Put(key, uint32(0)); err != nil {
			return full(packetsMapMembers, p.maps, err)
		}
	}
	choice := lb.Maglev(addresses)
	slots := make([]uint32, len(choice))
	for i, index := range choice {
		slots[i] = numbers[index]
	}
	var err error
	if list.span, err = p.pages.take(len(slots)); err != nil {
		return err
	}
	return p.pages.write(list.span, slots)
}

// discard frees what nothing names any more.
func (p *Plane) discard(f lb.Frontend, list known) error {
	var failed []error
	p.pages.free(list.span)
	for _, key := range membersOf(f, list) {
		failed = append(failed, deleteKey(p.maps[packetsMapMembers], key))
	}
	for _, t := range list.backends {
		failed = append(failed, p.targets.drop(t))
	}
	if err := errors.Join(failed...); err != nil {
		return fmt.Errorf("deleting an old list of backends: %w", err)
	}
	return nil
}

// membersOf returns the keys of a list in the members map: only UDP and direct
// return ask whether a backend is in a list.
func membersOf(f lb.Frontend, list known) []packetsMember {
	if f.Protocol != desired.UDP && list.flags&uint32(packetsFrontendFlagDIRECT) == 0 {
		return nil
	}
	keys := make([]packetsMember, len(list.backends))
	for i, t := range list.backends {
		keys[i] = packetsMember{List: list.list, Backend: endpointOf(t.at, t.protocol)}
	}
	return keys
}

// targets numbers the backends. A number names one backend for as long as a
// list has it, and is not used again for another soon after.
type targets struct {
	in     *ebpf.Map
	number map[target]uint32
	held   map[target]int // how many lists have it
	taken  map[uint32]bool
	next   uint32
}

// hold returns the number of a backend that one more list has.
func (t *targets) hold(backend target) (uint32, error) {
	if _, ok := t.number[backend]; !ok {
		for t.taken[t.next] {
			t.next++
		}
		if err := t.in.Put(t.next, backend.value()); err != nil {
			return 0, err
		}
		t.number[backend], t.taken[t.next] = t.next, true
		t.next++
	}
	t.held[backend]++
	return t.number[backend], nil
}

// drop tells that one list less has a backend.
func (t *targets) drop(backend target) error {
	if t.held[backend]--; t.held[backend] > 0 {
		return nil
	}
	number := t.number[backend]
	if err := deleteKey(t.in, number); err != nil {
		return err
	}
	delete(t.held, backend)
	delete(t.number, backend)
	delete(t.taken, number)
	return nil
}

// full explains that a map has no room.
func full(name string, in pin.Maps, err error) error {
	if errors.Is(err, unix.E2BIG) {
		return fmt.Errorf("the BPF map %s is full at %d entries: nftables serves what does not fit: %w", name, in[name].MaxEntries(), err)
	}
	return fmt.Errorf("writing the BPF map %s: %w", name, err)
}

// deleteKey deletes a key; an absent one is fine.
func deleteKey(m *ebpf.Map, key any) error {
	if err := m.Delete(key); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return err
	}
	return nil
}

// replace makes a map hold what is wanted, given what it has.
func replace[K, V comparable](m *ebpf.Map, have, wanted map[K]V, remove bool) error {
	for key, value := range wanted {
		if old, ok := have[key]; ok && old == value {
			continue
		}
		if err := m.Put(key, value); err != nil {
			return err
		}
		have[key] = value
	}
	for key := range have {
		if _, ok := wanted[key]; ok || !remove {
			continue
		}
		if err := deleteKey(m, key); err != nil {
			return err
		}
		delete(have, key)
	}
	return nil
}
