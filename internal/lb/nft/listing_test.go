package nft

import (
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/lb"
)

// TestListing expects the nft program, by which people and other programs of a
// node read the rules of all, to understand ours: every kind of chain is there.
func TestListing(t *testing.T) {
	inNamespace(t)
	entries := map[lb.Frontend]*lb.Entry{}
	for i, c := range []lb.Entry{
		{Choice: choiceOf("10.0.0.1:80", "10.0.0.2:80")},
		{Choice: choiceOf("10.0.0.1:80", "10.0.0.2:80"), Affinity: 3 * time.Hour},
		{Choice: choiceOf("10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"), Outside: &lb.Choice{Backends: choiceOf("10.0.0.1:80").Backends}, Affinity: time.Minute},
		{Sources: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}},
	} {
		v6 := c
		v6.Backends, v6.Sources = nil, nil
		for _, b := range c.Backends {
			v6.Backends = append(v6.Backends, netip.AddrPortFrom(netip.MustParseAddr("fd00::"+b.Addr().String()), 80))
		}
		if c.Outside != nil {
			v6.Outside = &lb.Choice{Backends: v6.Backends[:1]}
		}
		port := uint16(80 + i)
		for address, entry := range map[string]*lb.Entry{"10.96.0.1": &c, "0.0.0.0": &c, "fd96::1": &v6, "::": &v6} {
			entries[lb.Frontend{Address: netip.MustParseAddr(address), Port: port, Protocol: desired.SCTP}] = entry
		}
	}
	table := tableOf(entries)
	table.ServiceCIDRs = []netip.Prefix{netip.MustParsePrefix("10.96.0.0/16"), netip.MustParsePrefix("fd96::/112")}
	p := open(t)
	if err := p.Apply(t.Context(), table); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("nft", "list", "ruleset").CombinedOutput()
	if err != nil {
		t.Fatalf("nft (Debian package nftables): %v\n%s", err, out)
	}
	for _, want := range []string{
		"table inet fairlead", "chain refuse", "chain pick4-2 ", "chain pick6-2 ", "chain pick4-2-node ", "chain pick6-2-3h0m0s", "chain pick4-3-node-1m0s",
		"chain pick6-1-node-outside-1m0s", "dnat ip to", "dnat ip6 to", "numgen random mod 3", "masquerade", "reject with tcp reset", "198.51.100.0/24",
	} {
		if !strings.Contains(string(out), want) {
			t.Errorf("%q is missing in\n%s", want, out)
		}
	}
}
