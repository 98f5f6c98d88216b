package uplink

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/fairlead-net/fairlead/internal/lb"
)

// uplink is an interface that packets from outside come by.
type uplink struct {
	name   string
	index  int
	mtu    int
	v4, v6 netip.Addr // what this node sends from; invalid if nothing
	card   [6]byte

	xdp, transmits bool
	why            string // there is no XDP
}

// findUplinks reads what the Table's uplinks are now. One that is not there, or
// is no Ethernet, or refused the programs, is left out; Describe tells.
func (p *Plane) findUplinks(again bool) error {
	var found []uplink
	for _, name := range p.applied.Uplinks {
		l, err := p.netlink.LinkByName(name)
		if errors.As(err, &netlink.LinkNotFoundError{}) {
			continue
		}
		if err != nil {
			return fmt.Errorf("reading interface %s: %w", name, err)
		}
		if l.Attrs().EncapType != "ether" {
			continue
		}
		u := uplink{name: name, index: l.Attrs().Index, mtu: l.Attrs().MTU}
		copy(u.card[:], l.Attrs().HardwareAddr)
		u.xdp, u.transmits, u.why = p.decideXDP(l)
		if u.v4, err = p.sourceOn(l, unix.AF_INET); err != nil {
			return err
		}
		if u.v6, err = p.sourceOn(l, unix.AF_INET6); err != nil {
			return err
		}
		if p.usable(u, again) {
			found = append(found, u)
		}
	}
	p.uplinks = found
	return nil
}

// writeUplinks tells the programs by which interfaces they may send.
func (p *Plane) writeUplinks() error {
	wanted := map[uint32]packetsUplink{}
	for _, u := range p.uplinks {
		value := packetsUplink{Card: u.card}
		if u.transmits && u.xdp && p.short[u.name] == u.index {
			value.Transmits = 1
		}
		if u.v4.IsValid() {
			value.V4 = addressOf(u.v4)
		}
		if u.v6.IsValid() {
			value.V6 = addressOf(u.v6)
		}
		wanted[uint32(u.index)] = value
	}
	if err := replace(p.maps[packetsMapUplinks], p.sources, wanted, p.applied.Synced); err != nil {
		return fmt.Errorf("telling which interfaces are uplinks: %w", err)
	}
	return nil
}

// writeNodes tells the programs the addresses of this node, and of the others.
func (p *Plane) writeNodes() error {
	wanted := map[packetsAddress]uint32{}
	for _, address := range p.applied.NodeAddresses {
		wanted[addressOf(address)] |= uint32(packetsNodeFlagOWN)
	}
	for address := range p.applied.Peers.All() {
		wanted[addressOf(address)] |= uint32(packetsNodeFlagPEER)
	}
	if err := replace(p.maps[packetsMapNodes], p.nodes, wanted, p.applied.Synced); err != nil {
		return fmt.Errorf("telling the addresses of nodes: %w", err)
	}
	return nil
}

// place is where backends are that are reached alike: the pods of a node, its
// own addresses, or an address of which nobody knows the node.
type place struct {
	node    string
	ipv6    bool
	host    bool
	address netip.Addr
}

func (p *Plane) placeOf(backend netip.Addr, node string) place {
	_, host := p.applied.Peers.Get(backend)
	where := place{node: node, ipv6: backend.Is6(), host: host}
	if node == "" {
		where.address = backend
	}
	return where
}

// checkRoutes asks for the way to every place again. What a changed answer is
// about becomes pending.
func (p *Plane) checkRoutes() {
	before := p.routes
	p.routes = make(map[place]string, len(before))
	for f, entry := range p.applied.Entries.All() {
		if handles(f, entry) != "" {
			continue
		}
		for i, backend := range entry.For(lb.Outside).Backends {
			if !isLocal(entry, backend) {
				p.wayTo(backend.Addr(), nodeOf(entry, i))
			}
		}
	}
	for where, problem := range p.routes {
		if was, ok := before[where]; ok && was != problem {
			p.allPending()
			return
		}
	}
}

// wayTo says what keeps the programs from sending to a backend; empty if nothing.
func (p *Plane) wayTo(backend netip.Addr, node string) string {
	where := p.placeOf(backend, node)
	problem, asked := p.routes[where]
	if !asked {
		problem = p.askRoute(backend)
		p.routes[where] = problem
	}
	return problem
}

func (p *Plane) askRoute(backend netip.Addr) string {
	routes, err := p.netlink.RouteGet(backend.AsSlice())
	if err != nil || len(routes) == 0 {
		return fmt.Sprintf("there is no route to its endpoint %s: %v", backend, err)
	}
	r, largest := routes[0], 0
	for _, u := range p.uplinks {
		largest = max(largest, u.mtu)
	}
	for _, u := range p.uplinks {
		if u.index != r.LinkIndex {
			continue
		}
		mtu := u.mtu
		if r.MTU > 0 {
			mtu = min(mtu, r.MTU)
		}
		switch {
		case mtu < largest:
			// Only the kernel tells senders what fits.
			return fmt.Sprintf("the way to its endpoint %s takes packets of %d bytes, and uplinks bring up to %d", backend, mtu, largest)
		case backend.Is4() && !u.v4.IsValid(), backend.Is6() && !u.v6.IsValid():
			return fmt.Sprintf("uplink %s has no address to send to its endpoint %s from", u.name, backend)
		}
		return ""
	}
	name := fmt.Sprint("interface ", r.LinkIndex)
	if l, err := p.netlink.LinkByIndex(r.LinkIndex); err == nil {
		name = l.Attrs().Name
	}
	if b, ok := p.barred[name]; ok && b.index == r.LinkIndex {
		return fmt.Sprintf("its endpoint %s is reached by %s, which refused the programs", backend, name)
	}
	return fmt.Sprintf("its endpoint %s is reached by %s, which is no uplink", backend, name)
}
