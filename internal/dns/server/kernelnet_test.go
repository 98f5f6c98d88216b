package server

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	wire "github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/dns"
	"github.com/fairlead-net/fairlead/internal/pmap"
)

// pair are two network namespaces with an interface from one to the other. The
// test's goroutine stays in the server's.
type pair struct{ server, client netns.NsHandle }

const (
	pairServer4, pairServer6 = "10.9.0.1", "fd00:9::1"
	pairLink                 = "eth0"
)

// newPair makes the interfaces a veth.
func newPair(t testing.TB) *pair {
	t.Helper()
	return newPairOf(t, func(link netlink.LinkAttrs, client netns.NsHandle) error {
		return netlink.LinkAdd(&netlink.Veth{LinkAttrs: link, PeerName: pairLink, PeerNamespace: netlink.NsFd(client)})
	})
}

// newMacvlans makes two interfaces on a third one, neither of which is the other's end.
func newMacvlans(t testing.TB) *pair {
	t.Helper()
	return newPairOf(t, func(link netlink.LinkAttrs, client netns.NsHandle) error {
		lower := netlink.NewLinkAttrs()
		lower.Name, lower.Flags = "lower", net.FlagUp
		// Without another end that is up, it would have no carrier.
		if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: lower, PeerName: "end"}); err != nil {
			return err
		}
		end, err := netlink.LinkByName("end")
		if err != nil {
			return err
		}
		link.ParentIndex = end.Attrs().ParentIndex
		err = netlink.LinkSetUp(end)
		err = errors.Join(err, netlink.LinkAdd(&netlink.Macvlan{LinkAttrs: link, Mode: netlink.MACVLAN_MODE_BRIDGE}))
		link.Namespace = netlink.NsFd(client)
		return errors.Join(err, netlink.LinkAdd(&netlink.Macvlan{LinkAttrs: link, Mode: netlink.MACVLAN_MODE_BRIDGE}))
	})
}

func newPairOf(t testing.TB, add func(link netlink.LinkAttrs, client netns.NsHandle) error) *pair {
	t.Helper()
	runtime.LockOSThread() // and never unlock it: the thread ends with the test
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("network namespaces need root: %v", err)
		}
	}
	client, err := netns.New()
	must(err)
	server, err := netns.New()
	must(err)
	link := netlink.NewLinkAttrs()
	link.Name = pairLink
	must(add(link, client))
	must(netns.Set(client))
	up(t, "10.9.0.2/24", "fd00:9::2/64")
	must(netns.Set(server))
	up(t, pairServer4+"/24", pairServer6+"/64")
	return &pair{server, client}
}

// up gives addresses to the interface of this thread's network namespace.
func up(t testing.TB, addresses ...string) {
	t.Helper()
	for _, name := range []string{pairLink, "lo"} {
		l, err := netlink.LinkByName(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range addresses {
			address, err := netlink.ParseAddr(text)
			if err != nil {
				t.Fatal(err)
			}
			address.Flags = unix.IFA_F_NODAD
			if name == pairLink {
				if err := netlink.AddrAdd(l, address); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := netlink.LinkSetUp(l); err != nil {
			t.Fatal(err)
		}
	}
}

// asClient runs a function in the client's network namespace.
func (p *pair) asClient(t testing.TB, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // the thread ends with the goroutine
		if err := netns.Set(p.client); err != nil {
			t.Error(err)
			return
		}
		f()
	}()
	<-done
}

// sumInSoftware makes the kernel compute the checksums of what leaves by the interface
// of this thread's network namespace, so that the other end looks at them.
func sumInSoftware(t testing.TB) {
	t.Helper()
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Error(err)
		return
	}
	defer unix.Close(socket)
	set := [2]uint32{unix.ETHTOOL_STXCSUM, 0} // struct ethtool_value
	request := struct {
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [16]byte
	}{data: unsafe.Pointer(&set)}
	copy(request.name[:], pairLink)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(socket), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&request))); errno != 0 {
		t.Errorf("checksums of an interface: %v", errno)
	}
}

// TestKernelTraffic asks a server by an interface of its network namespace, by both
// families, with checksums that nobody makes or looks at, as between pods of a node,
// and with ones that the kernel makes of queries, of replies, or of both, and by an
// interface that is no veth. What the kernel can answer must not reach a socket, and
// all is counted.
func TestKernelTraffic(t *testing.T) {
	for _, software := range []struct {
		pair           func(testing.TB) *pair
		client, server bool
	}{{newPair, false, false}, {newPair, true, true}, {newPair, true, false}, {newPair, false, true}, {newMacvlans, false, false}} {
		world := software.pair(t)
		registry := prometheus.NewRegistry()
		p, _ := start(t, Config{Listen: []netip.AddrPort{netip.MustParseAddrPort("[::]:53")}, KernelFastPath: true, Registry: registry}, cluster(t, 3))
		if text := strings.Join(p.Describe(), "\n"); !strings.Contains(text, "the kernel answers plain queries for addresses that come by ") || !strings.Contains(text, pairLink) {
			t.Fatalf("it is not in the kernel: %s", text)
		}
		if software.server {
			sumInSoftware(t)
		}
		world.asClient(t, func() {
			if software.client {
				sumInSoftware(t)
			}
			for _, server := range []string{pairServer4, pairServer6} {
				askPlainly(t, netip.AddrPortFrom(netip.MustParseAddr(server), 53))
			}
		})
		if t.Failed() {
			return
		}
		by := uint64(0)
		for _, tally := range p.tallies[:len(p.tallies)-1] {
			for family := range families {
				for i := range types {
					by += tally.requests[overUDP][family][i].Load()
				}
			}
		}
		if by != 2 {
			t.Errorf("%d queries over UDP reached a socket, want the 2 for MX", by)
		}
		checkCounted(t, registry)
		p.Close()
		checkCounted(t, registry) // what was counted stays
	}
}

// askPlainly asks five questions that the kernel answers, and one over UDP and TCP each
// that it does not.
func askPlainly(t *testing.T, to netip.AddrPort) {
	t.Helper()
	expect(t, ask(t, "udp", to, query("web.shop.svc.cluster.local.", wire.TypeA)), wire.RcodeSuccess, "10.96.0.1")
	expect(t, ask(t, "udp", to, query("Web.shop.SVC.cluster.Local.", wire.TypeAAAA).SetEdns0(1232, false)), wire.RcodeSuccess, "fd00:96::1")
	expect(t, ask(t, "udp", to, query("shop.svc.cluster.local.", wire.TypeA)), wire.RcodeSuccess)
	expect(t, ask(t, "udp", to, query("www.example.com.shop.svc.cluster.local.", wire.TypeA)), wire.RcodeNameError)
	if reply := ask(t, "udp", to, query("big.shop.svc.cluster.local.", wire.TypeA)); len(reply.Answer) != 3 {
		t.Errorf("%v", reply)
	}
	expect(t, ask(t, "udp", to, query("web.shop.svc.cluster.local.", wire.TypeMX)), wire.RcodeSuccess)
	expect(t, ask(t, "tcp", to, query("web.shop.svc.cluster.local.", wire.TypeA)), wire.RcodeSuccess, "10.96.0.1")
}

// checkCounted expects the metrics to have what askPlainly asked by both families.
func checkCounted(t *testing.T, registry *prometheus.Registry) {
	t.Helper()
	for _, family := range []string{"1", "2"} {
		for labels, want := range map[string]float64{"tcp A": 1, "udp A": 4, "udp AAAA": 1, "udp MX": 1} {
			proto, qtype, _ := strings.Cut(labels, " ")
			if got := handled(t, registry, "coredns_dns_requests_total", "family", family, "proto", proto, "type", qtype); got != want {
				t.Errorf("family %s, %s: %g requests, want %g", family, labels, got, want)
			}
		}
	}
	for rcode, want := range map[string]float64{"NOERROR": 8, "NXDOMAIN": 2} {
		if got := handled(t, registry, "fairlead_dns_kernel_responses_total", "rcode", rcode); got != want {
			t.Errorf("%s: %g replies of the kernel, want %g", rcode, got, want)
		}
		if got := handled(t, registry, "coredns_dns_responses_total", "rcode", rcode); got < want {
			t.Errorf("%s: %g replies, want at least %g", rcode, got, want)
		}
	}
}

// handled returns the sum of a counter's values that have these labels.
func handled(t *testing.T, registry *prometheus.Registry, name string, labels ...string) float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for _, family := range families {
		for _, m := range family.GetMetric() {
			of := map[string]string{}
			for _, l := range m.GetLabel() {
				of[l.GetName()] = l.GetValue()
			}
			same := family.GetName() == name
			for i := 0; i < len(labels); i += 2 {
				same = same && of[labels[i]] == labels[i+1]
			}
			if same {
				sum += m.GetCounter().GetValue()
			}
		}
	}
	return sum
}

// TestKernelChanges replaces the Table all the time while a client asks by the
// interface. Each reply must be right for one of the Tables that were valid while
// the query was under way: addresses are the generation's, in one that is even
// Service even exists, else odd, and several addresses are of one generation.
func TestKernelChanges(t *testing.T) {
	world := newPair(t)
	var prev dns.Table
	generation := func(n int) dns.Table {
		a := func(low byte) netip.Addr { return netip.AddrFrom4([4]byte{10, byte(n >> 8), byte(n), low}) }
		slice := &desired.Slice{Endpoints: []desired.Endpoint{{Address: a(1), Ready: true}, {Address: a(2), Ready: true}, {Address: a(3), Ready: true}}}
		state := &desired.State{Revision: uint64(n), Synced: true, Namespaces: pmap.Map[string, *desired.Namespace]{}.Set("shop", &desired.Namespace{})}
		for _, s := range []*desired.Service{
			{Name: desired.Name{Namespace: "shop", Name: "web"}, Type: desired.ClusterIP, Addresses: []netip.Addr{a(1)}},
			{Name: desired.Name{Namespace: "shop", Name: "many"}, Type: desired.ClusterIP, Headless: true, Slices: []*desired.Slice{slice}},
			{Name: desired.Name{Namespace: "shop", Name: []string{"even", "odd"}[n%2]}, Type: desired.ClusterIP, Addresses: []netip.Addr{a(1)}},
		} {
			state.Services = state.Services.Set(s.Name, s)
		}
		prev, _ = dns.Compile(state, prev, dns.Config{})
		return prev
	}
	p, _ := start(t, Config{Listen: []netip.AddrPort{netip.MustParseAddrPort("[::]:53")}, KernelFastPath: true}, generation(0))
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	var begun, applied atomic.Int64
	var all sync.WaitGroup
	all.Go(func() {
		for n := int64(1); ctx.Err() == nil; n++ {
			begun.Store(n)
			p.Apply(ctx, generation(int(n%65536)))
			applied.Store(n)
		}
	})
	asked := 0
	world.asClient(t, func() {
		client := wire.Client{Timeout: 5 * time.Second}
		conn, err := client.Dial(pairServer4 + ":53")
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		for ; ctx.Err() == nil && !t.Failed(); asked++ {
			name := []string{"web", "many", "even", "odd"}[asked%4]
			least := applied.Load()
			reply, _, err := client.ExchangeWithConn(query(name+".shop.svc.cluster.local.", wire.TypeA), conn)
			if err != nil {
				t.Error(err)
				return
			}
			checkGeneration(t, name, reply, least, begun.Load())
		}
	})
	all.Wait()
	counts, err := p.fast.kernel.Counts()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d queries, %d changes, %+v", asked, applied.Load(), counts)
	if counts.Answered < 100 || counts.Missing < 100 || applied.Load() < 100 {
		t.Errorf("%d changes, %+v", applied.Load(), counts)
	}
}

// checkGeneration expects a reply to be one of the generations from least to most.
func checkGeneration(t *testing.T, name string, reply *wire.Msg, least, most int64) {
	t.Helper()
	parity := map[string]int64{"even": 0, "odd": 1}
	if want, half := parity[name]; half && len(reply.Answer) == 0 {
		if reply.Rcode != wire.RcodeNameError || least == most && least%2 == want {
			t.Errorf("no %s in generations %d to %d: %v", name, least, most, reply)
		}
		return
	}
	if want := map[string]int{"many": 3}[name]; reply.Rcode != wire.RcodeSuccess || len(reply.Answer) != max(1, want) {
		t.Errorf("%s in generations %d to %d: %v", name, least, most, reply)
		return
	}
	first := int64(-1)
	for _, rr := range reply.Answer {
		a := rr.(*wire.A).A.To4()
		now := int64(a[1])<<8 | int64(a[2])
		if first >= 0 && now != first {
			t.Errorf("addresses of several generations: %v", reply)
		}
		first = now
		if want, half := parity[name]; now < least%65536 && most < 65536 || now > most || half && now%2 != want {
			t.Errorf("%s of generation %d in generations %d to %d", name, now, least, most)
		}
	}
}

// TestKernelHandover replaces a server in the kernel several times while a client
// asks, and expects every query to be answered.
func TestKernelHandover(t *testing.T) {
	world := newPair(t)
	config := Config{Listen: []netip.AddrPort{netip.MustParseAddrPort("[::]:53")}, Sockets: 2, KernelFastPath: true}
	p, _ := start(t, config, cluster(t, 0))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var all sync.WaitGroup
	var asked atomic.Int64
	all.Go(func() {
		world.asClient(t, func() {
			client := wire.Client{Timeout: 5 * time.Second}
			for ; ctx.Err() == nil; asked.Add(1) {
				reply, _, err := client.Exchange(query("web.shop.svc.cluster.local.", wire.TypeA), pairServer4+":53")
				if err != nil || len(reply.Answer) != 1 {
					t.Errorf("%v, %v", err, reply)
					return
				}
			}
		})
	})
	for range 5 {
		successor, _ := start(t, config, cluster(t, 0))
		p.Close()
		p = successor
	}
	cancel()
	all.Wait()
	t.Logf("%d queries", asked.Load())
}
