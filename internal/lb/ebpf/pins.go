package ebpf

import (
	"github.com/cilium/ebpf"

	"github.com/fairlead-net/fairlead/internal/lb/pin"
)

// version is that of what keys and values mean; raise it whenever a program of
// the version before would misread the maps.
const version = 2

const linksName = "links"

// layout is that of these maps. Open connections keep their translations when
// sizes of others than the carried maps change.
func layout(specs map[string]*ebpf.MapSpec) pin.Layout {
	return pin.Layout{Version: version, Specs: specs, Carried: []string{
		socketMapConnected, socketMapUnconnected, socketMapAffinity,
	}}
}
