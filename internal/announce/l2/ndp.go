package l2

import (
	"encoding/binary"
	"net/netip"
)

const (
	ipv6Length      = 40
	protocolICMPv6  = 58
	ndpLength       = 24  // up to the options
	ndpHopLimit     = 255 // so no router has passed it on
	solicitation    = 135
	advertisement   = 136
	sourceHardware  = 1 // options (RFC 4861, section 4.6)
	targetHardware  = 2
	flagSolicited   = 0x40
	flagOverride    = 0x20
	advertisedFlags = 0xe0 // with the one for routers
)

// ndp is a Neighbor Solicitation or Advertisement (RFC 4861, sections 4.3 and
// 4.4), and the addresses of its frame and its IPv6 header.
type ndp struct {
	to, from            hardware
	source, destination netip.Addr
	kind, flags         uint8 // flags are an advertisement's
	target              netip.Addr
	// station is what the option for the sender's hardware address says, zero
	// without one.
	station hardware
}

// sender is the station that the message is from.
func (n ndp) sender() hardware {
	if n.station != (hardware{}) {
		return n.station
	}
	return n.from
}

// parseNDP reads a frame. False means that it is neither a solicitation nor an
// advertisement, or invalid by RFC 4861, sections 7.1.1 and 7.1.2. An extension
// header makes it unreadable: no neighbour sends one, and RFC 6980 forbids
// fragments.
func parseNDP(frame []byte) (ndp, bool) {
	if len(frame) < ethernetLength+ipv6Length+ndpLength || binary.BigEndian.Uint16(frame[12:]) != typeIPv6 {
		return ndp{}, false
	}
	header := frame[ethernetLength:]
	length := int(binary.BigEndian.Uint16(header[4:]))
	if header[0]>>4 != 6 || header[6] != protocolICMPv6 || header[7] != ndpHopLimit ||
		length < ndpLength || len(header) < ipv6Length+length {
		return ndp{}, false
	}
	b := header[ipv6Length : ipv6Length+length]
	n := ndp{
		to: hardware(frame), from: hardware(frame[6:]),
		source: netip.AddrFrom16([16]byte(header[8:])), destination: netip.AddrFrom16([16]byte(header[24:])),
		kind: b[0], target: netip.AddrFrom16([16]byte(b[8:])),
	}
	if n.kind == advertisement {
		n.flags = b[4] & advertisedFlags
	}
	code := b[1]
	if !n.isValid() || code != 0 || checksum(n.source, n.destination, b) != 0 || !n.readOptions(b[ndpLength:]) {
		return ndp{}, false
	}
	// Who has no address yet must not say what hardware address it has.
	if n.kind == solicitation && n.source.IsUnspecified() && n.station != (hardware{}) {
		return ndp{}, false
	}
	return n, true
}

// isValid checks all but the options.
func (n *ndp) isValid() bool {
	if !n.from.isStation() || n.source.IsMulticast() || n.target.IsMulticast() || n.target.Is4In6() {
		return false
	}
	switch n.kind {
	case solicitation:
		return !n.source.IsUnspecified() || isSolicitedNode(n.destination)
	case advertisement:
		return !n.source.IsUnspecified() && !(n.destination.IsMulticast() && n.flags&flagSolicited != 0)
	}
	return false
}

// readOptions finds the sender's hardware address; of several the first counts.
func (n *ndp) readOptions(b []byte) bool {
	wanted := uint8(sourceHardware)
	if n.kind == advertisement {
		wanted = targetHardware
	}
	for len(b) > 0 {
		if len(b) < 8 || b[1] == 0 || len(b) < 8*int(b[1]) {
			return false
		}
		if b[0] == wanted && n.station == (hardware{}) {
			n.station = hardware(b[2:])
			if b[1] != 1 || !n.station.isStation() {
				return false
			}
		}
		b = b[8*int(b[1]):]
	}
	return true
}

func appendNDP(b []byte, n ndp) []byte {
	b = appendEthernet(b, n.to, n.from, typeIPv6)
	length := ndpLength
	if n.station != (hardware{}) {
		length += 8
	}
	source, destination, target := n.source.As16(), n.destination.As16(), n.target.As16()
	b = append(b, 0x60, 0, 0, 0, 0, byte(length), protocolICMPv6, ndpHopLimit)
	b = append(append(b, source[:]...), destination[:]...)
	start := len(b)
	b = append(b, n.kind, 0, 0, 0, n.flags, 0, 0, 0)
	b = append(b, target[:]...)
	if n.station != (hardware{}) {
		option := byte(sourceHardware)
		if n.kind == advertisement {
			option = targetHardware
		}
		b = append(append(b, option, 1), n.station[:]...)
	}
	binary.BigEndian.PutUint16(b[start+2:], checksum(n.source, n.destination, b[start:]))
	return b
}

// checksum is that of an ICMPv6 message (RFC 4443, section 2.3), which is 0 of one
// that already has the right one.
func checksum(source, destination netip.Addr, message []byte) uint16 {
	from, to := source.As16(), destination.As16()
	sum := uint32(len(message)) + protocolICMPv6
	for i := 0; i < 16; i += 2 {
		sum += uint32(binary.BigEndian.Uint16(from[i:])) + uint32(binary.BigEndian.Uint16(to[i:]))
	}
	for ; len(message) > 1; message = message[2:] {
		sum += uint32(binary.BigEndian.Uint16(message))
	}
	if len(message) > 0 {
		sum += uint32(message[0]) << 8
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// allNodes is ff02::1.
func allNodes() netip.Addr { return netip.AddrFrom16([16]byte{0: 0xff, 1: 2, 15: 1}) }

// solicitedNode is the group that is asked for an address (RFC 4291, section
// 2.7.1): ff02::1:ff and the address's last three bytes.
func solicitedNode(a netip.Addr) netip.Addr {
	b := a.As16()
	return netip.AddrFrom16([16]byte{0: 0xff, 1: 2, 11: 1, 12: 0xff, 13: b[13], 14: b[14], 15: b[15]})
}

func isSolicitedNode(a netip.Addr) bool { return a.IsMulticast() && a == solicitedNode(a) }

// answer is own's advertisement to who asks (RFC 4861, section 7.2.4). Who has no
// address yet, and is about to take this one, is told through all nodes.
func (n ndp) answer(own hardware) ndp {
	a := advertise(own, n.target)
	if n.source.IsUnspecified() {
		return a
	}
	a.to, a.destination, a.flags = n.sender(), n.source, flagSolicited|flagOverride
	return a
}

// advertise is what tells all nodes that own has an address (RFC 4861, section
// 7.2.6).
func advertise(own hardware, address netip.Addr) ndp {
	return ndp{
		to: groupHardware(allNodes()), from: own, source: address, destination: allNodes(),
		kind: advertisement, flags: flagOverride, target: address, station: own,
	}
}

// solicit asks who has an address, and wants the answer for itself: one without a
// source would be answered through all nodes, and change their caches.
func solicit(own hardware, source, address netip.Addr) ndp {
	group := solicitedNode(address)
	return ndp{
		to: groupHardware(group), from: own, source: source, destination: group,
		kind: solicitation, target: address, station: own,
	}
}
