package uplink

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/cilium/ebpf"

	"github.com/fairlead-net/fairlead/internal/lb"
)

// Held is what the kernel does with packets for a frontend.
type Held struct {
	// Backends are those that connections may get, sorted; none where the frontend
	// is left to nftables.
	Backends []netip.AddrPort
	// Left says why it is left to nftables; empty if it is not, or is nobody's.
	Left string
}

// Lookup reads what the kernel holds for a frontend. A NodePort is asked for
// with the unspecified address.
func (p *Plane) Lookup(f lb.Frontend) (Held, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	held := Held{Left: p.left[f]}
	if p.closed {
		return held, errors.New("the packet path is closed")
	}
	var value packetsFrontend
	err := p.maps[packetsMapFrontends].Lookup(keyOf(f), &value)
	switch {
	case errors.Is(err, ebpf.ErrKeyNotExist):
		return held, nil
	case err != nil:
		return held, fmt.Errorf("reading frontend %s: %w", f, err)
	case value.Flags&uint32(packetsFrontendFlagPASSIVE) != 0:
		return held, nil
	case int(value.Page) >= len(p.pages.all):
		return held, fmt.Errorf("frontend %s names page %d, which is not there", f, value.Page)
	}
	slots, err := p.pages.read(int(value.Page))
	if err != nil {
		return held, err
	}
	numbers := slices.Clone(slots[value.Offset : value.Offset+value.Slots])
	slices.Sort(numbers)
	for _, number := range slices.Compact(numbers) {
		var backend packetsBackend
		if err := p.maps[packetsMapBackends].Lookup(number, &backend); err != nil {
			return held, fmt.Errorf("reading backend %d of frontend %s: %w", number, f, err)
		}
		held.Backends = append(held.Backends, backend.target().at)
	}
	slices.SortFunc(held.Backends, netip.AddrPort.Compare)
	return held, nil
}
