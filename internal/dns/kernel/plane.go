package kernel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/cilium/ebpf"

	"github.com/fairlead-net/fairlead/internal/dns"
)

// Apply makes the kernel say what a Table says, at the cost of what changed since
// the last one. Names that appear are written before those that are gone are
// removed, and a name that does not fit ends the answers about names that do not
// exist before it is left out; so at no time an answer is wrong for both Tables.
// After an error the Plane has to be closed.
func (p *Plane) Apply(want dns.Table) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	zone, err := p.zoneOf(want)
	if err != nil {
		p.off = err
		return p.forget()
	}
	if !want.SameEntries(p.table) {
		if err := p.forget(); err != nil {
			return err
		}
	}
	if err := p.write(want); err != nil {
		return err
	}
	p.table, p.off = want, nil
	zone.Negative = flag(want.Synced && len(p.missing) == 0)
	return p.writeZone(zone)
}

func flag(is bool) uint8 {
	if is {
		return 1
	}
	return 0
}

// writeZone makes another zone valid.
func (p *Plane) writeZone(zone packetsZone) error {
	p.locate(&zone)
	zone.Version = p.zone.Version + 1
	zone.LastVersion = zone.Version
	slot := 1 - p.slot
	if err := p.maps[packetsMapZones].Put(slot, zone); err != nil {
		return fmt.Errorf("writing what DNS answers have in common: %w", err)
	}
	if err := p.maps[packetsMapCurrent].Put(uint32(0), slot); err != nil {
		return fmt.Errorf("switching DNS answers: %w", err)
	}
	p.zone, p.slot = zone, slot
	return nil
}

// forget ends all answers and empties the maps.
func (p *Plane) forget() error {
	if p.zone.Enabled == 0 && p.table.Config().Domain == "" && len(p.missing) == 0 {
		return nil
	}
	zone := p.zone
	zone.Enabled, zone.Negative = 0, 0
	if err := p.writeZone(zone); err != nil {
		return err
	}
	p.table = dns.Table{}
	clear(p.missing)
	clear(p.lists)
	return errors.Join(empty[packetsName](p.maps[packetsMapNames]), empty[uint64](p.maps[packetsMapLists]))
}

func empty[K any](m *ebpf.Map) error {
	var keys []K
	var key K
	failed := m.NextKey(nil, &key)
	for ; failed == nil; failed = m.NextKey(key, &key) {
		keys = append(keys, key)
	}
	if errors.Is(failed, ebpf.ErrKeyNotExist) {
		failed = nil // there are no more
	}
	for _, key := range keys {
		failed = errors.Join(failed, remove(m, key))
	}
	return failed
}

const domainSize = 64

// zoneOf returns the zone of a Table, or why there are no answers for it here.
func (p *Plane) zoneOf(t dns.Table) (packetsZone, error) {
	zone := packetsZone{Enabled: 1, Recursive: flag(p.config.Recursive()), MaxUdp: network16(uint16(p.config.MaxUDP)), Ttl: network32(t.Config().TTL)}
	if err := t.Indexable(); err != nil {
		return zone, err
	}
	domain := wireName(t.Config().Domain)
	if len(domain) > domainSize {
		return zone, fmt.Errorf("the cluster domain takes %d bytes, more than %d", len(domain), domainSize)
	}
	zone.DomainSize = uint8(len(domain))
	copy(zone.Domain[:], words(domain))
	soa, err := negative(t, domain)
	zone.Soa = soa
	return zone, err
}

func wireName(name string) string {
	var wire strings.Builder
	for label := range strings.SplitSeq(name, ".") {
		wire.WriteByte(byte(len(label)))
		wire.WriteString(label)
	}
	return wire.String() + "\x00"
}

// words returns the bytes of a name as the program reads them.
func words(name string) []uint64 {
	padded := make([]byte, (len(name)+7)/8*8)
	copy(padded, name)
	list := make([]uint64, len(padded)/8)
	for i := range list {
		list[i] = binary.NativeEndian.Uint64(padded[8*i:])
	}
	return list
}

// The SOA record has pointers to the domain at these places, and this size.
const soaSize = 54

func soaPointers() []int { return []int{0, 19, 32} }

// negative returns the SOA record of negative answers, as the package dns writes it
// behind a question for svc in front of the domain, which has no data.
func negative(t dns.Table, domain string) (soa [soaSize]byte, err error) {
	const header, label = 12, "\x03svc"
	question := append(make([]byte, header), label+domain+"\x00\x01\x00\x01"...)
	message, packed, ok := dns.NewPacker(0).Pack(&t, question, len(question)+2*soaSize)
	record := message[len(question):]
	if !ok || packed != (dns.Packed{Authorities: 1}) || len(record) != soaSize {
		return soa, fmt.Errorf("the SOA record has an unknown form: %x", record)
	}
	for _, at := range soaPointers() {
		if binary.BigEndian.Uint16(record[at:]) != 0xc000|header+uint16(len(label)) {
			return soa, fmt.Errorf("the SOA record has an unknown form: %x", record)
		}
	}
	return [soaSize]byte(record), nil
}

// network16 and network32 return numbers whose bytes in memory are in network order.
func network16(n uint16) uint16 {
	return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, n))
}

func network32(n uint32) uint32 {
	return binary.NativeEndian.Uint32(binary.BigEndian.AppendUint32(nil, n))
}

// address returns an address as the maps have it, IPv4 as ::ffff:a.b.c.d.
func address(a netip.Addr) (words [4]uint32) {
	bytes := a.As16()
	for i := range words {
		words[i] = binary.NativeEndian.Uint32(bytes[4*i:])
	}
	return words
}
