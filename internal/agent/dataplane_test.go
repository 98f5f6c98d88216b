package agent

import (
	"testing"

	"github.com/fairlead-net/fairlead/internal/config"
	"github.com/fairlead-net/fairlead/internal/lb/uplink"
)

// TestMasqueradePorts expects nftables and the packet path to send from ports of
// their own, so that neither takes the other's answers.
func TestMasqueradePorts(t *testing.T) {
	nodePorts := config.Default().LB.NodePortRange
	fast, err := uplink.SourcePorts(uplink.PortRange(nodePorts))
	if err != nil {
		t.Fatal(err)
	}
	slow := masqueradePorts(nodePorts)
	if slow[0] == 0 || slow[0] > slow[1] || slow[0] <= fast.Last && slow[1] >= fast.First {
		t.Errorf("nftables sends from %d-%d, the packet path from %d-%d", slow[0], slow[1], fast.First, fast.Last)
	}
}
