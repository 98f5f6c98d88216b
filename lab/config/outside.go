package config

import (
	"github.com/fairlead-net/fairlead/lab/machine"
	"github.com/fairlead-net/fairlead/lab/plan"
)

// Names of the machines that are not nodes.
const (
	FabricName = "fabric"
	ClientName = "client"
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

// Client is a machine outside the cluster: it reaches nodes and nothing behind them.
func Client(p plan.Plan) machine.Spec {
	return machine.Spec{
		Name: ClientName,
		Files: map[string]machine.File{
			"/etc/hosts":       {Text: hosts(p)},
			"/etc/resolv.conf": {Text: ResolvConf(p)},
		},
	}
}
