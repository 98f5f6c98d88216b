package cluster

import (
	"net/netip"

	"github.com/fairlead-net/fairlead/lab/config"
	"github.com/fairlead-net/fairlead/lab/fabric"
	"github.com/fairlead-net/fairlead/lab/plan"
)

// port is a machine's place on the fabric. The client knows only its neighbours: it is outside, where pods
// can't be reached but through a node. A router knows its two networks, and what it learns.
func port(p plan.Plan, name string) fabric.Port {
	inside := func(addr plan.Pair) fabric.Cable {
		return fabric.Cable{Bridge: fabric.Inside, Addr: addr, Nets: p.Fabric}
	}
	outside := func(addr plan.Pair) fabric.Cable {
		return fabric.Cable{Bridge: fabric.Outside, Addr: addr, Nets: p.Outside}
	}
	if n, ok := p.Find(name); ok {
		return fabric.Port{Name: name, Cables: []fabric.Cable{inside(n.Addr)}, Routes: nodeRoutes(p, n)}
	}
	for _, r := range p.Routers() {
		if r.Name == name {
			return fabric.Port{Name: name, Cables: []fabric.Cable{inside(r.Addr), outside(r.Outside)}}
		}
	}
	if name == config.RemoteName {
		return fabric.Port{Name: name, Cables: []fabric.Cable{outside(p.Remote)}, Routes: everythingBy(p.FRR.Outside)}
	}
	return fabric.Port{Name: name, Cables: []fabric.Cable{inside(p.Client)}}
}

// nodeRoutes are the ways to every other node's pods, and to what is behind the routers. The default route
// ends at the fabric, which knows no way on: a node behaves as if it had an uplink (packets to foreign
// addresses are routed, then answered as unreachable) and has none.
func nodeRoutes(p plan.Plan, own plan.Node) []fabric.Route {
	routes := append(everythingBy(p.Gateway), routesOutside(p)...)
	for _, n := range p.Nodes {
		if n.Name != own.Name {
			routes = append(routes, routesTo(n)...)
		}
	}
	return routes
}

// everythingBy are default routes. No neighbour has a way out of the lab.
func everythingBy(via plan.Pair) []fabric.Route {
	return []fabric.Route{
		{To: netip.MustParsePrefix("0.0.0.0/0"), Via: via.V4},
		{To: netip.MustParsePrefix("::/0"), Via: via.V6},
	}
}

func routesOutside(p plan.Plan) []fabric.Route {
	return []fabric.Route{{To: p.Outside.V4, Via: p.FRR.Addr.V4}, {To: p.Outside.V6, Via: p.FRR.Addr.V6}}
}

func routesTo(n plan.Node) []fabric.Route {
	return []fabric.Route{{To: n.Pods.V4, Via: n.Addr.V4}, {To: n.Pods.V6, Via: n.Addr.V6}}
}
