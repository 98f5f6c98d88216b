// Package cluster brings a whole lab up, changes it, and takes it down.
//
// In: a layout and a number of nodes. Out: a running Kubernetes, and a line per step on the way. It is the
// one place that knows the order of things; each thing itself is in another package. It never ends a
// process and removes a folder that is not the lab's own.
package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/fairlead-net/fairlead/lab/cgroup"
	"github.com/fairlead-net/fairlead/lab/fabric"
	"github.com/fairlead-net/fairlead/lab/layout"
	"github.com/fairlead-net/fairlead/lab/machine"
	"github.com/fairlead-net/fairlead/lab/plan"

	"github.com/fairlead-net/fairlead/lab/config"
)

// Errors that tell what to do next.
var (
	ErrNotRoot  = errors.New("the lab makes namespaces, mounts and cgroups: run it as root (sudo)")
	ErrNoLab    = errors.New("no lab is running here: start one with `lab up`")
	ErrNoSuch   = errors.New("no such node")
	ErrBusy     = errors.New("another `lab up` or `lab down` is at work here: wait for it, or end it")
	ErrNotReady = errors.New("the cluster did not become ready")
)

// Cluster is a planned lab, running or not.
type Cluster struct {
	Layout layout.Layout
	Plan   plan.Plan
	// Bare leaves Fairlead out: for comparing with others, or when the tree does not build.
	Bare bool

	hierarchies []cgroup.Hierarchy
	out         io.Writer
}

// New plans a lab of so many nodes.
func New(l layout.Layout, nodes int, out io.Writer) (*Cluster, error) {
	if os.Geteuid() != 0 {
		return nil, ErrNotRoot
	}
	p, err := plan.New(nodes)
	if err != nil {
		return nil, err
	}
	hierarchies, err := cgroup.Discover()
	if err != nil {
		return nil, err
	}
	return &Cluster{Layout: l, Plan: p, hierarchies: hierarchies, out: out}, nil
}

// Open finds the lab that `lab up` started in this tree.
func Open(l layout.Layout, out io.Writer) (*Cluster, error) {
	s, err := loadState(l)
	if err != nil {
		return nil, err
	}
	return New(l, s.Nodes, out)
}

// state is what one command leaves for the next.
type state struct {
	Nodes int
	// Fingerprint covers every node's configuration and programs.
	Fingerprint string
}

func loadState(l layout.Layout) (state, error) {
	var s state
	text, err := os.ReadFile(l.State())
	if errors.Is(err, fs.ErrNotExist) {
		return s, ErrNoLab
	}
	if err == nil {
		err = json.Unmarshal(text, &s)
	}
	if err != nil {
		return s, fmt.Errorf("read %s (`lab down` removes it): %w", l.State(), err)
	}
	return s, nil
}

func (c *Cluster) saveState() error {
	print, err := c.fingerprint()
	if err != nil {
		return err
	}
	text, err := json.Marshal(state{Nodes: len(c.Plan.Nodes), Fingerprint: print})
	if err != nil {
		return fmt.Errorf("encode the state: %w", err)
	}
	if err := os.WriteFile(c.Layout.State(), text, 0o644); err != nil {
		return fmt.Errorf("save the state: %w", err)
	}
	return nil
}

// machines are the names of all machines, nodes last.
func (c *Cluster) machines() []string {
	names := []string{config.FabricName}
	for _, s := range config.Outside(c.Plan) {
		names = append(names, s.Name)
	}
	for _, n := range c.Plan.Nodes {
		names = append(names, n.Name)
	}
	return names
}

// fabric opens the running fabric; the caller closes it.
func (c *Cluster) fabric() (*fabric.Fabric, error) {
	pid, err := machine.PID(c.hierarchies, config.FabricName)
	if err != nil {
		return nil, fmt.Errorf("%w (%w)", ErrNoLab, err)
	}
	return fabric.Open(pid)
}
