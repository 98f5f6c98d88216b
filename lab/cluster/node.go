package cluster

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/fairlead-net/fairlead/lab/cgroup"
	"github.com/fairlead-net/fairlead/lab/machine"
)

// known says whether there is a node or router of that name.
func (c *Cluster) known(name string) error {
	var names []string
	for _, n := range c.Plan.Nodes {
		names = append(names, n.Name)
	}
	for _, r := range c.Plan.Routers() {
		names = append(names, r.Name)
	}
	if slices.Contains(names, name) {
		return nil
	}
	return fmt.Errorf("%w: %q; there are %s", ErrNoSuch, name, strings.Join(names, ", "))
}

// StopNode cuts a node's power: everything on it dies at once; its disk stays.
func (c *Cluster) StopNode(ctx context.Context, name string) error {
	if err := c.known(name); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return machine.Stop(ctx, c.hierarchies, name)
}

// StartNode boots a stopped node from its disk.
func (c *Cluster) StartNode(ctx context.Context, name string) error {
	if err := c.known(name); err != nil {
		return err
	}
	if _, err := machine.PID(c.hierarchies, name); err == nil {
		c.note("%s is running already", name)
		return nil
	}
	s, err := machine.Load(c.Layout.Machine(name))
	if err != nil {
		return err
	}
	f, err := c.fabric()
	if err != nil {
		return err
	}
	defer f.Close()
	return c.plugAndStart(ctx, f, s)
}

// CutNode unplugs a node's network cable.
func (c *Cluster) CutNode(name string) error { return c.cable(name, false) }

// HealNode plugs it in again.
func (c *Cluster) HealNode(name string) error { return c.cable(name, true) }

func (c *Cluster) cable(name string, plugged bool) error {
	if err := c.known(name); err != nil {
		return err
	}
	f, err := c.fabric()
	if err != nil {
		return err
	}
	defer f.Close()
	if plugged {
		return f.Heal(name)
	}
	return f.Cut(name)
}

// ExecNode replaces this process by a command on a node, as if typed at its console: in all its
// namespaces and in its cgroups, where programs attached to the node's cgroup root see it.
func (c *Cluster) ExecNode(name string, argv []string) error {
	if err := c.known(name); err != nil {
		return err
	}
	pid, err := machine.PID(c.hierarchies, name)
	if err != nil {
		return err
	}
	if err := cgroup.Join(c.hierarchies, name, os.Getpid()); err != nil {
		return err
	}
	return enter(pid, []string{"--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--root", "--wd"}, argv)
}

// ExecClient replaces this process by a command in the network of a client: ClientName or RemoteName of
// package config. Only the network: its files are the host's, so that reports it writes stay.
func (c *Cluster) ExecClient(name string, argv []string) error {
	pid, err := machine.PID(c.hierarchies, name)
	if err != nil {
		return fmt.Errorf("%w (%w)", ErrNoLab, err)
	}
	return enter(pid, []string{"--net"}, argv)
}

// enter uses the program nsenter: a process with threads, as every Go program is, can't change its own
// mount namespace.
func enter(pid int, namespaces, argv []string) error {
	nsenter, err := exec.LookPath("nsenter")
	if err != nil {
		return fmt.Errorf("find nsenter (Debian package util-linux): %w", err)
	}
	args := append([]string{"nsenter", "--target", strconv.Itoa(pid)}, namespaces...)
	args = append(append(args, "--"), argv...)
	if err := syscall.Exec(nsenter, args, os.Environ()); err != nil {
		return fmt.Errorf("run nsenter: %w", err)
	}
	return nil
}
