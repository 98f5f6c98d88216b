package kubeproxy

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/fairlead-net/fairlead/internal/lb/nft"
)

// Interface is where kube-proxy's ipvs mode puts the addresses of Services.
const Interface = "kube-ipvs0"

// Leftovers is what kube-proxy left, in words.
type Leftovers struct {
	// Removable is what Remove removes.
	Removable []string
	// Kept is what looks like kube-proxy's, and stays; each says why.
	Kept []string
	// Manual is what a person has to do, with the command.
	Manual []string

	removals   []nft.Removal
	generation uint32
	hasLink    bool
	sets       []string
}

// Find looks at the network namespace of the calling thread. What cannot be read
// is an error.
func Find() (*Leftovers, error) {
	l := &Leftovers{}
	foreign, err := nft.OpenForeign()
	if err != nil {
		return nil, err
	}
	defer foreign.Close()
	tables, generation, err := foreign.Tables()
	if err != nil {
		return nil, err
	}
	l.generation = generation
	l.sort(tables)
	return l, errors.Join(l.findLink(), l.findSets(), l.findLegacy(), l.findIPVS(), l.findSysctls())
}

// findLink looks for the interface, which Fairlead never takes for the node's.
func (l *Leftovers) findLink() error {
	link, err := netlink.LinkByName(Interface)
	var none netlink.LinkNotFoundError
	if errors.As(err, &none) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("looking for interface %s: %w", Interface, err)
	}
	addresses, err := netlink.AddrList(link, netlink.FAMILY_ALL)
	if err != nil {
		return fmt.Errorf("listing the addresses of interface %s: %w", Interface, err)
	}
	l.hasLink = true
	l.Removable = append(l.Removable, fmt.Sprintf("interface %s, for %s of Services", Interface, number(len(addresses), "IP")))
	return nil
}

func (l *Leftovers) findSets() error {
	all, err := netlink.IpsetListAll()
	if errors.Is(err, unix.EINVAL) {
		return nil // what nfnetlink says of a subsystem that the kernel does not have
	}
	if err != nil {
		return fmt.Errorf("listing ipsets: %w", err)
	}
	for _, set := range all {
		if isSet(set.SetName) {
			l.sets = append(l.sets, set.SetName)
		}
	}
	if len(l.sets) > 0 {
		l.Removable = append(l.Removable, fmt.Sprintf("%s, such as %s", number(len(l.sets), "ipset"), l.sets[0]))
	}
	return nil
}

// tries is how often FindAndRemove looks again at rules that others change.
const tries = 10

// FindAndRemove finds what kube-proxy left and removes it; it looks again if
// somebody changes nftables meanwhile. The error may come with what was found.
func FindAndRemove() (*Leftovers, error) { return again(Find, (*Leftovers).Remove) }

func again(find func() (*Leftovers, error), remove func(*Leftovers) error) (*Leftovers, error) {
	for try := 1; ; try++ {
		l, err := find()
		if l == nil {
			return nil, err
		}
		failed := remove(l)
		if !errors.Is(failed, nft.ErrChanged) || try == tries {
			return l, errors.Join(err, failed)
		}
	}
}

// Remove removes what is Removable: first the rules, and only once they are gone
// what they use. They go all at once; the error is nft.ErrChanged if somebody
// changed nftables since Find.
func (l *Leftovers) Remove() error {
	if len(l.removals) > 0 {
		foreign, err := nft.OpenForeign()
		if err != nil {
			return err
		}
		defer foreign.Close()
		if err := foreign.Remove(l.removals, l.generation); err != nil {
			return fmt.Errorf("removing the rules: %w", err)
		}
	}
	var failed []error
	if l.hasLink {
		link, err := netlink.LinkByName(Interface)
		if err == nil {
			err = netlink.LinkDel(link)
		}
		if err != nil {
			failed = append(failed, fmt.Errorf("removing interface %s: %w", Interface, err))
		}
	}
	for _, set := range l.sets {
		if err := netlink.IpsetDestroy(set); err != nil {
			failed = append(failed, fmt.Errorf("removing ipset %s (do rules of iptables-legacy still use it?): %w", set, err))
		}
	}
	return errors.Join(failed...)
}

// findSysctls names settings that kube-proxy may have changed. Who else needs
// them cannot be known.
func (l *Leftovers) findSysctls() error {
	for _, s := range []struct{ name, changed, before, mode string }{
		{"net.ipv4.conf.all.route_localnet", "1", "0", "iptables mode, for NodePorts on loopback"},
		{"net.ipv4.conf.all.arp_ignore", "1", "0", "ipvs mode"},
		{"net.ipv4.conf.all.arp_announce", "2", "0", "ipvs mode"},
	} {
		content, err := os.ReadFile(filepath.Join("/proc/sys", strings.ReplaceAll(s.name, ".", "/")))
		if err != nil {
			return fmt.Errorf("sysctl %s: %w", s.name, err)
		}
		if strings.TrimSpace(string(content)) == s.changed {
			l.Manual = append(l.Manual, fmt.Sprintf("sysctl %s is %s, as kube-proxy sets it (%s); if nobody else needs it: sysctl -w %s=%s", s.name, s.changed, s.mode, s.name, s.before))
		}
	}
	return nil
}
