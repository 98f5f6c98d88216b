package forward

import (
	"encoding/binary"
	"errors"
	"sync/atomic"

	wire "github.com/miekg/dns"
)

// headerSize is that of a message's header (RFC 1035, section 4.1.1).
const headerSize = 12

// keyTail is the part of a key behind the name: type, class and flags. If these have
// keyOptions, options follow.
const (
	keyTail    = 5
	keyOptions = 4
)

// entry is a packed reply in the cache. Only its atomic fields change.
type entry struct {
	hash uint64
	// data is the key, the records as they follow the question, and the offsets of
	// their TTLs in the records, two bytes each.
	data            []byte
	keyEnd, ttls    int
	counts          [3]uint16
	rcode           uint8
	authenticated   bool
	rotate, rotates uint16 // which TTL offset addresses begin at, and how many there are
	kind            kind
	// stored, expires and dead are in nanoseconds since the cache began; between
	// the latter two the reply is stale.
	stored, expires, dead int64

	used atomic.Uint32
	// asked and hits are for prefetching: the last query and how many there were.
	asked atomic.Int64
	hits  atomic.Uint32
	// refreshing is set while the reply is asked for again, failed is when that
	// failed last, plus one.
	refreshing atomic.Bool
	failed     atomic.Int64
}

// entryOverhead is about what an entry takes beside its data.
const entryOverhead = 160

func (e *entry) key() []byte     { return e.data[:e.keyEnd] }
func (e *entry) records() []byte { return e.data[e.keyEnd:e.ttls] }
func (e *entry) size() int       { return len(e.data) + entryOverhead }

func (e *entry) inherit(old *entry) {
	e.asked.Store(old.asked.Load())
	e.hits.Store(old.hits.Load())
	e.used.Store(old.used.Load())
}

// Packed is a reply of the cache in wire form, for a question that the caller
// has. The zero value is none.
type Packed struct {
	entry *entry
	// age is what TTLs have to be lowered by, in seconds. A stale reply has ttl
	// instead of its own.
	age   uint32
	stale bool
	ttl   uint32
}

// Counts returns how many records the answer, authority and additional sections
// have; no OPT record is among them.
func (p Packed) Counts() (answer, authority, additional uint16) {
	return p.entry.counts[0], p.entry.counts[1], p.entry.counts[2]
}

// Rcode is the response code.
func (p Packed) Rcode() uint8 { return p.entry.rcode }

// Authenticated reports whether the upstream said that it has verified the reply (AD).
func (p Packed) Authenticated() bool { return p.entry.authenticated }

// Stale reports whether the reply has expired (RFC 8767).
func (p Packed) Stale() bool { return p.stale }

// Size returns the number of bytes that AppendTo appends.
func (p Packed) Size() int { return p.entry.ttls - p.entry.keyEnd }

// AppendTo appends the records to a message that holds a header and the question
// and nothing else: names in the records are compressed by references to the
// question's, so that they have its case. TTLs are as they are now; addresses
// at the end of the answer are rotated by turn. It allocates only to grow the
// message.
func (p Packed) AppendTo(message []byte, turn uint32) []byte {
	e := p.entry
	start := len(message)
	message = append(message, e.records()...)
	records := message[start:]
	for at := e.ttls; at < len(e.data); at += 2 {
		offset := binary.BigEndian.Uint16(e.data[at:])
		ttl := p.ttl
		if !p.stale {
			ttl = binary.BigEndian.Uint32(records[offset:])
			ttl -= min(ttl, p.age)
		}
		binary.BigEndian.PutUint32(records[offset:], ttl)
	}
	if n := uint32(e.rotates); n > 1 && turn%n != 0 {
		e.rotateInto(records, turn%n)
	}
	return message
}

// rotateInto gives each address the place of the one that stands turn places
// after it.
func (e *entry) rotateInto(records []byte, turn uint32) {
	original, n := e.records(), uint32(e.rotates)
	for i := range n {
		from, to := e.data0(i), e.data0((i+turn)%n)
		size := uint32(binary.BigEndian.Uint16(original[from-2:]))
		copy(records[to:to+size], original[from:from+size])
	}
}

// data0 returns where the data of the n-th address begins.
func (e *entry) data0(n uint32) uint32 {
	return uint32(binary.BigEndian.Uint16(e.data[e.ttls+2*int(uint32(e.rotate)+n):])) + 6
}

var errPack = errors.New("the reply cannot be packed for the cache")

// pack makes an entry without times of a reply, which it changes. Records of
// the transport, OPT and TSIG, are left out.
func pack(key []byte, reply *wire.Msg) (*entry, error) {
	name, end, err := wire.UnpackDomainName(key, 0)
	if err != nil {
		return nil, err
	}
	m := wire.Msg{Compress: true, Answer: reply.Answer, Ns: reply.Ns}
	m.Question = []wire.Question{{Name: name, Qtype: binary.BigEndian.Uint16(key[end:]), Qclass: binary.BigEndian.Uint16(key[end+2:])}}
	for _, rr := range reply.Extra {
		if t := rr.Header().Rrtype; t != wire.TypeOPT && t != wire.TypeTSIG {
			m.Extra = append(m.Extra, rr)
		}
	}
	for _, section := range [][]wire.RR{m.Answer, m.Ns, m.Extra} {
		for _, rr := range section {
			if h := rr.Header(); sameName(h.Name, name) {
				h.Name = name
			}
		}
	}
	packed, err := m.Pack()
	if err != nil {
		return nil, err
	}
	body := headerSize + end + 4
	if body > len(packed) {
		return nil, errPack
	}
	e := &entry{keyEnd: len(key), rcode: uint8(reply.Rcode), authenticated: reply.AuthenticatedData}
	e.counts = [3]uint16{uint16(len(m.Answer)), uint16(len(m.Ns)), uint16(len(m.Extra))}
	offsets, err := ttlOffsets(packed, body, int(e.counts[0])+int(e.counts[1])+int(e.counts[2]))
	if err != nil {
		return nil, err
	}
	e.ttls = len(key) + len(packed) - body
	e.data = make([]byte, 0, e.ttls+2*len(offsets))
	e.data = append(append(e.data, key...), packed[body:]...)
	for _, offset := range offsets {
		e.data = binary.BigEndian.AppendUint16(e.data, offset)
	}
	e.rotate, e.rotates = addresses(m.Answer)
	return e, nil
}

// addresses returns where the addresses at the end of a section begin, and how
// many there are, all of one name and type.
func addresses(section []wire.RR) (first, count uint16) {
	at := len(section)
	for at > 0 {
		h, last := section[at-1].Header(), section[len(section)-1].Header()
		if h.Rrtype != wire.TypeA && h.Rrtype != wire.TypeAAAA || h.Rrtype != last.Rrtype || !sameName(h.Name, last.Name) {
			break
		}
		at--
	}
	return uint16(at), uint16(len(section) - at)
}

// ttlOffsets finds the TTLs of records that begin at an offset of a message.
// What it returns counts from there.
func ttlOffsets(message []byte, begin, records int) ([]uint16, error) {
	offsets := make([]uint16, 0, records)
	at := begin
	for range records {
		for at < len(message) && message[at] != 0 && message[at] < 0xc0 {
			at += 1 + int(message[at])
		}
		if at < len(message) && message[at] >= 0xc0 {
			at++
		}
		at += 5 // the rest of the name, type and class
		if at+6 > len(message) || at-begin > 0xffff {
			return nil, errPack
		}
		offsets = append(offsets, uint16(at-begin))
		at += 6 + int(binary.BigEndian.Uint16(message[at+4:]))
	}
	if at != len(message) {
		return nil, errPack
	}
	return offsets, nil
}

// unpack returns the reply as a message.
func (p Packed) unpack() (*wire.Msg, error) {
	key := p.entry.key()
	question := 1 // name, type and class
	for question < len(key) && key[question-1] != 0 {
		question += 1 + int(key[question-1])
	}
	question += 4
	text := make([]byte, headerSize, headerSize+len(key)+p.Size())
	text[2], text[3] = 0x81, p.entry.rcode
	if p.entry.authenticated {
		text[3] |= 0x20
	}
	text[5] = 1
	for i, n := range p.entry.counts {
		binary.BigEndian.PutUint16(text[6+2*i:], n)
	}
	text = append(text, key[:question]...)
	m := new(wire.Msg)
	return m, m.Unpack(p.AppendTo(text, 0))
}
