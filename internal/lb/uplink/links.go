package uplink

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// attach makes a program run on an interface. Nothing runs without it or beside
// it meanwhile: the program of an existing link is replaced atomically.
func (p *Plane) attach(u uplink, h hook, program *ebpf.Program) error {
	if p.withoutTCX && h.attach != ebpf.AttachXDP {
		return p.attachFilter(u, h, program)
	}
	path := filepath.Join(p.config.Directory, linksName, pinName(u.name, h))
	old, err := link.LoadPinnedLink(path, nil)
	if err == nil {
		defer old.Close()
		info, err := old.Info()
		if err == nil && interfaceIndex(info) == u.index {
			if err := old.Update(program); err != nil {
				return fmt.Errorf("replacing the program of link %s: %w", path, err)
			}
			return nil
		}
		// The interface it was attached to is gone.
		if err := os.Remove(path); err != nil {
			return fmt.Errorf("unpinning %s: %w", path, err)
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("opening the pinned link %s: %w", path, err)
	}
	made, err := newLink(u, h, program)
	if errors.Is(err, ebpf.ErrNotSupported) && h.attach != ebpf.AttachXDP {
		p.withoutTCX = true
		return p.attachFilter(u, h, program)
	}
	if err != nil {
		return refusal{fmt.Errorf("attaching %s to interface %s (%s): %w", h.program, u.name, needs, err)}
	}
	defer made.Close()
	if err := made.Pin(path); err != nil {
		return fmt.Errorf("pinning link %s: %w", path, err)
	}
	return nil
}

func newLink(u uplink, h hook, program *ebpf.Program) (link.Link, error) {
	if h.attach == ebpf.AttachXDP {
		return link.AttachXDP(link.XDPOptions{Interface: u.index, Program: program, Flags: link.XDPDriverMode})
	}
	options := link.TCXOptions{Interface: u.index, Program: program, Attach: h.attach}
	if h.attach == ebpf.AttachTCXIngress {
		options.Anchor = link.Head()
	}
	return link.AttachTCX(options)
}

// interfaceIndex returns where a link is attached; 0 if nowhere any more.
func interfaceIndex(info *link.Info) int {
	switch {
	case info.TCX() != nil:
		return int(info.TCX().Ifindex)
	case info.XDP() != nil:
		return int(info.XDP().Ifindex)
	}
	return 0
}

// pinName is the name of a pinned link. A bpffs takes no dots in names.
func pinName(device string, h hook) string {
	return strings.ReplaceAll(url.PathEscape(device), ".", "%2E") + "-" + h.name
}

// Where the filter of a program is, before Linux 6.6. The priority is before
// those that others usually take.
const (
	filterPriority = 1
	filterHandle   = 0xfa1d
	filterPrefix   = "fairlead-"
)

func filterFor(index int, h hook, program int) *netlink.BpfFilter {
	parent := uint32(netlink.HANDLE_MIN_INGRESS)
	if h.attach == ebpf.AttachTCXEgress {
		parent = netlink.HANDLE_MIN_EGRESS
	}
	return &netlink.BpfFilter{
		FilterAttrs: netlink.FilterAttrs{LinkIndex: index, Parent: parent, Handle: filterHandle, Priority: filterPriority, Protocol: unix.ETH_P_ALL},
		Fd:          program, Name: filterPrefix + h.name, DirectAction: true,
	}
}

func (p *Plane) attachFilter(u uplink, h hook, program *ebpf.Program) error {
	clsact := &netlink.GenericQdisc{
		QdiscAttrs: netlink.QdiscAttrs{LinkIndex: u.index, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT},
		QdiscType:  "clsact",
	}
	if err := p.netlink.QdiscAdd(clsact); err != nil && !errors.Is(err, unix.EEXIST) {
		return refusal{fmt.Errorf("adding the qdisc clsact to interface %s (needs CONFIG_NET_SCH_INGRESS): %w", u.name, err)}
	}
	if err := p.netlink.FilterReplace(filterFor(u.index, h, program.FD())); err != nil {
		return refusal{fmt.Errorf("attaching %s to interface %s (%s): %w", h.program, u.name, needs, err)}
	}
	return nil
}

// detachFilters removes what attachFilter added to an interface. The qdisc
// stays: others may use it by now, and alone it does nothing.
func detachFilters(n *netlink.Handle, l netlink.Link) error {
	for _, h := range hooks() {
		if h.attach == ebpf.AttachXDP {
			continue
		}
		filter := filterFor(l.Attrs().Index, h, 0)
		filters, err := n.FilterList(l, filter.Parent)
		if err != nil {
			continue // no clsact there
		}
		for _, each := range filters {
			if bpf, ok := each.(*netlink.BpfFilter); ok && strings.HasPrefix(bpf.Name, filter.Name) && bpf.Handle == filterHandle {
				if err := n.FilterDel(filter); err != nil {
					return fmt.Errorf("detaching %s from interface %s: %w", bpf.Name, l.Attrs().Name, err)
				}
			}
		}
	}
	return nil
}

// detach detaches and unpins a link, whoever else still has it open.
func detach(path string) error {
	existing, err := link.LoadPinnedLink(path, nil)
	if err == nil {
		err = existing.Detach()
		existing.Close()
	}
	// ENOLINK: its interface is gone, and with it what was attached.
	if err != nil && !errors.Is(err, unix.ENOLINK) && !errors.Is(err, ebpf.ErrNotSupported) {
		return fmt.Errorf("detaching %s: %w", path, err)
	}
	if err := os.Remove(path); err != nil {
		return fmt.Errorf("unpinning %s: %w", path, err)
	}
	return nil
}

// detachOthers removes every link that is none of the pins, and the filters of
// every interface that is none of the names.
func (p *Plane) detachOthers(names, pins map[string]bool) error {
	directory := filepath.Join(p.config.Directory, linksName)
	entries, err := os.ReadDir(directory)
	if err != nil {
		return fmt.Errorf("listing the pinned links: %w", err)
	}
	for _, entry := range entries {
		if pins[entry.Name()] {
			continue
		}
		if err := detach(filepath.Join(directory, entry.Name())); err != nil {
			return err
		}
	}
	if !p.withoutTCX {
		return nil
	}
	return eachOtherLink(p.netlink, names, func(l netlink.Link) error { return detachFilters(p.netlink, l) })
}

func eachOtherLink(n *netlink.Handle, but map[string]bool, do func(netlink.Link) error) error {
	all, err := n.LinkList()
	if err != nil {
		return fmt.Errorf("listing the network interfaces: %w", err)
	}
	for _, l := range all {
		if !but[l.Attrs().Name] {
			if err := do(l); err != nil {
				return err
			}
		}
	}
	return nil
}

// Remove detaches and unpins everything below directory, whether or not a Plane
// still runs on it. Connections whose packets were forwarded here end; nftables
// serves new ones. Removing twice is no error.
func Remove(directory string) error {
	links := filepath.Join(directory, linksName)
	entries, err := os.ReadDir(links)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("listing the pinned links: %w", err)
	}
	var failed []error
	for _, entry := range entries {
		failed = append(failed, detach(filepath.Join(links, entry.Name())))
	}
	n, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("opening a netlink socket: %w", err)
	}
	defer n.Close()
	failed = append(failed, eachOtherLink(n, nil, func(l netlink.Link) error { return detachFilters(n, l) }))
	// Maps go only when no program reads them any more.
	if err := errors.Join(failed...); err != nil {
		return err
	}
	if err := os.RemoveAll(directory); err != nil {
		return fmt.Errorf("unpinning the maps: %w", err)
	}
	return nil
}
