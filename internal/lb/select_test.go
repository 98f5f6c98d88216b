package lb

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/pmap"
)

// endpoint reads one endpoint from words: ADDRESS [ready] [serving]
// [terminating] [node=N] [nodes=N,N] [zones=Z,Z].
func endpoint(text string) desired.Endpoint {
	words := strings.Fields(text)
	e := desired.Endpoint{Address: netip.MustParseAddr(words[0])}
	for _, word := range words[1:] {
		key, value, _ := strings.Cut(word, "=")
		switch key {
		case "ready":
			e.Ready, e.Serving = true, true
		case "serving":
			e.Serving = true
		case "terminating":
			e.Terminating = true
		case "node":
			e.Node = value
		case "nodes":
			e.ForNodes = strings.Split(value, ",")
		case "zones":
			e.ForZones = strings.Split(value, ",")
		default:
			panic(word)
		}
	}
	return e
}

// reasonsOf returns why each candidate is used, marked by "+", or is not.
func reasonsOf(all []Candidate) []string {
	var texts []string
	for _, c := range all {
		if c.Used {
			c.Why = "+" + c.Why
		}
		texts = append(texts, c.Why)
	}
	return texts
}

func TestCandidates(t *testing.T) {
	const local = "is on another node (internalTrafficPolicy: Local)"
	const otherNodes, otherZones = "is meant for clients on other nodes (hints.forNodes)", "is meant for clients in other zones (hints.forZones)"
	here := desired.Node{Name: "a", Zone: "east"}
	for name, c := range map[string]struct {
		local     bool
		node      desired.Node
		endpoints []string
		want      []string // why, for each; "+" before it if used
	}{
		"ready ones only": {node: here, endpoints: []string{"10.0.0.1 ready", "10.0.0.2", "10.0.0.3 serving terminating"}, want: []string{"+ready", "is not ready", "is terminating"}},
		"terminating and serving if none is ready": {
			node: here, endpoints: []string{"10.0.0.1 serving terminating", "10.0.0.2 terminating", "10.0.0.3", "10.0.0.4 serving"},
			want: []string{"+terminating but still serving, as no endpoint is ready", "is terminating", "is not ready", "is not ready"},
		},
		"ready while terminating": {node: here, endpoints: []string{"10.0.0.1 ready terminating", "10.0.0.2 ready"}, want: []string{"+ready", "+ready"}},
		"local":                   {local: true, node: here, endpoints: []string{"10.0.0.1 ready node=a", "10.0.0.2 ready node=b", "10.0.0.3 ready"}, want: []string{"+ready", local, local}},
		"local, none here":        {local: true, node: here, endpoints: []string{"10.0.0.1 ready node=b"}, want: []string{local}},
		"local, no node":          {local: true, endpoints: []string{"10.0.0.1 ready", "10.0.0.2 ready node=b"}, want: []string{local, local}},
		"local, only terminating here": {
			local: true, node: here, endpoints: []string{"10.0.0.1 serving terminating node=a", "10.0.0.2 ready node=b"},
			want: []string{"+terminating but still serving, as no endpoint is ready", local},
		},
		"local before hints": {local: true, node: here, endpoints: []string{"10.0.0.1 ready node=a zones=west", "10.0.0.2 ready node=b zones=east"}, want: []string{"+ready", local}},
		"hints for zones":    {node: here, endpoints: []string{"10.0.0.1 ready zones=east,north", "10.0.0.2 ready zones=west"}, want: []string{"+ready", otherZones}},
		"hints for nodes go first": {
			node: here, endpoints: []string{"10.0.0.1 ready nodes=b zones=east", "10.0.0.2 ready nodes=a zones=west"}, want: []string{otherNodes, "+ready"},
		},
		"no hint for this node": {
			node: here, endpoints: []string{"10.0.0.1 ready nodes=b zones=east", "10.0.0.2 ready nodes=c zones=west"}, want: []string{"+ready", otherZones},
		},
		"one without hints":   {node: here, endpoints: []string{"10.0.0.1 ready zones=west", "10.0.0.2 ready zones=east", "10.0.0.3 ready"}, want: []string{"+ready", "+ready", "+ready"}},
		"hints lead nowhere":  {node: here, endpoints: []string{"10.0.0.1 ready zones=west"}, want: []string{"+ready"}},
		"node without a zone": {node: desired.Node{Name: "a"}, endpoints: []string{"10.0.0.1 ready zones=west"}, want: []string{"+ready"}},
		"no node":             {endpoints: []string{"10.0.0.1 ready nodes=b", "10.0.0.2 ready nodes=a"}, want: []string{"+ready", "+ready"}},
		"hints of those not ready do not count": {
			node: here, endpoints: []string{"10.0.0.1 ready zones=west", "10.0.0.2 zones=east", "10.0.0.3"}, want: []string{"+ready", "is not ready", "is not ready"},
		},
		"missing hint of one not ready": {node: here, endpoints: []string{"10.0.0.1 ready zones=east", "10.0.0.2", "10.0.0.3 ready zones=west"}, want: []string{"+ready", "is not ready", otherZones}},
		"hints among the terminating": {
			node: here, endpoints: []string{"10.0.0.1 serving terminating zones=west", "10.0.0.2 serving terminating zones=east"},
			want: []string{otherZones, "+terminating but still serving, as no endpoint is ready"},
		},
	} {
		slice := &desired.Slice{Ports: []desired.EndpointPort{{Name: "http", Protocol: desired.TCP, Port: 8080}}}
		for _, text := range c.endpoints {
			slice.Endpoints = append(slice.Endpoints, endpoint(text))
		}
		checkCandidates(t, name, slice, c.local, c.node, c.want)
	}
}

// checkCandidates expects the policy for internal traffic to do to all clients of
// a ClusterIP what that for external traffic does to clients outside, and the
// latter to do nothing to pods.
func checkCandidates(t *testing.T, name string, slice *desired.Slice, local bool, node desired.Node, want []string) {
	t.Helper()
	all := []*desired.Slice{slice}
	http := desired.Port{Name: "http", Protocol: desired.TCP, Port: 80}
	internal, external := &desired.Service{InternalLocal: local, Slices: all}, &desired.Service{ExternalLocal: local, Slices: all}
	if got := reasonsOf(Candidates(internal, Role{http, ClusterIP}, false, Pod, node)); !slices.Equal(got, want) {
		t.Errorf("%s:\n got %q\nwant %q", name, got, want)
	}
	want = strings.Split(strings.ReplaceAll(strings.Join(want, ";"), "internalTrafficPolicy", "externalTrafficPolicy"), ";")
	if got := reasonsOf(Candidates(external, Role{http, NodePort}, false, Outside, node)); !slices.Equal(got, want) {
		t.Errorf("%s, outside:\n got %q\nwant %q", name, got, want)
	}
	everywhere := reasonsOf(Candidates(&desired.Service{Slices: all}, Role{http, NodePort}, false, Pod, node))
	if got := reasonsOf(Candidates(external, Role{http, NodePort}, false, Pod, node)); !slices.Equal(got, everywhere) {
		t.Errorf("%s, external from a pod:\n got %q\nwant %q", name, got, everywhere)
	}
}

// TestCandidatesOfPort has slices of both families and with other ports.
func TestCandidatesOfPort(t *testing.T) {
	tcp := func(name string, port uint16) []desired.EndpointPort {
		return []desired.EndpointPort{{Name: name, Protocol: desired.TCP, Port: port}}
	}
	s := &desired.Service{Slices: []*desired.Slice{
		{Ports: tcp("http", 8080), Endpoints: []desired.Endpoint{endpoint("10.0.0.1 ready")}},
		{Ports: tcp("http", 8081), Endpoints: []desired.Endpoint{endpoint("10.0.0.2 ready")}},
		{Ports: tcp("other", 9090), Endpoints: []desired.Endpoint{endpoint("10.0.0.3 ready"), endpoint("10.0.0.4")}},
		{Headless: true, Ports: tcp("http", 8080), Endpoints: []desired.Endpoint{endpoint("10.0.0.5 ready")}},
		{IPv6: true, Ports: tcp("http", 8080), Endpoints: []desired.Endpoint{endpoint("fd00::1 ready")}},
	}}
	list := func(port desired.Port, ipv6 bool) string {
		var texts []string
		for _, c := range Candidates(s, Role{port, ClusterIP}, ipv6, Pod, desired.Node{}) {
			texts = append(texts, fmt.Sprintf("%s:%d %t %s", c.Endpoint.Address, c.Port, c.Used, c.Why))
		}
		return strings.Join(texts, "\n")
	}
	const missing = "does not offer port http (80/TCP)"
	http := desired.Port{Name: "http", Protocol: desired.TCP, Port: 80}
	if got := list(http, false); got != "10.0.0.1:8080 true ready\n10.0.0.2:8081 true ready\n10.0.0.3:0 false "+missing+"\n10.0.0.4:0 false "+missing+"\n10.0.0.5:8080 false is for DNS alone (label service.kubernetes.io/headless on its EndpointSlice)" {
		t.Errorf("IPv4:\n%s", got)
	}
	if got := list(http, true); got != "fd00::1:8080 true ready" {
		t.Errorf("IPv6:\n%s", got)
	}
	http.Protocol = desired.UDP
	if got := list(http, true); got != "fd00::1:0 false does not offer port http (80/UDP)" {
		t.Errorf("the same name with another protocol:\n%s", got)
	}
}

func TestLookup(t *testing.T) {
	backend := netip.MustParseAddrPort("10.244.0.1:8080")
	entries := map[string]*Entry{
		"10.96.0.1":  {Choice: Choice{Backends: []netip.AddrPort{backend}}},
		"10.96.0.2":  {},
		"10.96.0.3":  {Choice: Choice{Drop: true}},
		"fd00:96::1": {Choice: Choice{Backends: []netip.AddrPort{netip.MustParseAddrPort("[fd00::1]:80")}}},
	}
	table := Table{Entries: pmap.Map[Frontend, *Entry]{}}
	for address, e := range entries {
		table.Entries = table.Entries.Set(frontend(address), e)
	}
	for address, want := range map[string]struct {
		verdict Verdict
		entry   string
	}{
		"10.96.0.1": {Forward, "10.96.0.1"}, "::ffff:10.96.0.1": {Forward, "10.96.0.1"}, "10.96.0.2": {Refuse, "10.96.0.2"},
		"::ffff:10.96.0.3": {Drop, "10.96.0.3"}, "fd00:96::1": {Forward, "fd00:96::1"}, "10.96.0.9": {Pass, ""}, "::10.96.0.1": {Pass, ""},
	} {
		d := table.Lookup(to(address))
		if d.Verdict != want.verdict || d.Entry != entries[want.entry] || len(d.Backends) > 0 != (want.verdict == Forward) {
			t.Errorf("%s: %+v", address, d)
		}
	}
	for _, f := range []Frontend{{netip.MustParseAddr("10.96.0.1"), 81, desired.TCP}, {netip.MustParseAddr("10.96.0.1"), 80, desired.UDP}, {}} {
		if d := table.Lookup(Packet{To: f}); d.Verdict != Pass || d.Entry != nil {
			t.Errorf("%s: %+v", f, d)
		}
	}
}
