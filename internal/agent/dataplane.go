package agent

import (
	"errors"
	"fmt"
	"math"
	"os"

	"golang.org/x/sys/unix"

	"github.com/fairlead-net/fairlead/internal/config"
	"github.com/fairlead-net/fairlead/internal/lb/ebpf"
	"github.com/fairlead-net/fairlead/internal/lb/nft"
	"github.com/fairlead-net/fairlead/internal/lb/uplink"
)

// dataplanes are what carries Services out on a node. Those by eBPF are nil
// where nftables does their work.
type dataplanes struct {
	sockets               *ebpf.Plane
	uplink                *uplink.Plane
	packets               *nft.Plane
	whySockets, whyUplink string
}

// openDataplanes opens all or none.
func (a *Agent) openDataplanes() (d dataplanes, err error) {
	defer func() {
		if err == nil {
			return
		}
		if d.sockets != nil {
			err = errors.Join(err, d.sockets.Close())
		}
		if d.uplink != nil {
			err = errors.Join(err, d.uplink.Close())
		}
	}()
	if d.sockets, d.whySockets, err = a.newSockets(); err != nil {
		return d, err
	}
	if d.uplink, d.whyUplink, err = a.newUplink(); err != nil {
		return d, err
	}
	a.uplink = d.uplink
	d.packets, err = a.newPackets(masqueradePorts(a.options.Config.LB.NodePortRange))
	return d, err
}

// newSockets returns the eBPF plane and why it was chosen, or nil and why not.
func (a *Agent) newSockets() (*ebpf.Plane, string, error) {
	c := a.options.Config.LB
	a.proxyMode = config.Nftables
	if c.ServiceDataplane == config.Nftables {
		return nil, "nftables alone, as lb.serviceDataplane says", nil
	}
	plane, err := openSockets(c, a)
	why, err := a.chosen("eBPF in sockets", "nftables alone", "lb.serviceDataplane", c.ServiceDataplane, err)
	if err == nil && plane != nil {
		a.proxyMode, a.sockets = config.EBPF, true
	}
	return plane, why, err
}

// newUplink returns the eBPF packet path and why it was chosen, or nil and why
// not.
func (a *Agent) newUplink() (*uplink.Plane, string, error) {
	c := a.options.Config.LB
	switch {
	case c.ServiceDataplane == config.Nftables:
		return nil, "packets from outside by nftables, as lb.serviceDataplane says", nil
	case c.PacketDataplane == config.Nftables:
		return nil, "packets from outside by nftables, as lb.packetDataplane says", nil
	}
	plane, err := uplink.New(uplink.Config{
		Directory: uplinkDirectory(c.BPFFS), Logger: a.log, FlowsSize: c.MaxFlows, Frontends: c.MaxFrontends, Backends: c.MaxBackends,
		NodePorts: uplink.PortRange(c.NodePortRange), XDP: xdpMode(c.XDP),
	})
	why, err := a.chosen("packets from outside by eBPF", "packets from outside by nftables", "lb.packetDataplane", c.PacketDataplane, err)
	return plane, why, err
}

// uplinkDirectory is where the packet path pins what is its own.
func uplinkDirectory(bpffs string) string { return bpffs + "-uplink" }

func xdpMode(setting string) uplink.XDPMode {
	return map[string]uplink.XDPMode{config.Auto: uplink.XDPAuto, config.Native: uplink.XDPForce, config.Disabled: uplink.XDPOff}[setting]
}

// masqueradePorts are those that nftables may send from: others than the packet
// path's, as both use the node's addresses. They are left even while that is
// off, for the connections that are open when it is switched on. Zeros mean any.
func masqueradePorts(nodePorts config.PortRange) [2]uint16 {
	const lowest = 1024
	taken, err := uplink.SourcePorts(uplink.PortRange(nodePorts))
	switch {
	case err != nil:
		return [2]uint16{}
	case taken.First > lowest:
		return [2]uint16{lowest, taken.First - 1}
	}
	return [2]uint16{taken.Last + 1, math.MaxUint16}
}

// chosen says in words what a setting came to, when starting eBPF ended with
// err. A kernel that cannot do it is no error with auto; another process that
// does it already is one always.
func (a *Agent) chosen(with, without, field, setting string, err error) (string, error) {
	switch {
	case err == nil && setting == config.EBPF:
		return fmt.Sprintf("%s, as %s says", with, field), nil
	case err == nil:
		return fmt.Sprintf("%s, as this kernel takes the programs (%s: auto)", with, field), nil
	case errors.Is(err, unix.EWOULDBLOCK):
		// The other process's programs would go on serving, by maps that nobody
		// keeps up to date once it ends.
		return "", fmt.Errorf("two Fairlead processes want to serve this node; find the other one (pgrep -a fairlead, or a second DaemonSet) and stop it: %w", err)
	case setting == config.EBPF:
		return "", err
	}
	a.log.Warn("eBPF is not used", "setting", field, "instead", without, "error", err)
	return fmt.Sprintf("%s, as eBPF cannot be used here (%s: auto): %v", without, field, err), nil
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
