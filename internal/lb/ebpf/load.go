package ebpf

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/features"

	"github.com/fairlead-net/fairlead/internal/lb/pin"
)

// hook is one place in the kernel that a program is attached to.
type hook struct {
	name   string // of the program and of its pinned link
	attach ebpf.AttachType
	// without says what users see if the kernel does not take the program; empty
	// if nothing works without it.
	without string
}

// hooks are in the order of attachment: replies must be translated before the
// first request is.
var hooks = []hook{
	{socketProgPostBind4, ebpf.AttachCGroupInet4PostBind, "programs on the node can take a NodePort and then get no IPv4 connections at it"},
	{socketProgPostBind6, ebpf.AttachCGroupInet6PostBind, "programs on the node can take a NodePort and then get no IPv6 connections at it"},
	{socketProgGetpeername4, ebpf.AttachCgroupInet4GetPeername, "IPv4 applications that ask for their peer see the backend's address"},
	{socketProgGetpeername6, ebpf.AttachCgroupInet6GetPeername, "IPv6 applications that ask for their peer see the backend's address"},
	{socketProgRecvmsg4, ebpf.AttachCGroupUDP4Recvmsg, ""},
	{socketProgRecvmsg6, ebpf.AttachCGroupUDP6Recvmsg, ""},
	{socketProgConnect4, ebpf.AttachCGroupInet4Connect, ""},
	{socketProgConnect6, ebpf.AttachCGroupInet6Connect, ""},
	{socketProgSendmsg4, ebpf.AttachCGroupUDP4Sendmsg, ""},
	{socketProgSendmsg6, ebpf.AttachCGroupUDP6Sendmsg, ""},
}

const needs = "needs Linux 5.15 or later with CONFIG_CGROUP_BPF, and CAP_BPF with CAP_NET_ADMIN and CAP_PERFMON, or CAP_SYS_ADMIN"

// specs returns the programs and maps to load, in the wanted sizes, for a node
// whose network namespace has this cookie.
func specs(sizes map[string]uint32, netns uint64) (*ebpf.CollectionSpec, error) {
	spec, err := loadSocket()
	if err != nil {
		return nil, err
	}
	for name, size := range sizes {
		if size > 0 {
			spec.Maps[name].MaxEntries = size
		}
	}
	if err := spec.Variables[socketVarHostNetns].Set(netns); err != nil {
		return nil, fmt.Errorf("setting a constant of the programs: %w", err)
	}
	return spec, nil
}

// mapSpecs returns the maps that are pinned: all but the programs' constants.
func mapSpecs(spec *ebpf.CollectionSpec) map[string]*ebpf.MapSpec {
	pinned := map[string]*ebpf.MapSpec{}
	for _, name := range []string{
		socketMapFrontends, socketMapBackends, socketMapMembers, socketMapAddresses,
		socketMapAffinity, socketMapConnected, socketMapUnconnected,
	} {
		pinned[name] = spec.Maps[name]
	}
	return pinned
}

// loadPrograms loads every hook's program over the given maps. What the kernel
// lacks it does without where that is possible, and says so.
func loadPrograms(spec *ebpf.CollectionSpec, over pin.Maps) (_ map[string]*ebpf.Program, notes []string, err error) {
	note, err := setErrno(spec)
	if err != nil {
		return nil, nil, err
	}
	notes = append(notes, note)
	loaded := map[string]*ebpf.Program{}
	defer func() {
		if err != nil {
			closePrograms(loaded)
		}
	}()
	for _, h := range hooks {
		program, err := loadProgram(spec, h.name, over)
		switch {
		case err == nil:
			loaded[h.name] = program
		case h.without == "":
			return nil, nil, fmt.Errorf("loading program %s (%s): %w", h.name, needs, err)
		default:
			notes = append(notes, fmt.Sprintf("program %s is missing, so %s: %v", h.name, h.without, err))
		}
	}
	return loaded, notes, nil
}

// loadProgram loads one program of spec, which it leaves as it is.
func loadProgram(spec *ebpf.CollectionSpec, name string, over pin.Maps) (*ebpf.Program, error) {
	alone := spec.Copy()
	alone.Programs = map[string]*ebpf.ProgramSpec{name: alone.Programs[name]}
	collection, err := ebpf.NewCollectionWithOptions(alone, ebpf.CollectionOptions{MapReplacements: over})
	if err != nil {
		return nil, err
	}
	defer collection.Close()
	return collection.DetachProgram(name), nil
}

// setErrno decides how a connection is refused. A wrong constant would keep the
// programs from loading, or from refusing with the right error.
func setErrno(spec *ebpf.CollectionSpec) (string, error) {
	err := features.HaveProgramHelper(ebpf.CGroupSockAddr, asm.FnSetRetval)
	can := err == nil
	if err := spec.Variables[socketVarCanSetErrno].Set(can); err != nil {
		return "", fmt.Errorf("setting a constant of the programs: %w", err)
	}
	switch {
	case can:
		return "a Service without endpoints refuses connections with ECONNREFUSED", nil
	case errors.Is(err, ebpf.ErrNotSupported):
		return "a Service without endpoints refuses connections with EPERM, because this kernel lacks bpf_set_retval in cgroup hooks (Linux 6.1 has it)", nil
	}
	return fmt.Sprintf("a Service without endpoints refuses connections with EPERM, because probing for bpf_set_retval failed: %v", err), nil
}

func closePrograms(programs map[string]*ebpf.Program) {
	for _, program := range programs {
		program.Close()
	}
}
