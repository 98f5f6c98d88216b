package uplink

import (
	"github.com/cilium/ebpf"

	"github.com/fairlead-net/fairlead/internal/lb/pin"
)

// version is that of what keys and values mean; raise it whenever a program of
// the version before would misread the maps.
const version = 1

const linksName = "links"

// layout is that of these maps. Open connections keep their way when others than
// the carried maps change.
func layout(specs map[string]*ebpf.MapSpec) pin.Layout {
	return pin.Layout{Version: version, Specs: specs, Carried: []string{
		packetsMapFlows, packetsMapReplies, packetsMapFragments, packetsMapCounters,
	}}
}
