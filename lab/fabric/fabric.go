// Package fabric is the wiring between machines: one network namespace with a bridge, and a cable from it
// to each machine.
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

const (
	bridgeName = "fabric"
	cableName  = "eth0" // the machine's end
)

// Route sends a prefix to a neighbour on the fabric.
type Route struct {
	To  netip.Prefix
	Via netip.Addr
}

// Port is one machine's place on the fabric.
type Port struct {
	Name   string
	Addr   plan.Pair
	Routes []Route
}

// Fabric is an open handle on the fabric's namespace.
type Fabric struct {
	namespace *os.File
	links     *netlink.Handle
}

// Create makes the fabric's namespace with its bridge. addrs are the addresses that answer on it, routes
// the prefixes behind machines. The namespace lives as long as the handle or a process in it.
func Create(nets plan.Nets, addrs []plan.Pair, routes []Route) (*Fabric, error) {
	namespace, err := newNamespace()
	if err != nil {
		return nil, err
	}
	f, err := open(namespace)
	if err != nil {
		return nil, err
	}
	if err := f.addBridge(nets, addrs, routes); err != nil {
		return nil, errors.Join(fmt.Errorf("make the bridge: %w", err), f.Close())
	}
	return f, nil
}

func (f *Fabric) addBridge(nets plan.Nets, addrs []plan.Pair, routes []Route) error {
	bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: bridgeName}}
	// Without a querier on the fabric, snooping would in time drop the multicast of neighbour discovery.
	off := false
	bridge.MulticastSnooping = &off
	if err := f.links.LinkAdd(bridge); err != nil {
		return err
	}
	for _, a := range addrs {
		if err := addAddresses(f.links, bridge, a, nets); err != nil {
			return err
		}
	}
	if err := f.links.LinkSetUp(bridge); err != nil {
		return err
	}
	return addRoutes(f.links, bridge, routes)
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

// Plug makes a network namespace for a machine and cables it to the bridge. The caller closes the file;
// the namespace and the cable go with the last process in it.
func (f *Fabric) Plug(p Port, nets plan.Nets) (*os.File, error) {
	namespace, err := newNamespace()
	if err != nil {
		return nil, err
	}
	if err := f.cable(p, namespace); err != nil {
		return nil, errors.Join(fmt.Errorf("plug %s in: %w", p.Name, err), namespace.Close())
	}
	inside, err := handle(namespace)
	if err != nil {
		return nil, errors.Join(err, namespace.Close())
	}
	defer inside.Close()
	if err := configure(inside, p, nets); err != nil {
		return nil, errors.Join(fmt.Errorf("configure the network of %s: %w", p.Name, err), namespace.Close())
	}
	return namespace, nil
}

func (f *Fabric) cable(p Port, namespace *os.File) error {
	if old, err := f.links.LinkByName(portName(p.Name)); err == nil {
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
		LinkAttrs:     netlink.LinkAttrs{Name: portName(p.Name), MasterIndex: bridge.Attrs().Index},
		PeerName:      cableName,
		PeerNamespace: netlink.NsFd(namespace.Fd()),
	}
	if err := f.links.LinkAdd(veth); err != nil {
		return fmt.Errorf("make the cable: %w", err)
	}
	return f.links.LinkSetUp(veth)
}

// Cut unplugs a machine's cable, Heal plugs it in again: the machine sees its carrier go and come.
func (f *Fabric) Cut(name string) error { return f.set(name, (*netlink.Handle).LinkSetDown) }

// Heal is the opposite of Cut.
func (f *Fabric) Heal(name string) error { return f.set(name, (*netlink.Handle).LinkSetUp) }

func (f *Fabric) set(name string, state func(*netlink.Handle, netlink.Link) error) error {
	link, err := f.links.LinkByName(portName(name))
	if err != nil {
		return fmt.Errorf("find the cable of %s: is it running? %w", name, err)
	}
	return state(f.links, link)
}

// Connected says whether a machine's cable is plugged in.
func (f *Fabric) Connected(name string) bool {
	link, err := f.links.LinkByName(portName(name))
	return err == nil && link.Attrs().Flags&net.FlagUp != 0
}

func portName(machine string) string {
	if machine == "control-plane" {
		return "p-control" // interface names have at most 15 bytes
	}
	return "p-" + machine
}

func handle(namespace *os.File) (*netlink.Handle, error) {
	h, err := netlink.NewHandleAt(netns.NsHandle(namespace.Fd()))
	if err != nil {
		return nil, fmt.Errorf("open netlink: %w", err)
	}
	return h, nil
}
