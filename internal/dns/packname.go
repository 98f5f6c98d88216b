package dns

import (
	"bytes"
	"encoding/binary"

	"github.com/fairlead-net/fairlead/internal/desired"
)

// appendName appends the wire form of a name in presentation form, or returns
// false if it has none or needs escapes.
func appendName(to []byte, name string) ([]byte, bool) {
	start := len(to)
	to, ok := appendLabels(to, name)
	to = append(to, 0)
	return to, ok && len(to)-start <= maxWire
}

// appendLabels is appendName without the end of the name.
func appendLabels(to []byte, name string) ([]byte, bool) {
	length := len(to)
	to = append(to, 0)
	for _, c := range []byte(name) {
		switch {
		case c == '.' && to[length] != 0:
			length = len(to)
			to = append(to, 0)
		case plain[c] != 0 && to[length] < maxLabel:
			to[length]++
			to = append(to, c)
		default:
			return to, false
		}
	}
	// A final dot has begun a label that is none.
	if to[length] == 0 {
		return to[:length], length > 0
	}
	return to, true
}

// appendService appends the wire form of serviceName.
func (t *Table) appendService(to []byte, name desired.Name) ([]byte, bool) {
	start := len(to)
	for _, part := range [...]string{name.Name, name.Namespace, "svc", t.config.Domain} {
		var ok bool
		if to, ok = appendLabels(to, part); !ok {
			return to, false
		}
	}
	to = append(to, 0)
	return to, len(to)-start <= maxWire
}

// inQuestion returns where the question's name ends in the given one, case
// included, if it does.
func (p *Packer) inQuestion(name []byte) (int, bool) {
	question := p.message[questionAt : questionAt+p.nameSize]
	from := len(question) - len(name)
	at := 0
	for at < from {
		at += 1 + int(question[at])
	}
	if at != from || !bytes.Equal(question[at:], name) {
		return 0, false
	}
	return questionAt + at, true
}

// compress writes a name with a pointer in place of the longest part that the
// question's name or the zone's, if it has been written, ends in.
func (p *Packer) compress(name, zone []byte, zoneAt int) {
	for at := 0; name[at] != 0; at += 1 + int(name[at]) {
		to, ok := p.inQuestion(name[at:])
		if !ok && zoneAt > 0 && bytes.Equal(name[at:], zone) {
			to, ok = zoneAt, true
		}
		if ok {
			p.message = append(p.message, name[:at]...)
			p.message = append(p.message, 0xc0|byte(to>>8), byte(to))
			return
		}
	}
	p.message = append(p.message, name...)
}

// packedSOA is the SOA record of a Table's domain, taken apart.
type packedSOA struct {
	table                 *Table
	zone, server, mailbox []byte
	ttl                   uint32
	numbers               [20]byte
	// ok is false if a name cannot be written here.
	ok bool
}

func packSOA(t *Table) packedSOA {
	record := (&reply{table: t, zone: t.cluster()}).soa(t.config.Domain)
	soa := packedSOA{table: t, ttl: record.TTL, ok: true}
	for _, name := range []struct {
		to   *[]byte
		text string
	}{{&soa.zone, record.Name}, {&soa.server, record.Target}, {&soa.mailbox, record.SOA.Mailbox}} {
		packed, ok := appendName(nil, name.text)
		*name.to = packed
		soa.ok = soa.ok && ok
	}
	s := record.SOA
	for i, number := range []uint32{s.Serial, s.Refresh, s.Retry, s.Expire, s.Minimum} {
		binary.BigEndian.PutUint32(soa.numbers[4*i:], number)
	}
	return soa
}

// negative writes the SOA record, like reply.negative.
func (p *Packer) negative() bool {
	if p.soa.table != p.table {
		p.soa = packSOA(p.table)
	}
	soa := &p.soa
	if !soa.ok {
		return false
	}
	at := len(p.message)
	p.compress(soa.zone, nil, 0)
	if p.message[at]&0xc0 == 0xc0 {
		at = 0 // the zone is in the question, and found there
	}
	ttl := soa.ttl
	p.message = append(p.message, 0, byte(TypeSOA), 0, byte(ClassIN), byte(ttl>>24), byte(ttl>>16), byte(ttl>>8), byte(ttl), 0, 0)
	data := len(p.message)
	p.compress(soa.server, soa.zone, at)
	p.compress(soa.mailbox, soa.zone, at)
	p.message = append(p.message, soa.numbers[:]...)
	binary.BigEndian.PutUint16(p.message[data-2:], uint16(len(p.message)-data))
	p.packed.Authorities = 1
	return len(p.message) <= p.limit
}

// reverse writes the name of an address, if there is exactly one.
func (p *Packer) reverse(name string) bool {
	address, _, ok := reverseAddress(name)
	if !ok {
		return false
	}
	users, ok := p.table.users(address)
	switch {
	case !ok || len(users.clusterIP) == 0 && len(users.endpoint) != 1:
		return false
	case len(users.clusterIP) > 0:
		p.target, ok = p.table.appendService(p.target[:0], users.clusterIP[0])
		return ok && p.pointer()
	}
	s, ok := p.table.services.Get(users.endpoint[0])
	if !ok || p.table.config.EndpointPodNames {
		return false
	}
	var found *desired.Endpoint
	for _, at := range s.ready {
		_, e := s.at(at)
		switch {
		case e.Address != address || found != nil && found.Hostname == e.Hostname:
		case found != nil:
			return false
		default:
			found = e
		}
	}
	if found == nil {
		return false
	}
	if p.suffix, ok = p.table.appendService(p.suffix[:0], s.source.Name); !ok {
		return false
	}
	if _, ok = p.endpointTarget(found); !ok {
		return false
	}
	return p.pointer()
}

// pointer writes a PTR record to the target, unless it does not fit.
func (p *Packer) pointer() bool {
	p.head(questionAt, TypePTR, p.table.config.TTL, 0)
	data := len(p.message)
	p.compress(p.target, nil, 0)
	binary.BigEndian.PutUint16(p.message[data-2:], uint16(len(p.message)-data))
	p.packed.Answers = 1
	return len(p.message) <= p.limit
}
