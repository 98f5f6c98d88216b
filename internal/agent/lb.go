package agent

import (
	"fmt"
	"os"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/lb"
	"github.com/fairlead-net/fairlead/internal/lb/ebpf"
)

// hostCgroups is where the chart mounts the node's /sys/fs/cgroup: in a pod,
// /sys/fs/cgroup itself shows only the pod's own part of the hierarchy.
const hostCgroups = "/host/cgroup"

// newLB wires load balancing in sockets.
func (a *Agent) newLB() (pipeline, error) {
	c := a.options.Config.LB
	cgroup := c.CgroupRoot
	if _, err := os.Stat(hostCgroups); err == nil && cgroup == "" {
		if cgroup, err = ebpf.FindCgroup(hostCgroups); err != nil {
			return pipeline{}, err
		}
	}
	plane, err := ebpf.New(ebpf.Config{
		Cgroup: cgroup, Directory: c.BPFFS, Logger: a.log,
		Sizes: ebpf.Sizes{Frontends: c.MaxFrontends, Backends: c.MaxBackends, Members: c.MaxBackends},
	})
	if err != nil {
		return pipeline{}, err
	}
	return onceSynced(newPipeline("lb", plane, a.compileLB, func(t lb.Table) uint64 { return t.Revision }, a.log)), nil
}

// lbOptions are the administrator's choices.
func (a *Agent) lbOptions() lb.Options {
	c := a.options.Config.LB
	return lb.Options{ExternalIPs: c.ExternalIPs, NodePortAddresses: c.NodePortAddresses}
}

func (a *Agent) compileLB(s *desired.State, last lb.Table) (lb.Table, []desired.Reason) {
	return lb.Compile(s, last, a.lbOptions())
}

// onceSynced keeps States from a pipeline that may lack objects: a Service that
// arrives before its EndpointSlices would be refused, though the kernel still
// serves it by what an earlier process wrote.
func onceSynced(p pipeline) pipeline {
	offer := p.offer
	p.offer = func(s *desired.State) {
		if s.Synced {
			offer(s)
		}
	}
	return p
}

// Cleanup removes what the planes of a node leave in the kernel.
func Cleanup(bpffs string) error {
	if err := ebpf.Remove(bpffs); err != nil {
		return fmt.Errorf("remove what is pinned in %s: %w", bpffs, err)
	}
	return nil
}
