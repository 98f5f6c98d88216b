package bgp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/fairlead-net/fairlead/internal/announce"
	"github.com/fairlead-net/fairlead/internal/desired"
)

// late is how long routers and a Plane may take for anything.
const late = 60 * time.Second

// inside tells the test binary that it is in a network namespace of its own.
const inside = "FAIRLEAD_BGP_TEST_NAMESPACE"

// TestMain runs the tests in a new network namespace, all threads of it: GoBGP makes
// its connections from wherever it likes. In a PID namespace of its own they leave no
// router running, however they end.
func TestMain(m *testing.M) {
	if os.Getenv(child) != "" {
		runChild()
	}
	if os.Getenv(inside) != "" {
		lo, err := netlink.LinkByName("lo")
		err = errors.Join(err, unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""), unix.Mount("proc", "/proc", "proc", 0, ""))
		if err = errors.Join(err, netlink.LinkSetUp(lo)); err != nil {
			fmt.Fprintln(os.Stderr, "prepare the namespaces of the tests:", err)
			os.Exit(1)
		}
		os.Exit(m.Run())
	}
	again := exec.Command("/proc/self/exe", os.Args[1:]...)
	again.Env = append(os.Environ(), inside+"=yes")
	again.Stdin, again.Stdout, again.Stderr = os.Stdin, os.Stdout, os.Stderr
	again.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWPID | syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	runtime.LockOSThread() // or the signal would come when the thread ends
	err := again.Run()
	if again.ProcessState == nil {
		fmt.Fprintln(os.Stderr, "network namespaces need root:", err)
		os.Exit(1)
	}
	os.Exit(again.ProcessState.ExitCode())
}

// router is a network namespace with the interface eth0, which is plugged into the
// interface cable of the node.
type router struct {
	t     testing.TB
	ns    netns.NsHandle
	nl    *netlink.Handle
	wire  *netlink.Handle // of the namespace that the cable runs through
	cable string
	dir   string
	// Of the cable: the node's addresses, and the router's.
	node4, node6, own4, own6 netip.Addr
}

// newRouter makes a router with the addresses of both families, number n.
func newRouter(t testing.TB, n int) *router {
	t.Helper()
	r := &router{t: t, cable: fmt.Sprintf("cable%d", n)}
	r.node4, r.node6, r.own4, r.own6 = addresses(n)
	var between netns.NsHandle
	r.ns, r.nl = namespace(t)
	between, r.wire = namespace(t)
	must(t, r.nl.LinkSetUp(must2(r.nl.LinkByName("lo"))(t)))
	nothing := false
	must(t, r.wire.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "bridge"}, MulticastSnooping: &nothing}))
	bridge := must2(r.wire.LinkByName("bridge"))(t)
	must(t, r.wire.LinkSetUp(bridge))
	must(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: r.cable}, PeerName: "here", PeerNamespace: netlink.NsFd(between)}))
	must(t, r.nl.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "eth0"}, PeerName: "there", PeerNamespace: netlink.NsFd(between)}))
	for _, port := range []string{"here", "there"} {
		l := must2(r.wire.LinkByName(port))(t)
		must(t, r.wire.LinkSetMaster(l, bridge))
		must(t, r.wire.LinkSetUp(l))
	}
	here := must2(netlink.LinkByName(r.cable))(t)
	there := must2(r.nl.LinkByName("eth0"))(t)
	t.Cleanup(func() { _ = netlink.LinkDel(here) })
	must(t, netlink.LinkSetUp(here))
	must(t, r.nl.LinkSetUp(there))
	for _, a := range []netip.Addr{r.node4, r.node6} {
		must(t, netlink.AddrAdd(here, prefix(t, a)))
	}
	for _, a := range []netip.Addr{r.own4, r.own6} {
		must(t, r.nl.AddrAdd(there, prefix(t, a)))
	}
	return r
}

// addresses are those of the cable of a router: the node's, and the router's.
func addresses(n int) (node4, node6, own4, own6 netip.Addr) {
	node4, own4 = netip.AddrFrom4([4]byte{10, 99, byte(n), 1}), netip.AddrFrom4([4]byte{10, 99, byte(n), 2})
	node6 = netip.MustParseAddr(fmt.Sprintf("fd00:99:%d::1", n))
	return node4, node6, own4, node6.Next()
}

// namespace makes one.
func namespace(t testing.TB) (ns netns.NsHandle, nl *netlink.Handle) {
	t.Helper()
	apart(t, func() {
		var err error
		ns, err = netns.New()
		must(t, err)
	})
	nl, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	must(t, err)
	t.Cleanup(func() {
		nl.Close()
		must(t, ns.Close())
	})
	return ns, nl
}

// apart calls f on a thread that ends afterwards, as its namespace is another's.
func apart(t testing.TB, f func()) {
	t.Helper()
	var done sync.WaitGroup
	done.Go(func() {
		runtime.LockOSThread()
		f()
	})
	done.Wait()
	if t.Failed() {
		t.FailNow()
	}
}

func prefix(t testing.TB, a netip.Addr) *netlink.Addr {
	t.Helper()
	bits := 24
	if a.Is6() {
		bits = 64
	}
	parsed, err := netlink.ParseAddr(netip.PrefixFrom(a, bits).String())
	must(t, err)
	if a.Is6() {
		parsed.Flags = unix.IFA_F_NODAD
	}
	return parsed
}

// forwards tells whether the router's kernel has a route.
func (r *router) forwards(prefix string) bool {
	r.t.Helper()
	p := netip.MustParsePrefix(prefix)
	family := netlink.FAMILY_V4
	if p.Addr().Is6() {
		family = netlink.FAMILY_V6
	}
	routes, err := r.nl.RouteList(nil, family)
	must(r.t, err)
	for _, route := range routes {
		if route.Dst != nil && route.Dst.String() == prefix {
			return true
		}
	}
	return false
}

// cut makes the cable lose everything, and mend makes it whole. Both ends keep their
// carrier, so that nothing but silence tells of it.
func (r *router) cut() {
	r.t.Helper()
	must(r.t, r.wire.LinkSetNoMaster(must2(r.wire.LinkByName("there"))(r.t)))
}

func (r *router) mend() {
	r.t.Helper()
	bridge := must2(r.wire.LinkByName("bridge"))(r.t)
	must(r.t, r.wire.LinkSetMaster(must2(r.wire.LinkByName("there"))(r.t), bridge))
}

func plane(t testing.TB, change ...func(*Config)) *Plane {
	t.Helper()
	config := Config{Log: slog.New(slog.DiscardHandler), NodeName: "node", RouterID: netip.MustParseAddr("10.99.0.1")}
	if file := os.Getenv("BGP_TEST_LOG"); file != "" {
		f, err := os.OpenFile(file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
		must(t, err)
		config.Log = slog.New(slog.NewTextHandler(f, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	for _, c := range change {
		c(&config)
	}
	p, err := New(config)
	must(t, err)
	t.Cleanup(func() {
		must(t, p.Close())
		await(t, "nothing is left running", func() bool { return leftovers() == "" }, leftovers)
	})
	return p
}

// leftovers returns the stacks of goroutines that belong to GoBGP or BFD. GoBGP 4.8
// leaves the queue of a session behind that ended with something still in it: one
// goroutine that waits, which is not counted.
func leftovers() string {
	b := make([]byte, 1<<20)
	b = b[:runtime.Stack(b, true)]
	var left []string
	for _, stack := range strings.Split(string(b), "\n\n") {
		if strings.Contains(stack, "osrg/gobgp") || strings.Contains(stack, "announce/bgp/bfd") {
			left = append(left, stack)
		}
	}
	return strings.Join(left, "\n\n")
}

// peer returns a BGPPeer of the AS 64512.
func peer(name string, address netip.Addr, as uint32, change ...func(*announce.Peer)) announce.Peer {
	p := announce.Peer{Peer: &desired.Peer{
		Name: desired.Name{Namespace: "lab", Name: name}, ASN: 64512, PeerASN: as, Address: address, Port: 179,
		Connect: 2 * time.Second,
	}}
	for _, c := range change {
		c(&p)
	}
	return p
}

// route returns one, announced with communities to peers; none means all.
func route(prefix string, communities string, peers ...string) announce.Route {
	r := announce.Route{Prefix: netip.MustParsePrefix(prefix), Peers: peers}
	for _, text := range strings.Fields(communities) {
		c, ok := desired.ParseCommunity(text)
		if !ok {
			panic(text)
		}
		r.Communities = append(r.Communities, c)
	}
	return r
}

func table(peers []announce.Peer, routes ...announce.Route) announce.Table {
	return announce.Table{Revision: 1, Synced: true, Node: "node", Peers: peers, Routes: routes}
}

func apply(t testing.TB, p *Plane, want announce.Table) {
	t.Helper()
	must(t, p.Apply(context.Background(), want))
}

// status returns that of a BGPPeer.
func status(t testing.TB, p *Plane, name string) Status {
	t.Helper()
	for _, s := range p.Peers() {
		if s.Name.Name == name {
			return s
		}
	}
	t.Fatalf("no status of %s", name)
	return Status{}
}

// says waits for the error of a BGPPeer to contain something.
func says(t testing.TB, p *Plane, name, text string) {
	t.Helper()
	var last Status
	await(t, fmt.Sprintf("the status of %s says %q", name, text), func() bool {
		last = status(t, p, name)
		return strings.Contains(last.Error, text)
	}, func() string { return last.describe() })
}

func established(t testing.TB, p *Plane, name string) {
	t.Helper()
	await(t, "the session with "+name+" is up", func() bool { return status(t, p, name).Established() },
		func() string { return strings.Join(p.Describe(), "\n") })
}

func await(t testing.TB, what string, holds func() bool, more ...func() string) {
	t.Helper()
	for deadline := time.Now().Add(late); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			for _, f := range more {
				what += "\n" + f()
			}
			t.Fatalf("not within %s: %s", late, what)
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// must2 lets a call with two results stand where one is wanted.
func must2[V any](v V, err error) func(testing.TB) V {
	return func(t testing.TB) V {
		t.Helper()
		must(t, err)
		return v
	}
}
