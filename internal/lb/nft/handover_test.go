package nft

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/lb"
)

// lan is a client and two nodes on one network, and a pod on each node:
//
//	client  192.0.2.100, 2001:db8::100
//	node N  192.0.2.N, 2001:db8::N on uplink; N is 1 or 2
//	pod N   10.244.N.2, fd00:244:N::2
//
// The address of a load balancer, 192.0.2.200 or 2001:db8::200, is where the client
// thinks that it is.
type lan struct {
	*world
	client      netns.NsHandle
	nodes, pods [3]netns.NsHandle
	planes      [3]*Plane
	six         bool
	vip         string
}

func newLAN(t *testing.T, six bool, pod int) *lan {
	t.Helper()
	l := &lan{world: &world{t: t}, six: six, vip: pick2(six, "192.0.2.200", "2001:db8::200")}
	middle := l.namespace()
	l.in(middle, func() error {
		return netlink.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "lan", Flags: net.FlagUp}})
	})
	l.client = l.namespace()
	l.plug(middle, l.client, "eth0", 0x100)
	l.acknowledgeAtOnce()
	for n := 1; n <= 2; n++ {
		l.nodes[n], l.pods[n] = l.namespace(), l.namespace()
		for _, setting := range []string{"ipv4/ip_forward", "ipv6/conf/all/forwarding"} {
			l.in(l.nodes[n], func() error {
				_, err := exec.Command("sysctl", "-w", "net/"+setting+"=1").CombinedOutput()
				return err
			})
		}
		l.plug(middle, l.nodes[n], "uplink", n)
		gateways := []string{fmt.Sprintf("10.244.%d.1", n), fmt.Sprintf("fd00:244:%d::1", n)}
		l.link(l.nodes[n], "pod", []string{gateways[0] + "/24", gateways[1] + "/64"}, l.pods[n], "eth0", []string{l.podIP(n, false) + "/24", l.podIP(n, true) + "/64"})
		l.route(l.pods[n], "0.0.0.0/0", gateways[0], "")
		l.route(l.pods[n], "::/0", gateways[1], "")
	}
	for n := 1; n <= 2; n++ {
		l.route(l.nodes[n], fmt.Sprintf("10.244.%d.0/24", 3-n), l.nodeIP(3-n, false), "")
		l.route(l.nodes[n], fmt.Sprintf("fd00:244:%d::/64", 3-n), l.nodeIP(3-n, true), "")
		l.planes[n] = l.planeOn(n)
		l.apply(l.planes[n], l.table(n, pod))
	}
	l.serve(l.pods[pod], desired.TCP, l.backend(pod))
	l.at(1)
	return l
}

func pick2(six bool, v4, v6 string) string {
	if six {
		return v6
	}
	return v4
}

func (l *lan) nodeIP(n int, six bool) string {
	return fmt.Sprintf(pick2(six, "192.0.2.%d", "2001:db8::%d"), n)
}

func (l *lan) podIP(n int, six bool) string {
	return fmt.Sprintf(pick2(six, "10.244.%d.2", "fd00:244:%d::2"), n)
}

func (l *lan) backend(n int) string { return net.JoinHostPort(l.podIP(n, l.six), "8080") }

func card(n int) net.HardwareAddr { return net.HardwareAddr{2, 0, 0, 0, 0, byte(n)} }

// plug connects a namespace to the bridge.
func (l *lan) plug(middle, ns netns.NsHandle, name string, n int) {
	l.t.Helper()
	port := fmt.Sprint("port", n)
	v4 := fmt.Sprintf("192.0.2.%d/24", n)
	if n == 0x100 {
		v4 = "192.0.2.100/24"
	}
	l.link(middle, port, nil, ns, name, []string{v4, fmt.Sprintf("2001:db8::%x/64", n)})
	l.in(ns, func() error {
		link, err := netlink.LinkByName(name)
		return errors.Join(err, netlink.LinkSetHardwareAddr(link, card(n)))
	})
	l.in(middle, func() error {
		bridge, err := netlink.LinkByName("lan")
		if err != nil {
			return err
		}
		link, err := netlink.LinkByName(port)
		return errors.Join(err, netlink.LinkSetMaster(link, bridge))
	})
}

// acknowledgeAtOnce makes the client send no packet later than the call that caused
// it: a delayed ACK would arrive where the address is by then.
func (l *lan) acknowledgeAtOnce() {
	l.t.Helper()
	l.in(l.client, func() error {
		link, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		routes, err := netlink.RouteList(link, netlink.FAMILY_ALL)
		if err != nil {
			return err
		}
		for _, route := range routes {
			route.QuickACK = 1
			if err := netlink.RouteReplace(&route); err != nil {
				return fmt.Errorf("%s: %w", route, err)
			}
		}
		return nil
	})
}

func (l *lan) planeOn(n int) *Plane {
	l.t.Helper()
	l.node = l.nodes[n]
	return l.plane()
}

func (l *lan) table(n, pod int) lb.Table {
	e := &lb.Entry{Kind: lb.LoadBalancerIP, Choice: choiceOf(l.backend(pod))}
	want := table(map[lb.Frontend]*lb.Entry{frontendOf(net.JoinHostPort(l.vip, "80"), desired.TCP): e})
	want.NodeAddresses = []netip.Addr{netip.MustParseAddr(l.nodeIP(n, false)), netip.MustParseAddr(l.nodeIP(n, true))}
	want.LocalBackends = want.LocalBackends.Delete(netip.MustParseAddr(l.podIP(pod, l.six)))
	if n == pod {
		want.LocalBackends = want.LocalBackends.Set(netip.MustParseAddr(l.podIP(pod, l.six)), 1)
	}
	return want
}

// at makes the client believe that a node has the address.
func (l *lan) at(n int) {
	l.t.Helper()
	l.in(l.client, func() error {
		link, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		return netlink.NeighSet(&netlink.Neigh{LinkIndex: link.Attrs().Index, State: unix.NUD_PERMANENT, IP: net.ParseIP(l.vip), HardwareAddr: card(n)})
	})
}

// pass makes node n pass to the other one, for a while if that is not 0.
func (l *lan) pass(n int, long time.Duration) {
	l.t.Helper()
	var want []lb.Passing
	if long > 0 {
		want = []lb.Passing{{Address: netip.MustParseAddr(l.vip), To: netip.MustParseAddr(l.nodeIP(3-n, l.six)), For: long}}
	}
	if err := l.planes[n].Pass(want); err != nil {
		l.t.Fatal(err)
	}
}

func (l *lan) open() net.Conn {
	l.t.Helper()
	c, err := l.dial(l.client, desired.TCP, net.JoinHostPort(l.vip, "80"), long)
	if err != nil {
		l.t.Fatal(err)
	}
	return c
}

func (l *lan) must(c net.Conn, when string) answer {
	l.t.Helper()
	a := talk(c, long)
	if a.err != nil {
		l.t.Fatalf("%s: %v", when, a.err)
	}
	return a
}

// reset expects a connection to end soon.
func (l *lan) reset(c net.Conn, when string) {
	l.t.Helper()
	if a := talk(c, long); !errors.Is(a.err, syscall.ECONNRESET) {
		l.t.Errorf("%s: %+v, want a reset", when, a)
	}
}

// passedOn is how many packets a node has passed on.
func (l *lan) passedOn(n int) int {
	l.t.Helper()
	l.node = l.nodes[n]
	out := l.nft("list", "table", pick2(l.six, "ip", "ip6"), "fairlead-handover")
	found := regexp.MustCompile(`packets (\d+)`).FindStringSubmatch(out)
	if found == nil {
		l.t.Fatalf("no counter:\n%s", out)
	}
	packets, _ := strconv.Atoi(found[1])
	return packets
}

// TestHandover moves an address with connections to another node, and back: data
// flows on in those of both nodes, and new ones are served where they arrive.
// Without the former owner they are reset.
func TestHandover(t *testing.T) {
	for _, six := range []bool{false, true} {
		for pod := 1; pod <= 2; pod++ {
			t.Run(fmt.Sprintf("ipv6=%t/pod on node %d", six, pod), func(t *testing.T) {
				l := newLAN(t, six, pod)
				first, idle, expired := l.open(), l.open(), l.open()
				seen := l.must(first, "at the start").seen
				l.must(idle, "at the start")
				l.must(expired, "at the start")

				l.pass(2, time.Minute)
				l.at(2)
				second := l.open()
				if a := l.must(second, "a new one"); (a.seen.Addr() == netip.MustParseAddr(l.nodeIP(2, six))) != (pod == 1) {
					t.Errorf("the endpoint saw %s: that did not come by the new owner", a.seen)
				}
				goOn := func(when string) {
					t.Helper()
					for range 5 {
						if a := l.must(first, when); a.seen != seen {
							t.Errorf("%s: the endpoint saw %s, before %s", when, a.seen, seen)
						}
						l.must(second, when)
					}
				}
				goOn("moved")
				if n := l.passedOn(2); n < 5 {
					t.Errorf("%d packets were passed on", n)
				}
				// For a moment both pass to each other.
				l.pass(1, time.Minute)
				l.at(1)
				goOn("moved back")

				l.pass(2, time.Millisecond)
				time.Sleep(50 * time.Millisecond)
				l.at(2)
				l.reset(expired, "nobody renewed it")
				l.pass(2, time.Minute)
				goOn("renewed")
				if pod == 2 {
					l.in(l.nodes[1], func() error {
						link, err := netlink.LinkByName("uplink")
						return errors.Join(err, netlink.LinkSetDown(link))
					})
				}
				l.pass(2, 0)
				l.reset(idle, "the former owner is dead")
			})
		}
	}
}

// TestHandoverRing lets two nodes pass to each other what neither knows: the packet
// dies of its TTL.
func TestHandoverRing(t *testing.T) {
	for _, six := range []bool{false, true} {
		l := newLAN(t, six, 1)
		l.pass(1, time.Minute)
		l.pass(2, time.Minute)
		segment := make([]byte, 20)
		binary.BigEndian.PutUint16(segment[0:], 40000)
		binary.BigEndian.PutUint16(segment[2:], 80)
		segment[12], segment[13] = 5<<4, 0x10
		l.in(l.client, func() error { return sendRaw(desired.TCP, l.vip, segment) })
		for end := time.Now().Add(long); l.passedOn(1)+l.passedOn(2) < 63 && time.Now().Before(end); {
			time.Sleep(10 * time.Millisecond)
		}
		time.Sleep(100 * time.Millisecond)
		if n := l.passedOn(1) + l.passedOn(2); n != 63 {
			t.Errorf("ipv6=%t: a packet with a TTL of 64 was passed on %d times", six, n)
		}
		l.must(l.open(), "meanwhile")
	}
}

// TestHandoverTables expects tables only while something is passed on, whichever
// process wrote them, and none for a node behind a router.
func TestHandoverTables(t *testing.T) {
	l := newLAN(t, false, 1)
	there := func(want bool, when string) {
		t.Helper()
		l.node = l.nodes[2]
		if has := strings.Contains(l.nft("list", "tables"), "-handover"); has != want {
			t.Errorf("%s: tables: %t", when, has)
		}
	}
	there(false, "at the start")
	l.pass(2, time.Minute)
	there(true, "passing")
	l.pass(2, 0)
	there(false, "not passing")
	far := []lb.Passing{{Address: netip.MustParseAddr(l.vip), To: netip.MustParseAddr(l.podIP(1, false)), For: time.Minute}}
	if err := l.planes[2].Pass(far); err != nil {
		t.Error(err)
	}
	there(false, "by a router")
	l.pass(2, time.Minute)
	l.planes[2].Close()
	there(true, "the process has ended")
	if err := l.planes[2].Pass(nil); err == nil {
		t.Error("a Plane that was closed wrote")
	}
	c := l.open()
	l.must(c, "at the start")
	l.at(2)
	l.must(c, "the process has ended")
	l.planes[2] = l.planeOn(2)
	l.pass(2, 0)
	there(false, "the next process")
	l.pass(2, time.Minute)
	l.in(l.nodes[2], Remove)
	there(false, "removed")
}
