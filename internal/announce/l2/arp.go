package l2

import (
	"encoding/binary"
	"net/netip"
)

const (
	arpLength  = 28
	arpRequest = 1
	arpReply   = 2
)

// arp is an ARP packet for IPv4 over Ethernet (RFC 826), and the frame's
// destination.
type arp struct {
	to        hardware
	operation uint16
	sender    hardware
	senderIP  netip.Addr
	target    hardware
	targetIP  netip.Addr
}

// parseARP reads a frame; what follows the packet is padding. False means that it
// is none of IPv4 over Ethernet, neither request nor reply, or that its sender
// cannot be one.
func parseARP(frame []byte) (arp, bool) {
	if len(frame) < ethernetLength+arpLength || binary.BigEndian.Uint16(frame[12:]) != typeARP {
		return arp{}, false
	}
	b := frame[ethernetLength:]
	// Hardware type Ethernet, protocol type IPv4, and their lengths.
	if [6]byte(b) != [6]byte{0, 1, 8, 0, 6, 4} {
		return arp{}, false
	}
	a := arp{
		to: hardware(frame), operation: binary.BigEndian.Uint16(b[6:]),
		sender: hardware(b[8:]), senderIP: netip.AddrFrom4([4]byte(b[14:])),
		target: hardware(b[18:]), targetIP: netip.AddrFrom4([4]byte(b[24:])),
	}
	fits := a.operation == arpRequest || a.operation == arpReply
	return a, fits && a.sender.isStation() && !a.senderIP.IsMulticast() && a.senderIP != netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

func appendARP(b []byte, a arp) []byte {
	b = appendEthernet(b, a.to, a.sender, typeARP)
	b = append(b, 0, 1, 8, 0, 6, 4)
	b = binary.BigEndian.AppendUint16(b, a.operation)
	sender, target := a.senderIP.As4(), a.targetIP.As4()
	b = append(append(b, a.sender[:]...), sender[:]...)
	return append(append(b, a.target[:]...), target[:]...)
}

// answer is the reply of own to a request.
func (a arp) answer(own hardware) arp {
	return arp{
		to: a.sender, operation: arpReply, sender: own, senderIP: a.targetIP,
		target: a.sender, targetIP: a.senderIP,
	}
}

// announcement says that own has an address: as a request that asks for the
// sender's own address (RFC 5227, section 3), or as a reply to everybody, which is
// the only form that some devices heed.
func announcement(own hardware, address netip.Addr, operation uint16) arp {
	a := arp{to: broadcast(), operation: operation, sender: own, senderIP: address, targetIP: address}
	if operation == arpReply {
		a.target = own
	}
	return a
}

// arpProbe asks who has an address and leaves no trace in anybody's cache, as it
// does not say who asks (RFC 5227, section 2.1.1).
func arpProbe(own hardware, address netip.Addr) arp {
	return arp{to: broadcast(), operation: arpRequest, sender: own, senderIP: netip.IPv4Unspecified(), targetIP: address}
}
