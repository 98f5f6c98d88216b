package l7

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/kube"
)

const portsWorld = `
{apiVersion: v1, kind: Service, metadata: {namespace: db, name: postgres}, spec: {clusterIP: 10.96.0.1, clusterIPs: [10.96.0.1], ports: [{name: sql, port: 5432}, {name: dns, port: 53, protocol: UDP}]}}
---
{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {namespace: db, name: postgres-1, labels: {kubernetes.io/service-name: postgres}}, addressType: IPv4,
  endpoints: [{addresses: [10.1.0.1], conditions: {ready: true}}], ports: [{name: sql, port: 5433, protocol: TCP}, {name: dns, port: 5353, protocol: UDP}]}
---
{apiVersion: v1, kind: Service, metadata: {namespace: db, name: elsewhere}, spec: {type: ExternalName, externalName: db.example.com}}
---
{apiVersion: v1, kind: Service, metadata: {namespace: fairlead-system, name: gateway}, spec: {clusterIP: 10.96.0.2, clusterIPs: [10.96.0.2], ports: [{name: tcp-9000, port: 9000}, {name: udp-53, port: 53, protocol: UDP}]}}
---
{apiVersion: networking.k8s.io/v1, kind: IngressClass, metadata: {name: nginx}, spec: {controller: k8s.io/ingress-nginx}}
---
{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {namespace: db, name: console}, spec: {ingressClassName: nginx, rules: [
  {host: db.example.com, http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: postgres, port: {number: 5432}}}}]}}]}}
`

// portsState returns how that world is made with ConfigMaps, of which all else stays as it
// is.
func portsState(t *testing.T) func(maps ...string) *desired.State {
	t.Helper()
	world, err := kube.ParseManifests([]byte(portsWorld))
	if err != nil {
		t.Fatal(err)
	}
	var last *desired.State
	return func(maps ...string) *desired.State {
		t.Helper()
		m, err := kube.ParseManifests([]byte(strings.Join(maps, "\n---\n")))
		if err != nil {
			t.Fatal(err)
		}
		world.Objects.ConfigMaps = m.Objects.ConfigMaps
		last, _ = desired.Build(world.Objects, desired.Node{}, last)
		return last
	}
}

func configMapText(name, data string) string {
	return fmt.Sprintf("{apiVersion: v1, kind: ConfigMap, metadata: {namespace: ops, name: %s}, data: {%s}}", name, data)
}

var portsConfig = Config{
	IngressNginx: true, Service: desired.Name{Namespace: "fairlead-system", Name: "gateway"}, NginxConfigMap: desired.Name{Namespace: "ops", Name: "settings"},
	TCPServices: desired.Name{Namespace: "ops", Name: "tcp"}, UDPServices: desired.Name{Namespace: "ops", Name: "udp"},
}

// portsOfTable writes down the Listeners of TCP and UDP, their endpoints, and all Reasons.
func portsOfTable(t Table, reasons []desired.Reason) string {
	var out strings.Builder
	for _, name := range slices.Sorted(maps.Keys(t.Listeners)) {
		l := t.Listeners[name]
		if l.Protocol != TCP && l.Protocol != UDP {
			continue
		}
		s := l.Stream("")
		b, _ := t.Backends.Get(s.Backends[0].Backend)
		fmt.Fprintf(&out, "%s %d to %s %v, preambles %t %d\n", l.Name, l.Port, b.ID, b.Endpoints, l.Preambles, s.ProxyProtocol)
	}
	for _, r := range reasons {
		fmt.Fprintf(&out, "%s: %s: %s\n", r.Object, r.Code, r.Message)
	}
	return out.String()
}

// TestPorts holds what becomes of ConfigMaps that list ports, each entry by itself, and
// that a Table made of an earlier one is as one made of nothing.
func TestPorts(t *testing.T) {
	steps := []struct {
		maps []string
		want string
	}{
		{nil, ""},
		{[]string{configMapText("tcp", `"9000": "db/postgres:5432:PROXY:PROXY2"`), configMapText("udp", `"53": "db/postgres:dns"`)}, `
tcp-9000 9000 to db/postgres:5432 [10.1.0.1:5433], preambles true 2
udp-53 53 to db/postgres:dns/UDP [10.1.0.1:5353], preambles false 0
`},
		{[]string{
			configMapText("tcp", `"9000": "db/postgres:sql::PROXY", "80": "db/postgres:sql", "9001": "db/no:1", "9002": "db/postgres:dns", "no": x, "9003": postgres, "9004": "db/postgres:1:PROXX", "09000": "db/postgres:sql"`),
			configMapText("udp", `"53": "db/postgres:dns:PROXY", "54": "db/elsewhere:53"`),
		}, `
tcp-9001 9001 to db/no:1 [], preambles false 0
tcp-9002 9002 to db/postgres:dns [], preambles false 0
udp-54 54 to db/elsewhere:53/UDP [], preambles false 0
tcp-9000 9000 to db/postgres:sql [10.1.0.1:5433], preambles false 0
ConfigMap ops/tcp: PortNotFound: entry 9002: Service db/postgres has no TCP port "dns", so its connections are closed; it has sql (5432/TCP), dns (53/UDP)
ConfigMap ops/tcp: ServiceNotFound: entry 9001: there is no Service db/no, so its connections are closed; create it, or correct the backend
ConfigMap ops/tcp: StreamInvalid: entry 9003: "postgres" is not of the form NAMESPACE/SERVICE:PORT, with :PROXY:PROXY behind it or without; it is left out
ConfigMap ops/tcp: StreamInvalid: entry 9004: "db/postgres:1:PROXX" has "PROXX" where only PROXY can be; it is left out
ConfigMap ops/tcp: StreamInvalid: entry no: "no" is no port from 1 to 65535; it is left out
ConfigMap ops/tcp: StreamNotPublished: entry 9001: Service fairlead-system/gateway has no TCP port 9001, so only who reaches the gateways' pods themselves is served; add it, by gateway.tcp of the chart's values
ConfigMap ops/tcp: StreamNotPublished: entry 9002: Service fairlead-system/gateway has no TCP port 9002, so only who reaches the gateways' pods themselves is served; add it, by gateway.tcp of the chart's values
ConfigMap ops/tcp: StreamPortTaken: entry 80: gateways have HTTP at this port; it is left out, use another port
ConfigMap ops/tcp: StreamPortTaken: entry 9000: entry 09000 has the same port; it is left out
ConfigMap ops/udp: ExternalNameRefused: entry 54: UDP is not passed on to Services of type ExternalName
ConfigMap ops/udp: StreamInvalid: entry 53: the PROXY protocol is for TCP; leave PROXY out; it is left out
ConfigMap ops/udp: StreamNotPublished: entry 54: Service fairlead-system/gateway has no UDP port 54, so only who reaches the gateways' pods themselves is served; add it, by gateway.udp of the chart's values
`},
		{[]string{configMapText("udp", `"53": "db/postgres:dns"`)}, `
udp-53 53 to db/postgres:dns/UDP [10.1.0.1:5353], preambles false 0
`},
		{nil, ""},
	}
	build := portsState(t)
	var last Table
	for n, step := range steps {
		state := build(step.maps...)
		table, reasons := Compile(state, last, portsConfig)
		fresh, same := Compile(state, Table{}, portsConfig)
		got := portsOfTable(table, reasons)
		if again := portsOfTable(fresh, same); got != again {
			t.Errorf("step %d is not as if made of nothing:\n%s", n, cmp.Diff(again, got))
		}
		if table.Backends.Len() != fresh.Backends.Len() || table.index.ports.Len() != fresh.index.ports.Len() {
			t.Errorf("step %d: %d Backends, not %d", n, table.Backends.Len(), fresh.Backends.Len())
		}
		lines := strings.Split(strings.TrimPrefix(step.want, "\n"), "\n")
		slices.Sort(lines)
		made := strings.Split(got, "\n")
		slices.Sort(made)
		if diff := cmp.Diff(lines, made); diff != "" {
			t.Errorf("step %d (-want +got):\n%s", n, diff)
		}
		last = table
	}
}

// TestPortsTaken holds that ports which the process itself has are left out, with the reason
// at the ConfigMap, as soon as they are.
func TestPortsTaken(t *testing.T) {
	state := portsState(t)(configMapText("tcp", `"9153": "db/postgres:sql", "9000": "db/postgres:sql"`), configMapText("udp", `"9153": "db/postgres:dns", "443": "db/postgres:dns"`))
	config := portsConfig
	table, reasons := Compile(state, Table{}, config)
	if table.Listeners["tcp-9153"] == nil || table.Listeners["udp-9153"] == nil || table.Listeners["udp-443"] == nil {
		t.Fatal(portsOfTable(table, reasons))
	}
	config.HTTP3, config.Taken[3] = true, TakenPort{desired.TCP, 9153, "metrics"}
	table, reasons = Compile(state, table, config)
	var taken []string
	for _, r := range reasons {
		if r.Code == "StreamPortTaken" {
			taken = append(taken, r.Object.String()+": "+r.Message)
		}
	}
	slices.Sort(taken)
	if diff := cmp.Diff([]string{
		"ConfigMap ops/tcp: entry 9153: gateways have metrics at this port; it is left out, use another port",
		"ConfigMap ops/udp: entry 443: gateways have HTTP/3 at this port; it is left out, use another port",
	}, taken); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if table.Listeners["tcp-9153"] != nil || table.Listeners["udp-443"] != nil || table.Listeners["udp-9153"] == nil || table.Listeners["tcp-9000"] == nil {
		t.Error(portsOfTable(table, reasons))
	}
}

// TestPortsShareBackends holds that an Ingress and an entry can have the same Backend,
// whichever goes first.
func TestPortsShareBackends(t *testing.T) {
	entry := configMapText("tcp", `"9000": "db/postgres:5432"`)
	build := portsState(t)
	with := build(entry)
	table, _ := Compile(with, Table{}, portsConfig)
	without := *with
	without.Ingresses = without.Ingresses.Delete(desired.Name{Namespace: "db", Name: "console"})
	table, _ = Compile(&without, table, portsConfig)
	if b, ok := table.Backends.Get(table.Listeners["tcp-9000"].Stream("").Backends[0].Backend); !ok || len(b.Endpoints) != 1 {
		t.Error("the entry's Backend went with the Ingress")
	}
	moved := without
	moved.Services = moved.Services.Delete(desired.Name{Namespace: "db", Name: "postgres"})
	if _, reasons := Compile(&moved, table, portsConfig); len(reasons) != 1 || reasons[0].Code != "ServiceNotFound" {
		t.Error(reasons)
	}
	table, _ = Compile(with, table, portsConfig)
	table, _ = Compile(build(), table, portsConfig)
	if table.Backends.Len() != 1 || table.Listeners["tcp-9000"] != nil {
		t.Errorf("%d Backends are left", table.Backends.Len())
	}
}

// TestSettingsFollowed holds that settings of the ConfigMap count when they change, and
// that what concerns the engine alone makes no Route anew.
func TestSettingsFollowed(t *testing.T) {
	settings := func(data string) []string { return []string{configMapText("settings", data)} }
	route := func(table Table) *Route {
		_, route := table.Explain(ListenerHTTP, Request{Method: "GET", Host: "db.example.com", Path: "/"})
		return route
	}
	build := portsState(t)
	state := build(settings(`proxy-body-size: 8m, keep-alive: "10"`)...)
	first, reasons := Compile(state, Table{}, portsConfig)
	if len(reasons) > 0 || first.Engine == nil || first.Engine.IdleTimeout.Seconds() != 10 || route(first).MaxBody != 8<<20 {
		t.Fatalf("%v %+v", reasons, first.Engine)
	}
	state = build(settings(`proxy-body-size: 8m, keep-alive: "20", ssl-protocols: TLSv1.1 TLSv1.3, log-format-upstream: $nothing, hsts-max-age: long`)...)
	second, reasons := Compile(state, first, portsConfig)
	if second.Engine.IdleTimeout.Seconds() != 20 || !second.Engine.TLS13 || route(second) != route(first) {
		t.Errorf("%+v, the same Route: %t", second.Engine, route(second) == route(first))
	}
	var said []string
	for _, r := range reasons {
		said = append(said, r.Object.String()+" "+r.Code)
	}
	if want := []string{"ConfigMap ops/settings SettingInvalid", "ConfigMap ops/settings SettingInvalid", "ConfigMap ops/settings SettingUnsupported"}; !slices.Equal(said, want) {
		t.Errorf("%v", reasons)
	}
	state = build(settings(`proxy-body-size: 2m, keep-alive: "20"`)...)
	third, reasons := Compile(state, second, portsConfig)
	if route(third).MaxBody != 2<<20 || len(reasons) > 0 {
		t.Errorf("%+v %v", route(third), reasons)
	}
	state = build()
	fourth, _ := Compile(state, third, portsConfig)
	if route(fourth).MaxBody != nginxMaxBody || fourth.Engine != nil {
		t.Errorf("what the ConfigMap said outlives it: %+v", fourth.Engine)
	}
}

func FuzzStreamEntry(f *testing.F) {
	f.Add("9000", "db/postgres:5432:PROXY:PROXY")
	f.Add("53", "a/b:c::proxy2")
	f.Fuzz(func(t *testing.T, key, value string) {
		for _, protocol := range []desired.Protocol{desired.TCP, desired.UDP} {
			port, s, err := ParseStreamEntry(protocol, key, value)
			if err != nil {
				continue
			}
			if b := s.Backend; port == 0 || b.Service.Namespace == "" || b.Service.Name == "" || b.Port == "" || b.UDP != (protocol == desired.UDP) || s.Encode > 2 || b.UDP && (s.Decode || s.Encode > 0) {
				t.Errorf("%q %q: %d %+v", key, value, port, s)
			}
		}
	})
}
