package lb

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead-net/fairlead/internal/desired"
)

// plain is a Table without what only saves work.
func plain(t Table) map[string]any {
	entries := map[string]*Entry{}
	for f, e := range t.Entries.All() {
		entries[f.String()] = e
	}
	return map[string]any{
		"entries": entries, "synced": t.Synced, "cluster IPs": maps.Collect(t.ClusterIPs.All()), "local": maps.Collect(t.LocalBackends.All()),
		"checks": maps.Collect(t.HealthChecks.All()), "without": t.WithoutLocal, "CIDRs": t.ServiceCIDRs, "node": t.NodeAddresses, "uplinks": t.Uplinks,
		"peers": maps.Collect(t.Peers.All()),
	}
}

func difference(a, b any) string {
	return cmp.Diff(a, b, cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b }),
		cmp.Comparer(func(a, b netip.Addr) bool { return a == b }), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }))
}

// TestIncrementalEqualsFresh applies random changes and expects that the Table
// reached step by step is the Table compiled at once, with the same reasons.
func TestIncrementalEqualsFresh(t *testing.T) {
	w := randomWorld(7)
	o := desired.Objects{}
	node := desired.Node{Name: "a", Zone: "east"}
	var state *desired.State
	var table Table
	for step := range 3000 {
		for range 1 + w.pick(3) {
			o = w.change(o)
		}
		o.Synced = step > 10
		if w.once(50) {
			node = desired.Node{Name: oneOf(w, "a", "b", ""), Zone: oneOf(w, "east", "west", ""), Network: w.network()}
		}
		state, _ = desired.Build(o, node, state)
		before := table
		var reasons []desired.Reason
		options := Options{ExternalIPs: step/500%2 == 0, NodeService: desired.Name{Namespace: "demo", Name: "db"}, DirectReturn: step/700%2 == 0}
		if step/300%2 == 0 {
			options.NodeLocal = NodeLocal{desired.Name{Namespace: "demo", Name: "db"}, []netip.Addr{netip.MustParseAddr("169.254.20.10"), netip.MustParseAddr("fe80::10")}}
		}
		table, reasons = Compile(state, table, options)
		fresh, freshReasons := Compile(state, Table{}, options)
		if diff := difference(plain(fresh), plain(table)); diff != "" {
			t.Fatalf("step %d, -fresh +incremental:\n%s", step, diff)
		}
		if diff := cmp.Diff(freshReasons, reasons); diff != "" {
			t.Fatalf("step %d, reasons, -fresh +incremental:\n%s", step, diff)
		}
		if table.Revision != state.Revision {
			t.Fatalf("step %d: revision %d of State %d", step, table.Revision, state.Revision)
		}
		for f, e := range table.Entries.All() {
			if old, ok := before.Entries.Get(f); ok && old != e && old.equal(e) && before.state.Node == state.Node && before.Options.equal(options) {
				t.Fatalf("step %d: %s is what it was but has another pointer", step, f)
			}
		}
		check(t, state, table)
	}
}

func FuzzCompile(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte("\x05\x02\x01\x00\x03 a cluster from bytes \x02\x02\x02\x00\x01\x04\x05\x06\x07"))
	f.Add([]byte(strings.Repeat("\x02\x00\x01\x03\x05", 60)))
	f.Fuzz(func(t *testing.T, content []byte) {
		w := world{pick: func(n int) int {
			if len(content) == 0 {
				return 0
			}
			b := content[0]
			content = content[1:]
			return int(b) % n
		}}
		o := desired.Objects{Synced: true}
		var state *desired.State
		var table Table
		for len(content) > 0 {
			o = w.change(o)
			state, _ = desired.Build(o, desired.Node{Name: "a", Zone: "east"}, state)
			table, _ = Compile(state, table, Options{})
		}
		if state == nil {
			return
		}
		check(t, state, table)
		fresh, _ := Compile(state, Table{}, Options{})
		if diff := difference(plain(fresh), plain(table)); diff != "" {
			t.Errorf("-fresh +incremental:\n%s", diff)
		}
	})
}

// simple is a Service with one port and an EndpointSlice for it.
func simple(o desired.Objects, name, address string, created int64, endpoint string) desired.Objects {
	n := desired.Name{Namespace: "demo", Name: name}
	meta := metav1.ObjectMeta{Namespace: "demo", Name: name, CreationTimestamp: metav1.NewTime(time.Unix(created, 0))}
	port, portName := int32(8080), "http"
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta: meta, AddressType: discoveryv1.AddressTypeIPv4,
		Ports:     []discoveryv1.EndpointPort{{Name: &portName, Port: &port}},
		Endpoints: []discoveryv1.Endpoint{{Addresses: []string{endpoint}}},
	}
	slice.Labels = map[string]string{discoveryv1.LabelServiceName: name}
	o.Services = o.Services.Set(n, desired.ParseService(&corev1.Service{ObjectMeta: meta, Spec: corev1.ServiceSpec{
		ClusterIP: address, Ports: []corev1.ServicePort{{Name: "http", Port: 80}},
	}}))
	o.Slices = o.Slices.Set(n, desired.ParseSlice(slice))
	return o
}

func TestUnchangedKeepTheirPointer(t *testing.T) {
	o := simple(simple(desired.Objects{}, "a", "10.96.0.1", 0, "10.244.0.1"), "b", "10.96.0.2", 0, "10.244.0.2")
	state, _ := desired.Build(o, desired.Node{}, nil)
	before, _ := Compile(state, Table{}, Options{})
	o = simple(o, "b", "10.96.0.2", 0, "10.244.0.3")
	state, _ = desired.Build(o, desired.Node{}, state)
	after, _ := Compile(state, before, Options{})
	same := func(address string) bool {
		f := frontend(address)
		old, _ := before.Entries.Get(f)
		now, _ := after.Entries.Get(f)
		if old == nil || now == nil {
			t.Fatalf("no entry for %s", f)
		}
		return old == now
	}
	if !same("10.96.0.1") || same("10.96.0.2") {
		t.Error("the entry of the Service that stayed changed, or that of the other did not")
	}
	if again, _ := Compile(state, after, Options{}); again.Entries != after.Entries {
		t.Error("compiling the same State again changed the entries")
	}
}

func frontend(address string) Frontend {
	return Frontend{Address: netip.MustParseAddr(address), Port: 80, Protocol: desired.TCP}
}

// to is the first packet of a pod's connection to frontend(address).
func to(address string) Packet { return Packet{From: Pod, To: frontend(address)} }

// holder returns who has the contested frontend, and the reasons of the others.
func holder(t *testing.T, table Table, reasons []desired.Reason) string {
	t.Helper()
	winner := table.Lookup(to("10.96.0.1")).Entry.Service.Name
	text := winner
	for _, r := range reasons {
		if r.Code != "FrontendTaken" || !strings.Contains(r.Message, "10.96.0.1:80/TCP already belongs to Service demo/"+winner+",") {
			t.Errorf("reason %+v", r)
		}
		text += " not " + r.Object.Name
	}
	return text
}

// TestConflict adds three Services that want one frontend in every order, then
// takes the winners away one by one.
func TestConflict(t *testing.T) {
	created := map[string]int64{"young": 9, "old": 1, "also-old": 1}
	for _, order := range [][]string{{"young", "old", "also-old"}, {"also-old", "old", "young"}, {"old", "young", "also-old"}, {"old", "also-old", "young"}} {
		t.Run(fmt.Sprint(order), func(t *testing.T) {
			var o desired.Objects
			var state *desired.State
			var table Table
			var reasons []desired.Reason
			step := func() string {
				state, _ = desired.Build(o, desired.Node{}, state)
				table, reasons = Compile(state, table, Options{})
				return holder(t, table, reasons)
			}
			var got string
			for i, name := range order {
				o = simple(o, name, "10.96.0.1", created[name], fmt.Sprint("10.244.0.", i+1))
				got = step()
			}
			if got != "also-old not old not young" {
				t.Errorf("all there: %s", got)
			}
			for _, want := range []struct{ gone, then string }{{"also-old", "old not young"}, {"old", "young"}} {
				o.Services = o.Services.Delete(desired.Name{Namespace: "demo", Name: want.gone})
				if got := step(); got != want.then {
					t.Errorf("without %s: %s", want.gone, got)
				}
				e := table.Lookup(to("10.96.0.1")).Entry
				if i := slices.Index(order, e.Service.Name); len(e.Backends) != 1 || e.Backends[0].String() != fmt.Sprintf("10.244.0.%d:8080", i+1) {
					t.Errorf("%s has the backends %v", e.Service, e.Backends)
				}
			}
			o.Services = o.Services.Delete(desired.Name{Namespace: "demo", Name: "young"})
			state, _ = desired.Build(o, desired.Node{}, state)
			if table, reasons = Compile(state, table, Options{}); table.Entries.Len() != 0 || table.contested.Len() != 0 || len(reasons) != 0 {
				t.Errorf("all gone: %d entries, %v", table.Entries.Len(), reasons)
			}
		})
	}
}

// TestNodeLocal expects an address of every node to lead where the Service's ClusterIP
// does, in the families that the Service has, and other ports at it to be let alone.
func TestNodeLocal(t *testing.T) {
	o := simple(desired.Objects{}, "dns", "10.96.0.10", 1, "10.244.0.1")
	o = simple(o, "other", "10.96.0.11", 1, "10.244.0.2")
	state, _ := desired.Build(o, desired.Node{}, nil)
	local := NodeLocal{desired.Name{Namespace: "demo", Name: "dns"}, []netip.Addr{netip.MustParseAddr("169.254.20.10"), netip.MustParseAddr("fd00::10")}}
	table, reasons := Compile(state, Table{}, Options{NodeLocal: local})
	if len(reasons) > 0 {
		t.Fatal(reasons)
	}
	want, got := table.Lookup(to("10.96.0.10")).Entry, table.Lookup(to("169.254.20.10")).Entry
	if got == nil || got.Kind != ClusterIP || !slices.Equal(got.Backends, want.Backends) || table.Entries.Len() != 3 {
		t.Errorf("%+v, want %+v; %d entries", got, want, table.Entries.Len())
	}
	other := to("169.254.20.10")
	other.To.Port = 8080
	if d := table.Lookup(other); d.Verdict == Refuse {
		t.Errorf("another port: %s", d.Why)
	}
	if table, _ = Compile(state, table, Options{}); table.Entries.Len() != 2 || table.Lookup(to("169.254.20.10")).Entry != nil {
		t.Errorf("%d entries remain", table.Entries.Len())
	}
}
