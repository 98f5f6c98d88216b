package l2

import (
	"encoding/binary"
	"net"
	"net/netip"
)

const (
	ethernetLength = 14
	typeARP        = 0x0806
	typeIPv6       = 0x86dd
	// maxFrame is the longest frame that is read. One that does not fit is
	// malformed: neither protocol has any as long.
	maxFrame = 1514
)

// hardware is an Ethernet address.
type hardware [6]byte

func (h hardware) String() string { return net.HardwareAddr(h[:]).String() }

// isGroup tells whether it stands for many stations (IEEE 802, section 8.2.2).
func (h hardware) isGroup() bool { return h[0]&1 != 0 }

// isStation tells whether it can be that of one station.
func (h hardware) isStation() bool { return !h.isGroup() && h != hardware{} }

func broadcast() hardware { return hardware{0xff, 0xff, 0xff, 0xff, 0xff, 0xff} }

// groupHardware is where frames to an IPv6 multicast group go (RFC 2464, section
// 7).
func groupHardware(group netip.Addr) hardware {
	b := group.As16()
	return hardware{0x33, 0x33, b[12], b[13], b[14], b[15]}
}

func appendEthernet(b []byte, to, from hardware, kind uint16) []byte {
	b = append(append(b, to[:]...), from[:]...)
	return binary.BigEndian.AppendUint16(b, kind)
}
