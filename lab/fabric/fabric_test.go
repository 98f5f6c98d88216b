package fabric

import (
	"net/netip"
	"os"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/fairlead-net/fairlead/lab/plan"
)

// TestPlug needs root: it makes namespaces of its own, which end with the test.
func TestPlug(t *testing.T) {
	p, err := plan.New(2)
	if err != nil {
		t.Fatal(err)
	}
	f, err := Create(p.Fabric, []plan.Pair{p.Gateway}, []Route{{To: p.Nodes[1].Pods.V6, Via: p.Nodes[1].Addr.V6}})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	node := p.Nodes[1]
	port := Port{Name: node.Name, Addr: node.Addr, Routes: []Route{
		{To: p.Nodes[0].Pods.V4, Via: p.Nodes[0].Addr.V4},
		{To: netip.MustParsePrefix("::/0"), Via: p.Gateway.V6},
	}}
	namespace := plug(t, f, port, p.Fabric)
	h, err := handle(namespace)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	link, err := h.LinkByName(cableName)
	if err != nil {
		t.Fatal(err)
	}
	for family, want := range map[int]string{unix.AF_INET: "172.30.0.11/24", unix.AF_INET6: "fd00:30::11/64"} {
		addrs, err := h.AddrList(link, family)
		if err != nil || len(addrs) == 0 || addrs[0].IPNet.String() != want {
			t.Errorf("addresses are %v, %v; want %s first", addrs, err, want)
		}
	}
	routes, err := h.RouteListFiltered(unix.AF_INET, &netlink.Route{Dst: ipNet(p.Nodes[0].Pods.V4)}, netlink.RT_FILTER_DST)
	if err != nil || len(routes) != 1 || routes[0].Gw.String() != "172.30.0.10" {
		t.Errorf("routes are %v, %v", routes, err)
	}
	// A machine that starts again gets a new cable while the old namespace may still be there.
	plug(t, f, port, p.Fabric)
}

func plug(t *testing.T, f *Fabric, port Port, nets plan.Nets) *os.File {
	t.Helper()
	namespace, err := f.Plug(port, nets)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = namespace.Close() })
	return namespace
}

func TestCutAndHeal(t *testing.T) {
	p, err := plan.New(1)
	if err != nil {
		t.Fatal(err)
	}
	f, err := Create(p.Fabric, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	name := p.Nodes[0].Name
	if err := f.Cut(name); err == nil {
		t.Error("cut a cable that is not there")
	}
	plug(t, f, Port{Name: name, Addr: p.Nodes[0].Addr}, p.Fabric)
	if err := f.Cut(name); err != nil || f.Connected(name) {
		t.Errorf("cut: %v, connected %v", err, f.Connected(name))
	}
	if err := f.Heal(name); err != nil || !f.Connected(name) {
		t.Errorf("healed: %v, connected %v", err, f.Connected(name))
	}
}

func TestPortNamesFit(t *testing.T) {
	p, err := plan.New(plan.MaxNodes)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range p.Nodes {
		if name := portName(n.Name); len(name) >= unix.IFNAMSIZ {
			t.Errorf("%s is too long", name)
		}
	}
}
