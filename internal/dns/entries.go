package dns

import (
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"slices"

	"github.com/fairlead-net/fairlead/internal/pmap"
)

// Entry is what a Table says of a name that decides about all names below it: a
// Service's, a namespace's, or a label in front of the cluster domain. What ends in
// svc and has no entry for its Service, or for its namespace if nothing is in front
// of that, does not exist, nor does what ends in another label that has no entry.
// An entry says nothing of what is below it.
type Entry struct {
	// Name is relative to the cluster domain, in wire form without its end.
	Name string
	// Left is set if more than addresses is to be known of the name, or if it does
	// not exist; then only Answer knows.
	Left bool
	// Addresses are all that the name has, of both families; of a name that has
	// none there is no data.
	Addresses []netip.Addr
}

// equal reports whether two entries say the same.
func (e Entry) equal(other Entry) bool {
	return e.Name == other.Name && e.Left == other.Left && slices.Equal(e.Addresses, other.Addresses)
}

// Entries yields how the entries of a Table differ from those of an earlier one:
// entries that are new or say something else, and false, and those that are gone,
// and true. The cost is that of the change. Both Tables have to be Indexable or
// zero, and make SameEntries.
func (t Table) Entries(since Table) iter.Seq2[Entry, bool] {
	return func(yield func(Entry, bool) bool) {
		if since.config.Domain == "" {
			for _, label := range ownLabels {
				name, _ := appendLabels(nil, label)
				if !yield(Entry{Name: string(name), Left: label != "svc"}, false) {
					return
				}
			}
		}
		for change := range pmap.Diff(since.namespaces, t.namespaces) {
			name, ok := appendLabels(nil, change.Key+".svc")
			if ok && change.HasOld != change.HasNew && !yield(Entry{Name: string(name)}, !change.HasNew) {
				return
			}
		}
		for change := range pmap.Diff(since.services, t.services) {
			name, ok := appendLabels(nil, change.Key.Name+"."+change.Key.Namespace+".svc")
			if !ok {
				continue // nobody can ask for it
			}
			before, now := t.entry(string(name), change.Old), t.entry(string(name), change.New)
			if change.HasOld && change.HasNew && before.equal(now) {
				continue
			}
			if !yield(now, !change.HasNew) {
				return
			}
		}
	}
}

// ownLabels are those in front of the cluster domain below which there are names,
// and those that the SOA record of negative answers has there: it would be
// written another way for these.
var ownLabels = [...]string{"svc", "pod", "dns", "dns-version", "hostmaster"}

// entry returns the entry of a Service; nil is none.
func (t *Table) entry(name string, s *service) Entry {
	if s == nil {
		return Entry{Name: name}
	}
	n := s.find(nil, &t.config)
	switch {
	case n.kind != whole || n.target != "":
		return Entry{Name: name, Left: true}
	case !n.listed:
		return Entry{Name: name, Addresses: n.addresses}
	case s.repeated:
		return Entry{Name: name, Left: true}
	}
	e := Entry{Name: name}
	for _, at := range n.endpoints {
		_, endpoint := s.at(at)
		e.Addresses = append(e.Addresses, endpoint.Address)
	}
	return e
}

// Indexable returns nil if entries say all there is to say of which names exist,
// else why they do not.
func (t Table) Indexable() error {
	switch {
	case t.config.Domain == "":
		return errors.New("there are no names yet")
	case t.config.filters():
		return errors.New("the names of some namespaces are left out")
	case len(t.config.Fallthrough) > 0:
		return errors.New("other servers are asked for names that do not exist (dns.fallthrough)")
	}
	for i := range t.zones {
		if z := &t.zones[i]; z.kind != clusterZone {
			if _, inside := below(z.domain, t.config.Domain); inside {
				return fmt.Errorf("zone %s lies in the cluster domain", z.domain)
			}
		}
	}
	return nil
}

// SameEntries reports whether both Tables make entries by the same rules. The zero
// Table makes none.
func (t Table) SameEntries(other Table) bool {
	a, b := &t.config, &other.config
	return a.Domain == "" || b.Domain == "" || a.TTL == b.TTL && a.IgnoreEmpty == b.IgnoreEmpty && a.Zonal == b.Zonal && a.sameIndex(*b)
}
