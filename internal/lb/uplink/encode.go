package uplink

import (
	"encoding/binary"
	"net/netip"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/lb"
)

// addressOf writes an address as the programs read it.
func addressOf(address netip.Addr) packetsAddress {
	var a packetsAddress
	b := address.As16()
	for i := range a.Word {
		a.Word[i] = binary.NativeEndian.Uint32(b[4*i:])
	}
	return a
}

func (a packetsAddress) addr() netip.Addr {
	var b [16]byte
	for i, word := range a.Word {
		binary.NativeEndian.PutUint32(b[4*i:], word)
	}
	return netip.AddrFrom16(b).Unmap()
}

// networkPort writes a port in network byte order, and reads it too.
func networkPort(port uint16) uint16 {
	var b [2]byte
	binary.BigEndian.PutUint16(b[:], port)
	return binary.NativeEndian.Uint16(b[:])
}

func endpointOf(at netip.AddrPort, protocol desired.Protocol) packetsEndpoint {
	return packetsEndpoint{Address: addressOf(at.Addr()), Port: networkPort(at.Port()), Protocol: uint8(protocol)}
}

func (e packetsEndpoint) addrPort() netip.AddrPort {
	return netip.AddrPortFrom(e.Address.addr(), networkPort(e.Port))
}

func keyOf(f lb.Frontend) packetsEndpoint {
	return endpointOf(netip.AddrPortFrom(f.Address, f.Port), f.Protocol)
}

func (e packetsEndpoint) frontend() lb.Frontend {
	at := e.addrPort()
	return lb.Frontend{Address: at.Addr(), Port: at.Port(), Protocol: desired.Protocol(e.Protocol)}
}

// reversed is the tuple of an answer.
func (t packetsTuple) reversed() packetsTuple {
	t.Source, t.Target = t.Target, t.Source
	t.SourcePort, t.TargetPort = t.TargetPort, t.SourcePort
	return t
}

// target is a backend as the kernel knows it. Where any of it differs, it is
// another one.
type target struct {
	at       netip.AddrPort
	protocol desired.Protocol
	local    bool
	answers  bool // its node can answer clients itself
}

func (t target) value() packetsBackend {
	b := packetsBackend{At: endpointOf(t.at, t.protocol)}
	if t.local {
		b.Flags |= uint32(packetsBackendFlagLOCAL)
	}
	if t.answers {
		b.Flags |= uint32(packetsBackendFlagANSWERS)
	}
	return b
}

func (b packetsBackend) target() target {
	return target{
		at: b.At.addrPort(), protocol: desired.Protocol(b.At.Protocol),
		local:   b.Flags&uint32(packetsBackendFlagLOCAL) != 0,
		answers: b.Flags&uint32(packetsBackendFlagANSWERS) != 0,
	}
}
