package uplink

import (
	"encoding/binary"
	"fmt"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// XDPMode says whether packets of known flows take the short cut in the driver.
type XDPMode uint8

// The modes.
const (
	// XDPOff: never.
	XDPOff XDPMode = iota
	// XDPAuto: where the driver says that it can receive, redirect and transmit.
	// Never on a veth, which drops frames if its other end does not poll.
	XDPAuto
	// XDPForce: on every uplink whose driver takes the program.
	XDPForce
)

// The netdev family of generic netlink (Documentation/netlink/specs/netdev.yaml).
const (
	netdevFamily      = "netdev"
	netdevGet         = 1
	netdevIfindex     = 1
	netdevXDPFeatures = 3

	xdpBasic    = 1
	xdpRedirect = 2
	xdpTransmit = 4
)

// xdpFeatures asks what an interface's driver can do in XDP. The family is there
// from Linux 6.3 on.
func xdpFeatures(index int) (uint64, error) {
	family, err := netlink.GenlFamilyGet(netdevFamily)
	if err != nil {
		return 0, fmt.Errorf("asking for XDP features (needs Linux 6.3): %w", err)
	}
	request := nl.NewNetlinkRequest(int(family.ID), 0)
	request.AddData(&nl.Genlmsg{Command: netdevGet, Version: 1})
	request.AddData(nl.NewRtAttr(netdevIfindex, nl.Uint32Attr(uint32(index))))
	answers, err := request.Execute(unix.NETLINK_GENERIC, 0)
	if err != nil {
		return 0, fmt.Errorf("asking for XDP features: %w", err)
	}
	for _, answer := range answers {
		attributes, err := nl.ParseRouteAttr(answer[min(nl.SizeofGenlmsg, len(answer)):])
		if err != nil {
			return 0, fmt.Errorf("reading XDP features: %w", err)
		}
		for _, a := range attributes {
			if a.Attr.Type == netdevXDPFeatures && len(a.Value) >= 8 {
				return binary.NativeEndian.Uint64(a.Value), nil
			}
		}
	}
	return 0, nil
}

// decideXDP says whether an uplink gets the short cut, whether other uplinks may
// send by it, and what speaks against the short cut.
func (p *Plane) decideXDP(l netlink.Link) (use, transmits bool, why string) {
	if p.config.XDP == XDPOff || p.programs[packetsProgUplinkXdp] == nil {
		return false, false, ""
	}
	features, err := xdpFeatures(l.Attrs().Index)
	transmits = err == nil && features&xdpTransmit != 0 && l.Type() != "veth"
	const needed = xdpBasic | xdpRedirect | xdpTransmit
	switch {
	case p.config.XDP == XDPForce:
		return true, transmits, ""
	case err != nil:
		return false, false, err.Error()
	case l.Type() == "veth":
		return false, false, "it is a veth, whose other end may not poll"
	case features&needed != needed:
		return false, false, "its driver does not receive, redirect and transmit in XDP"
	}
	return true, transmits, ""
}
