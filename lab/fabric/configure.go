package fabric

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"

	"github.com/fairlead-net/fairlead/lab/plan"
)

// configure gives a machine's namespace its addresses and routes.
func configure(h *netlink.Handle, p Port) error {
	loopback, err := h.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("find lo: %w", err)
	}
	if err := h.LinkSetUp(loopback); err != nil {
		return fmt.Errorf("switch lo on: %w", err)
	}
	for i, cable := range p.Cables {
		name := interfaceName(i)
		link, err := h.LinkByName(name)
		if err != nil {
			return fmt.Errorf("find %s: %w", name, err)
		}
		if err := addAddresses(h, link, cable.Addr, cable.Nets); err != nil {
			return err
		}
		if err := h.LinkSetUp(link); err != nil {
			return fmt.Errorf("switch %s on: %w", name, err)
		}
		if err := addRoutes(h, link, routesBy(cable, p.Routes)); err != nil {
			return err
		}
	}
	return nil
}

// routesBy are those whose neighbour is at the other end of a cable.
func routesBy(cable Cable, routes []Route) []Route {
	var out []Route
	for _, r := range routes {
		if cable.Nets.V4.Contains(r.Via) || cable.Nets.V6.Contains(r.Via) {
			out = append(out, r)
		}
	}
	return out
}

func addRoutes(h *netlink.Handle, link netlink.Link, routes []Route) error {
	for _, r := range routes {
		route := &netlink.Route{LinkIndex: link.Attrs().Index, Dst: ipNet(r.To), Gw: r.Via.AsSlice()}
		if err := h.RouteReplace(route); err != nil {
			return fmt.Errorf("add the route to %s: %w", r.To, err)
		}
	}
	return nil
}

func addAddresses(h *netlink.Handle, link netlink.Link, addr plan.Pair, nets plan.Nets) error {
	for _, prefix := range []netip.Prefix{
		netip.PrefixFrom(addr.V4, nets.V4.Bits()),
		netip.PrefixFrom(addr.V6, nets.V6.Bits()),
	} {
		ip := ipNet(prefix)
		ip.IP = net.IP(prefix.Addr().AsSlice()) // the address itself, not the network's
		if err := h.AddrAdd(link, &netlink.Addr{IPNet: ip}); err != nil {
			return fmt.Errorf("add address %s: %w", prefix, err)
		}
	}
	return nil
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{
		IP:   p.Masked().Addr().AsSlice(),
		Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen()),
	}
}
