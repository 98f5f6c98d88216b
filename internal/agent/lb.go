package agent

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/fairlead-net/fairlead/internal/config"
	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/lb"
	"github.com/fairlead-net/fairlead/internal/lb/ebpf"
	"github.com/fairlead-net/fairlead/internal/lb/health"
	"github.com/fairlead-net/fairlead/internal/lb/nft"
	"github.com/fairlead-net/fairlead/internal/reconcile"
)

// Where the chart mounts what a pod of its own would not see: the node's
// /sys/fs/cgroup, of which a pod's shows only its own part, and the network
// namespaces of the node's pods.
const (
	hostCgroups = "/host/cgroup"
	hostNetns   = "/host/netns"
)

// newLB wires load balancing: packets always by nftables, sockets by eBPF as
// lb.serviceDataplane says. All planes get one Table, compiled once.
func (a *Agent) newLB() ([]pipeline, error) {
	sockets, why, err := a.newSockets()
	if err != nil {
		return nil, err
	}
	packets, err := nft.New(nft.Config{Logger: a.log})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("nftables: %w", err), closeIf(sockets))
	}
	revision := func(t lb.Table) uint64 { return t.Revision }
	a.programming = newProgramming()
	var loops []*reconcile.Loop[lb.Table]
	var pipelines []pipeline
	add := func(name string, plane reconcile.Plane[lb.Table], describe func() []string) {
		loop := reconcile.New(name, plane, revision, a.log)
		loops = append(loops, loop)
		pipelines = append(pipelines, pipeline{run: loop.Run, health: loop.Health, notes: describe, offer: func(*desired.State) {}})
	}
	if sockets != nil {
		add("lb-ebpf", sockets, func() []string { return append([]string{why}, sockets.Describe()...) })
		add("lb-nft", timed{packets, a.programming}, func() []string { return a.describePackets(packets) })
	} else {
		alone := &withoutSockets{Plane: packets, bpffs: a.options.Config.LB.BPFFS}
		add("lb-nft", timed{alone, a.programming}, func() []string { return append([]string{why}, a.describePackets(packets)...) })
	}
	checks := health.New(health.Config{Addresses: a.options.Config.LB.NodePortAddresses, Healthy: allHealthy(loops), Log: a.log})
	add("lb-health", checks, checks.Describe)
	a.healthz = health.NewHealthz(health.HealthzConfig{Healthy: a.proxyHealth, Eligible: func() bool { return !a.leaving.Load() }, Log: a.log})
	var last lb.Table
	pipelines[0].offer = func(s *desired.State) {
		last, _ = lb.Compile(s, last, a.lbOptions())
		for _, loop := range loops {
			loop.Offer(last)
		}
	}
	pipelines[0] = onceKnown(pipelines[0])
	return pipelines, nil
}

// describePackets says what nftables serves, and which interfaces it takes for
// uplinks and why: a pattern in lb.uplinks that matches none is seen here.
func (a *Agent) describePackets(packets *nft.Plane) []string {
	return slices.Concat(packets.Describe(), a.network.Describe())
}

// allHealthy tells whether all these loops have applied something and have no
// problem.
func allHealthy(loops []*reconcile.Loop[lb.Table]) func() bool {
	loops = slices.Clone(loops)
	return func() bool {
		return !slices.ContainsFunc(loops, func(l *reconcile.Loop[lb.Table]) bool { return !l.Health().Healthy() })
	}
}

// proxyHealth tells whether this process does its work, and when it last applied
// a change.
func (a *Agent) proxyHealth() (healthy bool, last time.Time) {
	status := a.Status()
	for _, p := range status.Planes {
		if p.AppliedAt.After(last) {
			last = p.AppliedAt
		}
	}
	return status.ready() == "", last
}

// newSockets returns the eBPF plane and why it was chosen, or nil and why not.
func (a *Agent) newSockets() (*ebpf.Plane, string, error) {
	c := a.options.Config.LB
	if c.ServiceDataplane == config.Nftables {
		return nil, "nftables alone, as lb.serviceDataplane says", nil
	}
	plane, err := openSockets(c, a)
	switch {
	case err == nil && c.ServiceDataplane == config.EBPF:
		return plane, "eBPF in sockets, as lb.serviceDataplane says", nil
	case err == nil:
		return plane, "eBPF in sockets, as this kernel takes the programs (lb.serviceDataplane: auto)", nil
	case c.ServiceDataplane == config.EBPF:
		return nil, "", err
	}
	a.log.Warn("no load balancing in sockets; nftables does it", "error", err)
	return nil, "nftables alone, as eBPF cannot be used here (lb.serviceDataplane: auto): " + err.Error(), nil
}

func openSockets(c config.LB, a *Agent) (*ebpf.Plane, error) {
	settings := ebpf.Config{
		Cgroup: c.CgroupRoot, Directory: c.BPFFS, Logger: a.log,
		Sizes: ebpf.Sizes{Frontends: c.MaxFrontends, Backends: c.MaxBackends, Members: c.MaxBackends},
	}
	if _, err := os.Stat(hostCgroups); err == nil && c.CgroupRoot == "" {
		if settings.Cgroup, err = ebpf.FindCgroup(hostCgroups); err != nil {
			return nil, err
		}
	}
	if _, err := os.Stat(hostNetns); err == nil {
		settings.NetnsDirectory = hostNetns
	}
	return ebpf.New(settings)
}

func closeIf(plane *ebpf.Plane) error {
	if plane == nil {
		return nil
	}
	return plane.Close()
}

// lbOptions are the administrator's choices.
func (a *Agent) lbOptions() lb.Options {
	c := a.options.Config.LB
	return lb.Options{ExternalIPs: c.ExternalIPs, NodePortAddresses: c.NodePortAddresses}
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
