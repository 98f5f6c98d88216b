package dns

import (
	"net/netip"
	"slices"

	"github.com/fairlead-net/fairlead/internal/desired"
)

// glue is an address to write as an additional record, for the name at a
// position in the message.
type glue struct {
	owner   int
	address netip.Addr
}

// maxDistinct is how many different port numbers of one target are written
// here; rare Services have more.
const maxDistinct = 16

// distinct is a set of port numbers.
type distinct struct {
	ports [maxDistinct]uint16
	n     int
}

// add reports whether the port is new, and whether there was room for it.
func (d *distinct) add(port uint16) (isNew, ok bool) {
	if slices.Contains(d.ports[:d.n], port) {
		return false, true
	}
	if d.n == maxDistinct {
		return false, false
	}
	d.ports[d.n] = port
	d.n++
	return true, true
}

// ownServices writes the SRV records of a Service with addresses of its own:
// the offers that Table.offers makes, less those that repeat another.
func (p *Packer) ownServices(n node) bool {
	s := n.service
	count := 0
	for _, port := range s.source.Ports {
		if n.kind != portion || matches(port.Name, port.Protocol, n.port, n.protocol) {
			count += len(n.addresses)
		}
	}
	if count == 0 {
		return true
	}
	var ok bool
	if p.target, ok = p.table.appendService(p.target[:0], s.source.Name); !ok {
		return false
	}
	owner, _ := p.inQuestion(p.target)
	var seen distinct
	for _, port := range s.source.Ports {
		at, more, ok := p.offer(&n, &seen, share(count), port.Name, port.Protocol, port.Port)
		if !ok || !more {
			return ok
		}
		if owner == 0 {
			owner = at
		}
	}
	p.glue = p.glue[:0]
	for i, address := range n.addresses {
		if !slices.Contains(n.addresses[:i], address) {
			p.glue = append(p.glue, glue{owner, address})
		}
	}
	p.additional()
	return true
}

// endpointServices writes the SRV records of endpoints, which are sorted by
// hostname and address, so that equal targets follow each other.
func (p *Packer) endpointServices(n node, list []ready) bool {
	s := n.service
	count := 0
	for _, at := range list {
		slice, _ := s.at(at)
		count += n.count(slice)
	}
	if count == 0 {
		return true
	}
	var ok bool
	if p.suffix, ok = p.table.appendService(p.suffix[:0], s.source.Name); !ok {
		return false
	}
	p.glue = p.glue[:0]
	var last *desired.Endpoint
	var owner int
	var seen distinct
	for _, at := range list {
		slice, e := s.at(at)
		if n.count(slice) == 0 {
			continue
		}
		if last == nil || last.Hostname != e.Hostname || e.Hostname == "" && last.Address != e.Address {
			if owner, ok = p.endpointTarget(e); !ok {
				return false
			}
			seen.n = 0
			last = nil
		}
		for _, port := range slice.Ports {
			at, more, ok := p.offer(&n, &seen, share(count), port.Name, port.Protocol, port.Port)
			if !ok || !more {
				return ok
			}
			if owner == 0 {
				owner = at
			}
		}
		if last == nil || last.Address != e.Address {
			p.glue = append(p.glue, glue{owner, e.Address})
		}
		last = e
	}
	p.additional()
	return true
}

// offer writes the SRV record of a port of the target, unless the node is about others,
// or seen has a port of that number, and returns where the record has the target, or 0
// if there is none. If the limit does not allow more, more is not set; if there are too
// many ports, ok is not.
func (p *Packer) offer(n *node, seen *distinct, weight uint16, name string, protocol desired.Protocol, number uint16) (at int, more, ok bool) {
	if n.kind == portion && !matches(name, protocol, n.port, n.protocol) {
		return 0, true, true
	}
	isNew, ok := seen.add(number)
	if !isNew {
		return 0, true, ok
	}
	at = p.srv(weight, number)
	return at, at > 0, true
}

// count returns how many ports of a slice the records of a node are about.
func (n *node) count(slice *desired.Slice) int {
	if n.kind != portion {
		return len(slice.Ports)
	}
	count := 0
	for _, port := range slice.Ports {
		if matches(port.Name, port.Protocol, n.port, n.protocol) {
			count++
		}
	}
	return count
}

// endpointTarget makes the name of an endpoint in suffix the target, and
// returns where the question has it, or 0 if it does not. A hostname that reads
// like the address of another endpoint is refused: it could repeat a target.
func (p *Packer) endpointTarget(e *desired.Endpoint) (at int, ok bool) {
	p.target = append(p.target[:0], 0)
	if e.Hostname != "" {
		if _, confusing := undashed(e.Hostname); confusing {
			return 0, false
		}
		for _, c := range []byte(e.Hostname) {
			if plain[c] == 0 {
				return 0, false
			}
		}
		p.target = append(p.target, e.Hostname...)
	} else {
		p.target = appendDashed(p.target, e.Address)
	}
	length := len(p.target) - 1
	p.target[0] = byte(length)
	p.target = append(p.target, p.suffix...)
	if length > maxLabel || len(p.target) > maxWire {
		return 0, false
	}
	at, _ = p.inQuestion(p.target)
	return at, true
}

// share returns the weight of one of so many offers.
func share(count int) uint16 { return uint16(max(1, 100/count)) }

// srv writes an SRV record for the target, whose name must not be compressed
// (RFC 2782), and returns where that is. If it goes beyond the limit, the answer
// is truncated, and 0 returned.
func (p *Packer) srv(weight, port uint16) int {
	size := 6 + len(p.target)
	if len(p.message)+headSize+size > p.limit {
		p.packed.Truncated, p.short = true, true
		return 0
	}
	p.head(questionAt, TypeSRV, p.table.config.TTL, size)
	p.message = append(p.message, 0, 0, byte(weight>>8), byte(weight), byte(port>>8), byte(port))
	at := len(p.message)
	p.message = append(p.message, p.target...)
	p.packed.Answers++
	return at
}

// additional writes the glue in random order, or nothing if it does not fit.
func (p *Packer) additional() {
	end := len(p.message)
	for i := range p.glue {
		if rest := len(p.glue) - i; rest > 1 {
			j := i + p.pick(rest)
			p.glue[i], p.glue[j] = p.glue[j], p.glue[i]
		}
		if !p.address(p.glue[i].owner, p.glue[i].address) {
			p.message, p.packed.Additionals, p.short = p.message[:end], 0, true
			return
		}
		p.packed.Additionals++
	}
}
