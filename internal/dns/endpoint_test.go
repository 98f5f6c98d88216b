package dns

import (
	"net/netip"
	"testing"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/pmap"
)

// TestHostnameLikeAddress: an endpoint whose hostname reads like the address of
// another one shares its name, and does not hide it.
func TestHostnameLikeAddress(t *testing.T) {
	name := desired.Name{Namespace: "default", Name: "db"}
	s := &desired.Service{Name: name, Type: desired.ClusterIP, Headless: true, Slices: []*desired.Slice{{Endpoints: []desired.Endpoint{
		{Address: netip.MustParseAddr("10.244.0.1"), Ready: true},
		{Address: netip.MustParseAddr("fd00::1"), Ready: true, Hostname: "10-244-0-1"},
	}}}}
	state := &desired.State{
		Synced: true, Namespaces: pmap.Map[string, *desired.Namespace]{}.Set("default", &desired.Namespace{}),
		Services: pmap.Map[desired.Name, *desired.Service]{}.Set(name, s),
	}
	table, _ := Compile(state, Table{}, Config{})
	for qtype, want := range map[Type]string{TypeA: "10.244.0.1", TypeAAAA: "fd00::1"} {
		answer := table.Answer(Question{Name: "10-244-0-1.db.default.svc.cluster.local.", Type: qtype, Class: ClassIN}).Answer
		if len(answer) != 1 || answer[0].Address != netip.MustParseAddr(want) {
			t.Errorf("%s: %v, want %s", qtype, answer, want)
		}
	}
}
