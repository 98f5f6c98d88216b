package ebpf

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/fairlead-net/fairlead/internal/lb"
	"github.com/fairlead-net/fairlead/internal/reconcile"
)

const (
	// batch is how many frontends are written in one round of system calls.
	batch = 2048
	// maxReported bounds how many failed frontends one error names.
	maxReported = 5
)

// change is one frontend whose kernel state is to become entry; nil removes it.
type change struct {
	frontend lb.Frontend
	entry    *lb.Entry
	list     uint64 // number of the new list; 0 if entry has no backends
}

// write brings the pending frontends up to date, as far as it can. The error is
// a PartialError if all that failed is that single ones find no room.
func (p *Plane) write(ctx context.Context, want lb.Table) error {
	var failed []error
	round := make([]change, 0, min(batch, len(p.pending)))
	flush := func() {
		failed = append(failed, p.writeRound(round)...)
		round = round[:0]
	}
	for f := range p.pending {
		if err := ctx.Err(); err != nil {
			return err
		}
		c, needed := p.plan(f, want)
		if !needed {
			continue
		}
		round = append(round, c)
		if len(round) == batch {
			flush()
		}
	}
	flush()
	// Other failures are of the maps themselves: what comes next would fail too.
	graver := slices.ContainsFunc(failed, func(err error) bool { return !errors.Is(err, unix.E2BIG) })
	if len(failed) > maxReported {
		failed = append(failed[:maxReported], fmt.Errorf("and %d more", len(failed)-maxReported))
	}
	if graver {
		return errors.Join(failed...)
	}
	return reconcile.Partial(failed...)
}

// plan decides what to do about a pending frontend, if anything.
func (p *Plane) plan(f lb.Frontend, want lb.Table) (change, bool) {
	entry, wanted := want.Entries.Get(f)
	have, exists := p.known[f]
	switch {
	case wanted && !handles(f), !wanted && !exists:
		delete(p.pending, f)
		return change{}, false
	case !wanted && !want.Synced:
		return change{}, false
	case wanted && exists && have.entry != nil && alike(have.entry, entry):
		p.known[f] = known{list: have.list, entry: entry}
		delete(p.pending, f)
		return change{}, false
	}
	c := change{frontend: f, entry: entry}
	if wanted && len(entry.Backends) > 0 && !leaves(entry) {
		c.list = p.next
		p.next++
	}
	return c, true
}

// writeRound writes changes in the order that keeps every frontend's list
// whole: new lists, frontends, removal of frontends, removal of old lists.
func (p *Plane) writeRound(changes []change) []error {
	if len(changes) == 0 {
		return nil
	}
	ready, failed := each(changes, p.putLists)
	if err := p.done("lists"); err != nil {
		p.sweep = true
		return append(failed, err)
	}
	set, gone := split(ready)
	set, errs := each(set, p.putFrontends)
	failed = append(failed, errs...)
	gone, errs = each(gone, p.deleteFrontends)
	failed = append(failed, errs...)
	old := p.commit(set, gone)
	if err := p.done("frontends"); err != nil {
		p.sweep = true
		return append(failed, err)
	}
	if err := p.deleteLists(old); err != nil {
		p.sweep = true
		failed = append(failed, err)
	}
	if err := p.done("old"); err != nil {
		failed = append(failed, err)
	}
	return failed
}

// each calls do for all changes at once and, should that fail, for one at a
// time, so that a frontend that fails does not keep the others from being
// written. It returns the changes that were made.
func each(changes []change, do func([]change) error) (made []change, failed []error) {
	if len(changes) == 0 || do(changes) == nil {
		return changes, nil
	}
	for i := range changes {
		if err := do(changes[i : i+1]); err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", changes[i].frontend, err))
			continue
		}
		made = append(made, changes[i])
	}
	return made, failed
}

func split(changes []change) (set, gone []change) {
	for _, c := range changes {
		if c.entry == nil {
			gone = append(gone, c)
		} else {
			set = append(set, c)
		}
	}
	return set, gone
}

// putLists writes new lists, or none of them.
func (p *Plane) putLists(changes []change) error {
	var slots []socketSlot
	var backends []socketEndpoint
	var members []socketMember
	for _, c := range changes {
		if c.list == 0 {
			continue
		}
		keys, values := slotsOf(c.list, c.frontend.Protocol, c.entry)
		slots, backends = append(slots, keys...), append(backends, values...)
		members = append(members, membersOf(c.list, c.frontend.Protocol, c.entry)...)
	}
	err := p.update(socketMapBackends, slots, backends, len(slots))
	if err == nil {
		err = p.update(socketMapMembers, members, make([]uint32, len(members)), len(members))
	}
	if err != nil {
		err = errors.Join(err, p.deleteKeys(slots, members))
	}
	return err
}

func (p *Plane) putFrontends(changes []change) error {
	keys := make([]socketEndpoint, len(changes))
	values := make([]socketFrontend, len(changes))
	for i, c := range changes {
		keys[i], values[i] = keyOf(c.frontend), valueOf(c.entry, c.list)
	}
	err := p.update(socketMapFrontends, keys, values, len(keys))
	if err != nil && len(changes) == 1 {
		// The list stays unnamed.
		p.sweep = true
	}
	return err
}

func (p *Plane) deleteFrontends(changes []change) error {
	keys := make([]socketEndpoint, len(changes))
	for i, c := range changes {
		keys[i] = keyOf(c.frontend)
	}
	return deleteAll(p.maps[socketMapFrontends], keys)
}

// oldList is a list that nothing names any more.
type oldList struct {
	frontend lb.Frontend
	known
}

// commit notes what the kernel now holds and returns the lists it no longer
// needs.
func (p *Plane) commit(set, gone []change) []oldList {
	var old []oldList
	release := false
	for _, c := range slices.Concat(set, gone) {
		if have, ok := p.known[c.frontend]; ok && have.list != 0 {
			release = release || c.loses(have)
			old = append(old, oldList{frontend: c.frontend, known: have})
		}
		delete(p.pending, c.frontend)
	}
	for _, c := range set {
		p.known[c.frontend] = known{list: c.list, entry: c.entry}
	}
	for _, c := range gone {
		delete(p.known, c.frontend)
	}
	if release {
		p.releaser.release()
	}
	return old
}

func (p *Plane) deleteLists(old []oldList) error {
	var slots []socketSlot
	var members []socketMember
	for _, o := range old {
		if o.entry == nil {
			p.sweep = true
			continue
		}
		keys, _ := slotsOf(o.list, o.frontend.Protocol, o.entry)
		slots = append(slots, keys...)
		members = append(members, membersOf(o.list, o.frontend.Protocol, o.entry)...)
	}
	return p.deleteKeys(slots, members)
}

func (p *Plane) deleteKeys(slots []socketSlot, members []socketMember) error {
	if err := deleteAll(p.maps[socketMapBackends], slots); err != nil {
		return fmt.Errorf("deleting an old list of backends: %w", err)
	}
	if err := deleteAll(p.maps[socketMapMembers], members); err != nil {
		return fmt.Errorf("deleting an old list of members: %w", err)
	}
	return nil
}

// update writes keys to a map; n is their number.
func (p *Plane) update(name string, keys, values any, n int) error {
	if n == 0 {
		return nil
	}
	_, err := p.maps[name].BatchUpdate(keys, values, nil)
	if errors.Is(err, unix.E2BIG) {
		return fmt.Errorf("the BPF map %s is full at %d entries: raise %s: %w", name, p.maps[name].MaxEntries(), setting(name), err)
	}
	if err != nil {
		return fmt.Errorf("writing the BPF map %s: %w", name, err)
	}
	return nil
}

// setting returns the field of the configuration file that sizes a map.
func setting(name string) string {
	if name == socketMapFrontends {
		return "lb.maxFrontends"
	}
	return "lb.maxBackends"
}

// deleteAll deletes keys; absent ones are fine.
func deleteAll[K any](m *ebpf.Map, keys []K) error {
	for len(keys) > 0 {
		n, err := m.BatchDelete(keys, nil)
		if err == nil {
			return nil
		}
		if !errors.Is(err, ebpf.ErrKeyNotExist) {
			return err
		}
		keys = keys[min(n+1, len(keys)):]
	}
	return nil
}
