package probe

import (
	"encoding/binary"
	"errors"
	"time"

	"github.com/fairlead-net/fairlead/internal/announce"
)

// The layout of a packet, all numbers big-endian:
//
//	 0  "FL", version, flags
//	 4  the sender's interval in microseconds
//	 8  the sender's session: a random number that its process has drawn
//	16  sequence number
//	24  session, and
//	32  sequence number of the last packet heard from the receiver; 0 if there is none
//	40  length of the sender's name, number of offers, two zero bytes
//	44  the sender's name
//	    offers, 4 bytes each, rising
//	    HMAC-SHA256 of all this and the receiver's name, the first 16 bytes
const (
	version     = 1
	headerSize  = 44
	macSize     = 16
	maxName     = 253
	maxPacket   = headerSize + maxName + 4*announce.MaxOffers + macSize // fits IPv6's smallest MTU of 1,280
	flagLeaving = 1
	maxInterval = 10 * time.Second
)

// packet is what one process tells another.
type packet struct {
	// from shares the bytes of the packet that was read.
	from         []byte
	session, seq uint64
	// echoed is the packet that was heard last.
	echoed   number
	interval time.Duration
	leaving  bool
	offers   offers
}

// number identifies a packet of a node. The zero number stands for none.
type number struct{ session, seq uint64 }

// offers are hashes in the form that they travel in.
type offers []byte

func packOffers(hashes []uint32) offers {
	hashes = hashes[:min(len(hashes), announce.MaxOffers)]
	packed := make(offers, 0, 4*len(hashes))
	for _, hash := range hashes {
		packed = binary.BigEndian.AppendUint32(packed, hash)
	}
	return packed
}

func (o offers) at(i int) uint32 { return binary.BigEndian.Uint32(o[4*i:]) }

func (o offers) unpack() []uint32 {
	hashes := make([]uint32, 0, len(o)/4)
	for i := range len(o) / 4 {
		hashes = append(hashes, o.at(i))
	}
	return hashes
}

var errMalformed = errors.New("not a packet of this version")

// parse reads a packet. It looks at everything but the MAC, and keeps b.
func parse(b []byte) (packet, error) {
	if len(b) < headerSize+macSize || b[0] != 'F' || b[1] != 'L' || b[2] != version || b[3]&^flagLeaving != 0 {
		return packet{}, errMalformed
	}
	name, count := int(b[40]), int(b[41])
	if name == 0 || name > maxName || count > announce.MaxOffers || b[42] != 0 || b[43] != 0 || len(b) != headerSize+name+4*count+macSize {
		return packet{}, errMalformed
	}
	at := binary.BigEndian.Uint64
	p := packet{
		from: b[headerSize : headerSize+name], session: at(b[8:]), seq: at(b[16:]), echoed: number{at(b[24:]), at(b[32:])},
		interval: time.Duration(binary.BigEndian.Uint32(b[4:])) * time.Microsecond,
		leaving:  b[3]&flagLeaving != 0, offers: offers(b[headerSize+name : len(b)-macSize]),
	}
	if p.session == 0 || p.seq == 0 || p.interval <= 0 || p.interval > maxInterval {
		return packet{}, errMalformed
	}
	for i := 1; i < count; i++ {
		if p.offers.at(i-1) >= p.offers.at(i) {
			return packet{}, errMalformed
		}
	}
	return p, nil
}

// append writes a packet without its MAC. The name must not be longer than
// maxName.
func (p *packet) append(b []byte) []byte {
	var flags byte
	if p.leaving {
		flags = flagLeaving
	}
	b = append(b, 'F', 'L', version, flags)
	b = binary.BigEndian.AppendUint32(b, uint32(p.interval/time.Microsecond))
	for _, n := range [...]uint64{p.session, p.seq, p.echoed.session, p.echoed.seq} {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	b = append(b, byte(len(p.from)), byte(len(p.offers)/4), 0, 0)
	b = append(b, p.from...)
	return append(b, p.offers...)
}
