package bfd

import (
	"encoding/binary"
	"errors"
	"time"
)

// State is that of a session (RFC 5880, section 4.1).
type State uint8

// The states, with the numbers that they have in packets.
const (
	AdminDown State = iota
	Down
	Init
	Up
)

// String returns the state in the words of the RFC.
func (s State) String() string {
	return [...]string{"AdminDown", "Down", "Init", "Up"}[s&3]
}

// Diagnostic is why a session was last lost (RFC 5880, section 4.1).
type Diagnostic uint8

// The diagnostics that this end gives.
const (
	NoDiagnostic       Diagnostic = 0
	DetectionExpired   Diagnostic = 1
	NeighborDown       Diagnostic = 3
	AdministrativeDown Diagnostic = 7
)

const (
	version    = 1
	packetSize = 24
	// The bits of the second byte, below the state.
	flagPoll       = 1 << 5
	flagFinal      = 1 << 4
	flagAuth       = 1 << 2
	flagDemand     = 1 << 1
	flagMultipoint = 1 << 0
)

// packet is a control packet without authentication. Times have microseconds, and
// fit 32 bits of them.
type packet struct {
	diagnostic        Diagnostic
	state             State
	poll, final       bool
	demand            bool
	multiplier        uint8
	mine, yours       uint32 // discriminators
	transmit, receive time.Duration
	echo              time.Duration
}

var errMalformed = errors.New("not a BFD control packet that can be used")

// parse reads a packet, and checks what can be checked without knowing the session
// (RFC 5880, section 6.8.6).
func parse(b []byte) (packet, error) {
	if len(b) < packetSize || b[0]>>5 != version || int(b[3]) < packetSize || int(b[3]) > len(b) {
		return packet{}, errMalformed
	}
	if b[1]&(flagAuth|flagMultipoint) != 0 {
		return packet{}, errMalformed
	}
	duration := func(at int) time.Duration {
		return time.Duration(binary.BigEndian.Uint32(b[at:])) * time.Microsecond
	}
	p := packet{
		diagnostic: Diagnostic(b[0] & 0x1f), state: State(b[1] >> 6), multiplier: b[2],
		poll: b[1]&flagPoll != 0, final: b[1]&flagFinal != 0, demand: b[1]&flagDemand != 0,
		mine: binary.BigEndian.Uint32(b[4:]), yours: binary.BigEndian.Uint32(b[8:]),
		transmit: duration(12), receive: duration(16), echo: duration(20),
	}
	if p.multiplier == 0 || p.mine == 0 || p.yours == 0 && p.state != Down && p.state != AdminDown || p.poll && p.final {
		return packet{}, errMalformed
	}
	return p, nil
}

func (p packet) append(b []byte) []byte {
	flags := byte(p.state) << 6
	if p.poll {
		flags |= flagPoll
	}
	if p.final {
		flags |= flagFinal
	}
	if p.demand {
		flags |= flagDemand
	}
	b = append(b, version<<5|byte(p.diagnostic), flags, p.multiplier, packetSize)
	for _, n := range [...]uint32{p.mine, p.yours, microseconds(p.transmit), microseconds(p.receive), microseconds(p.echo)} {
		b = binary.BigEndian.AppendUint32(b, n)
	}
	return b
}

func microseconds(d time.Duration) uint32 { return uint32(d / time.Microsecond) }
