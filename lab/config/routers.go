package config

import (
	"fmt"

	"github.com/fairlead-net/fairlead/lab/machine"
	"github.com/fairlead-net/fairlead/lab/plan"
)

// BFD of the routers: a node that is silent for Interval times Multiplier is gone.
const (
	BFDMillis     = 100
	BFDMultiplier = 3
)

// frr is a router that runs FRRouting. It takes sessions (eBGP) from every machine on the fabric in the
// nodes' AS, and uses all routes of the same cost.
func frr(p plan.Plan) machine.Spec {
	s := machine.Spec{Name: p.FRR.Name, Files: map[string]machine.File{
		"/etc/hosts":          {Text: hosts(p)},
		"/etc/frr/vtysh.conf": {Text: "no service integrated-vtysh-config\n"},
		"/etc/frr/zebra.conf": {},
		"/etc/frr/bfdd.conf": {Text: fmt.Sprintf("bfd\n profile lab\n  transmit-interval %d\n  receive-interval %d\n  detect-multiplier %d\n",
			BFDMillis, BFDMillis, BFDMultiplier)},
		"/etc/frr/bgpd.conf": {Text: render("bgpd.conf", map[string]any{"Plan": p, "Own": p.FRR, "Nodes": plan.NodesAS})},
	}}
	for _, daemon := range []string{"zebra", "bfdd", "bgpd"} {
		c := machine.Component{Name: daemon, Path: "/bin/sh", Args: []string{"-c",
			// They give up root's rights before they make their sockets.
			"install -d -o frr -g frr /run/frr && exec /usr/lib/frr/" + daemon +
				" -A 127.0.0.1 -P 0 -f /etc/frr/" + daemon + ".conf --log stdout"}}
		if daemon != "zebra" {
			c.After = []string{"unix:/run/frr/zserv.api"}
		}
		s.Components = append(s.Components, c)
	}
	return s
}

// bird is a router that runs BIRD, in the nodes' own AS (iBGP).
func bird(p plan.Plan) machine.Spec {
	return machine.Spec{
		Name: p.BIRD.Name,
		Files: map[string]machine.File{
			"/etc/hosts":          {Text: hosts(p)},
			"/etc/bird/bird.conf": {Text: render("bird.conf", map[string]any{"Plan": p, "Own": p.BIRD, "Millis": BFDMillis, "Multiplier": BFDMultiplier})},
		},
		Components: []machine.Component{{
			Name: "bird", Path: "/bin/sh", Args: []string{"-c",
				"install -d /run/bird && exec /usr/sbin/bird -f -c /etc/bird/bird.conf -s /run/bird/bird.ctl -P /run/bird/bird.pid"},
		}},
	}
}
