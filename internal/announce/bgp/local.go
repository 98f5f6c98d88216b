package bgp

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// around returns what this node has at the interface that leads to a router.
func around(router netip.Addr) (surroundings, error) {
	if router.Zone() != "" {
		s, err := at(router.Zone(), netip.Addr{})
		s.direct = true
		return s, err
	}
	routes, err := netlink.RouteGet(router.AsSlice())
	if err != nil || len(routes) == 0 {
		return surroundings{}, fmt.Errorf("the node has no route to %s", router)
	}
	link, err := netlink.LinkByIndex(routes[0].LinkIndex)
	if err != nil {
		return surroundings{}, fmt.Errorf("the interface that leads to %s: %w", router, err)
	}
	source, _ := netip.AddrFromSlice(routes[0].Src)
	s, err := at(link.Attrs().Name, source.Unmap())
	s.direct = routes[0].Gw == nil && routes[0].Via == nil
	s.distant = !s.direct
	return s, err
}

// at returns the addresses of an interface. The one that the kernel sends from is
// preferred, then the first.
func at(name string, preferred netip.Addr) (surroundings, error) {
	s := surroundings{name: name}
	link, err := netlink.LinkByName(name)
	if err != nil {
		return s, fmt.Errorf("there is no interface %s on this node", name)
	}
	addresses, err := netlink.AddrList(link, netlink.FAMILY_ALL)
	if err != nil {
		return s, fmt.Errorf("the addresses of interface %s: %w", name, err)
	}
	for _, a := range addresses {
		address, _ := netip.AddrFromSlice(a.IP)
		address = address.Unmap()
		const unusable = unix.IFA_F_TEMPORARY | unix.IFA_F_DEPRECATED | unix.IFA_F_TENTATIVE | unix.IFA_F_DADFAILED
		if !address.IsValid() || address.Is6() && a.Flags&unusable != 0 {
			continue
		}
		keep := func(where *netip.Addr) {
			if !where.IsValid() || address == preferred {
				*where = address
			}
		}
		switch {
		case address.Is4() && !address.IsLoopback():
			keep(&s.v4)
		case address.Is6() && address.IsLinkLocalUnicast():
			keep(&s.linkLocal)
		case address.Is6() && !address.IsLoopback():
			keep(&s.v6)
		}
	}
	return s, nil
}

// hardwareAddress returns that of an interface, and its index.
func hardwareAddress(name string) (net.HardwareAddr, int, error) {
	i, err := net.InterfaceByName(name)
	if err != nil {
		return nil, 0, fmt.Errorf("there is no interface %s on this node", name)
	}
	return i.HardwareAddr, i.Index, nil
}
