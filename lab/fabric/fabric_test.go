package fabric

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"testing"
	"time"

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
	port := Port{Name: node.Name, Cables: []Cable{{Inside, node.Addr, p.Fabric}}, Routes: []Route{
		{To: p.Nodes[0].Pods.V4, Via: p.Nodes[0].Addr.V4},
		{To: netip.MustParsePrefix("::/0"), Via: p.Gateway.V6},
	}}
	namespace := plug(t, f, port)
	h, err := handle(namespace)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	link, err := h.LinkByName("eth0")
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
	plug(t, f, port)
}

func plug(t *testing.T, f *Fabric, port Port) *os.File {
	t.Helper()
	namespace, err := f.Plug(port)
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
	plug(t, f, Port{Name: name, Cables: []Cable{{Inside, p.Nodes[0].Addr, p.Fabric}}})
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
	names := []string{p.FRR.Name, p.BIRD.Name}
	for _, n := range p.Nodes {
		names = append(names, n.Name)
	}
	for _, machine := range names {
		if name := portName(machine, 1); len(name) >= unix.IFNAMSIZ {
			t.Errorf("%s is too long", name)
		}
	}
}

// TestOutsideIsApart plugs a machine between the two networks and one behind it: the one behind reaches the
// nodes by it, and not without.
func TestOutsideIsApart(t *testing.T) {
	p, err := plan.New(1)
	if err != nil {
		t.Fatal(err)
	}
	back := []Route{{To: p.Outside.V4, Via: p.FRR.Addr.V4}, {To: p.Outside.V6, Via: p.FRR.Addr.V6}}
	f, err := Create(p.Fabric, []plan.Pair{p.Gateway}, back)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	remote := plug(t, f, Port{Name: "remote", Cables: []Cable{{Outside, p.Remote, p.Outside}}, Routes: []Route{
		{To: p.Fabric.V4, Via: p.FRR.Outside.V4}, {To: p.Fabric.V6, Via: p.FRR.Outside.V6},
	}})
	// Nobody listens at the gateway's port: who gets there is refused.
	reaches := func(address string) error {
		answer := make(chan error)
		go func() {
			// Never unlocked: the thread is in another namespace and must end with this goroutine.
			runtime.LockOSThread()
			err := unix.Setns(int(remote.Fd()), unix.CLONE_NEWNET)
			if err == nil {
				_, err = net.DialTimeout("tcp", net.JoinHostPort(address, "9"), 3*time.Second)
			}
			answer <- err
		}()
		if err := <-answer; !errors.Is(err, unix.ECONNREFUSED) {
			return fmt.Errorf("%w, want a refusal", err)
		}
		return nil
	}
	for _, address := range p.Gateway.Strings() {
		if reaches(address) == nil {
			t.Errorf("%s answers before there is a router", address)
		}
	}
	plug(t, f, Port{Name: p.FRR.Name, Cables: []Cable{{Inside, p.FRR.Addr, p.Fabric}, {Outside, p.FRR.Outside, p.Outside}}})
	for _, address := range p.Gateway.Strings() {
		// That the router was not there may be remembered for a moment.
		err := reaches(address)
		for deadline := time.Now().Add(20 * time.Second); err != nil && time.Now().Before(deadline); err = reaches(address) {
			time.Sleep(100 * time.Millisecond)
		}
		if err != nil {
			t.Errorf("%s through the router: %v", address, err)
		}
	}
}
