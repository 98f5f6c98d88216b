package server

import (
	"encoding/binary"
	"math/rand/v2"
	"runtime/debug"

	wire "github.com/miekg/dns"

	"github.com/fairlead-net/fairlead/internal/dns"
	"github.com/fairlead-net/fairlead/internal/dns/server/forward"
)

// hot answers usual queries from packet to packet, without allocating: about the
// cluster's names, and about others whose answer is in the cache. All others are for
// Plane.handle, which could answer these too, with the same bytes but for the order of
// addresses. One goroutine at a time may use it.
type hot struct {
	plane  *Plane
	tally  *tally
	packer *dns.Packer
	name   [maxName]byte // of a question, in lower case
	turn   uint32        // which address of a cached answer comes first
}

const (
	// hotSlack is how much longer than the reply the buffer should be, so that what
	// turns out not to fit can be written first.
	hotSlack = 600
	// maxName is the size of a name in wire form (RFC 1035, section 2.3.4).
	maxName = 255
)

func newHot(p *Plane, t *tally) *hot {
	return &hot{plane: p, tally: t, packer: dns.NewPacker(rand.Uint64())}
}

// answer returns the reply to a packet, in the given buffer if it is large
// enough, and true, or false if the packet is for Plane.handle. It counts
// everything but the time.
func (h *hot) answer(packet, buffer []byte, n network, c client) (reply []byte, ok bool) {
	defer func() {
		if problem := recover(); problem != nil {
			h.tally.panics.Add(1)
			h.plane.config.Log.Error("query made the server panic", "problem", problem, "stack", string(debug.Stack()))
			*h = *newHot(h.plane, h.tally)
			reply, ok = nil, false
		}
	}()
	q, ok := readUsual(packet)
	p := h.plane
	l := p.live.Load()
	if !ok || !l.plain {
		return nil, false
	}
	limit := q.room(n, l.maxUDP)
	reply, packed, ok := h.packer.Pack(&l.table, append(buffer[:0], packet[:q.end]...), limit)
	if ok && l.autopath && packed.Rcode == dns.NXDomain {
		return nil, false
	}
	from, flags := fromTable, uint16(flagAA)
	if packed.Truncated {
		flags |= flagTC
	}
	if !ok && h.packer.Foreign() && l.forwarder.Configured() {
		reply, packed, flags, ok = h.cached(l.forwarder, packet, reply, &q, limit, c)
		from = fromCache
	}
	if !ok {
		return nil, false
	}
	h.tally.request(n, c.family(), q.qtype, len(packet))
	if l.forwarder.Configured() {
		flags |= flagRA
	}
	flags |= flagQR | binary.BigEndian.Uint16(packet[2:])&(flagRD|flagCD) | uint16(packed.Rcode)
	binary.BigEndian.PutUint16(reply[2:], flags)
	if q.options.present {
		packed.Additionals++
		reply = q.options.append(reply, l.maxUDP)
	}
	if q.options.cookie.present {
		data := p.cookies.answer(&q.options.cookie, c.address, c.now)
		reply[len(reply)-1] = byte(optionSize + len(data)) // the size of all options
		reply = append(reply, 0, optionCookie, 0, byte(len(data)))
		reply = append(reply, data[:]...)
	}
	binary.BigEndian.PutUint16(reply[6:], packed.Answers)
	binary.BigEndian.PutUint16(reply[8:], packed.Authorities)
	binary.BigEndian.PutUint16(reply[10:], packed.Additionals)
	h.tally.reply(n, int(packed.Rcode), from, len(reply))
	return reply, true
}

// cached appends the records that the cache has for a packet's question to a reply
// that ends with that, if they are there and fit.
func (h *hot) cached(f *forward.Forwarder, packet, reply []byte, q *usualQuery, limit int, c client) ([]byte, dns.Packed, uint16, bool) {
	name := h.name[:copy(h.name[:], packet[headerSize:q.end-4])]
	for i, b := range name {
		// The size of a label is less than any letter.
		if 'A' <= b && b <= 'Z' {
			name[i] = b + 'a' - 'A'
		}
	}
	sent := binary.BigEndian.Uint16(packet[2:])
	found, ok := f.CachedWire(name, q.qtype, wire.ClassINET, q.options.do, sent&flagCD != 0, limit-len(reply), c.now)
	if !ok {
		return nil, dns.Packed{}, 0, false
	}
	h.turn++
	reply = found.AppendTo(reply, h.turn)
	packed := dns.Packed{Rcode: dns.Rcode(found.Rcode())}
	packed.Answers, packed.Authorities, packed.Additionals = found.Counts()
	flags := uint16(0)
	if found.Authenticated() && (q.options.do || sent&flagAD != 0) {
		flags = flagAD
	}
	return reply, packed, flags, true
}

// Flags of a message's header (RFC 1035, section 4.1.1; RFC 4035, section 3).
const (
	flagQR = 1 << 15
	flagAA = 1 << 10
	flagTC = 1 << 9
	flagRD = 1 << 8
	flagRA = 1 << 7
	flagAD = 1 << 5
	flagCD = 1 << 4
)

// room returns how long the reply to a query may be without its OPT record.
func (q *usualQuery) room(n network, maxUDP int) int {
	size := maxMessage
	if n == overUDP {
		size = q.options.limit(maxUDP)
	}
	if q.options.present {
		size -= optSize
	}
	if q.options.cookie.present {
		size -= optionSize + clientCookie + serverCookie
	}
	return size
}

// maxMessage is the largest message over TCP (RFC 1035, section 4.2.2).
const maxMessage = 1<<16 - 1

// append writes the OPT record that add makes for a reply without errors.
func (o options) append(reply []byte, maxUDP int) []byte {
	flags := byte(0)
	if o.do {
		flags = 0x80
	}
	return append(reply, 0, 0, typeOPT, byte(maxUDP>>8), byte(maxUDP), 0, 0, flags, 0, 0, 0)
}
