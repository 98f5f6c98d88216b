package desired

import (
	"slices"

	"github.com/fairlead-net/fairlead/internal/pmap"
)

// join brings together objects of one kind with the slices that belong to them.
type join struct {
	of *pmap.Editor[Name, *Service]
	// slicesOf lists the slices that belong to an object, which need not exist.
	slicesOf *pmap.Editor[Name, *sliceList]
	// dirty are those whose slices changed; fresh says that there was no object.
	dirty map[Name]bool
	fresh bool
}

func newJoin(of pmap.Map[Name, *Service], slicesOf pmap.Map[Name, *sliceList], objects pmap.Map[Name, *Service]) join {
	return join{of: of.Edit(), slicesOf: slicesOf.Edit(), dirty: map[Name]bool{}, fresh: objects.Len() == 0}
}

// sliceList holds slices sorted by name; it is never changed.
type sliceList struct{ slices []*Slice }

// slice takes in one added, changed or removed slice; owner tells to which object
// one belongs.
func (j *join) slice(c pmap.Change[Name, *Slice], owner func(*Slice) Name) {
	var old, now Name
	if c.HasOld {
		old = owner(c.Old)
	}
	if c.HasNew {
		now = owner(c.New)
	}
	if old != now {
		j.relist(old, c.Key, nil)
	}
	j.relist(now, c.Key, c.New)
}

// relist replaces the slice of this name in the list of an object by now, which
// may be nil.
func (j *join) relist(owner, name Name, now *Slice) {
	if owner == (Name{}) {
		return
	}
	if !j.fresh { // else every object there is will be new
		j.dirty[owner] = true
	}
	var old []*Slice
	if list, _ := j.slicesOf.Get(owner); list != nil {
		old = list.slices
	}
	i, found := slices.BinarySearchFunc(old, name, func(s *Slice, n Name) int { return s.Name.Compare(n) })
	rest := old[i:]
	if found {
		rest = rest[1:]
	}
	next := append(make([]*Slice, 0, len(old)+1), old[:i]...)
	if now != nil {
		next = append(next, now)
	}
	if next = append(next, rest...); len(next) == 0 {
		j.slicesOf.Delete(owner)
		return
	}
	j.slicesOf.Set(owner, &sliceList{next})
}

// put sets an object unless it is the same as before.
func (j *join) put(now *Service) {
	if old, had := j.of.Get(now.Name); !had || !old.equal(now) {
		j.of.Set(now.Name, now)
	}
}
