package nft

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math/bits"
	"net/netip"
	"os"
	"slices"
	"time"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/lb"
)

// Dump returns what the kernel has for each frontend, without the Services'
// names. It is an error if the maps contradict each other.
func (p *Plane) Dump() (map[lb.Frontend]*lb.Entry, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, os.ErrClosed
	}
	all := map[lb.Frontend]*lb.Entry{}
	for _, f := range p.layout.families {
		r := reader{plane: p, family: f, all: map[string][]kernelElement{}}
		if err := r.read(); err != nil {
			return nil, err
		}
		entries, err := r.entries()
		if err != nil {
			return nil, err
		}
		maps.Copy(all, entries)
	}
	return all, nil
}

// reader puts the maps of one family together.
type reader struct {
	plane  *Plane
	family *family
	all    map[string][]kernelElement
}

func (r *reader) read() error {
	f := r.family
	for _, s := range []set{f.inside, f.outside, f.backends, f.outsideBackends, f.members, f.outsideMembers, f.ids, f.outsideIDs, f.restricted, f.allowed} {
		err := r.plane.socket.readElements(r.plane.config.Table, s.name, func() { r.all[s.name] = nil }, func(x kernelElement) {
			r.all[s.name] = append(r.all[s.name], x.clone())
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *reader) entries() (map[lb.Frontend]*lb.Entry, error) {
	entries := map[lb.Frontend]*lb.Entry{}
	counts := map[lb.Frontend][2]uint32{}
	for i, s := range []set{r.family.inside, r.family.outside} {
		for _, x := range r.all[s.name] {
			f := r.frontend(x.key)
			a := action{binary.NativeEndian.Uint32(x.data[4:]), binary.NativeEndian.Uint32(x.data[8:])}
			c := counts[f]
			c[i] = a.what & maxBackends
			counts[f] = c
			if entries[f] == nil {
				entries[f] = &lb.Entry{}
			}
			choice := &entries[f].Choice
			if i == 1 {
				entries[f].Outside = &lb.Choice{}
				choice = entries[f].Outside
			}
			choice.Drop = a == silence()
			if c[i] > 0 {
				entries[f].Affinity = time.Duration(a.seconds) * time.Second
			}
		}
	}
	if err := r.lists(entries); err != nil {
		return nil, err
	}
	r.sources(entries)
	for f, e := range entries {
		c := counts[f]
		if len(e.Backends) != int(c[0]) || e.Outside != nil && len(e.Outside.Backends) != int(c[1]) {
			return nil, fmt.Errorf("%s: %d and %d backends are to be chosen from, but the maps have %v", f, c[0], c[1], e)
		}
	}
	return entries, nil
}

// lists reads the backends, by slot.
func (r *reader) lists(entries map[lb.Frontend]*lb.Entry) error {
	f := r.family
	size := words(f.inside.key) * bytesOfWord
	for i, s := range []set{f.backends, f.outsideBackends} {
		seen := map[lb.Frontend]map[uint32]bool{}
		for _, x := range r.all[s.name] {
			at := r.frontend(x.key)
			e := entries[at]
			if e == nil || i == 1 && e.Outside == nil {
				return fmt.Errorf("%s has backends of %s, which is not there", s.name, at)
			}
			choice := &e.Choice
			if i == 1 {
				choice = e.Outside
			}
			choice.Backends = append(choice.Backends, r.backend(x.data))
			if seen[at] == nil {
				seen[at] = map[uint32]bool{}
			}
			seen[at][binary.NativeEndian.Uint32(x.key[size:])] = true
		}
		for at, slots := range seen {
			for n := range len(slots) {
				if !slots[uint32(n)] {
					return fmt.Errorf("%s has no slot %d of %s", s.name, n, at)
				}
			}
		}
	}
	for _, e := range entries {
		slices.SortFunc(e.Backends, netip.AddrPort.Compare)
		if e.Outside != nil {
			slices.SortFunc(e.Outside.Backends, netip.AddrPort.Compare)
		}
	}
	return nil
}

func (r *reader) sources(entries map[lb.Frontend]*lb.Entry) {
	for _, x := range r.all[r.family.restricted.name] {
		if e := entries[r.frontend(x.key)]; e != nil {
			e.Sources = []netip.Prefix{}
		}
	}
	size := words(r.family.inside.key) * bytesOfWord
	for _, x := range r.all[r.family.allowed.name] {
		if e := entries[r.frontend(x.key)]; e != nil {
			e.Sources = append(e.Sources, prefixOf(x.key[size:], x.end[size:]))
			slices.SortFunc(e.Sources, netip.Prefix.Compare)
		}
	}
}

// prefixOf returns the range from first to last, which is one prefix.
func prefixOf(first, last []byte) netip.Prefix {
	common := 0
	for i := range first {
		same := bits.LeadingZeros8(first[i] ^ last[i])
		common += same
		if same < 8 {
			break
		}
	}
	address, _ := netip.AddrFromSlice(first)
	return netip.PrefixFrom(address, common)
}

func (r *reader) frontend(key []byte) lb.Frontend {
	n := int(r.family.address.length)
	address, _ := netip.AddrFromSlice(key[:n])
	return lb.Frontend{Address: address, Protocol: desired.Protocol(key[n]), Port: binary.BigEndian.Uint16(key[n+4:])}
}

func (r *reader) backend(data []byte) netip.AddrPort {
	n := int(r.family.address.length)
	address, _ := netip.AddrFromSlice(data[:n])
	return netip.AddrPortFrom(address, binary.BigEndian.Uint16(data[n:]))
}
