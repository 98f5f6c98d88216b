package lb

import (
	"iter"
	"net/netip"
	"slices"

	"github.com/fairlead-net/fairlead/internal/desired"
)

// Role is what a Frontend is to its Service.
type Role struct {
	Port desired.Port
	Kind Kind
}

// local tells whether clients at a place get endpoints of this node only. The
// policy for external traffic does not bind clients in the cluster: they have
// arrived, wherever the endpoint is.
func (r Role) local(s *desired.Service, from Place) bool {
	if r.Kind == ClusterIP {
		return s.InternalLocal
	}
	return from == Outside && s.ExternalLocal
}

// Frontends yields what clients can connect to when they mean this Service: its
// ClusterIPs and those that are like them, its NodePorts in each family that it has, its external IPs if the
// Options allow them, and the addresses of its load balancer.
func Frontends(s *desired.Service, o Options) iter.Seq2[Frontend, Role] {
	return func(yield func(Frontend, Role) bool) {
		if s.Headless || s.Type == desired.ExternalName || s.Foreign != "" {
			return
		}
		for _, port := range s.Ports {
			for kind, address := range addressesOf(s, o, port) {
				number := port.Port
				if kind == NodePort {
					number = port.NodePort
				}
				if !yield(Frontend{Address: address, Port: number, Protocol: port.Protocol}, Role{Port: port, Kind: kind}) {
					return
				}
			}
		}
	}
}

// addressesOf yields the addresses of one port. An address that is there as two
// kinds counts as the first.
func addressesOf(s *desired.Service, o Options, port desired.Port) iter.Seq2[Kind, netip.Addr] {
	return func(yield func(Kind, netip.Addr) bool) {
		for _, address := range s.Addresses {
			if !yield(ClusterIP, address) {
				return
			}
			if port.NodePort == 0 {
				continue
			}
			node := netip.IPv4Unspecified()
			if address.Is6() {
				node = netip.IPv6Unspecified()
			}
			if !yield(NodePort, node) {
				return
			}
		}
		for _, address := range o.NodeLocal.of(s) {
			if !yield(ClusterIP, address) {
				return
			}
		}
		for _, address := range s.LoadBalancerIPs {
			if !slices.Contains(s.Addresses, address) && !yield(LoadBalancerIP, address) {
				return
			}
		}
		if !o.ExternalIPs {
			return
		}
		for _, address := range s.ExternalIPs {
			if !slices.Contains(s.Addresses, address) && !slices.Contains(s.LoadBalancerIPs, address) && !yield(ExternalIP, address) {
				return
			}
		}
	}
}
