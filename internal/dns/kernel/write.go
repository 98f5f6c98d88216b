package kernel

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"

	"github.com/cilium/ebpf"

	"github.com/fairlead-net/fairlead/internal/dns"
)

const (
	nameSize = 80
	// most4 and most6 are how many addresses of a family are answered: so many that
	// the reply fits in 512 bytes, whatever the question.
	most4 = 16
	most6 = 8
)

// write makes the maps say what a Table says.
func (p *Plane) write(want dns.Table) error {
	var gone []dns.Entry
	retry := p.missing
	p.missing = map[string]dns.Entry{}
	for entry, isGone := range want.Entries(p.table) {
		delete(retry, entry.Name)
		if isGone {
			gone = append(gone, entry)
		} else if err := p.put(entry); err != nil {
			return err
		}
	}
	for _, entry := range gone {
		if err := p.remove(entry); err != nil {
			return err
		}
	}
	// What had no room before others were removed may have it now.
	maps.Copy(retry, p.missing)
	p.missing = map[string]dns.Entry{}
	for _, entry := range retry {
		if err := p.put(entry); err != nil {
			return err
		}
	}
	return nil
}

// put writes an entry. If there is no room for it, it is noted as missing, and
// nothing is in its place. Entries with longer names than the program looks up
// need not be there.
func (p *Plane) put(entry dns.Entry) error {
	if len(entry.Name) > nameSize {
		return nil
	}
	key, value := p.encode(entry)
	former := p.lists[entry.Name]
	if value.List != 0 {
		if err := p.maps[packetsMapLists].Put(value.List, p.list(value.List, entry.Addresses)); err != nil {
			value.List, value.Kind = 0, packetsKindLEFT
		}
	}
	err := p.maps[packetsMapNames].Put(key, value)
	if err == nil {
		return p.swapList(entry.Name, former, value.List)
	}
	p.config.Log.Debug("a name has no room in the kernel", "error", err)
	if err := p.miss(entry); err != nil {
		return err
	}
	if err := remove(p.maps[packetsMapNames], key); err != nil {
		return err
	}
	if value.List != 0 {
		if err := remove(p.maps[packetsMapLists], value.List); err != nil {
			return err
		}
	}
	return p.swapList(entry.Name, former, 0)
}

// miss notes that an entry is not in the map; from then on nothing is said to not
// exist.
func (p *Plane) miss(entry dns.Entry) error {
	p.missing[entry.Name] = entry
	if p.zone.Negative == 0 {
		return nil
	}
	zone := p.zone
	zone.Negative = 0
	return p.writeZone(zone)
}

// swapList notes which list a name has now, and removes the one that it had.
func (p *Plane) swapList(name string, former, now uint64) error {
	delete(p.lists, name)
	if now != 0 {
		p.lists[name] = now
	}
	if former == 0 {
		return nil
	}
	return remove(p.maps[packetsMapLists], former)
}

func (p *Plane) remove(entry dns.Entry) error {
	if len(entry.Name) > nameSize {
		return nil
	}
	if err := remove(p.maps[packetsMapNames], nameOf(entry.Name)); err != nil {
		return err
	}
	return p.swapList(entry.Name, p.lists[entry.Name], 0)
}

// remove deletes a key that may be missing.
func remove(m *ebpf.Map, key any) error {
	if err := m.Delete(key); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return fmt.Errorf("removing what the kernel knows of a name: %w", err)
	}
	return nil
}

func nameOf(name string) (key packetsName) {
	copy(key.Word[:], words(name))
	return key
}

// digest is what the program computes of a name, to know that an entry is its.
func digest(name string) (sum uint64) {
	for _, word := range words(name) {
		sum = (sum ^ word) * 0x9e3779b97f4a7c15
	}
	return sum
}

// encode returns the form of an entry in the map; if it names a list, that is new.
func (p *Plane) encode(entry dns.Entry) (packetsName, packetsEntry) {
	p.version++
	sum := digest(entry.Name)
	value := packetsEntry{First: sum, Last: sum, Version: p.version, LastVersion: p.version, Kind: packetsKindANSWERED}
	for _, a := range entry.Addresses {
		if a.Is4() {
			value.Address4 = address(a)[3]
			value.Count4++
		} else {
			value.Address6 = address(a)
			value.Count6++
		}
	}
	switch {
	case entry.Left || value.Count4 > most4 || value.Count6 > most6:
		value.Kind = packetsKindLEFT
	case value.Count4 > 1 || value.Count6 > 1:
		p.number++
		value.List = p.number
	}
	return nameOf(entry.Name), value
}

// list returns the form of a list of addresses, not too many of them.
func (p *Plane) list(number uint64, addresses []netip.Addr) packetsList {
	value := packetsList{First: number, Last: number}
	n4, n6 := 0, 0
	for _, a := range addresses {
		if a.Is4() {
			value.Address4[n4] = address(a)[3]
			n4++
		} else {
			value.Address6[n6] = address(a)
			n6++
		}
	}
	return value
}
