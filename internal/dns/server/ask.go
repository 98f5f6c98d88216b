package server

import (
	"net"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/fairlead-net/fairlead/internal/dns"
	"github.com/fairlead-net/fairlead/internal/dns/server/forward"
)

// query returns what an upstream is asked for a name, with the options that rules want.
func (x *exchange) query(name string, t dns.Type, c dns.Class) forward.Query {
	return forward.Query{
		Name: name, Type: uint16(t), Class: uint16(c), DO: x.options.do, CD: x.request.CheckingDisabled,
		Options: x.outcome.Options(),
	}
}

// local returns the address that packet i was sent to, if the kernel tells.
func (b *inbox) local(i int) netip.Addr {
	size := b.headers[i].Controllen
	if size < unix.SizeofCmsghdr {
		return netip.Addr{}
	}
	header, data, _, err := unix.ParseOneSocketControlMessage(b.controls[i][:size])
	switch {
	case err != nil:
	case header.Level == unix.IPPROTO_IPV6 && header.Type == unix.IPV6_PKTINFO && len(data) >= unix.SizeofInet6Pktinfo:
		return netip.AddrFrom16([16]byte(data)).Unmap()
	case header.Level == unix.IPPROTO_IP && header.Type == unix.IP_PKTINFO && len(data) >= unix.SizeofInet4Pktinfo:
		return netip.AddrFrom4([4]byte(data[8:]))
	}
	return netip.Addr{}
}

// server returns where packet i was sent to.
func (s *udpSocket) server(i int) netip.AddrPort {
	if to := s.in.local(i); to.IsValid() {
		return netip.AddrPortFrom(to, s.address.Port())
	}
	return s.address
}

// unmapped returns the address and port of a socket's end; nothing if it has none.
func unmapped(a net.Addr) netip.AddrPort {
	at, ok := a.(interface{ AddrPort() netip.AddrPort })
	if !ok {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(at.AddrPort().Addr().Unmap(), at.AddrPort().Port())
}
