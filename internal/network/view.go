package network

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"path"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// view is what one reading of the kernel shows. Indexes are those of interfaces.
type view struct {
	// names are those of all interfaces but loopback ones.
	names     map[int]string
	addresses []address
	// defaults are the interfaces that default routes leave by.
	defaults map[int]bool
}

type address struct {
	netip.Addr
	link  int
	flags int // IFA_F_*
}

// kubeProxys is the interface where kube-proxy's ipvs mode puts the addresses of
// Services, which are not the node's; it may leave it behind.
const kubeProxys = "kube-ipvs0"

// look reads the kernel. Errors say what could not be read.
func look() (view, error) {
	v := view{names: map[int]string{}, defaults: map[int]bool{}}
	links, err := netlink.LinkList()
	if err != nil {
		return v, fmt.Errorf("read the interfaces: %w", err)
	}
	services := -1
	for _, link := range links {
		if link.Attrs().Name == kubeProxys {
			services = link.Attrs().Index
		}
		if a := link.Attrs(); a.Flags&net.FlagLoopback == 0 {
			v.names[a.Index] = a.Name
		}
	}
	list, err := netlink.AddrList(nil, netlink.FAMILY_ALL)
	if err != nil {
		return v, fmt.Errorf("read the addresses of interfaces: %w", err)
	}
	for _, a := range list {
		if a.IPNet == nil || a.LinkIndex == services {
			continue
		}
		if ip, ok := netip.AddrFromSlice(a.IP); ok {
			v.addresses = append(v.addresses, address{Addr: ip.Unmap(), link: a.LinkIndex, flags: a.Flags})
		}
	}
	for _, family := range []int{netlink.FAMILY_V4, netlink.FAMILY_V6} {
		// The filter stands for all tables; without, only one would be shown.
		all := netlink.Route{Table: unix.RT_TABLE_UNSPEC}
		err := netlink.RouteListFilteredIter(family, &all, netlink.RT_FILTER_TABLE, func(r netlink.Route) bool {
			v.route(r)
			return true
		})
		if err != nil {
			return v, fmt.Errorf("read the routes: %w", err)
		}
	}
	return v, nil
}

func (v view) route(r netlink.Route) {
	if !isDefault(r) {
		return
	}
	if r.LinkIndex > 0 {
		v.defaults[r.LinkIndex] = true
	}
	for _, hop := range r.MultiPath {
		v.defaults[hop.LinkIndex] = true
	}
}

// usable returns the addresses that others may connect to. Those on loopback
// interfaces are among them: that is where routers' and load balancers'
// addresses are often put.
func (v view) usable() []netip.Addr {
	var usable []netip.Addr
	for _, a := range v.addresses {
		if a.ready() && !a.IsLoopback() && !a.IsLinkLocalUnicast() && !a.IsMulticast() && !a.IsUnspecified() {
			usable = append(usable, a.Addr)
		}
	}
	return distinct(usable)
}

// ready tells whether an address has been found unique and has not outlived its
// preferred lifetime (RFC 4862, section 5.5.4). An address without end whose
// preferred lifetime is zero was set so on purpose, lest it be chosen as a
// source: keepalived does that with its IPv6 addresses.
func (a address) ready() bool {
	if a.flags&(unix.IFA_F_TENTATIVE|unix.IFA_F_DADFAILED) != 0 {
		return false
	}
	return a.flags&unix.IFA_F_DEPRECATED == 0 || a.flags&unix.IFA_F_PERMANENT != 0
}

// uplinks returns the names of the interfaces that lead out of the node, and
// why, in words. Loopback interfaces never do.
func (v view) uplinks(patterns []string, nodeAddresses []netip.Addr) (names, notes []string) {
	if len(patterns) > 0 {
		return v.configured(patterns)
	}
	reasons := map[int][]string{}
	for link := range v.defaults {
		reasons[link] = []string{"a default route leaves by it"}
	}
	addresses := slices.Clone(v.addresses)
	slices.SortFunc(addresses, func(a, b address) int { return cmp.Or(a.Addr.Compare(b.Addr), cmp.Compare(a.link, b.link)) })
	for _, a := range addresses {
		if slices.Contains(nodeAddresses, a.Addr) {
			reasons[a.link] = append(reasons[a.link], "it has the node's address "+a.String())
		}
	}
	for link, why := range reasons {
		if name, ok := v.names[link]; ok {
			names = append(names, name)
			notes = append(notes, "uplink "+name+": "+strings.Join(why, ", "))
		}
	}
	slices.Sort(names)
	slices.Sort(notes)
	if len(names) == 0 {
		notes = append(notes, "no uplink found: there is no default route, and no interface has an address of the Node object; name the interfaces in lb.uplinks")
	}
	return names, notes
}

// configured returns the interfaces that match.
func (v view) configured(patterns []string) (names, notes []string) {
	for _, pattern := range patterns {
		found := false
		for _, name := range v.names {
			matched, err := path.Match(pattern, name)
			if err != nil || !matched {
				continue
			}
			found = true
			names = append(names, name)
			notes = append(notes, "uplink "+name+": lb.uplinks has "+pattern)
		}
		if !found {
			notes = append(notes, "lb.uplinks: no interface matches "+pattern)
		}
	}
	slices.Sort(names)
	slices.Sort(notes)
	return slices.Compact(names), slices.Compact(notes)
}
