package agent

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/fairlead-net/fairlead/internal/config"
	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/l7"
)

// TestTaken holds which ports gateways do not pass on, as their own process has them.
func TestTaken(t *testing.T) {
	c := config.Default()
	if others := L7Config(c); others.TakenBy(desired.TCP, 9153) == "" || others.TakenBy(desired.UDP, 9153) != "" || others != L7Config(c) {
		t.Errorf("%+v", others.Taken)
	}
	c.DNS.Listen = []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:53"), netip.MustParseAddrPort("[::1]:53")}
	c.DNS.TLS.Listen = []netip.AddrPort{netip.MustParseAddrPort("[::]:853")}
	c.DNS.HTTPS.Listen = []netip.AddrPort{netip.MustParseAddrPort("[::]:8443")}
	for _, step := range []struct {
		planes []string
		want   []string
	}{
		{[]string{"gateway"}, []string{"6 9999 health, metrics and status"}},
		{[]string{"gateway", "dns"}, []string{"6 9999 health, metrics and status", "17 53 DNS", "6 53 DNS", "6 853 DNS over TLS or HTTPS", "6 8443 DNS over TLS or HTTPS"}},
		{[]string{"lb", "gateway"}, []string{"6 9999 health, metrics and status", "6 10249 kube-proxy's metrics (lb.metricsBindAddress)"}},
	} {
		var got []string
		for _, p := range (Options{Config: c, HTTP: ":9999", Planes: step.planes}).taken() {
			if p != (l7.TakenPort{}) {
				got = append(got, fmt.Sprintf("%d %d %s", uint8(p.Protocol), p.Port, p.By))
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(step.want) {
			t.Errorf("%v: %q", step.planes, got)
		}
	}
}

// TestTakenByGateway holds that a gateway goes by its own ports, not by the chart's, and what
// becomes of more than there are places for.
func TestTakenByGateway(t *testing.T) {
	c := config.Default()
	c.LB.HealthzBindAddress = netip.MustParseAddrPort("127.0.0.1:10300")
	made := (Options{Config: c, HTTP: ":9999", Planes: []string{"gateway", "lb"}}).tables()
	for port, want := range map[uint16]bool{9999: true, 10249: true, 10300: true, 9153: false, 0: false} {
		if by := made.TakenBy(desired.TCP, port); (by != "") != want {
			t.Errorf("port %d is taken by %q", port, by)
		}
	}
	for port := range uint16(20) {
		c.DNS.Listen = append(c.DNS.Listen, netip.AddrPortFrom(netip.IPv4Unspecified(), 2000+port))
	}
	if many := (Options{Config: c, HTTP: ":9999", Planes: []string{"dns"}}).taken(); many[len(many)-1] == (l7.TakenPort{}) {
		t.Errorf("%+v", many)
	}
}

// TestAPIServers holds which addresses names of users do not lead to, and which port is
// for none of their requests.
func TestAPIServers(t *testing.T) {
	got := fmt.Sprint(apiServers([]string{"https://192.0.2.1:6443", "https://api.example.com", "https://[2001:db8::1]"}, "10.96.0.1"))
	if got != "[10.96.0.1/32 192.0.2.1/32 2001:db8::1/128]" {
		t.Error(got)
	}
	if got := apiServers(nil, ""); len(got) > 0 {
		t.Error(got)
	}
	for address, want := range map[string]string{":9153": "[9153]", "127.0.0.1:80": "[80]", "": "[]", ":0": "[]", "x": "[]"} {
		if got := fmt.Sprint(portOf(address)); got != want {
			t.Errorf("%q: %s", address, got)
		}
	}
}
