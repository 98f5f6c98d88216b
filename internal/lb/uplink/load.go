package uplink

import (
	"errors"
	"fmt"
	"os"

	"github.com/cilium/ebpf"

	"github.com/fairlead-net/fairlead/internal/lb/pin"
)

const needs = "needs Linux 5.15 or later with CONFIG_NET_CLS_ACT, and CAP_BPF with CAP_NET_ADMIN and CAP_PERFMON, or CAP_SYS_ADMIN"

// hooks are the programs that run on each uplink. Answers must be translated
// before the first request is.
func hooks() []hook {
	return []hook{
		{name: "egress", program: packetsProgUplinkEgress, attach: ebpf.AttachTCXEgress},
		{name: "ingress", program: packetsProgUplinkIngress, attach: ebpf.AttachTCXIngress},
		{name: "xdp", program: packetsProgUplinkXdp, attach: ebpf.AttachXDP},
	}
}

// hook is one place on an interface that a program is attached to.
type hook struct {
	name    string
	program string
	attach  ebpf.AttachType
}

// specs returns the programs and maps to load.
func specs(config Config, ports PortRange) (*ebpf.CollectionSpec, error) {
	spec, err := loadPackets()
	if err != nil {
		return nil, err
	}
	spec.Maps[packetsMapFrontends].MaxEntries = config.Frontends
	spec.Maps[packetsMapBackends].MaxEntries = config.Backends
	spec.Maps[packetsMapMembers].MaxEntries = config.Backends
	spec.Maps[packetsMapFlows].MaxEntries = config.FlowsSize
	spec.Maps[packetsMapReplies].MaxEntries = config.FlowsSize
	count := uint16(0)
	if ports.First != 0 {
		count = ports.Last - ports.First + 1
	}
	t := config.timeouts
	return spec, errors.Join(
		spec.Variables[packetsVarPortFirst].Set(ports.First), spec.Variables[packetsVarPortCount].Set(count),
		spec.Variables[packetsVarClosedSeconds].Set(t.closed), spec.Variables[packetsVarUnansweredSeconds].Set(t.unanswered),
		spec.Variables[packetsVarFinishingSeconds].Set(t.finishing), spec.Variables[packetsVarConnectedSeconds].Set(t.connected),
		spec.Variables[packetsVarLeavingSeconds].Set(t.leaving), spec.Variables[packetsVarWaitingSeconds].Set(t.waiting),
		spec.Variables[packetsVarDatagramSeconds].Set(t.datagram), spec.Variables[packetsVarDatagramsSeconds].Set(t.datagrams),
	)
}

// mapSpecs returns the maps that are pinned: all but the programs' constants.
func mapSpecs(spec *ebpf.CollectionSpec) map[string]*ebpf.MapSpec {
	pinned := map[string]*ebpf.MapSpec{}
	for _, name := range []string{
		packetsMapFrontends, packetsMapPages, packetsMapBackends, packetsMapMembers, packetsMapNodes, packetsMapUplinks,
		packetsMapFlows, packetsMapReplies, packetsMapFragments, packetsMapCounters, packetsMapPassings,
	} {
		pinned[name] = spec.Maps[name]
	}
	return pinned
}

// loadPrograms loads every program over the given maps; the short cut only if it
// is wanted. Without it everything works, so what keeps it from loading is only
// told.
func loadPrograms(spec *ebpf.CollectionSpec, over pin.Maps, xdp XDPMode) (loaded map[string]*ebpf.Program, note string, err error) {
	without := spec.Copy()
	delete(without.Programs, packetsProgUplinkXdp)
	if xdp == XDPOff {
		loaded, err = loadAll(without, over)
		return loaded, "", err
	}
	loaded, err = loadAll(spec, over)
	if err == nil {
		return loaded, "", nil
	}
	note = fmt.Sprintf("XDP is not used: %v", err)
	loaded, err = loadAll(without, over)
	return loaded, note, err
}

func loadAll(spec *ebpf.CollectionSpec, over pin.Maps) (map[string]*ebpf.Program, error) {
	collection, err := ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{MapReplacements: over})
	if err != nil {
		return nil, fmt.Errorf("loading the programs for uplinks (%s): %w", needs, err)
	}
	defer collection.Close()
	loaded := map[string]*ebpf.Program{}
	for name := range spec.Programs {
		loaded[name] = collection.DetachProgram(name)
	}
	return loaded, nil
}

// kernelPorts returns the ports that the kernel gives to connections.
func kernelPorts() (string, error) {
	text, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err != nil {
		return "", fmt.Errorf("reading which ports the kernel uses: %w", err)
	}
	return string(text), nil
}
