package uplink

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/lb"
	"github.com/fairlead-net/fairlead/internal/lb/pin"
)

// maxReported bounds how many failed frontends one error names.
const maxReported = 5

// unfit says why the maps have no room for a frontend: nftables serves it.
type unfit string

// Error implements error.
func (u unfit) Error() string { return string(u) }

func (p *Plane) allPending() {
	for f := range p.applied.Entries.All() {
		p.pending[f] = struct{}{}
	}
	for f := range p.known {
		p.pending[f] = struct{}{}
	}
}

// write brings the pending frontends up to date, as far as it can. What finds no
// room is no error; it is tried again when there may be some.
func (p *Plane) write(ctx context.Context) error {
	p.freed, p.leaked = false, nil
	err := p.writePending(ctx)
	if err == nil && p.freed && len(p.waiting) > 0 {
		maps.Copy(p.pending, p.waiting)
		err = p.writePending(ctx)
	}
	return errors.Join(err, p.leaked)
}

func (p *Plane) writePending(ctx context.Context) error {
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
	delete(p.waiting, f)
	var want content
	if ok {
		var why string
		if want, why = p.wanted(f, entry); why != "" && entry.Kind != lb.ClusterIP {
			p.left[f] = why
		}
	}
	err := p.change(f, have, want)
	var no unfit
	if errors.As(err, &no) {
		p.left[f], p.waiting[f] = no.Error(), struct{}{}
		err = p.retreat(f, want)
	} else if err != nil {
		err = errors.Join(err, p.retreat(f, want))
	}
	if err == nil {
		delete(p.pending, f)
	}
	return err
}

// retreat leaves a frontend to nftables that could not be written: better than
// to go on with endpoints that may be gone.
func (p *Plane) retreat(f lb.Frontend, want content) error {
	have := p.known[f]
	err := p.change(f, have, p.leftOver(f, want.accepts))
	if err == nil {
		return nil
	}
	if gone := p.change(f, have, content{}); gone != nil {
		return errors.Join(err, gone)
	}
	var no unfit
	if errors.As(err, &no) && len(want.accepts) == 0 {
		return nil
	}
	// Other nodes send clients here, whom nftables cannot answer for them.
	return err
}

// change makes the programs know want of a frontend of which they know have.
func (p *Plane) change(f lb.Frontend, have known, want content) error {
	// What was found without whole slots is something, though nothing is known of it.
	if _, exists := p.known[f]; exists != want.none() && have.content.equal(want) {
		return nil
	}
	if want.none() {
		if err := deleteKey(p.maps[packetsMapFrontends], keyOf(f)); err != nil {
			return fmt.Errorf("removing it: %w", err)
		}
		delete(p.known, f)
	} else if err := p.put(f, want); err != nil {
		return err
	}
	p.freed = p.freed || !have.none()
	// What cannot be freed keeps nothing from being served, and is swept away after
	// a restart.
	if err := p.discard(f, have); err != nil {
		p.leaked = fmt.Errorf("%s: %w", f, err)
	}
	return nil
}

// put writes a new list, then the frontend that names it.
func (p *Plane) put(f lb.Frontend, want content) error {
	frontends := p.maps[packetsMapFrontends]
	if _, exists := p.known[f]; !exists && len(p.known) >= int(frontends.MaxEntries()) {
		return full(packetsMapFrontends, p.maps, unix.E2BIG)
	}
	fresh := known{list: p.next, content: want}
	p.next++
	err := p.putList(f, &fresh)
	if err == nil {
		s := fresh.span
		value := packetsFrontend{List: fresh.list, Page: s.page, Offset: s.offset, Slots: s.slots, Flags: want.flags}
		if err = frontends.Put(keyOf(f), value); err == nil {
			p.known[f] = fresh
			return nil
		}
		err = full(packetsMapFrontends, p.maps, err)
	}
	if left := p.discard(f, fresh); left != nil {
		return left
	}
	return err
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
	if len(addresses) == 0 {
		return nil
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

// membersOf returns the keys of a list in the members map: UDP asks whether a
// backend is in a list, and direct return whether an endpoint here is.
func membersOf(f lb.Frontend, list known) []packetsMember {
	members := list.accepts
	if f.Protocol == desired.UDP {
		members = nil
		for _, t := range list.backends {
			members = append(members, t.at)
		}
	}
	keys := make([]packetsMember, len(members))
	for i, at := range members {
		keys[i] = packetsMember{List: list.list, Backend: endpointOf(at, f.Protocol)}
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

// full explains that a map has no room, as an unfit; any other error as it is.
func full(name string, in pin.Maps, err error) error {
	if errors.Is(err, unix.E2BIG) {
		return unfit(fmt.Sprintf("the BPF map %s is full at %d entries; raise %s", name, in[name].MaxEntries(), setting(name)))
	}
	return fmt.Errorf("writing the BPF map %s: %w", name, err)
}

// setting returns the field of the configuration file that sizes a map.
func setting(name string) string {
	if name == packetsMapFrontends {
		return "lb.maxFrontends"
	}
	return "lb.maxBackends"
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
