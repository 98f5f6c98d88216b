package l2

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// link is an interface.
type link struct {
	name  string
	index int
	mac   hardware
	// running tells whether it can send: it is up, and plugged in.
	running bool
	// linkLocal is its IPv6 address to ask from, invalid without one.
	linkLocal netip.Addr
	// unfit says why nothing can be answered there, or is empty.
	unfit string
}

// view is what one reading of the kernel shows.
type view struct {
	links []link // sorted by name
	// own are the hardware addresses of all interfaces.
	own map[hardware]bool
	// local are the addresses of this node, and the interfaces that have them.
	local map[netip.Addr]string
}

// look reads the kernel. Errors say what could not be read.
func look(h *netlink.Handle) (view, error) {
	v, err := lookOnce(h)
	for range 3 {
		// A change during the dump; it will not go on forever.
		if !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
		v, err = lookOnce(h)
	}
	return v, err
}

func lookOnce(h *netlink.Handle) (view, error) {
	v := view{own: map[hardware]bool{}, local: map[netip.Addr]string{}}
	list, err := h.LinkList()
	if err != nil {
		return v, fmt.Errorf("read the interfaces: %w", err)
	}
	addresses, err := h.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return v, fmt.Errorf("read the addresses of interfaces: %w", err)
	}
	byIndex := map[int]netlink.Link{}
	for _, l := range list {
		byIndex[l.Attrs().Index] = l
	}
	linkLocal := map[int]netip.Addr{}
	for _, a := range addresses {
		ip, ok := netip.AddrFromSlice(a.IP)
		if l := byIndex[a.LinkIndex]; ok && l != nil {
			v.local[ip.Unmap()] = l.Attrs().Name
		}
		if ok && ip.Is6() && ip.IsLinkLocalUnicast() && a.Flags&(unix.IFA_F_TENTATIVE|unix.IFA_F_DADFAILED) == 0 {
			linkLocal[a.LinkIndex] = ip
		}
	}
	for _, l := range list {
		const up = unix.IFF_UP | unix.IFF_RUNNING
		a := l.Attrs()
		one := link{
			name: a.Name, index: a.Index, running: a.RawFlags&up == up,
			linkLocal: linkLocal[a.Index], unfit: unfit(l, byIndex[a.MasterIndex]),
		}
		if len(a.HardwareAddr) == len(one.mac) {
			one.mac = hardware(a.HardwareAddr)
			v.own[one.mac] = true
		}
		v.links = append(v.links, one)
	}
	slices.SortFunc(v.links, func(a, b link) int { return cmp.Compare(a.name, b.name) })
	return v, nil
}

// unfit says why an interface cannot be used.
func unfit(l, master netlink.Link) string {
	a := l.Attrs()
	switch {
	case a.Flags&net.FlagLoopback != 0:
		return "it is the loopback interface"
	case a.EncapType != "ether" || len(a.HardwareAddr) != 6 || !hardware(a.HardwareAddr).isStation():
		return "it is no Ethernet interface, so nobody asks there who has an address"
	case a.RawFlags&unix.IFF_NOARP != 0:
		return "address resolution is switched off there (ip link set dev " + a.Name + " arp on)"
	case master == nil:
		return ""
	}
	switch master.Type() {
	case "bridge", "bond", "team", "openvswitch":
		return "it is a port of " + master.Attrs().Name + ", which has what comes in there: name that"
	}
	return ""
}

// matching returns the interfaces that one of the patterns names, and the
// patterns that name none. A pattern is a name, or as path.Match has it.
func (v view) matching(patterns []string) (links []link, without []string) {
	taken := map[int]bool{}
	for _, pattern := range patterns {
		found := false
		for _, l := range v.links {
			if !matches(pattern, l.name) {
				continue
			}
			found = true
			if !taken[l.index] {
				taken[l.index] = true
				links = append(links, l)
			}
		}
		if !found {
			without = append(without, pattern)
		}
	}
	return links, without
}

func matches(pattern, name string) bool {
	if pattern == name {
		return true
	}
	matched, err := path.Match(pattern, name)
	return err == nil && matched
}
