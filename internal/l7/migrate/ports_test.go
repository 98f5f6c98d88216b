package migrate

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/l7"
)

// TestPortsVerdicts holds what is said of each entry of ConfigMaps that list ports, and that
// it is what becomes of the entry: those that are refused have no Listener, all others do.
func TestPortsVerdicts(t *testing.T) {
	for _, c := range []struct {
		flag, key, value string
		verdict          Verdict
		says             string
	}{
		{"tcp-services-configmap", "9000", "db/postgres:5432", Same, "list it in gateway.tcp of the chart's values, and name this ConfigMap in config.gateway.tcpServices"},
		{"tcp-services-configmap", "9000", "db/postgres:sql:PROXY:PROXY", Same, "gateway.tcp "},
		{"udp-services-configmap", "53", "db/postgres:dns", Same, "list it in gateway.udp of the chart's values, and name this ConfigMap in config.gateway.udpServices"},
		{"udp-services-configmap", "9153", "db/postgres:dns", Same, "gateway.udp "},
		{"udp-services-configmap", "80", "db/postgres:dns", Same, "gateway.udp "},
		{"tcp-services-configmap", "0", "db/postgres:5432", Refused, `"0" is no port from 1 to 65535`},
		{"tcp-services-configmap", "9000", "postgres:5432", Refused, "does not begin with NAMESPACE/SERVICE:PORT"},
		{"tcp-services-configmap", "9000", "db/postgres", Refused, "is not of the form NAMESPACE/SERVICE:PORT"},
		{"tcp-services-configmap", "9000", "db/postgres:1:PROXX", Refused, `has "PROXX" where only PROXY can be`},
		{"udp-services-configmap", "53", "db/postgres:dns:PROXY", Refused, "the PROXY protocol is for TCP; leave PROXY out"},
		{"tcp-services-configmap", "80", "db/postgres:5432", Refused, "gateways have HTTP at this port; use another one"},
		{"tcp-services-configmap", "443", "db/postgres:5432", Refused, "gateways have HTTPS at this port; use another one"},
		{"udp-services-configmap", "443", "db/postgres:dns", Refused, "gateways have HTTP/3 at this port; use another one"},
		{"tcp-services-configmap", "9153", "db/postgres:5432", Refused, "gateways have metrics at this port; use another one"},
	} {
		in := input(t, fmt.Sprintf(`
{apiVersion: v1, kind: ConfigMap, metadata: {namespace: ops, name: ports}, data: {%q: %q}}
---
{apiVersion: v1, kind: Service, metadata: {namespace: db, name: postgres}, spec: {clusterIP: 10.96.0.1, clusterIPs: [10.96.0.1], ports: [{name: sql, port: 5432}, {name: dns, port: 53, protocol: UDP}]}}
`, c.key, c.value))
		in.Config.HTTP3, in.Config.Taken[0] = true, l7.TakenPort{Protocol: desired.TCP, Port: 9153, By: "metrics"}
		in.Controllers = []Controller{{Args: []string{"--" + c.flag + "=ops/ports"}}}
		said := Build(in).Settings
		at := slices.IndexFunc(said, func(o Object) bool { return o.Object.Kind == "ConfigMap" })
		if at < 0 || len(said[at].Findings) != 1 {
			t.Fatalf("%+v", said)
		}
		f := said[at].Findings[0]
		if f.What != c.key || f.Value != c.value || f.Verdict != c.verdict || !strings.Contains(f.Text, c.says) {
			t.Errorf("%s %s: %s: %+v", c.flag, c.key, c.value, f)
		}
		to := &in.Config.TCPServices
		if c.flag == "udp-services-configmap" {
			to = &in.Config.UDPServices
		}
		*to = desired.Name{Namespace: "ops", Name: "ports"}
		table, _ := l7.Compile(in.State, l7.Table{}, in.Config)
		served := slices.ContainsFunc(slices.Collect(maps.Values(table.Listeners)), func(l *l7.Listener) bool { return l.Protocol == l7.TCP || l.Protocol == l7.UDP })
		if served != (f.Verdict != Refused) {
			t.Errorf("%s %s: %s is %s, but served is %t", c.flag, c.key, c.value, f.Verdict, served)
		}
	}
}
