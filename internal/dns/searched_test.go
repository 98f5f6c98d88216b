package dns

import (
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
