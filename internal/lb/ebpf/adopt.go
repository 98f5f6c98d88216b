package ebpf

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/cilium/ebpf"

	"github.com/fairlead-net/fairlead/internal/lb"
	"github.com/fairlead-net/fairlead/internal/lb/pin"
)

// chunk is how many entries are read in one system call.
const chunk = 4096

// adopt takes over what the maps hold. All of it is pending, so that the first
// Apply compares it with the wanted Table.
func (p *Plane) adopt() error {
	contents, err := readAll(p.maps)
	if err != nil {
		return err
	}
	if err := p.adoptAddresses(); err != nil {
		return err
	}
	p.known = contents.frontends
	p.next = contents.last + 1
	for f := range p.known {
		p.pending[f] = struct{}{}
	}
	p.sweep = true
	if len(p.known) > 0 {
		p.log.Info("adopted pinned maps", "frontends", len(p.known), "folder", p.folder)
	}
	return nil
}

// sweepLists deletes every list that no frontend names.
func (p *Plane) sweepLists() error {
	named := make(map[uint64]bool, len(p.known))
	for _, have := range p.known {
		named[have.list] = true
	}
	var slots []socketSlot
	err := forEach(p.maps[socketMapBackends], func(key socketSlot, _ socketEndpoint) {
		if !named[key.List] {
			slots = append(slots, key)
		}
	})
	var members []socketMember
	if err == nil {
		err = forEach(p.maps[socketMapMembers], func(key socketMember, _ uint32) {
			if !named[key.List] {
				members = append(members, key)
			}
		})
	}
	if err != nil {
		return err
	}
	return p.deleteKeys(slots, members)
}

// contents is what the maps hold.
type contents struct {
	frontends map[lb.Frontend]known
	last      uint64 // the highest number of any list
}

// list gathers the slots of a list.
type list struct {
	backends []netip.AddrPort
	seen     int // slots that were found
	members  int
}

// readAll reads the maps back. A frontend whose list is not whole is known
// without its Entry.
func readAll(from pin.Maps) (contents, error) {
	values := map[lb.Frontend]socketFrontend{}
	lists := map[uint64]*list{}
	c := contents{frontends: map[lb.Frontend]known{}}
	err := forEach(from[socketMapFrontends], func(key socketEndpoint, value socketFrontend) {
		values[key.frontend()] = value
		if value.List != 0 {
			// No list is longer than its map, whatever a broken value says.
			count := min(value.Count, from[socketMapBackends].MaxEntries())
			lists[value.List] = &list{backends: make([]netip.AddrPort, count)}
		}
		c.last = max(c.last, value.List)
	})
	if err != nil {
		return c, err
	}
	err = forEach(from[socketMapBackends], func(key socketSlot, value socketEndpoint) {
		if l := lists[key.List]; l != nil && int(key.Number) < len(l.backends) {
			l.backends[key.Number] = value.addrPort()
			l.seen++
		}
		c.last = max(c.last, key.List)
	})
	if err != nil {
		return c, err
	}
	err = forEach(from[socketMapMembers], func(key socketMember, _ uint32) {
		if l := lists[key.List]; l != nil {
			l.members++
		}
		c.last = max(c.last, key.List)
	})
	for f, value := range values {
		c.frontends[f] = value.known(f, lists[value.List])
	}
	return c, err
}

// known returns what a frontend's value and list say together.
func (v socketFrontend) known(f lb.Frontend, l *list) known {
	k := known{list: v.List}
	switch {
	case v.Count == 0 && v.List == 0:
		k.entry = v.entry(nil)
	case l != nil && l.seen == int(v.Count) && v.Count > 0:
		entry := v.entry(l.backends)
		if !hasMembers(f.Protocol, entry) || l.members == l.seen {
			k.entry = entry
		}
	}
	return k
}

// forEach visits every entry of a hash map, with few system calls.
func forEach[K, V any](m *ebpf.Map, visit func(K, V)) error {
	keys, values := make([]K, chunk), make([]V, chunk)
	var cursor ebpf.MapBatchCursor
	for {
		n, err := m.BatchLookup(&cursor, keys, values, nil)
		if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("reading %s back: %w", m, err)
		}
		for i := range n {
			visit(keys[i], values[i])
		}
		if err != nil {
			return nil
		}
	}
}
