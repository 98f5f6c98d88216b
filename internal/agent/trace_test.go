package agent

import (
	"net/http"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netns"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/lb"
	"github.com/fairlead-net/fairlead/internal/lb/ebpf"
	"github.com/fairlead-net/fairlead/internal/pmap"
)

// question reads one that is well formed.
func question(t *testing.T, text string) TraceQuestion {
	t.Helper()
	q, err := ParseTrace(text)
	if err != nil {
		t.Error(err)
	}
	return q
}

func TestParseTrace(t *testing.T) {
	for _, text := range []string{
		"from=pod&to=10.96.0.1:80/tcp", "from=outside&source=203.0.113.9&to=192.0.2.1:30080/udp", "from=host&source=fd00::1&to=[fd00:96::1]:80/sctp",
	} {
		q := question(t, text)
		again := make([]string, 0, 3)
		for _, name := range []string{"from", "source", "to"} {
			if value, has := q.Query()[name]; has {
				again = append(again, name+"="+value)
			}
		}
		if strings.Join(again, "&") != text {
			t.Errorf("%s became %s", text, again)
		}
	}
	if q := question(t, "from=pod&to=[::ffff:10.96.0.1]:80/tcp"); q.To.Address.String() != "10.96.0.1" {
		t.Errorf("%+v", q)
	}
	for text, want := range map[string]string{
		"":                                        `from="" is none of pod, host and outside`,
		"from=me&to=10.96.0.1:80/tcp":             `from="me" is none of`,
		"from=pod":                                `"" is not of the form ADDRESS:PORT/PROTOCOL`,
		"from=pod&to=10.96.0.1:80":                `not of the form`,
		"from=pod&to=10.96.0.1:0/tcp":             `not of the form`,
		"from=pod&to=10.96.0.1:80/quic":           `not of the form`,
		"from=pod&to=[fe80::1%25eth0]:80/tcp":     `not of the form`,
		"from=pod&to=shop.demo:80/tcp":            `not of the form`,
		"from=pod&source=me&to=10.96.0.1:80/tcp":  `source="me" is not an address`,
		"from=pod&from=pod&to=10.96.0.1:80/tcp":   `each once`,
		"from=pod&to=10.96.0.1:80/tcp&more=1":     `"more": wanted are`,
		"from=%zz":                                `not a query`,
		"from=pod&to=" + strings.Repeat("1", 300): `longer than 256 bytes`,
	} {
		if _, err := ParseTrace(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}

func FuzzParseTrace(f *testing.F) {
	f.Add("from=pod&source=10.0.0.1&to=[fd00::1]:80/udp")
	f.Fuzz(func(t *testing.T, text string) {
		q, err := ParseTrace(text)
		if err == nil && (q.To.Port == 0 || !q.To.Address.IsValid()) {
			t.Errorf("%q: %+v", text, q)
		}
	})
}

// TestTraceHTTP refuses what is no question, and more than one at a time.
func TestTraceHTTP(t *testing.T) {
	a := bare(t, Options{Node: "worker-1"})
	a.healthz = healthzOf(a)
	plane, err := a.newPackets([2]uint16{})
	if err != nil {
		t.Fatal(err)
	}
	defer plane.Close()
	ask := served(t, a)
	const good = "/trace?from=pod&to=10.96.0.1:80/tcp"
	expect := func(path string, code int, text string) {
		t.Helper()
		if got, body := ask(http.MethodGet, path); got != code || !strings.Contains(body, text) {
			t.Errorf("%s: %d %s", path, got, body)
		}
	}
	expect("/trace", 400, "none of pod, host and outside")
	expect(good, 503, "has decided nothing yet")
	a.tracing.Lock()
	expect(good, 429, "ask again")
	a.tracing.Unlock()
	a.decided(lb.Table{Revision: 7})
	expect(good, 200, `"node":"worker-1","revision":7,"nodeAddress":false,"verdict":"pass"`)
	if code, _ := ask(http.MethodPost, good); code != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", code)
	}
}

// traced is a Table of one Service with these backends, and NodePorts.
func traced(backends ...string) lb.Table {
	clusterIP, nodePort := netip.MustParseAddr("10.96.0.1"), netip.IPv4Unspecified()
	e := &lb.Entry{Affinity: time.Hour}
	for _, b := range backends {
		e.Backends = append(e.Backends, netip.MustParseAddrPort(b))
	}
	ranged := *e
	ranged.Sources = []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}
	entries := pmap.Map[lb.Frontend, *lb.Entry]{}.Edit()
	entries.Set(lb.Frontend{Address: clusterIP, Port: 80, Protocol: desired.TCP}, e)
	entries.Set(lb.Frontend{Address: clusterIP, Port: 81, Protocol: desired.TCP}, &ranged)
	entries.Set(lb.Frontend{Address: nodePort, Port: 30080, Protocol: desired.TCP}, e)
	return lb.Table{
		Revision: 3, Synced: true, Entries: entries.Map(), ClusterIPs: pmap.Map[netip.Addr, int]{}.Set(clusterIP, 2),
		NodeAddresses: []netip.Addr{netip.MustParseAddr("192.0.2.1")}, ServiceCIDRs: []netip.Prefix{netip.MustParsePrefix("10.96.0.0/16")},
	}
}

// TestTraceKernel compares with both planes: where they say the same, and where
// they have been given something else.
func TestTraceKernel(t *testing.T) {
	root, err := ebpf.FindCgroup("/")
	if err != nil {
		t.Fatal(err)
	}
	cgroup, err := os.MkdirTemp(root, "fairlead-test-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.Remove(cgroup)
	bpffs(t, func(directory string) {
		network, err := netns.New()
		if err != nil {
			t.Error(err)
			return
		}
		defer network.Close()
		a := bare(t, Options{Node: "worker-1"})
		a.options.Config.LB.BPFFS, a.options.Config.LB.CgroupRoot = directory+"/fairlead", cgroup
		sockets, _, err := a.newSockets()
		if err != nil {
			t.Error(err)
			return
		}
		defer sockets.Close()
		packets, err := a.newPackets([2]uint16{})
		if err != nil {
			t.Error(err)
			return
		}
		defer packets.Close()
		held := traced("10.244.0.2:8080", "10.244.0.3:8080")
		for _, apply := range []error{sockets.Apply(t.Context(), held), packets.Apply(t.Context(), held)} {
			if apply != nil {
				t.Error(apply)
				return
			}
		}
		a.compareKernel(t, held)
		if err := ebpf.Remove(a.options.Config.LB.BPFFS); err != nil {
			t.Error(err)
		}
		if answer, err := a.trace(question(t, "from=pod&to=10.96.0.1:80/tcp")); err != nil || !strings.Contains(answer.Kernel[0].Problem, "no attached programs") {
			t.Errorf("%+v, %v", answer, err)
		}
	})
}

const sockets, packets = "eBPF in sockets", "nftables"

func (a *Agent) compareKernel(t *testing.T, held lb.Table) {
	t.Helper()
	none := held
	none.Entries, none.ClusterIPs = pmap.Map[lb.Frontend, *lb.Entry]{}, held.ClusterIPs.Delete(netip.MustParseAddr("10.96.0.1"))
	none.ClusterIPs = none.ClusterIPs.Set(netip.MustParseAddr("10.96.0.2"), 1)
	fewer := traced("10.244.0.2:8080", "10.244.0.4:8080")
	elsewhere := held
	elsewhere.NodeAddresses = []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.7")}
	differs := []string{"backend 10.244.0.4:8080 is missing", "backend 10.244.0.3:8080 should not be there"}
	const two = "forward to 2 backends"
	for _, c := range []struct {
		decided  lb.Table
		question string
		verdict  lb.Verdict
		want     []KernelSays
	}{
		{held, "from=pod&to=10.96.0.1:80/tcp", lb.Forward, []KernelSays{{Plane: sockets, Held: two}, {Plane: packets, Held: two}}},
		{held, "from=host&to=127.0.0.1:30080/tcp", lb.Forward, []KernelSays{{Plane: sockets, Held: two}, {Plane: packets, Held: two}}},
		{held, "from=outside&source=203.0.113.9&to=192.0.2.1:30080/tcp", lb.Forward, []KernelSays{{Plane: packets, Held: two}}},
		{held, "from=pod&source=198.51.100.7&to=10.96.0.1:81/tcp", lb.Forward, []KernelSays{{Plane: sockets, Held: "left to nftables, because of loadBalancerSourceRanges"}, {Plane: packets, Held: two}}},
		{held, "from=pod&source=203.0.113.9&to=10.96.0.1:81/tcp", lb.Drop, []KernelSays{{Plane: sockets, Held: "left to nftables, because of loadBalancerSourceRanges"}, {Plane: packets, Held: two}}},
		{held, "from=pod&to=10.96.0.1:82/tcp", lb.Refuse, []KernelSays{{Plane: sockets, Held: "no entry"}, {Plane: packets, Held: "no entry"}}},
		{held, "from=pod&to=10.96.0.1:80/sctp", lb.Refuse, []KernelSays{{Plane: packets, Held: "no entry"}}},
		{held, "from=pod&to=203.0.113.1:80/tcp", lb.Pass, []KernelSays{{Plane: sockets, Held: "no entry"}, {Plane: packets, Held: "no entry"}}},
		{fewer, "from=pod&to=10.96.0.1:80/tcp", lb.Forward, []KernelSays{{Plane: sockets, Held: two, Differences: differs}, {Plane: packets, Held: two, Differences: differs}}},
		{none, "from=pod&to=10.96.0.1:80/tcp", lb.Drop, []KernelSays{
			{Plane: sockets, Held: two, Differences: []string{"there is an entry that no Service has"}}, {Plane: packets, Held: two, Differences: []string{"there is an entry that no Service has"}},
		}},
		{none, "from=outside&to=10.96.0.2:80/tcp", lb.Refuse, []KernelSays{{Plane: packets, Held: "no entry", Differences: []string{"10.96.0.2 is not among the ClusterIPs, so the packet is not refused"}}}},
		{elsewhere, "from=outside&to=192.0.2.7:30080/tcp", lb.Forward, []KernelSays{{Plane: packets, Held: two, Differences: []string{"192.0.2.7 is not among the addresses of the node"}}}},
	} {
		a.decided(c.decided)
		answer, err := a.trace(question(t, c.question))
		if err != nil || answer.Verdict != c.verdict {
			t.Errorf("%s: %+v, %v", c.question, answer, err)
		}
		if diff := cmp.Diff(c.want, answer.Kernel); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.question, diff)
		}
	}
}
