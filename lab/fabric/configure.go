package fabric

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"

	"github.com/fairlead-net/fairlead/lab/plan"
)

// configure gives a machine's namespace its addresses and routes.
func configure(h *netlink.Handle, p Port, nets plan.Nets) error {
	loopback, err := h.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("find lo: %w", err)
	}
	if err := h.LinkSetUp(loopback); err != nil {
		return fmt.Errorf("switch lo on: %w", err)
	}
	link, err := h.LinkByName(cableName)
	if err != nil {
		return fmt.Errorf("find %s: %w", cableName, err)
	}
	if err := addAddresses(h, link, p.Addr, nets); err != nil {
		return err
	}
	if err := h.LinkSetUp(link); err != nil {
		return fmt.Errorf("switch %s on: %w", cableName, err)
	}
	return addRoutes(h, link, p.Routes)
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
