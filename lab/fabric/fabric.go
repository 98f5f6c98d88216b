// Package fabric is the wiring between machines: one network namespace with two bridges, and cables from them
// to the machines. The bridge between the nodes has addresses of its own; that of the outside has none, so
// that nothing comes from one to the other but through a machine with two cables.
//
// In: names and addresses. Out: network namespaces, links, addresses and routes. It never touches the
// host's own network: no link, address or route is made there, and no namespace has a way out to it.
package fabric

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"github.com/fairlead-net/fairlead/lab/plan"
)

// The bridges.
const (
	Inside  = "fabric"
	Outside = "outside"
)

// Route sends a prefix to a neighbour on the fabric.
type Route struct {
	To  netip.Prefix
	Via netip.Addr
}

// Port is one machine's place on the fabric. Its end of the first cable is eth0, and so on.
type Port struct {
	Name   string
	Cables []Cable
	Routes []Route
}

// Cable joins a machine to a bridge, where it has an address of the network Nets.
type Cable struct {
	Bridge string
	Addr   plan.Pair
	Nets   plan.Nets
}

// Fabric is an open handle on the fabric's namespace.
type Fabric struct {
	namespace *os.File
	links     *netlink.Handle
}

// Create makes the fabric's namespace with its bridges. addrs are the addresses that answer on the one
// between the nodes, routes the prefixes behind machines. The namespace lives as long as the handle or a process in it.
func Create(nets plan.Nets, addrs []plan.Pair, routes []Route) (*Fabric, error) {
	namespace, err := newNamespace()
	if err != nil {
		return nil, err
	}
	f, err := open(namespace)
	if err != nil {
		return nil, err
	}
	inside, err := f.addBridge(Inside, nets, addrs)
	if err == nil {
		_, err = f.addBridge(Outside, plan.Nets{}, nil)
	}
	if err == nil {
		err = addRoutes(f.links, inside, routes)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make the bridges: %w", err), f.Close())
	}
	return f, nil
}

func (f *Fabric) addBridge(name string, nets plan.Nets, addrs []plan.Pair) (netlink.Link, error) {
	bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: name}}
	// Without a querier on the fabric, snooping would in time drop the multicast of neighbour discovery.
	off := false
	bridge.MulticastSnooping = &off
	if err := f.links.LinkAdd(bridge); err != nil {
		return nil, err
	}
	for _, a := range addrs {
		if err := addAddresses(f.links, bridge, a, nets); err != nil {
			return nil, err
		}
	}
	return bridge, f.links.LinkSetUp(bridge)
}

// Open finds the fabric by a process that runs in it.
func Open(pid int) (*Fabric, error) {
	namespace, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", pid))
	if err != nil {
		return nil, fmt.Errorf("open the fabric: %w", err)
	}
	return open(namespace)
}

func open(namespace *os.File) (*Fabric, error) {
	links, err := handle(namespace)
	if err != nil {
		return nil, errors.Join(err, namespace.Close())
	}
	return &Fabric{namespace: namespace, links: links}, nil
}

// Namespace is the fabric's network namespace; it stays the fabric's to close.
func (f *Fabric) Namespace() *os.File { return f.namespace }

// Close lets go of the handle.
func (f *Fabric) Close() error {
	f.links.Close()
	return f.namespace.Close()
}

// Plug makes a network namespace for a machine and cables it up. The caller closes the file;
// the namespace and the cables go with the last process in it.
func (f *Fabric) Plug(p Port) (*os.File, error) {
	namespace, err := newNamespace()
	if err != nil {
		return nil, err
	}
	for i, cable := range p.Cables {
		if err := f.cable(portName(p.Name, i), interfaceName(i), cable.Bridge, namespace); err != nil {
			return nil, errors.Join(fmt.Errorf("plug %s in: %w", p.Name, err), namespace.Close())
		}
	}
	inside, err := handle(namespace)
	if err != nil {
		return nil, errors.Join(err, namespace.Close())
	}
	defer inside.Close()
	if err := configure(inside, p); err != nil {
		return nil, errors.Join(fmt.Errorf("configure the network of %s: %w", p.Name, err), namespace.Close())
	}
	return namespace, nil
}

func (f *Fabric) cable(near, far, bridgeName string, namespace *os.File) error {
	if old, err := f.links.LinkByName(near); err == nil {
		// The kernel removes a dead machine's cable a moment after the machine: don't wait for it.
		if err := f.links.LinkDel(old); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("remove the old cable: %w", err)
		}
	}
	bridge, err := f.links.LinkByName(bridgeName)
	if err != nil {
		return fmt.Errorf("find the bridge: %w", err)
	}
	veth := &netlink.Veth{
		LinkAttrs:     netlink.LinkAttrs{Name: near, MasterIndex: bridge.Attrs().Index},
		PeerName:      far,
		PeerNamespace: netlink.NsFd(namespace.Fd()),
	}
	if err := f.links.LinkAdd(veth); err != nil {
		return fmt.Errorf("make the cable: %w", err)
	}
	return f.links.LinkSetUp(veth)
}

// Cut unplugs a machine's cable to the nodes' network, Heal plugs it in again: the machine sees its carrier go and come.
func (f *Fabric) Cut(name string) error { return f.set(name, (*netlink.Handle).LinkSetDown) }

// Heal is the opposite of Cut.
func (f *Fabric) Heal(name string) error { return f.set(name, (*netlink.Handle).LinkSetUp) }

func (f *Fabric) set(name string, state func(*netlink.Handle, netlink.Link) error) error {
	link, err := f.links.LinkByName(portName(name, 0))
	if err != nil {
		return fmt.Errorf("find the cable of %s: is it running? %w", name, err)
	}
	return state(f.links, link)
}

// Connected says whether a machine's cable is plugged in.
func (f *Fabric) Connected(name string) bool {
	link, err := f.links.LinkByName(portName(name, 0))
	return err == nil && link.Attrs().Flags&net.FlagUp != 0
}

// portName is the near end of a machine's cable.
func portName(machine string, cable int) string {
	if machine == "control-plane" {
		machine = "control" // interface names have at most 15 bytes
	}
	return string(rune('p'+cable)) + "-" + machine
}

// interfaceName is the far end.
func interfaceName(cable int) string { return fmt.Sprintf("eth%d", cable) }

func handle(namespace *os.File) (*netlink.Handle, error) {
	h, err := netlink.NewHandleAt(netns.NsHandle(namespace.Fd()))
	if err != nil {
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	return h, nil
}
