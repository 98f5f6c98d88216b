package l2

import (
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// perSocket is how many groups one socket may be in: the kernel limits what it
// keeps for a socket (net.core.optmem_max), on older ones to some 300.
const perSocket = 250

// groups are memberships in multicast groups at one interface. Through them the
// network card lets solicitations in, and the kernel tells switches, which
// otherwise may not pass them on to this machine (RFC 4541, section 3; RFC 3810).
type groups struct {
	namespace namespace
	index     int
	sockets   []*groupSocket
	joined    map[netip.Addr]*groupSocket
}

type groupSocket struct{ fd, count int }

// set joins and leaves until these are the groups. The error says which one could
// not be joined; calling again retries.
func (g *groups) set(wanted map[netip.Addr]bool) error {
	for group, s := range g.joined {
		if !wanted[group] {
			// It fails only if the interface is gone, and the membership with it.
			_ = unix.SetsockoptIPv6Mreq(s.fd, unix.IPPROTO_IPV6, unix.IPV6_LEAVE_GROUP, g.request(group))
			s.count--
			delete(g.joined, group)
		}
	}
	var failed []error
	for group := range wanted {
		if g.joined[group] == nil && len(failed) == 0 {
			if err := g.join(group); err != nil {
				failed = append(failed, fmt.Errorf("join multicast group %s: %w", group, err))
			}
		}
	}
	return errors.Join(failed...)
}

func (g *groups) join(group netip.Addr) error {
	s, err := g.socket()
	if err != nil {
		return err
	}
	if err := unix.SetsockoptIPv6Mreq(s.fd, unix.IPPROTO_IPV6, unix.IPV6_JOIN_GROUP, g.request(group)); err != nil {
		return err
	}
	s.count++
	g.joined[group] = s
	return nil
}

// socket returns one that has room. It is bound to no port and never read.
func (g *groups) socket() (*groupSocket, error) {
	for _, s := range g.sockets {
		if s.count < perSocket {
			return s, nil
		}
	}
	s := &groupSocket{}
	err := g.namespace.do(func() (err error) {
		s.fd, err = unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		return err
	})
	if err != nil {
		return nil, err
	}
	g.sockets = append(g.sockets, s)
	return s, nil
}

func (g *groups) request(group netip.Addr) *unix.IPv6Mreq {
	return &unix.IPv6Mreq{Multiaddr: group.As16(), Interface: uint32(g.index)}
}

// close leaves all groups.
func (g *groups) close() {
	for _, s := range g.sockets {
		_ = unix.Close(s.fd)
	}
	g.sockets, g.joined = nil, map[netip.Addr]*groupSocket{}
}
