package uplink

import (
	"fmt"
	"net"
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/lb"
)

// way is an IP version and a way to an endpoint.
type way struct {
	six         bool
	kind        packetsFlowKind
	pod         int // the node that the endpoint is on
	vip, client string
	unspecified string
}

func (f way) String() string {
	name := map[packetsFlowKind]string{packetsFlowKindTO_LOCAL: "local", packetsFlowKindTO_REMOTE: "remote", packetsFlowKindTO_DIRECT: "direct"}[f.kind]
	if f.six {
		return "IPv6/" + name
	}
	return "IPv4/" + name
}

func ways() []way {
	var all []way
	for kind, pod := range map[packetsFlowKind]int{packetsFlowKindTO_LOCAL: 1, packetsFlowKindTO_REMOTE: 2, packetsFlowKindTO_DIRECT: 2} {
		all = append(all, way{false, kind, pod, vip4, clientIP4, "0.0.0.0"}, way{true, kind, pod, vip6, clientIP6, "::"})
	}
	return all
}

func join(address string, port int) string { return net.JoinHostPort(address, fmt.Sprint(port)) }

// cluster starts a Plane on each node and gives both the Services.
func (w *world) cluster(f way, entries func(n int) map[lb.Frontend]*lb.Entry) [3]*Plane {
	w.t.Helper()
	var planes [3]*Plane
	for n := 1; n <= 2; n++ {
		planes[n] = w.plane(n)
		want := table(n, entries(n))
		want.Options.DirectReturn = f.kind == packetsFlowKindTO_DIRECT
		w.apply(n, planes[n], want)
	}
	return planes
}

// services are those that most tests use; all have one endpoint.
func (f way) services(n int) map[lb.Frontend]*lb.Entry {
	pod := podIP(f.pod, 0, f.six)
	return map[lb.Frontend]*lb.Entry{
		frontend(f.vip, 80, desired.TCP):            service(n, lb.LoadBalancerIP, join(pod, 8080)),
		frontend(f.vip, 81, desired.TCP):            service(n, lb.LoadBalancerIP, join(pod, 8081)),
		frontend(f.vip, 80, desired.UDP):            service(n, lb.ExternalIP, join(pod, 8080)),
		frontend(f.unspecified, 30080, desired.TCP): service(n, lb.NodePort, join(pod, 8080)),
		frontend(f.unspecified, 30080, desired.UDP): service(n, lb.NodePort, join(pod, 8080)),
	}
}

// TestForwarding talks to an endpoint on the node that is asked, and to one on
// another, and sends some megabytes both ways.
func TestForwarding(t *testing.T) {
	for _, f := range ways() {
		t.Run(f.String(), func(t *testing.T) {
			w := newWorld(t)
			p := w.cluster(f, f.services)[1]
			pod := podIP(f.pod, 0, f.six)
			w.serve(w.pods[f.pod], desired.TCP, join(pod, 8080))
			w.serve(w.pods[f.pod], desired.UDP, join(pod, 8080))
			for _, protocol := range []desired.Protocol{desired.TCP, desired.UDP} {
				for _, to := range []string{join(f.vip, 80), join(nodeIP(1, f.six), 30080)} {
					c := w.open(protocol, to)
					for range 3 {
						w.checkAnswer(p, w.must(c), f, protocol, join(pod, 8080))
					}
				}
			}
			w.bulk(w.pods[f.pod], join(pod, 8081), join(f.vip, 81))
			w.checkCounters(p, f)
		})
	}
}

// checkAnswer expects a backend to have seen the client, or node 1 from a port
// of its own range.
func (w *world) checkAnswer(p *Plane, a answer, f way, protocol desired.Protocol, backend string) {
	w.t.Helper()
	if a.backend != backend {
		w.t.Errorf("%s answered, want %s", a.backend, backend)
	}
	want := f.client
	remote := f.kind == packetsFlowKindTO_REMOTE || f.kind == packetsFlowKindTO_DIRECT && protocol == desired.UDP
	if remote {
		want = nodeIP(1, f.six)
	}
	if a.seen.Addr() != netip.MustParseAddr(want) {
		w.t.Errorf("the backend saw %s, want %s", a.seen, want)
	}
	if inRange := a.seen.Port() >= p.ports.First && a.seen.Port() <= p.ports.Last; remote && !inRange {
		w.t.Errorf("the backend saw port %d, want one of %d-%d", a.seen.Port(), p.ports.First, p.ports.Last)
	}
}

// checkCounters expects all flows to be of one kind, and nothing dropped.
func (w *world) checkCounters(p *Plane, f way) {
	w.t.Helper()
	c, err := p.Counters()
	if err != nil {
		w.t.Fatal(err)
	}
	tcp := map[packetsFlowKind][2]uint64{
		packetsFlowKindTO_LOCAL:  {c.Started.Local, c.Forwarded.Local},
		packetsFlowKindTO_REMOTE: {c.Started.Remote, c.Forwarded.Remote},
		packetsFlowKindTO_DIRECT: {c.Started.Direct, c.Forwarded.Direct},
	}[f.kind]
	if tcp[0] < 3 || tcp[1] < 100 {
		w.t.Errorf("%d flows started, %d packets forwarded: %+v", tcp[0], tcp[1], c)
	}
	if direct := f.kind == packetsFlowKindTO_DIRECT; direct != (c.Replies < 20) {
		w.t.Errorf("%d answers came back: %+v", c.Replies, c)
	}
	if c.Dropped != (Counters{}).Dropped || c.Passed != (Counters{}).Passed {
		w.t.Errorf("packets were passed or dropped: %+v", c)
	}
}

// TestFragments sends datagrams that do not fit into a packet, both ways.
func TestFragments(t *testing.T) {
	for _, f := range ways() {
		if f.kind == packetsFlowKindTO_DIRECT {
			continue // UDP is never answered directly
		}
		t.Run(f.String(), func(t *testing.T) {
			w := newWorld(t)
			w.cluster(f, f.services)
			w.serve(w.pods[f.pod], desired.UDP, join(podIP(f.pod, 0, f.six), 8080))
			c := w.open(desired.UDP, join(f.vip, 80))
			for range 3 {
				if _, err := talk(c, 4000, patient); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func (w *world) mtu(ns netns.NsHandle, device string, mtu int) {
	w.t.Helper()
	w.in(ns, func() error {
		l, err := netlink.LinkByName(device)
		if err != nil {
			return err
		}
		return netlink.LinkSetMTU(l, mtu)
	})
}

// TestPathMTU sends megabytes where a link on the way is too narrow, and only an
// ICMP error tells the sender: before the client, and before the endpoint.
func TestPathMTU(t *testing.T) {
	for _, f := range ways() {
		for _, before := range []string{"client", "endpoint"} {
			t.Run(f.String()+"/before the "+before, func(t *testing.T) {
				w := newWorld(t)
				planes := w.cluster(f, f.services)
				if before == "client" {
					w.mtu(w.router, "client", 1300)
				} else {
					w.mtu(w.nodes[f.pod], "pod", 1300)
				}
				w.bulk(w.pods[f.pod], join(podIP(f.pod, 0, f.six), 8081), join(f.vip, 81))
				errors := uint64(0)
				for n := 1; n <= 2; n++ {
					c, err := planes[n].Counters()
					if err != nil {
						t.Fatal(err)
					}
					errors += c.Errors
				}
				if errors == 0 {
					t.Error("no ICMP error was translated")
				}
			})
		}
	}
}

// bothFamilies are the ways that tests use to which it is all the same where
// endpoints are.
func bothFamilies() []way {
	return []way{{false, packetsFlowKindTO_LOCAL, 1, vip4, clientIP4, "0.0.0.0"}, {true, packetsFlowKindTO_LOCAL, 1, vip6, clientIP6, "::"}}
}
