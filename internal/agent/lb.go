package agent

import (
	"slices"
	"strings"

	"github.com/fairlead-net/fairlead/internal/config"
	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/lb"
	"github.com/fairlead-net/fairlead/internal/lb/health"
	"github.com/fairlead-net/fairlead/internal/lb/loopback"
	"github.com/fairlead-net/fairlead/internal/reconcile"
)

// Where the chart mounts what a pod of its own would not see: the node's
// /sys/fs/cgroup, of which a pod's shows only its own part, and the network
// namespaces of the node's pods.
const (
	hostCgroups = "/host/cgroup"
	hostNetns   = "/host/netns"
)

// newLB wires load balancing: packets always by nftables, sockets and packets
// from outside by eBPF as lb.serviceDataplane and lb.packetDataplane say. All
// planes get one Table, compiled once.
func (a *Agent) newLB() ([]pipeline, error) {
	d, err := a.openDataplanes()
	if err != nil {
		return nil, err
	}
	revision := func(t lb.Table) uint64 { return t.Revision }
	var loops []*reconcile.Loop[lb.Table]
	var pipelines []pipeline
	add := func(name string, plane reconcile.Plane[lb.Table], describe func() []string) {
		loop := reconcile.New(name, plane, revision, a.log)
		loops = append(loops, loop)
		pipelines = append(pipelines, pipeline{run: loop.Run, health: loop.Health, notes: describe, offer: func(*desired.State) {}})
	}
	if d.sockets != nil {
		add("lb-ebpf", d.sockets, func() []string { return append([]string{d.whySockets}, d.sockets.Describe()...) })
	} else {
		onLoopback := loopback.New(a.log)
		add(loopbackPlane, onLoopback, onLoopback.Describe)
	}
	add("lb-nft", timed{a.replacing(d), a.programming}, func() []string { return a.describePackets(d) })
	packets := loops[len(loops)-1]
	a.serves = func() bool { return packets.Health().Applied > 0 }
	if d.uplink != nil {
		add(uplinkPlane, d.uplink, func() []string { return append([]string{d.whyUplink}, d.uplink.Describe()...) })
		a.registry.MustRegister(&uplinkMetrics{d.uplink})
	}
	checks := health.New(health.Config{Addresses: a.options.Config.LB.NodePortAddresses, Healthy: allHealthy(loops), Log: a.log})
	add(healthPlane, checks, checks.Describe)
	a.healthz = health.NewHealthz(health.HealthzConfig{Healthy: a.proxyHealth, Eligible: func() bool { return !a.leaving.Load() }})
	var last lb.Table
	pipelines[0].offer = func(s *desired.State) {
		last, _ = lb.Compile(s, last, a.lbOptions())
		a.decided(last)
		for _, loop := range loops {
			loop.Offer(last)
		}
	}
	pipelines[0] = onceKnown(pipelines[0])
	a.services = append(a.services, a.trackConnections)
	return pipelines, nil
}

// describePackets says what nftables serves and why, and which interfaces it
// takes for uplinks and why: a pattern in lb.uplinks that matches none is seen
// here.
func (a *Agent) describePackets(d dataplanes) []string {
	var lines []string
	if d.sockets == nil {
		lines = append(lines, d.whySockets)
	}
	if d.uplink == nil {
		lines = append(lines, d.whyUplink)
	}
	lines = slices.Concat(lines, d.packets.Describe(), a.network.Describe())
	if problem := a.conntrackProblem.Load(); problem != nil {
		lines = append(lines, *problem)
	}
	return lines
}

// allHealthy tells whether those of these loops that serve Services do their work.
func allHealthy(loops []*reconcile.Loop[lb.Table]) func() bool {
	loops = slices.Clone(loops)
	return func() bool {
		var planes []reconcile.Health
		for _, loop := range loops {
			planes = append(planes, loop.Health())
		}
		return serving(planes)
	}
}

// decided keeps the Table for whoever asks what this node has decided.
func (a *Agent) decided(t lb.Table) { a.table.Store(&t) }

func (a *Agent) lbOptions() lb.Options { return LBOptions(a.options.Config) }

// LBOptions are the administrator's choices.
func LBOptions(c config.Config) lb.Options {
	return lb.Options{
		ExternalIPs: c.LB.ExternalIPs, NodePortAddresses: c.LB.NodePortAddresses,
		NodeService: parseName(c.LB.NodeService), DirectReturn: c.LB.DirectReturn,
		NodeLocal: lb.NodeLocal{Service: parseName(c.DNS.Service), Addresses: c.DNS.NodeLocal},
	}
}

// parseName reads NAMESPACE/NAME.
func parseName(text string) desired.Name {
	namespace, name, _ := strings.Cut(text, "/")
	return desired.Name{Namespace: namespace, Name: name}
}

// onceKnown keeps States from a pipeline that may lack objects, or the node's
// network: a Service that arrives before its EndpointSlices would be refused,
// though the kernel still serves it by what an earlier process wrote.
func onceKnown(p pipeline) pipeline {
	offer := p.offer
	p.offer = func(s *desired.State) {
		if s.Synced && s.Node.Network != nil {
			offer(s)
		}
	}
	return p
}
