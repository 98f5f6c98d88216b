package agent

import (
	"context"
	"fmt"

	"github.com/fairlead-net/fairlead/internal/lb"
	"github.com/fairlead-net/fairlead/internal/lb/ebpf"
	"github.com/fairlead-net/fairlead/internal/lb/nft"
	"github.com/fairlead-net/fairlead/internal/lb/uplink"
)

// replacing is the nftables plane in place of eBPF programs. What an earlier
// process left of those goes once packets are served, and not before.
type replacing struct {
	*nft.Plane
	what   []string
	remove []func() error
}

// replacing returns the nftables plane that ends what d lacks.
func (a *Agent) replacing(d dataplanes) *replacing {
	p, bpffs := &replacing{Plane: d.packets}, a.options.Config.LB.BPFFS
	if d.sockets == nil {
		p.ends("load balancing in sockets", func() error { return ebpf.Remove(bpffs) })
	}
	if d.uplink == nil {
		p.ends("the packet path", func() error { return uplink.Remove(uplinkDirectory(bpffs)) })
	}
	return p
}

// ends has something removed after the first successful Apply.
func (p *replacing) ends(what string, remove func() error) {
	p.what, p.remove = append(p.what, what), append(p.remove, remove)
}

// Apply applies a Table, and ends what it replaces.
func (p *replacing) Apply(ctx context.Context, want lb.Table) error {
	if err := p.Plane.Apply(ctx, want); err != nil {
		return err
	}
	for len(p.remove) > 0 {
		if err := p.remove[0](); err != nil {
			return fmt.Errorf("ending %s by eBPF: %w", p.what[0], err)
		}
		p.what, p.remove = p.what[1:], p.remove[1:]
	}
	return nil
}

// PinDirectories are where the planes of a node pin what is to outlive them.
func PinDirectories(bpffs string) []string { return []string{bpffs, uplinkDirectory(bpffs)} }

// Cleanup removes what the planes of a node leave in the kernel.
func Cleanup(bpffs string) error {
	if err := ebpf.Remove(bpffs); err != nil {
		return fmt.Errorf("remove what is pinned in %s: %w", bpffs, err)
	}
	if err := uplink.Remove(uplinkDirectory(bpffs)); err != nil {
		return fmt.Errorf("remove what is pinned in %s: %w", uplinkDirectory(bpffs), err)
	}
	if err := nft.Remove(); err != nil {
		return fmt.Errorf("remove the nftables table: %w", err)
	}
	return nil
}
