package proxy

import (
	"net"
	"net/netip"
	"sync"
	"time"
)

// reach is where names lead that tenants choose: of ExternalName, auth-url and
// mirror-target.
type reach struct {
	allowed, denied []netip.Prefix
	own             *ownAddresses
}

// forbids tells the addresses that are not connected to. What an administrator allows
// goes before what he denies, and that before what is usual.
func (r *reach) forbids(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	switch {
	case within(r.allowed, a):
		return false
	case within(r.denied, a):
		return true
	}
	return forbidden(a) || r.own.has(a)
}

// ownAge is how long the addresses of this machine, or pod, are taken for the same.
const ownAge = 5 * time.Second

// ownAddresses are those of the interfaces that the process sees: what listens there is
// the proxy, or what it is looked after by. Of a pod that is nothing else.
type ownAddresses struct {
	// list is net.InterfaceAddrs.
	list func() ([]net.Addr, error)

	mu   sync.Mutex
	read time.Time
	all  map[netip.Addr]bool
}

// has reports whether an address is one of them.
func (o *ownAddresses) has(a netip.Addr) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if now := time.Now(); o.all == nil || now.Sub(o.read) > ownAge {
		if listed, err := o.list(); err == nil { // else the last ones
			o.all, o.read = map[netip.Addr]bool{}, now
			for _, one := range listed {
				if prefix, ok := one.(*net.IPNet); ok {
					if address, ok := netip.AddrFromSlice(prefix.IP); ok {
						o.all[address.Unmap()] = true
					}
				}
			}
		}
	}
	return o.all[a]
}

// reserved tells an endpoint that is a port of this process which is for nobody's
// requests: where its metrics are, for one. A tenant may write any address into an
// EndpointSlice, and from here it can be reached also where a NetworkPolicy keeps others
// away.
func (p *Proxy) reserved(at netip.AddrPort) bool {
	for _, port := range p.settings().ReservedPorts {
		if port == at.Port() {
			a := at.Addr().Unmap().WithZone("")
			return a.IsLoopback() || a.IsUnspecified() || p.own.has(a)
		}
	}
	return false
}

// leadsBack tells an endpoint that is a port which the proxy itself listens on: what is
// passed on as it is would go round, as nothing in it says where it has been.
func (p *Proxy) leadsBack(s *state, at netip.AddrPort) bool {
	for _, spec := range s.table.Listeners {
		if spec.Port != 0 && spec.Port == at.Port() {
			return p.own.has(at.Addr().Unmap().WithZone(""))
		}
	}
	return false
}
