package uplink

import (
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"

	"github.com/cilium/ebpf"

	"github.com/fairlead-net/fairlead/internal/desired"
)

// chunk is how many entries are read in one system call.
const chunk = 4096

// adopt takes over what the maps hold. All of it is pending, so that the first
// Apply compares it with the wanted Table.
func (p *Plane) adopt() error {
	p.nodes, p.sources = map[packetsAddress]uint32{}, map[uint32]packetsUplink{}
	p.targets = targets{in: p.maps[packetsMapBackends], number: map[target]uint32{}, held: map[target]int{}, taken: map[uint32]bool{}}
	p.members = map[packetsMember]bool{}
	byNumber := map[uint32]target{}
	values := map[packetsEndpoint]packetsFrontend{}
	err := errors.Join(
		forEach(p.maps[packetsMapNodes], func(key packetsAddress, value uint32) { p.nodes[key] = value }),
		forEach(p.maps[packetsMapUplinks], func(key uint32, value packetsUplink) { p.sources[key] = value }),
		forEach(p.maps[packetsMapFrontends], func(key packetsEndpoint, value packetsFrontend) { values[key] = value }),
		forEach(p.maps[packetsMapMembers], func(key packetsMember, _ uint32) {
			p.members[key] = true
			p.next = max(p.next, key.List)
		}),
		forEach(p.maps[packetsMapBackends], func(key uint32, value packetsBackend) {
			byNumber[key] = value.target()
			p.targets.number[value.target()], p.targets.taken[key] = key, true
			p.targets.next = max(p.targets.next, key+1)
		}),
	)
	if err != nil {
		return err
	}
	slots := make([][]uint32, len(p.pages.all))
	for i := range slots {
		if slots[i], err = p.pages.read(i); err != nil {
			return err
		}
	}
	for key, value := range values {
		f := key.frontend()
		p.known[f] = p.knownOf(value, slots, byNumber)
		p.pending[f] = struct{}{}
		p.next = max(p.next, value.List)
	}
	p.next++
	p.adoptMembers()
	if len(p.known) > 0 {
		p.log.Info("adopted pinned maps", "frontends", len(p.known), "folder", p.folder)
	}
	return nil
}

// knownOf returns what a frontend's value and slots say together. Slots are
// written before they are named, so it is enough to see which backends occur.
func (p *Plane) knownOf(value packetsFrontend, slots [][]uint32, byNumber map[uint32]target) known {
	k := known{list: value.List, content: content{flags: value.Flags}, span: span{page: value.Page, offset: value.Offset, slots: value.Slots}}
	if !p.pages.reserve(k.span) {
		k.span = span{}
		return k
	}
	seen := map[uint32]bool{}
	for _, number := range slots[k.span.page][k.span.offset:k.span.end()] {
		seen[number] = true
	}
	for number := range seen {
		t, ok := byNumber[number]
		if !ok {
			k.backends = nil
			return k
		}
		k.backends = append(k.backends, t)
	}
	slices.SortFunc(k.backends, func(a, b target) int { return a.at.Compare(b.at) })
	for _, t := range k.backends {
		p.targets.held[t]++
	}
	return k
}

// adoptMembers gives lists the members that were found. A list that lacks some
// is written anew.
func (p *Plane) adoptMembers() {
	accepts := map[uint64][]netip.AddrPort{}
	for key := range p.members {
		accepts[key.List] = append(accepts[key.List], key.Backend.addrPort())
	}
	for f, k := range p.known {
		if f.Protocol != desired.UDP {
			k.accepts = accepts[k.list]
			slices.SortFunc(k.accepts, netip.AddrPort.Compare)
		}
		for _, key := range membersOf(f, k) {
			if !p.members[key] {
				k.flags = ^uint32(0)
			}
		}
		p.known[f] = k
	}
	for f, k := range p.known {
		for _, key := range membersOf(f, k) {
			delete(p.members, key)
		}
	}
}

// sweepLists deletes what nothing names.
func (p *Plane) sweepLists() error {
	for key := range p.members {
		if err := deleteKey(p.maps[packetsMapMembers], key); err != nil {
			return fmt.Errorf("deleting what an earlier process left: %w", err)
		}
	}
	p.members = nil
	var left []target
	for t := range p.targets.number {
		if p.targets.held[t] == 0 {
			left = append(left, t)
		}
	}
	for _, t := range left {
		if err := p.targets.drop(t); err != nil {
			return fmt.Errorf("deleting what an earlier process left: %w", err)
		}
	}
	return nil
}

// keepSizes makes the tables of flows as large as those that an earlier process
// left, which can then be taken over as they are: a copy would miss what changes
// meanwhile. Another size counts from the next boot on, or after Remove.
func (p *Plane) keepSizes(spec *ebpf.CollectionSpec, folders []string) {
	for _, folder := range folders {
		for _, name := range []string{packetsMapReplies, packetsMapFlows} {
			old, err := ebpf.LoadPinnedMap(filepath.Join(p.config.Directory, folder, name), &ebpf.LoadPinOptions{ReadOnly: true})
			if err != nil {
				continue // another process had begun to make it
			}
			if size := old.MaxEntries(); size != spec.Maps[name].MaxEntries {
				spec.Maps[name].MaxEntries = size
				p.otherSize = size
			}
			old.Close()
		}
	}
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
