package lb

import (
	"net/netip"
	"slices"

	"github.com/fairlead-net/fairlead/internal/desired"
)

// entry selects the backends of one frontend of s.
func (c *compiler) entry(s *desired.Service, f Frontend) *Entry {
	e := &Entry{Service: s.Name, Affinity: s.Affinity}
	for candidate, role := range Frontends(s, c.options) {
		if candidate != f {
			continue
		}
		e.Port, e.Kind = role.Port.Name, role.Kind
		inside := Candidates(s, role, f.Address.Is6(), Pod, c.state.Node)
		e.Choice = choiceOf(inside)
		e.Local = localOf(inside, c.state.Node)
		candidates := inside
		if role.local(s, Outside) != role.local(s, Pod) {
			candidates = Candidates(s, role, f.Address.Is6(), Outside, c.state.Node)
			outside := choiceOf(candidates)
			// Endpoints elsewhere may answer on their own nodes.
			outside.Drop = len(outside.Backends) == 0 && len(e.Backends) > 0
			e.Outside = &outside
			e.Local = distinct(append(e.Local, localOf(candidates, c.state.Node)...))
		}
		if role.Kind != ClusterIP {
			e.Nodes = nodesOf(e.For(Outside).Backends, candidates)
		}
		if role.Kind != ClusterIP && c.options.DirectReturn && f.Protocol == desired.TCP {
			e.Here = here(inside, role, c.state.Node)
		}
		if role.Kind == ClusterIP && s.InternalLocal && len(e.Backends) == 0 {
			e.Drop = servedElsewhere(s, role, f.Address.Is6())
		}
		if role.Kind == LoadBalancerIP {
			e.Sources = c.sources(s, f)
		}
		return e
	}
	return e
}

// servedElsewhere tells whether any node has an endpoint that could serve.
func servedElsewhere(s *desired.Service, role Role, ipv6 bool) bool {
	everywhere := *s
	everywhere.InternalLocal = false
	return anyUsed(Candidates(&everywhere, role, ipv6, Pod, desired.Node{}), func(*desired.Endpoint) bool { return true })
}

// choiceOf lists the used candidates.
func choiceOf(candidates []Candidate) Choice {
	var backends []netip.AddrPort
	for _, c := range candidates {
		if c.Used {
			backends = append(backends, netip.AddrPortFrom(c.Endpoint.Address, c.Port))
		}
	}
	slices.SortFunc(backends, netip.AddrPort.Compare)
	return Choice{Backends: slices.Clip(slices.Compact(backends))}
}

func localOf(candidates []Candidate, node desired.Node) []netip.Addr {
	var addresses []netip.Addr
	for _, c := range candidates {
		if c.Used && isOn(c.Endpoint, node) {
			addresses = append(addresses, c.Endpoint.Address)
		}
	}
	return distinct(addresses)
}

// nodesOf names the node of each backend.
func nodesOf(backends []netip.AddrPort, candidates []Candidate) []string {
	nodes := make([]string, len(backends))
	for _, c := range candidates {
		if i, ok := slices.BinarySearchFunc(backends, netip.AddrPortFrom(c.Endpoint.Address, c.Port), netip.AddrPort.Compare); ok && c.Used {
			nodes[i] = c.Endpoint.Node
		}
	}
	return nodes
}

// here lists the candidates on the node that offer the port, used or not.
func here(candidates []Candidate, role Role, node desired.Node) []netip.AddrPort {
	var all []netip.AddrPort
	for _, c := range candidates {
		if number, offered := c.Slice.Port(role.Port.Name, role.Port.Protocol); offered && !c.Slice.Headless && isOn(c.Endpoint, node) {
			all = append(all, netip.AddrPortFrom(c.Endpoint.Address, number))
		}
	}
	slices.SortFunc(all, netip.AddrPort.Compare)
	return slices.Clip(slices.Compact(all))
}

func distinct(addresses []netip.Addr) []netip.Addr {
	slices.SortFunc(addresses, netip.Addr.Compare)
	return slices.Clip(slices.Compact(addresses))
}

func isOn(e *desired.Endpoint, node desired.Node) bool { return e.Node == node.Name && node.Name != "" }

// sources returns who may connect to an address of the load balancer. A range
// that has an address of this node lets in the node by whatever address it
// uses: to an address that the node itself has, the kernel connects from that
// same address.
func (c *compiler) sources(s *desired.Service, f Frontend) []netip.Prefix {
	if len(s.SourceRanges) == 0 {
		return nil
	}
	ranges := slices.Clone(s.SourceRanges)
	if slices.ContainsFunc(c.addresses, func(a netip.Addr) bool { return contains(s.SourceRanges, a) }) {
		for _, address := range append(slices.Clone(c.addresses), f.Address) {
			ranges = append(ranges, netip.PrefixFrom(address, address.BitLen()))
		}
	}
	slices.SortFunc(ranges, netip.Prefix.Compare)
	return slices.Clip(slices.Compact(ranges))
}

func contains(ranges []netip.Prefix, address netip.Addr) bool {
	return slices.ContainsFunc(ranges, func(p netip.Prefix) bool { return p.Contains(address.Unmap()) })
}

// notice replaces what there is to tell of old, which may be nil, by what there
// is of now, which may be nil too.
func (c *compiler) notice(old, now *desired.Service) {
	if old != nil {
		was, _ := c.notices.Get(old.Name)
		c.countWithout(was, -1)
		c.notices.Delete(old.Name)
		c.checks.Delete(old.Name)
	}
	if now == nil || now.Foreign != "" {
		return
	}
	if now.HealthCheckNodePort != 0 {
		c.checks.Set(now.Name, HealthCheck{Port: now.HealthCheckNodePort, Endpoints: readyHere(now, c.state.Node)})
	}
	is := notice{withheld: len(now.ExternalIPs) > 0 && !c.options.ExternalIPs}
	if now.InternalLocal || now.ExternalLocal {
		for f, role := range Frontends(now, c.options) {
			entry := c.entry(now, f)
			is.withoutInternal = is.withoutInternal || role.Kind == ClusterIP && entry.Drop
			is.withoutExternal = is.withoutExternal || entry.Outside != nil && entry.Outside.Drop
		}
	}
	if is != (notice{}) {
		c.notices.Set(now.Name, is)
		c.countWithout(is, +1)
	}
}

func (c *compiler) countWithout(n notice, by int) {
	if n.withoutInternal {
		c.without.Internal += by
	}
	if n.withoutExternal {
		c.without.External += by
	}
}

// readyHere counts the endpoints on the node that are ready and will stay, in
// the Service's first family: the other has the same pods.
func readyHere(s *desired.Service, node desired.Node) int {
	here := map[netip.Addr]bool{}
	for _, slice := range s.Slices {
		if len(s.Addresses) == 0 || slice.IPv6 != s.Addresses[0].Is6() {
			continue
		}
		for i := range slice.Endpoints {
			if e := &slice.Endpoints[i]; isOn(e, node) && e.Ready && !e.Terminating {
				here[e.Address] = true
			}
		}
	}
	return len(here)
}
