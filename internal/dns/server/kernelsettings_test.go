package server

import (
	"net/netip"
	"strings"
	"testing"

	wire "github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
)

// TestKernelSettings: as soon as there are rules the kernel answers no more; it does again
// when they are gone, or sizes change, and what it has counted stays.
func TestKernelSettings(t *testing.T) {
	world := newPair(t)
	registry := prometheus.NewRegistry()
	config := Config{Listen: []netip.AddrPort{netip.MustParseAddrPort("[::]:53")}, KernelFastPath: true, Registry: registry}
	p, _ := start(t, config, cluster(t, 0))
	expectReply := func(when, address string, size uint16, byKernel float64) {
		t.Helper()
		world.asClient(t, func() {
			client := wire.Client{}
			reply, _, err := client.Exchange(query("web.shop.svc.cluster.local.", wire.TypeA).SetEdns0(1232, false), pairServer4+":53")
			if err != nil || len(reply.Answer) != 1 || reply.Answer[0].(*wire.A).A.String() != address || reply.IsEdns0().UDPSize() != size {
				t.Errorf("%s: %v, %v", when, reply, err)
			}
		})
		if got := handled(t, registry, "fairlead_dns_kernel_responses_total", "rcode", "NOERROR"); got != byKernel {
			t.Errorf("%s: %g replies of the kernel, want %g; %v", when, got, byKernel, p.Describe())
		}
	}
	change := func(c Config) {
		t.Helper()
		settings, err := p.Settings(c)
		if err != nil {
			t.Fatal(err)
		}
		p.Change(t.Context(), p.live.Load().table, settings)
	}
	expectReply("first", "10.96.0.1", 1232, 1)
	ruled := config
	ruled.Blocks = readBlocks(t, ". {\n kubernetes cluster.local\n template IN A web.shop.svc.cluster.local {\n answer \"{{ .Name }} 60 IN A 192.0.2.9\"\n }\n}")
	change(ruled)
	expectReply("with a rule", "192.0.2.9", 1232, 1)
	if text := strings.Join(p.Describe(), "\n"); !strings.Contains(text, "the kernel answers no queries: server blocks") {
		t.Error(text)
	}
	change(config)
	expectReply("without", "10.96.0.1", 1232, 2)
	config.MaxUDP = 600
	change(config)
	expectReply("another size", "10.96.0.1", 600, 3)
	p.Close()
	if got := handled(t, registry, "fairlead_dns_kernel_responses_total", "rcode", "NOERROR"); got != 3 {
		t.Errorf("after the end %g replies of the kernel", got)
	}
}
