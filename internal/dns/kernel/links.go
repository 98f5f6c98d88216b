package kernel

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// period is how often Run looks for interfaces and addresses that come or go.
const period = 2 * time.Second

// Start puts the program on the interfaces of the network namespace of this
// thread, those of type Ethernet, but for the loopback interface.
func (p *Plane) Start() error { return p.refresh() }

// Run follows which interfaces and addresses there are, and whether there is
// recursion, until ctx ends or the Plane is closed.
func (p *Plane) Run(ctx context.Context) {
	ticker := time.NewTicker(period)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			if err := p.refresh(); err != nil {
				p.config.Log.Warn("the DNS fast path cannot follow the interfaces", "error", err)
			}
		}
	}
}

func (p *Plane) refresh() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil
	}
	links, err := p.netlink.LinkList()
	if err != nil {
		return fmt.Errorf("reading which interfaces there are: %w", err)
	}
	found, err := p.netlink.AddrList(nil, unix.AF_UNSPEC)
	if err != nil {
		return fmt.Errorf("reading which addresses there are: %w", err)
	}
	var local []netip.Addr
	for _, a := range found {
		if address, ok := netip.AddrFromSlice(a.IP); ok {
			local = append(local, address.Unmap())
		}
	}
	there := map[int]bool{}
	for _, l := range links {
		attributes := l.Attrs()
		if attributes.EncapType == "ether" && attributes.Flags&net.FlagLoopback == 0 {
			there[attributes.Index] = true
			p.attach(l)
		}
	}
	for index := range p.links {
		if !there[index] {
			p.detach(index)
		}
	}
	for index := range p.refused {
		if !there[index] {
			delete(p.refused, index)
		}
	}
	return errors.Join(p.listen(local), p.followRecursion())
}

// followRecursion makes replies tell whether other names are forwarded now.
func (p *Plane) followRecursion() error {
	zone := p.zone
	zone.Recursive = flag(p.config.Recursive())
	if zone.Enabled == 0 || zone.Recursive == p.zone.Recursive {
		return nil
	}
	return p.writeZone(zone)
}

// listen makes the program answer at the configured addresses; local are those of
// the network namespace.
func (p *Plane) listen(local []netip.Addr) error {
	want := map[packetsListen]bool{}
	for _, at := range p.config.Listen {
		if !at.Addr().IsUnspecified() {
			want[listenAt(at)] = true
			continue
		}
		for _, a := range local {
			if a.Is4() || at.Addr().Is6() {
				want[listenAt(netip.AddrPortFrom(a, at.Port()))] = true
			}
		}
	}
	var failed []error
	changed := false
	for key := range p.listens {
		if !want[key] {
			changed = true
			failed = append(failed, remove(p.maps[packetsMapListens], key))
			delete(p.listens, key)
		}
	}
	for key := range want {
		if p.listens[key] {
			continue
		}
		if err := p.maps[packetsMapListens].Put(key, uint32(1)); err != nil {
			failed = append(failed, fmt.Errorf("answering at an address: %w", err))
			continue
		}
		p.listens[key], changed = true, true
	}
	if changed {
		failed = append(failed, p.writeZone(p.zone))
	}
	return errors.Join(failed...)
}

// locate notes in a zone the addresses that the program compares, and whether it has
// to look for more.
func (p *Plane) locate(zone *packetsZone) {
	zone.Here, zone.Elsewhere = packetsZone{}.Here, 0
	i := 0
	for key := range p.listens {
		if i == len(zone.Here) {
			zone.Elsewhere = 1
			return
		}
		zone.Here[i] = key
		i++
	}
}

func listenAt(at netip.AddrPort) packetsListen {
	return packetsListen{Address: address(at.Addr()), Port: network16(at.Port())}
}
