package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/fairlead-net/fairlead/internal/lb"
	"github.com/fairlead-net/fairlead/internal/lb/ebpf"
	"github.com/fairlead-net/fairlead/internal/lb/nft"
	"github.com/fairlead-net/fairlead/internal/lb/uplink"
	"github.com/fairlead-net/fairlead/internal/reconcile"
)

// replacing is the nftables plane in place of eBPF programs. What an earlier
// process left of those goes once packets are served, and not before.
type replacing struct {
	packets reconcile.Plane[lb.Table]
	left    []leftover
}

// leftover is what an earlier process left.
type leftover struct {
	what   string
	remove func() error
}

// replacing returns the nftables plane that ends what d lacks.
func (a *Agent) replacing(d dataplanes) *replacing {
	p, bpffs := &replacing{packets: d.packets}, a.options.Config.LB.BPFFS
	if d.sockets == nil {
		p.ends("load balancing in sockets", func() error { return ebpf.Remove(bpffs) })
	}
	if d.uplink == nil {
		p.ends("the packet path", func() error { return uplink.Remove(uplinkDirectory(bpffs)) })
	}
	return p
}

// ends has something removed after the first Apply that serves packets.
func (p *replacing) ends(what string, remove func() error) {
	p.left = append(p.left, leftover{what, remove})
}

// Close lets go of the nftables plane.
func (p *replacing) Close() error { return p.packets.Close() }

// Apply applies a Table, and ends what it replaces. If that alone fails, the
// error is a reconcile.PartialError.
func (p *replacing) Apply(ctx context.Context, want lb.Table) error {
	err := p.packets.Apply(ctx, want)
	if err != nil && !reconcile.IsPartial(err) {
		return err
	}
	return reconcile.Join(err, reconcile.Partial(p.end()))
}

// end removes what is replaced. What fails stays, to be tried again.
func (p *replacing) end() error {
	var failed []error
	p.left = slices.DeleteFunc(p.left, func(l leftover) bool {
		err := l.remove()
		if err != nil {
			failed = append(failed, fmt.Errorf("ending %s by eBPF, which nftables has replaced: %w", l.what, err))
		}
		return err == nil
	})
	return errors.Join(failed...)
}

// PinDirectories are where the planes of a node pin what is to outlive them.
func PinDirectories(bpffs string) []string { return []string{bpffs, uplinkDirectory(bpffs)} }

// Cleanup removes what the planes of a node leave in the kernel. What fails does
// not keep the rest; the error names all of it.
func Cleanup(bpffs string) error {
	var failed []error
	for _, step := range []struct {
		what   string
		remove func() error
	}{
		{"what is pinned in " + bpffs, func() error { return ebpf.Remove(bpffs) }},
		{"what is pinned in " + uplinkDirectory(bpffs), func() error { return uplink.Remove(uplinkDirectory(bpffs)) }},
		{"the nftables table", nft.Remove},
	} {
		if err := step.remove(); err != nil {
			failed = append(failed, fmt.Errorf("remove %s: %w", step.what, err))
		}
	}
	return errors.Join(failed...)
}
