package server

import (
	"math/rand/v2"
	"runtime/debug"

	"github.com/fairlead-net/fairlead/internal/dns"
)

// hot answers usual queries about the cluster's names from packet to packet,
// without allocating. All others are for Plane.handle, which could answer these
// too, with the same bytes. One goroutine at a time may use it.
type hot struct {
	plane  *Plane
	tally  *tally
	packer *dns.Packer
}

// hotSlack is how much longer than the reply the buffer should be, so that what
// turns out not to fit can be written first.
const hotSlack = 600

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
	if !ok || !p.plain {
		return nil, false
	}
	limit := maxMessage
	if n == overUDP {
		limit = q.options.limit(p.config.MaxUDP)
	}
	if q.options.present {
		limit -= optSize
	}
	if q.options.cookie.present {
		limit -= optionSize + clientCookie + serverCookie
	}
	reply, packed, ok := h.packer.Pack(p.table.Load(), append(buffer[:0], packet[:q.end]...), limit)
	if !ok {
		return nil, false
	}
	h.tally.request(n, c.family(), q.qtype, len(packet))
	// Flags as respond and finish set them.
	reply[2] = 0x80 | 0x04 | packet[2]&0x01
	if packed.Truncated {
		reply[2] |= 0x02
	}
	reply[3] = packet[3]&0x10 | byte(packed.Rcode)
	if p.forwarder.Configured() {
		reply[3] |= 0x80
	}
	if q.options.present {
		packed.Additionals++
		reply = q.options.append(reply, p.config.MaxUDP)
	}
	if q.options.cookie.present {
		data := p.cookies.answer(&q.options.cookie, c.address, c.now)
		reply[len(reply)-1] = byte(optionSize + len(data)) // the size of all options
		reply = append(reply, 0, optionCookie, 0, byte(len(data)))
		reply = append(reply, data[:]...)
	}
	counts := reply[6:headerSize]
	counts[0], counts[1] = byte(packed.Answers>>8), byte(packed.Answers)
	counts[2], counts[3] = byte(packed.Authorities>>8), byte(packed.Authorities)
	counts[4], counts[5] = byte(packed.Additionals>>8), byte(packed.Additionals)
	h.tally.reply(n, int(packed.Rcode), fromTable, len(reply))
	return reply, true
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
