package dns

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
	"strings"
	"unsafe"
)

// Packer writes answers in wire format (RFC 1035, section 4) into messages. It
// looks names up like Table.Answer does, and allocates nothing once its scratch
// memory has grown to the largest Service that it met. One goroutine at a time
// may use it. Make it with NewPacker.
type Packer struct {
	random uint64
	soa    packedSOA
	// list and glue are scratch memory: the addresses to write, and the targets
	// to write addresses for.
	list []netip.Addr
	glue []glue
	// name is the question's name folded, target and suffix that of an SRV or PTR
	// record in wire form and the part of it that all of a Service share.
	name           [maxWire]byte
	target, suffix []byte

	// What follows concerns the answer in the making.
	table   *Table
	message []byte
	limit   int
	asked   Type
	packed  Packed
	// nameSize is that of the question's name in wire form; short is set if the
	// limit has kept something out, foreign if other servers are to be asked.
	nameSize       int
	short, foreign bool
}

const (
	// maxWire is the longest name in wire form (RFC 1035, section 2.3.4).
	maxWire = 255
	// questionAt is where the name of the question starts: after the header.
	questionAt = 12
	// maxPointed is how far into a message a pointer reaches (section 4.1.4).
	maxPointed = 1<<14 - 1
	// headSize is that of a record without data whose owner is a pointer.
	headSize = 12
)

// Packed says what Pack has written. The answer is authoritative.
type Packed struct {
	Rcode Rcode
	// Answers, Authorities and Additionals are the numbers of records.
	Answers, Authorities, Additionals uint16
	// Truncated is set if answers are missing because of the limit. Additional
	// records go silently, and all at once.
	Truncated bool
}

// NewPacker returns a Packer; seed decides in which order addresses come.
func NewPacker(seed uint64) *Packer {
	return &Packer{random: seed, target: make([]byte, 0, maxWire), suffix: make([]byte, 0, maxWire)}
}

// Pack appends the records that t.Answer gives for a question to the message
// that ends with it, addresses in random order. In goes a header, whatever it
// says, and one question: a name in wire form without pointers, its type, and
// class IN. The message will not be longer than limit. What is not usual enough
// to be written here, or longer than pointers can span, is left to Answer: then
// the message comes back as it was, and false.
func (p *Packer) Pack(t *Table, message []byte, limit int) ([]byte, Packed, bool) {
	end := len(message)
	p.table, p.message, p.limit, p.packed = t, message, min(limit, maxPointed), Packed{}
	p.asked, p.nameSize, p.short, p.foreign = Type(binary.BigEndian.Uint16(message[end-4:])), end-4-questionAt, false, false
	if !p.usual() || !p.answer() || p.short && limit > maxPointed {
		return message[:end], Packed{}, false
	}
	message, p.message = p.message, nil
	return message, p.packed, true
}

// usual reports whether the type asked for is none of those that make refuses
// or any answers.
func (p *Packer) usual() bool {
	return p.asked < TypeTKEY && p.asked != TypeOPT || p.asked > TypeANY
}

func (p *Packer) answer() bool {
	name, ok := p.fold(p.message[questionAt : len(p.message)-4])
	if !ok || p.table.config.Domain == "" {
		return false
	}
	if zone, relative := p.table.authority(name); zone != nil {
		return zone.kind == clusterZone && p.cluster(zone, relative)
	}
	p.foreign = !strings.HasSuffix(name, "arpa")
	return p.asked == TypePTR && p.reverse(name)
}

// Foreign reports whether Answer has other servers asked about the question that Pack
// left to it last. If it would not, or if that is hard to tell, it reports false.
func (p *Packer) Foreign() bool { return p.foreign }

// fold returns a name in wire form as the function of this name returns its
// presentation form, or false if a label would need escapes. The text is valid
// until the next call.
func (p *Packer) fold(name []byte) (string, bool) {
	n := 0
	for at := 0; at < len(name) && name[at] != 0; {
		if n > 0 {
			p.name[n] = '.'
			n++
		}
		end := at + 1 + int(name[at])
		for _, c := range name[at+1 : end] {
			folded := plain[c]
			if folded == 0 {
				return "", false
			}
			p.name[n] = folded
			n++
		}
		at = end
	}
	// Nobody writes to the array before the answer is made, nor keeps the text.
	return unsafe.String(&p.name[0], n), n > 0
}

// plain holds the lower case of the characters that names of the cluster
// consist of, and zero for all others.
var plain = func() (table [256]byte) {
	for c := range table {
		switch b := byte(c); {
		case b >= 'a' && b <= 'z', b >= '0' && b <= '9', b == '-', b == '_':
			table[c] = b
		case b >= 'A' && b <= 'Z':
			table[c] = b + 'a' - 'A'
		}
	}
	return table
}()

// cluster answers for a name in the cluster domain, like reply.cluster.
func (p *Packer) cluster(z *zone, relative string) bool {
	n := p.table.find(relative)
	written := true
	switch n.kind {
	case absent:
		if !p.table.Synced || z.fallsThrough || len(z.through) > 0 {
			return false
		}
		p.packed.Rcode = NXDomain
	case empty:
	case pod:
		p.list = append(p.list[:0], n.address)
		p.addresses()
	case whole, portion, endpoint:
		written = p.service(n)
	default:
		return false
	}
	if written && p.packed.Answers == 0 && !p.packed.Truncated {
		return p.negative()
	}
	return written
}

// service answers for a Service, a port or an endpoint.
func (p *Packer) service(n node) bool {
	s := n.service
	switch {
	case n.target != "":
		return false
	case p.asked == TypeSRV && !n.listed:
		return p.ownServices(n)
	case p.asked == TypeSRV:
		return !p.table.config.EndpointPodNames && p.endpointServices(n, n.endpoints)
	case p.asked != TypeA && p.asked != TypeAAAA:
		return true
	case !n.listed:
		p.list = append(p.list[:0], n.addresses...)
	case s.repeated:
		return false
	default:
		p.list = p.list[:0]
		for _, at := range n.endpoints {
			slice, e := s.at(at)
			if e.Address.Is4() == (p.asked == TypeA) && (n.kind != portion || slicePort(slice, n)) {
				p.list = append(p.list, e.Address)
			}
		}
	}
	p.addresses()
	return true
}

// addresses writes those of list that were asked for.
func (p *Packer) addresses() {
	if p.asked != TypeA && p.asked != TypeAAAA {
		return
	}
	n := 0
	for _, address := range p.list {
		if address.Is4() == (p.asked == TypeA) {
			p.list[n] = address
			n++
		}
	}
	list := p.list[:n]
	for i := range list {
		if len(list) > 1 {
			j := i + p.pick(len(list)-i)
			list[i], list[j] = list[j], list[i]
		}
		if !p.address(questionAt, list[i]) {
			p.packed.Truncated, p.short = true, true
			return
		}
		p.packed.Answers++
	}
}

// pick returns a random number below n, from Vigna's SplitMix64: good enough to
// spread load, and it is not meant to be unpredictable.
func (p *Packer) pick(n int) int {
	p.random += 0x9e3779b97f4a7c15
	z := p.random
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	high, _ := bits.Mul64(z^z>>31, uint64(n))
	return int(high)
}

// address writes an A or AAAA record unless it goes beyond the limit.
func (p *Packer) address(owner int, address netip.Addr) bool {
	if address.Is4() {
		if len(p.message)+headSize+4 > p.limit {
			return false
		}
		p.head(owner, TypeA, p.table.config.TTL, 4)
		bytes := address.As4()
		p.message = append(p.message, bytes[:]...)
		return true
	}
	if len(p.message)+headSize+16 > p.limit {
		return false
	}
	p.head(owner, TypeAAAA, p.table.config.TTL, 16)
	bytes := address.As16()
	p.message = append(p.message, bytes[:]...)
	return true
}

// head writes the part of a record before its data; owner is the position of
// its owner's name.
func (p *Packer) head(owner int, t Type, ttl uint32, size int) {
	p.message = append(p.message,
		0xc0|byte(owner>>8), byte(owner), byte(t>>8), byte(t), 0, byte(ClassIN),
		byte(ttl>>24), byte(ttl>>16), byte(ttl>>8), byte(ttl), byte(size>>8), byte(size))
}
