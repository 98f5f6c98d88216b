package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead-net/fairlead/lab/config"
	"github.com/fairlead-net/fairlead/lab/fabric"
	"github.com/fairlead-net/fairlead/lab/forward"
	"github.com/fairlead-net/fairlead/lab/machine"
	"github.com/fairlead-net/fairlead/lab/plan"
)

// startFabric makes the network between the machines and the machine that lives in it.
func (c *Cluster) startFabric(ctx context.Context) error {
	if err := os.RemoveAll(c.Layout.Logs("")); err != nil {
		return fmt.Errorf("remove old logs: %w", err)
	}
	// Pods ask the resolver under their own addresses (nothing here translates them), so that the
	// fabric must know the way back.
	routes := routesOutside(c.Plan)
	for _, n := range c.Plan.Nodes {
		routes = append(routes, routesTo(n)...)
	}
	f, err := fabric.Create(c.Plan.Fabric, []plan.Pair{c.Plan.Gateway, c.Plan.Resolver}, routes)
	if err != nil {
		return err
	}
	defer f.Close()
	listener, err := forward.Listener(config.ForwardAddress)
	if err != nil {
		return err
	}
	defer listener.Close()
	return machine.Start(ctx, c.placed(config.Fabric(c.Plan)), f.Namespace(), []*os.File{listener})
}

// startMachines makes credentials, switches on what is outside the cluster and all nodes, and writes the kubeconfigs.
func (c *Cluster) startMachines(ctx context.Context) error {
	credentials, err := config.NewCredentials(c.Plan, time.Now())
	if err != nil {
		return err
	}
	f, err := c.fabric()
	if err != nil {
		return err
	}
	defer f.Close()
	for _, s := range config.Outside(c.Plan) {
		if err := c.plugAndStart(ctx, f, c.placed(s)); err != nil {
			return err
		}
	}
	for _, n := range c.Plan.Nodes {
		if err := c.plugAndStart(ctx, f, c.placed(config.Node(c.Plan, n, credentials, host(c.Layout.Root)))); err != nil {
			return err
		}
	}
	for path, server := range map[string]string{
		c.Layout.Kubeconfig():      config.ForwardAddress,
		c.Layout.InnerKubeconfig(): c.Plan.APIServer().String(),
	} {
		text := config.Kubeconfig(server, "admin", credentials.Cluster.Cert, credentials.Admin)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return fmt.Errorf("write a kubeconfig: %w", err)
		}
	}
	return c.saveState()
}

// placed adds the host's paths and cgroups to a machine's spec.
func (c *Cluster) placed(s machine.Spec) machine.Spec {
	s.Dir, s.Bin, s.Logs = c.Layout.Machine(s.Name), c.Layout.Bin(), c.Layout.Logs(s.Name)
	s.Hierarchies = c.hierarchies
	return s
}

func (c *Cluster) plugAndStart(ctx context.Context, f *fabric.Fabric, s machine.Spec) error {
	network, err := f.Plug(port(c.Plan, s.Name))
	if err != nil {
		return err
	}
	return errors.Join(machine.Start(ctx, s, network, nil), network.Close())
}

// host finds out what the host allows to nodes whose disks are on a folder's file system.
func host(folder string) config.Host {
	h := config.Host{RestrictOOM: true, LocalStorage: hasDevice(folder)} // the safe assumption
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err == nil {
		h.RestrictOOM = data[0].Effective&(1<<unix.CAP_SYS_RESOURCE) == 0
	}
	return h
}

// hasDevice tells whether a folder's file system is on a disk that the kernel lists: kubelet looks it up there.
func hasDevice(folder string) bool {
	var stat unix.Stat_t
	if err := unix.Stat(folder, &stat); err != nil {
		return false
	}
	list, err := os.ReadFile("/proc/partitions")
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(list)) {
		// major, minor, blocks, name
		if f := strings.Fields(line); len(f) == 4 && f[0] == strconv.Itoa(int(unix.Major(stat.Dev))) && f[1] == strconv.Itoa(int(unix.Minor(stat.Dev))) {
			return true
		}
	}
	return false
}
