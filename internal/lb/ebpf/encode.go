package ebpf

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"time"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/lb"
)

// endpointOf writes an address as the programs read it: 16 bytes and a port in
// network byte order.
func endpointOf(address netip.AddrPort, protocol desired.Protocol) socketEndpoint {
	e := socketEndpoint{Protocol: uint8(protocol)}
	b := address.Addr().As16()
	for i := range e.Address {
		e.Address[i] = binary.NativeEndian.Uint32(b[4*i:])
	}
	var port [2]byte
	binary.BigEndian.PutUint16(port[:], address.Port())
	e.Port = binary.NativeEndian.Uint16(port[:])
	return e
}

func (e socketEndpoint) addrPort() netip.AddrPort {
	var b [16]byte
	for i, word := range e.Address {
		binary.NativeEndian.PutUint32(b[4*i:], word)
	}
	var port [2]byte
	binary.NativeEndian.PutUint16(port[:], e.Port)
	return netip.AddrPortFrom(netip.AddrFrom16(b).Unmap(), binary.BigEndian.Uint16(port[:]))
}

func keyOf(f lb.Frontend) socketEndpoint {
	return endpointOf(netip.AddrPortFrom(f.Address, f.Port), f.Protocol)
}

func (e socketEndpoint) frontend() lb.Frontend {
	address := e.addrPort()
	return lb.Frontend{Address: address.Addr(), Port: address.Port(), Protocol: desired.Protocol(e.Protocol)}
}

// handles tells whether the programs can serve a frontend at all.
func handles(f lb.Frontend) bool {
	return f.Address.IsValid() && (f.Protocol == desired.TCP || f.Protocol == desired.UDP)
}

// leaves tells whether an Entry is left to the packet plane: it matters which
// address the client has, and a socket that connects has none yet.
func leaves(e *lb.Entry) bool { return e.Sources != nil }

// affinitySeconds rounds up: a client must not lose its backend early.
func affinitySeconds(e *lb.Entry) uint32 {
	return uint32((e.Affinity + time.Second - 1) / time.Second)
}

// valueOf returns what the frontends map holds for an Entry whose backends are
// in a list.
func valueOf(e *lb.Entry, list uint64) socketFrontend {
	if leaves(e) {
		return socketFrontend{WhenEmpty: socketWhenEmptyLEAVE_TO_PACKETS}
	}
	if len(e.Backends) == 0 {
		value := socketFrontend{WhenEmpty: socketWhenEmptyREFUSE_WHEN_EMPTY}
		if e.Drop {
			value.WhenEmpty = socketWhenEmptyDROP_WHEN_EMPTY
		}
		return value
	}
	return socketFrontend{List: list, Count: uint32(len(e.Backends)), Affinity: affinitySeconds(e)}
}

// entry returns what valueOf was given, as far as the kernel knows it: of
// Sources only that there are some.
func (v socketFrontend) entry(backends []netip.AddrPort) *lb.Entry {
	if v.WhenEmpty == socketWhenEmptyLEAVE_TO_PACKETS {
		return &lb.Entry{Sources: []netip.Prefix{}}
	}
	return &lb.Entry{
		Affinity: time.Duration(v.Affinity) * time.Second,
		Backends: backends,
		Drop:     v.WhenEmpty == socketWhenEmptyDROP_WHEN_EMPTY,
	}
}

// alike tells whether two Entries are the same to the kernel.
func alike(a, b *lb.Entry) bool {
	if leaves(a) || leaves(b) {
		return leaves(a) && leaves(b)
	}
	if len(a.Backends) == 0 && len(b.Backends) == 0 {
		return a.Drop == b.Drop
	}
	return affinitySeconds(a) == affinitySeconds(b) && slices.Equal(a.Backends, b.Backends)
}

// hasMembers tells whether a list must be in the members map.
func hasMembers(protocol desired.Protocol, e *lb.Entry) bool {
	return protocol == desired.UDP || affinitySeconds(e) > 0
}

// slotsOf returns the keys and values of a list in the backends map.
func slotsOf(list uint64, protocol desired.Protocol, e *lb.Entry) ([]socketSlot, []socketEndpoint) {
	if leaves(e) {
		return nil, nil
	}
	keys := make([]socketSlot, len(e.Backends))
	values := make([]socketEndpoint, len(e.Backends))
	for i, backend := range e.Backends {
		keys[i] = socketSlot{List: list, Number: uint32(i)}
		values[i] = endpointOf(backend, protocol)
	}
	return keys, values
}

// membersOf returns the keys of a list in the members map.
func membersOf(list uint64, protocol desired.Protocol, e *lb.Entry) []socketMember {
	if leaves(e) || !hasMembers(protocol, e) {
		return nil
	}
	keys := make([]socketMember, len(e.Backends))
	for i, backend := range e.Backends {
		keys[i] = socketMember{List: list, Backend: endpointOf(backend, protocol)}
	}
	return keys
}
