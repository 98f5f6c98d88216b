package agent

import (
	"context"
	"fmt"

	"github.com/fairlead-net/fairlead/internal/lb"
	"github.com/fairlead-net/fairlead/internal/lb/ebpf"
	"github.com/fairlead-net/fairlead/internal/lb/nft"
)

// withoutSockets is the packet plane alone. Programs in sockets that an earlier
// process left go once packets are served, and not before.
type withoutSockets struct {
	*nft.Plane
	bpffs   string
	removed bool
}

// Apply applies a Table, and ends what it replaces.
func (p *withoutSockets) Apply(ctx context.Context, want lb.Table) error {
	if err := p.Plane.Apply(ctx, want); err != nil || p.removed {
		return err
	}
	if err := ebpf.Remove(p.bpffs); err != nil {
		return fmt.Errorf("ending load balancing in sockets: %w", err)
	}
	p.removed = true
	return nil
}

// Cleanup removes what the planes of a node leave in the kernel.
func Cleanup(bpffs string) error {
	if err := ebpf.Remove(bpffs); err != nil {
		return fmt.Errorf("remove what is pinned in %s: %w", bpffs, err)
	}
	if err := nft.Remove(); err != nil {
		return fmt.Errorf("remove the nftables table: %w", err)
	}
	return nil
}
