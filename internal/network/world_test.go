package network

import (
	"context"
	"log/slog"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/fairlead-net/fairlead/internal/desired"
)

// patience is how long the kernel and the watcher may take for anything.
const patience = 20 * time.Second

// newNamespace moves the test to a network namespace of its own.
func newNamespace(t *testing.T) netns.NsHandle {
	t.Helper()
	runtime.LockOSThread() // and never unlock it: the thread ends with the test
	network, err := netns.New()
	if err != nil {
		t.Fatalf("network namespaces need root: %v", err)
	}
	t.Cleanup(func() { network.Close() })
	return network
}

// run starts a Watcher in a namespace.
func run(t *testing.T, network netns.NsHandle, w *Watcher) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if err := netns.Set(network); err != nil {
			done <- err
			return
		}
		done <- w.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run = %v", err)
		}
	})
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// until waits for the network to be as wanted, and returns it.
func until(t *testing.T, w *Watcher, addresses, uplinks string) *desired.Network {
	t.Helper()
	want := desired.Network{Uplinks: strings.Fields(uplinks)}
	for _, a := range strings.Fields(addresses) {
		want.Addresses = append(want.Addresses, netip.MustParseAddr(a))
	}
	slices.SortFunc(want.Addresses, netip.Addr.Compare)
	late := time.After(patience)
	for {
		n := w.Current()
		if n != nil && slices.Equal(n.Addresses, want.Addresses) && slices.Equal(n.Uplinks, want.Uplinks) {
			return n
		}
		select {
		case <-w.Changed():
		case <-late:
			t.Fatalf("the network is %+v, want %+v; %q", n, want, w.Describe())
		}
	}
}

// link adds an interface and sets it up.
func link(t *testing.T, l netlink.Link) netlink.Link {
	t.Helper()
	must(t, netlink.LinkAdd(l))
	must(t, netlink.LinkSetUp(l))
	return l
}

// wired adds an interface with a carrier: one end of a cable whose other end,
// x-NAME, is up too.
func wired(t *testing.T, name string) netlink.Link {
	t.Helper()
	l := link(t, &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: "x-" + name})
	peer, err := netlink.LinkByName("x-" + name)
	must(t, err)
	must(t, netlink.LinkSetUp(peer))
	return l
}

func loopback(t *testing.T) netlink.Link {
	t.Helper()
	lo, err := netlink.LinkByName("lo")
	must(t, err)
	must(t, netlink.LinkSetUp(lo))
	return lo
}

// add gives an interface an address, at once usable unless flags say otherwise.
func add(t *testing.T, l netlink.Link, prefix string, change ...func(*netlink.Addr)) {
	t.Helper()
	a, err := netlink.ParseAddr(prefix)
	must(t, err)
	if a.IP.To4() == nil {
		a.Flags = unix.IFA_F_NODAD
	}
	for _, c := range change {
		c(a)
	}
	must(t, netlink.AddrAdd(l, a))
}

func route(t *testing.T, r netlink.Route) {
	t.Helper()
	must(t, netlink.RouteAdd(&r))
}

func expect(t *testing.T, w *Watcher, lines ...string) {
	t.Helper()
	if diff := cmp.Diff(lines, w.Describe()); diff != "" {
		t.Errorf("Describe differs (-want +got):\n%s", diff)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
