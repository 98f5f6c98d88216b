package dns

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/pmap"
)

// TestSearched tells names that a search path makes from mistyped ones.
func TestSearched(t *testing.T) {
	web := &desired.Service{Name: desired.Name{Namespace: "shop", Name: "web"}, Type: desired.ClusterIP}
	state := &desired.State{Revision: 1, Synced: true, Namespaces: pmap.Map[string, *desired.Namespace]{}.Set("shop", &desired.Namespace{})}
	state.Services = state.Services.Set(web.Name, web)
	table, _ := Compile(state, Table{}, Config{})
	for name, want := range map[string][2]string{
		"www.example.com.shop.svc.cluster.local":             {"www.example.com", "shop"},
		"www.example.com.svc.cluster.local":                  {"www.example.com", ""},
		"www.example.com.cluster.local":                      {"www.example.com", ""},
		"printer.cluster.local":                              {"printer", ""},
		"printer.svc.cluster.local":                          {"printer", ""},
		"web.shop.shop.svc.cluster.local":                    {"web.shop", "shop"},
		"web.shop.svc.cluster.local.shop.svc.cluster.local":  {"web.shop.svc.cluster.local", "shop"},
		"web.shop.svc.cluster.local.svc.cluster.local":       {"web.shop.svc.cluster.local", ""},
		"_ldap._tcp.example.com.shop.svc.cluster.local":      {"_ldap._tcp.example.com", "shop"},
		"printer.shop.svc.cluster.local":                     {}, // a mistyped Service as well
		"_http._udp.web.shop.svc.cluster.local":              {},
		"web-7.web.shop.svc.cluster.local":                   {},
		"10-0-0-1.nowhere.pod.cluster.local":                 {},
		"cluster.local":                                      {},
		"svc.cluster.local":                                  {},
		"www.example.com":                                    {},
		"www.example.com.shop.svc.cluster.local.example.org": {},
		"1.0.0.10.in-addr.arpa":                              {},
		"www.example.com.shop.svc.other-cluster.local":       {},
		"wwwshop.svcxcluster.local":                          {},
		"":                                                   {},
	} {
		looked, namespace, ok := table.Searched(name)
		if ok != (want != [2]string{}) || looked != want[0] || namespace != want[1] {
			t.Errorf("Searched(%q) = %q, %q, %t, want %q", name, looked, namespace, ok, want)
		}
	}
	if n := testing.AllocsPerRun(100, func() { table.Searched("www.example.com.shop.svc.cluster.local") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	if _, _, ok := new(Table).Searched("a.b"); ok {
		t.Error("the zero Table has a search path")
	}
}

// TestSearchPath knows the search path of a pod by its address and the name's
// namespace, and of nobody else.
func TestSearchPath(t *testing.T) {
	state := &desired.State{Revision: 1, Synced: true, Namespaces: pmap.Map[string, *desired.Namespace]{}.Set("shop", &desired.Namespace{})}
	mine, other := netip.MustParseAddr("10.1.0.7"), netip.MustParseAddr("10.1.0.8")
	state.Pods = state.Pods.Set(desired.PodID{1}, desired.Pod{Namespace: "shop", Addresses: [2]netip.Addr{mine}})
	state.Pods = state.Pods.Set(desired.PodID{2}, desired.Pod{Namespace: "bank", Addresses: [2]netip.Addr{other}})
	table, _ := Compile(state, Table{}, Config{Pods: PodsVerified})
	for _, q := range []struct {
		client       netip.Addr
		name, looked string
	}{
		{mine, "WWW.Example.com.shop.svc.cluster.LOCAL.", "WWW.Example.com"},
		{mine, "db.shop.svc.cluster.local", "db"},
		{mine, "shop.svc.cluster.local.", ""},
		{mine, "www.example.com.bank.svc.cluster.local.", ""},
		{mine, "www.example.com.svc.cluster.local.", ""},
		{mine, "www.example.com.", ""},
		{other, "www.example.com.shop.svc.cluster.local.", ""},
		{netip.MustParseAddr("10.1.0.9"), "www.example.com.shop.svc.cluster.local.", ""},
	} {
		looked, rest, ok := table.SearchPath(q.client, q.name)
		if looked != q.looked || ok != (q.looked != "") || ok && !slices.Equal(rest, []string{"svc.cluster.local", "cluster.local"}) {
			t.Errorf("SearchPath(%s, %s) = %q, %q, %t", q.client, q.name, looked, rest, ok)
		}
	}
	unverified, _ := Compile(state, Table{}, Config{})
	if _, _, ok := unverified.SearchPath(mine, "www.example.com.shop.svc.cluster.local."); ok {
		t.Error("nobody knows the pods")
	}
}
