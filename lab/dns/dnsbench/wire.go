package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// The servers' end of the wire, and the load's.
const (
	wireName    = "wire"
	wireServer  = "10.77.0.1"
	wireLoad    = "10.77.0.2"
	wireNetmask = "/24"
)

func wireAt(port uint16) netip.AddrPort {
	return netip.AddrPortFrom(netip.MustParseAddr(wireServer), port)
}

// lay puts a pair of virtual interfaces between the servers' network namespace,
// which is this process's, and one of the load's own, as there is between a node and
// a pod. What comes by either end is received on the processor of who is there: the
// servers' or the load's.
func (w *world) lay() error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	own, err := netns.Get()
	if err != nil {
		return err
	}
	w.own = own
	if w.far, err = netns.New(); err != nil {
		return fmt.Errorf("a network namespace for the load: %w", err)
	}
	if err := netns.Set(own); err != nil {
		return err
	}
	link := netlink.NewLinkAttrs()
	link.Name = wireName
	if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: link, PeerName: wireName, PeerNamespace: netlink.NsFd(w.far)}); err != nil {
		return fmt.Errorf("an interface between the servers and the load: %w", err)
	}
	err = w.end(wireServer, serverCPU)
	return errors.Join(err, w.inFar(func() error { return w.end(wireLoad, loadCPU()) }))
}

// end makes this thread's end of the wire usable, and a processor its receiver
// (Documentation/networking/scaling.rst, RPS).
func (w *world) end(address string, cpu int) error {
	l, err := netlink.LinkByName(wireName)
	if err != nil {
		return err
	}
	a, err := netlink.ParseAddr(address + wireNetmask)
	if err != nil {
		return err
	}
	if err := errors.Join(netlink.AddrAdd(l, a), netlink.LinkSetUp(l)); err != nil {
		return err
	}
	// What is in sysfs depends on who mounts it.
	sys := w.path("sys-" + address)
	if err := errors.Join(os.Mkdir(sys, 0o700), unix.Mount("sysfs", sys, "sysfs", 0, "")); err != nil {
		return fmt.Errorf("sysfs of a network namespace: %w", err)
	}
	mask := fmt.Appendf(nil, "%x%s", 1<<(cpu%32), strings.Repeat(",00000000", cpu/32))
	err = os.WriteFile(filepath.Join(sys, "class/net", wireName, "queues/rx-0/rps_cpus"), mask, 0o600)
	return errors.Join(err, unix.Unmount(sys, unix.MNT_DETACH))
}

// inFar does something in the network namespace of the load.
func (w *world) inFar(do func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := netns.Set(w.far); err != nil {
		return err
	}
	err := do()
	return errors.Join(err, netns.Set(w.own))
}

// beside runs a program beside the peer, or at the other end of the wire.
func (w *world) beside(p *peer, cmd *exec.Cmd) error {
	if !p.wire {
		return cmd.Run()
	}
	return w.inFar(cmd.Run)
}

// overWire measures Fairlead with its part in the kernel beside CoreDNS, both by the
// wire, and counts all that their processor does.
func (w *world) overWire(r *report, coreDNS *peer) error {
	fairlead, err := w.role(serverCPU, "fairlead", wireAt(kernelPort), "-upstream="+at(upstreamPort).String(), "-kernel")
	if err != nil {
		return err
	}
	peers := []*peer{{name: "kernel", address: fairlead.address, cmd: fairlead.cmd, wire: true}, {name: "coredns", address: wireAt(coreDNSPort), cmd: coreDNS.cmd, wire: true}}
	all := newResults()
	for _, m := range mixes(w.services)[:2] { // those about the cluster
		path, err := m.write(w.directory)
		if err != nil {
			return err
		}
		for round := range w.rounds {
			say("%s by the wire, round %d", m.name, round+1)
			for _, p := range peers {
				if err := w.round(&all, m, p, path); err != nil {
					return err
				}
			}
		}
	}
	r.ratio("dns-kernel-coredns", all.perCPU["hits-kernel"], all.perCPU["hits-coredns"], "names of Services by the wire, answers per second of the processor's busy time")
	r.ratio("dns-kernel-misses-coredns", all.perCPU["misses-kernel"], all.perCPU["misses-coredns"], "60 % names of the search list that do not exist, by the wire, answers per second of the processor's busy time")
	for _, m := range mixes(w.services)[:2] {
		for _, p := range peers {
			k := key(m, p.name)
			r.figure("dns-wire-"+k+"-p99", all.p99[k], "ms", fmt.Sprintf("by the wire, at half of what the load reached, which is %s a second; the median there is %s ms", digits(all.perSecond[k].median()), digits(all.p50[k].median())))
		}
	}
	return nil
}
