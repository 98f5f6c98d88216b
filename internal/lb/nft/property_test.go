package nft

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/lb"
)

// short is how long a client waits here; what is due is looked for in conntrack.
const short = patience / 3

// dice makes Tables and packets at random, few enough different ones that they
// often meet.
type dice struct{ *rand.Rand }

func oneOf[T any](d dice, of ...T) T { return of[d.IntN(len(of))] }

func (d dice) protocol() desired.Protocol { return oneOf(d, desired.TCP, desired.UDP, desired.SCTP) }

func (d dice) choice(a addresses) lb.Choice {
	var all []string
	for _, address := range []string{a.pod(1), a.pod(2), a.pod(3), a.far} {
		for _, port := range []string{"8080", "9090"} {
			if d.IntN(3) == 0 {
				all = append(all, at(address, port))
			}
		}
	}
	c := choiceOf(all...)
	slices.SortFunc(c.Backends, netip.AddrPort.Compare)
	c.Drop = len(all) == 0 && d.IntN(2) == 0
	return c
}

func (d dice) entry(a addresses) *lb.Entry {
	e := &lb.Entry{Choice: d.choice(a), Kind: lb.LoadBalancerIP}
	if d.IntN(3) == 0 {
		e.Affinity = time.Duration(1+d.IntN(2)) * time.Hour
	}
	if d.IntN(3) == 0 {
		c := d.choice(a)
		e.Outside = &c
	}
	if d.IntN(4) == 0 {
		e.Sources = []netip.Prefix{}
		for _, address := range []string{a.pod(1), a.outside, a.node} {
			if d.IntN(2) == 0 {
				p, _ := netip.MustParseAddr(address).Prefix(oneOf(d, 0, 8, 17, 24, 32))
				e.Sources = append(e.Sources, p, oneOf(d, p, netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("2001:db8:9::/48")))
			}
		}
	}
	return e
}

func (d dice) change(entries map[lb.Frontend]*lb.Entry) {
	for range 1 + d.IntN(12) {
		a := oneOf(d, families()...)
		address := oneOf(d, a.clusterIP, a.clusterIP[:len(a.clusterIP)-1]+"2", a.loadBalancer, a.any, a.any)
		f := frontendOf(at(address, oneOf(d, "80", "81")), d.protocol())
		if d.IntN(4) == 0 {
			delete(entries, f)
			continue
		}
		entries[f] = d.entry(a)
		if strings.HasPrefix(address, a.clusterIP[:len(a.clusterIP)-1]) {
			entries[f].Kind = lb.ClusterIP
		}
	}
}

// normal is an Entry as the kernel can say it.
func normal(f lb.Frontend, e *lb.Entry) *lb.Entry {
	n := &lb.Entry{Choice: e.Choice, Outside: e.Outside, Affinity: e.Affinity}
	if len(backendsIn(e)) == 0 {
		n.Affinity = 0
	}
	if e.Sources != nil {
		n.Sources = append([]netip.Prefix{}, disjoint(e.Sources, f.Address.Is6())...)
		slices.SortFunc(n.Sources, netip.Prefix.Compare)
	}
	return n
}

// quiet keeps namespaces from answering, so that what conntrack notes stays.
func (w *world) quiet() {
	for _, ns := range append([]int{0}, 1, 2, 3) {
		handle := w.outside
		if ns > 0 {
			handle = w.pods[ns]
		}
		w.in(handle, func() error {
			const rules = "add table inet quiet; add chain inet quiet input { type filter hook input priority 0; }; add rule inet quiet input meta l4proto { udp, sctp } drop; add rule inet quiet input tcp flags & (syn | ack) == syn drop"
			return exec.Command("nft", rules).Run()
		})
	}
}

// watcher looks into the node's conntrack.
type watcher struct{ *socket }

func (w *world) watcher() watcher {
	w.t.Helper()
	var s *socket
	w.in(w.node, func() (err error) {
		s, err = openSocket()
		return err
	})
	w.t.Cleanup(s.close)
	return watcher{s}
}

// flow returns what became of a packet to somewhere, by its client's port.
func (o watcher) flow(t testing.TB, to lb.Frontend, client uint16) (flow, bool) {
	t.Helper()
	flows, err := o.flows(to.Address.Is6(), to.Protocol, 0, func(flow) bool { return true })
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(flows, func(f flow) bool { return f.client.Port() == client })
	if i < 0 {
		return flow{}, false
	}
	return flows[i], true
}

// try sends the first packet of a connection from a place. The channel gets what
// the client's socket says, if it says something.
func (w *world) try(from lb.Place, to lb.Frontend, client uint16) chan error {
	said := make(chan error, 1)
	target := netip.AddrPortFrom(to.Address, to.Port).String()
	go func() {
		said <- within(w.place(from), func() error {
			switch to.Protocol {
			case desired.SCTP:
				defer time.Sleep(short)
				return sendRaw(desired.SCTP, to.Address.String(), sctpPacket(client, to.Port, 0, sctpInit))
			case desired.UDP:
				c, err := (&net.Dialer{LocalAddr: &net.UDPAddr{Port: int(client)}}).Dial("udp", target)
				if err != nil {
					return err
				}
				defer c.Close()
				return talk(c, short).err
			}
			c, err := (&net.Dialer{LocalAddr: &net.TCPAddr{Port: int(client)}, Timeout: short}).Dial("tcp", target)
			if err == nil {
				c.Close()
			}
			return err
		})
	}()
	return said
}

// observe returns the verdict on a packet, and the backend it was sent to.
func (w *world) observe(o watcher, p lb.Packet, client uint16) (lb.Verdict, netip.AddrPort) {
	said := w.try(p.From, p.To, client)
	var err error
	for waiting := true; ; {
		if f, found := o.flow(w.t, p.To, client); found {
			if waiting {
				<-said
			}
			if f.answers == netip.AddrPortFrom(p.To.Address, p.To.Port) {
				return lb.Pass, netip.AddrPort{}
			}
			return lb.Forward, f.answers
		}
		if !waiting {
			break
		}
		select {
		case err = <-said:
			waiting = false
		case <-time.After(5 * time.Millisecond):
		}
	}
	if errors.Is(err, syscall.ECONNREFUSED) {
		return lb.Refuse, netip.AddrPort{}
	}
	return lb.Drop, netip.AddrPort{}
}

// TestLikeLookup sends packets of all kinds after each of many changes and expects
// from the kernel what lb.Lookup says of the Table; and expects the sets to hold
// what they hold where the same Table was written anew.
func TestLikeLookup(t *testing.T) {
	w := newWorld(t, 3)
	w.quiet()
	watcher := w.watcher()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	d := dice{rand.New(rand.NewPCG(seed, 1))}
	entries := map[lb.Frontend]*lb.Entry{}
	p := w.plane()
	client := uint16(10000)
	verdicts := map[lb.Verdict]int{}
	for round := range 20 {
		d.change(entries)
		want := table(entries)
		if d.IntN(4) == 0 {
			want.NodeAddresses = want.NodeAddresses[:d.IntN(2)]
		}
		if d.IntN(4) == 0 {
			want.ServiceCIDRs = want.ServiceCIDRs[d.IntN(2):]
		}
		w.apply(p, want)
		if round%8 == 7 {
			p.Close()
			p = w.plane()
			w.apply(p, want)
		}
		w.holds(p, want, entries)
		for range 12 {
			client++
			packet := d.packet(client)
			decision := want.Lookup(packet)
			got, backend := w.observe(watcher, packet, client)
			expected := decision.Verdict
			verdicts[expected]++
			vague := packet.To.Protocol == desired.SCTP || packet.From == lb.Host && packet.To.Protocol == desired.UDP
			if vague && expected == lb.Refuse && got == lb.Drop {
				continue // the client cannot tell
			}
			if got != expected || got == lb.Forward && !slices.Contains(decision.Backends, backend) {
				t.Fatalf("round %d, %s: got %s %s, want %s %v (%s)\n%s", round, fmt.Sprint(packet), got, backend, expected, decision.Backends, decision.Why, w.nft("list", "map", "inet", "fairlead", "inside4"))
			}
		}
	}
	t.Log(verdicts)
	for _, v := range []lb.Verdict{lb.Forward, lb.Refuse, lb.Drop, lb.Pass} {
		if verdicts[v] == 0 {
			t.Errorf("no packet had the verdict %s", v)
		}
	}
}

func (d dice) packet(uint16) lb.Packet {
	a := oneOf(d, families()...)
	p := lb.Packet{From: oneOf(d, lb.Pod, lb.Host, lb.Outside)}
	address := oneOf(d, a.clusterIP, a.clusterIP[:len(a.clusterIP)-1]+"2", a.loadBalancer, a.node, a.node, a.clusterIP+"9")
	p.To = frontendOf(at(address, oneOf(d, "80", "81")), d.protocol())
	if address == a.node && p.To.Protocol == desired.TCP {
		// What passes is refused by the node's own TCP, which looks the same.
		p.To.Protocol = desired.UDP
	}
	p.Source = netip.MustParseAddr(map[lb.Place]string{lb.Pod: a.pod(1), lb.Outside: a.outside, lb.Host: a.node}[p.From])
	return p
}

// holds expects the kernel to have what the Table says, and nothing else.
func (w *world) holds(p *Plane, want lb.Table, entries map[lb.Frontend]*lb.Entry) {
	w.t.Helper()
	normals := map[lb.Frontend]*lb.Entry{}
	for f, e := range entries {
		normals[f] = normal(f, e)
	}
	got, err := p.Dump()
	if err != nil {
		w.t.Fatal(err)
	}
	addresses := cmp.Options{
		cmp.Comparer(func(a, b netip.Addr) bool { return a == b }), cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b }),
		cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
		cmp.FilterPath(func(p cmp.Path) bool { return p.Last().String() == ".Backends" }, cmpopts.EquateEmpty()),
	}
	if diff := cmp.Diff(normals, got, addresses); diff != "" {
		w.t.Fatalf("the kernel differs (-want +got):\n%s", diff)
	}
	for f := range got {
		e, found, err := p.Lookup(f)
		if diff := cmp.Diff(got[f], e, addresses); err != nil || !found || diff != "" {
			w.t.Fatalf("Lookup of %s: %v, %v: %s", f, found, err, diff)
		}
		none := f
		none.Port = 9
		if e, found, err := p.Lookup(none); err != nil || found {
			w.t.Fatalf("Lookup of %s: %+v, %v", none, e, err)
		}
		_, isClusterIP := want.ClusterIPs.Get(f.Address)
		node, clusterIP, err := p.Knows(f.Address)
		if err != nil || node || clusterIP != isClusterIP {
			w.t.Fatalf("%s: a node's %v, a ClusterIP %v, %v", f.Address, node, clusterIP, err)
		}
	}
	for _, address := range want.NodeAddresses {
		if node, clusterIP, err := p.Knows(address); err != nil || !node || clusterIP {
			w.t.Fatalf("%s: a node's %v, a ClusterIP %v, %v", address, node, clusterIP, err)
		}
	}
	have, fresh := contents(w.t, p), anew(w.t, want)
	for _, s := range p.layout.sets() {
		slots := strings.Contains(s.name, "backends") || strings.Contains(s.name, "ids")
		switch {
		case s.verdicts || s.keeps:
		case slots && len(have[s.name]) != len(fresh[s.name]), !slots && !slices.Equal(have[s.name], fresh[s.name]):
			w.t.Fatalf("set %s has %q, made anew %q", s.name, have[s.name], fresh[s.name])
		}
	}
}
