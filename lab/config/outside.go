package config

import (
	"github.com/fairlead-net/fairlead/lab/machine"
	"github.com/fairlead-net/fairlead/lab/plan"
)

// Names of the machines that are not nodes.
const (
	FabricName = "fabric"
	ClientName = "client"
	RemoteName = "remote"
)

// Words of the hidden command line that runs the fabric's services.
const (
	UpstreamCommand = "serve-upstream"
	ForwardCommand  = "serve-forward"
)

// Fabric is the machine that holds the network between the nodes: the upstream resolver answers there, and
// connections from the host come in there. It takes one listener: ForwardAddress.
func Fabric(p plan.Plan) machine.Spec {
	return machine.Spec{
		Name:  FabricName,
		Files: map[string]machine.File{"/etc/hosts": {Text: hosts(p)}},
		Components: []machine.Component{
			{Name: "upstream", Path: machine.Self, Args: append([]string{UpstreamCommand}, p.Resolver.Strings()...)},
			{Name: "forward", Path: machine.Self, Args: []string{ForwardCommand, p.APIServer().String()}, Listeners: true},
		},
	}
}

// Outside are the machines outside the cluster: one on the nodes' network, which reaches nodes and nothing
// behind them, the routers, and one behind the routers.
func Outside(p plan.Plan) []machine.Spec {
	specs := []machine.Spec{frr(p), bird(p)}
	for _, name := range []string{ClientName, RemoteName} {
		specs = append(specs, machine.Spec{
			Name: name,
			Files: map[string]machine.File{
				"/etc/hosts":       {Text: hosts(p)},
				"/etc/resolv.conf": {Text: ResolvConf(p)},
			},
		})
	}
	return specs
}
