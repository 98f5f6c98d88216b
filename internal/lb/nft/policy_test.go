package nft

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/lb"
)

// addresses of the world in one family.
type addresses struct {
	six                                              bool
	clusterIP, loadBalancer, node, outside, any, far string
}

func families() []addresses {
	return []addresses{
		{false, "10.96.0.1", "203.0.113.5", nodeIP4, outsideIP4, "0.0.0.0", "10.244.1.7"},
		{true, "fd00:96::1", "2001:db8:1::5", nodeIP6, outsideIP6, "::", "fd00:244:1::7"},
	}
}

func (a addresses) pod(i int) string { return podIP(i, a.six) }

func at(address, port string) string { return net.JoinHostPort(address, port) }

// nodeHas tells whether an address is one of the node.
func nodeHas(a netip.Addr) bool {
	return slices.Contains([]string{nodeIP4, nodeIP6, "10.244.0.254", "fd00:244::fffe"}, a.String())
}

// oddSource makes the node connect to ClusterIPs from an address that nobody else
// knows, and returns it.
func (w *world) oddSource(a addresses) string {
	w.t.Helper()
	odd, bits, services := "198.51.100.1", 32, "10.96.0.0/16"
	if a.six {
		odd, bits, services = "2001:db8:5::1", 128, "fd00:96::/112"
	}
	w.in(w.node, func() error {
		lo, err := netlink.LinkByName("lo")
		if err != nil {
			return err
		}
		address, err := netlink.ParseAddr(fmt.Sprintf("%s/%d", odd, bits))
		if err != nil {
			return err
		}
		if a.six {
			address.Flags = unix.IFA_F_NODAD
		}
		_, dst, err := net.ParseCIDR(services)
		return errors.Join(err, netlink.AddrAdd(lo, address),
			netlink.RouteAdd(&netlink.Route{Dst: dst, Gw: net.ParseIP(a.outside), Src: net.ParseIP(odd)}))
	})
	return odd
}

// TestWhoseAddress expects backends to see the client's address wherever replies
// find back by themselves, and the node's address everywhere else.
func TestWhoseAddress(t *testing.T) {
	for _, a := range families() {
		w := newWorld(t, 3)
		w.serve(w.pods[1], desired.TCP, at(a.pod(1), "8080"))
		w.serve(w.pods[2], desired.TCP, at(a.pod(2), "8080"))
		w.serve(w.pods[3], desired.TCP, at(a.pod(3), "8080"))
		w.serve(w.outside, desired.TCP, at(a.far, "8080"))
		entries := map[lb.Frontend]*lb.Entry{}
		for port, backend := range map[string]string{"81": a.pod(1), "82": a.pod(2), "87": a.far} {
			entries[frontendOf(at(a.clusterIP, port), desired.TCP)] = &lb.Entry{Choice: choiceOf(at(backend, "8080"))}
			entries[frontendOf(at(a.any, port), desired.TCP)] = &lb.Entry{Choice: choiceOf(at(backend, "8080"))}
		}
		p := w.plane()
		w.apply(p, table(entries))
		odd := w.oddSource(a)
		const theNode = "the node"
		for _, c := range []struct {
			from     lb.Place
			to, port string
			seen     string
		}{
			{lb.Pod, a.clusterIP, "82", a.pod(1)},
			{lb.Pod, a.clusterIP, "87", a.pod(1)},
			{lb.Pod, a.node, "82", a.pod(1)},
			{lb.Pod, a.clusterIP, "81", theNode}, // hairpin
			{lb.Pod, a.node, "81", theNode},
			{lb.Host, a.clusterIP, "82", odd}, // the reply is for the node itself
			{lb.Host, a.clusterIP, "87", theNode},
			{lb.Host, a.node, "82", theNode},
			{lb.Outside, a.node, "82", a.outside},
			{lb.Outside, a.clusterIP, "82", a.outside},
			{lb.Outside, a.node, "87", theNode},
		} {
			got := w.ask(w.place(c.from), desired.TCP, at(c.to, c.port), long)
			switch {
			case got.err != nil:
				t.Errorf("from %s to %s port %s: %v", c.from, c.to, c.port, got.err)
			case c.seen == theNode && !nodeHas(got.seen.Addr()), c.seen != theNode && got.seen.Addr().String() != c.seen:
				t.Errorf("from %s to %s port %s: the backend saw %s, want %s", c.from, c.to, c.port, got.seen, c.seen)
			}
		}
		// A host port of the CNI is none of our business.
		family := "ip"
		if a.six {
			family = "ip6"
		}
		w.nft("add", "table", "inet", "cni")
		w.nft("add chain inet cni ports { type nat hook prerouting priority -90; }")
		w.nft("add rule inet cni ports tcp dport 9000 dnat " + family + " to " + at(a.pod(3), "8080"))
		if got := w.ask(w.outside, desired.TCP, at(a.node, "9000"), long); got.err != nil || got.seen.Addr().String() != a.outside {
			t.Errorf("host port: the backend saw %s, %v", got.seen, got.err)
		}
	}
}

// TestTrafficPolicy expects externalTrafficPolicy: Local to bind those from
// outside only, and protocols that share a port to have backends of their own.
func TestTrafficPolicy(t *testing.T) {
	for _, a := range families() {
		w := newWorld(t, 2)
		w.serve(w.pods[2], desired.TCP, at(a.pod(2), "8080"))
		w.serve(w.pods[2], desired.UDP, at(a.pod(2), "5353"))
		w.serve(w.outside, desired.TCP, at(a.far, "8080"))
		both, local, far := choiceOf(at(a.pod(2), "8080"), at(a.far, "8080")), choiceOf(at(a.pod(2), "8080")), choiceOf(at(a.far, "8080"))
		entries := map[lb.Frontend]*lb.Entry{}
		for _, address := range []string{a.any, a.loadBalancer} {
			for port, e := range map[string]*lb.Entry{
				"80": {Choice: both, Outside: &local},
				"81": {Choice: far, Outside: &lb.Choice{Drop: true}},
				"82": {Choice: far, Outside: &lb.Choice{}},
			} {
				e.Kind = lb.LoadBalancerIP
				entries[frontendOf(at(address, port), desired.TCP)] = e
			}
			entries[frontendOf(at(address, "80"), desired.UDP)] = &lb.Entry{Kind: lb.LoadBalancerIP, Choice: choiceOf(at(a.pod(2), "5353"))}
		}
		w.apply(w.plane(), table(entries))
		for _, address := range []string{a.node, a.loadBalancer} {
			for _, place := range []lb.Place{lb.Pod, lb.Host, lb.Outside} {
				seen := map[string]int{}
				for range 20 {
					got := w.ask(w.place(place), desired.TCP, at(address, "80"), long)
					if got.err != nil {
						t.Fatalf("%s to %s: %v", place, address, got.err)
					}
					seen[got.backend]++
					if place == lb.Outside && got.seen.Addr().String() != a.outside {
						t.Errorf("the backend saw %s", got.seen)
					}
				}
				if want := map[bool]int{true: 1, false: 2}[place == lb.Outside]; len(seen) != want || seen[at(a.pod(2), "8080")] == 0 {
					t.Errorf("%s to %s: answers came from %v", place, address, seen)
				}
				if got := w.ask(w.place(place), desired.UDP, at(address, "80"), long); got.backend != at(a.pod(2), "5353") {
					t.Errorf("%s to %s by UDP: %+v", place, address, got)
				}
				if place != lb.Outside {
					if got := w.ask(w.place(place), desired.TCP, at(address, "81"), long); got.backend != at(a.far, "8080") {
						t.Errorf("%s to %s: %+v", place, address, got)
					}
				}
			}
			if got := w.ask(w.outside, desired.TCP, at(address, "81"), patience); !got.silent() {
				t.Errorf("from outside, endpoints elsewhere: %v", got.err)
			}
			if got := w.ask(w.outside, desired.TCP, at(address, "82"), long); !got.refused() {
				t.Errorf("from outside, no endpoints: %v", got.err)
			}
		}
	}
}

// TestSources expects clients outside of the ranges to get no answer, from
// wherever they come, and ranges inside each other to be no trouble.
func TestSources(t *testing.T) {
	for _, a := range families() {
		w := newWorld(t, 2)
		w.serve(w.pods[2], desired.TCP, at(a.pod(2), "8080"))
		p := w.plane()
		f := frontendOf(at(a.loadBalancer, "80"), desired.TCP)
		apply := func(sources ...string) {
			e := &lb.Entry{Kind: lb.LoadBalancerIP, Choice: choiceOf(at(a.pod(2), "8080"))}
			for _, s := range sources {
				e.Sources = append(e.Sources, netip.MustParsePrefix(s))
			}
			w.apply(p, table(map[lb.Frontend]*lb.Entry{f: e}))
		}
		check := func(pod, outside bool) {
			t.Helper()
			for place, allowed := range map[lb.Place]bool{lb.Pod: pod, lb.Outside: outside} {
				wait := patience
				if allowed {
					wait = long
				}
				got := w.ask(w.place(place), desired.TCP, at(a.loadBalancer, "80"), wait)
				if allowed && got.err != nil || !allowed && !got.silent() {
					t.Errorf("%s, allowed %t: %v", place, allowed, got.err)
				}
			}
		}
		other := map[bool]string{false: "2001:db8::/32", true: "192.0.2.0/24"}[a.six]
		prefix := func(address string, bits int) string {
			return netip.PrefixFrom(netip.MustParseAddr(address), bits).Masked().String()
		}
		apply()
		check(true, true)
		apply(prefix(a.outside, 24), prefix(a.outside, 24+6), other)
		check(false, true)
		apply(prefix(a.pod(1), map[bool]int{false: 24, true: 64}[a.six]))
		check(true, false)
		apply(other)
		check(false, false)
		apply(prefix(a.outside, 0))
		check(true, true)
		apply()
		check(true, true)
	}
}

// TestAffinity expects a client to stay with its backend for as long as that is
// one, over a restart too, and each connection to count the time anew.
func TestAffinity(t *testing.T) {
	for _, a := range families() {
		w := newWorld(t, 5)
		var backends []string
		for i := 2; i <= 5; i++ {
			backends = append(backends, at(a.pod(i), "8080"))
			w.serve(w.pods[i], desired.TCP, at(a.pod(i), "8080"))
		}
		for _, address := range []string{a.clusterIP, a.any} {
			p := w.plane()
			f := frontendOf(at(address, "80"), desired.TCP)
			dial := at(map[bool]string{true: a.node, false: address}[address == a.any], "80")
			entry := func(list []string) *lb.Entry {
				return &lb.Entry{Affinity: time.Hour, Choice: choiceOf(list...)}
			}
			w.apply(p, table(map[lb.Frontend]*lb.Entry{f: entry(backends)}))
			stays := func(place lb.Place, not string) string {
				t.Helper()
				first := w.ask(w.place(place), desired.TCP, dial, long)
				if first.err != nil || first.backend == not {
					t.Fatalf("%+v\n%s", first, w.nft("list", "ruleset"))
				}
				for range 15 {
					if next := w.ask(w.place(place), desired.TCP, dial, long); next.backend != first.backend {
						t.Fatalf("from %s to %+v", first.backend, next)
					}
				}
				return first.backend
			}
			for _, place := range []lb.Place{lb.Pod, lb.Outside, lb.Host} {
				stays(place, "")
			}
			mine := stays(lb.Pod, "")
			p.Close()
			p = w.plane()
			rest := slices.DeleteFunc(slices.Clone(backends), func(b string) bool { return b == mine })
			// All others come and go, and the process with them.
			for _, list := range [][]string{backends, append([]string{mine}, rest[1:]...), append(slices.Clone(rest), mine), {rest[2], mine}} {
				w.apply(p, table(map[lb.Frontend]*lb.Entry{f: entry(list)}))
				if got := stays(lb.Pod, ""); got != mine {
					t.Fatalf("the client went from %s to %s, though nothing happened to its backend", mine, got)
				}
			}
			w.apply(p, table(map[lb.Frontend]*lb.Entry{f: entry(rest)}))
			stays(lb.Pod, mine)
			p.Close()
		}
	}
}

// TestAffinityTime expects a remembered client to be forgotten in time, and each
// connection to count the time anew.
func TestAffinityTime(t *testing.T) {
	w := newWorld(t, 2)
	w.serve(w.pods[2], desired.TCP, "10.244.0.2:8080")
	p := w.plane()
	f := frontendOf("10.96.0.1:80", desired.TCP)
	left := func() time.Duration {
		text := w.nft("list", "map", "inet", "fairlead", "affinity4")
		_, text, found := strings.Cut(text, "expires ")
		if !found {
			return 0
		}
		text, _, _ = strings.Cut(text, " ")
		d, err := time.ParseDuration(text)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	for _, affinity := range []time.Duration{time.Minute, time.Second} {
		w.apply(p, table(map[lb.Frontend]*lb.Entry{f: {Affinity: affinity, Choice: choiceOf("10.244.0.2:8080")}}))
		ask := func() {
			if got := w.ask(w.pods[1], desired.TCP, "10.96.0.1:80", long); got.err != nil {
				t.Fatal(got.err)
			}
		}
		ask()
		if affinity == time.Second {
			for deadline := time.Now().Add(long); left() > 0; time.Sleep(10 * time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatal("the client is still remembered")
				}
			}
			continue
		}
		before := left()
		for left() >= before {
			time.Sleep(10 * time.Millisecond)
		}
		low := left()
		ask()
		if now := left(); now <= low || now > affinity {
			t.Errorf("%s were left, %s after another connection", low, now)
		}
	}
}

// TestAffinityFull fills the map that remembers clients: new ones must be served
// all the same.
func TestAffinityFull(t *testing.T) {
	w := newWorld(t, 2)
	w.serve(w.pods[2], desired.TCP, "10.244.0.2:8080")
	p := w.plane()
	f := frontendOf("10.96.0.1:80", desired.TCP)
	w.apply(p, table(map[lb.Frontend]*lb.Entry{f: {Affinity: time.Hour, Choice: choiceOf("10.244.0.2:8080")}}))
	p.Close()
	w.in(w.node, func() error {
		s, err := openSocket()
		if err != nil {
			return err
		}
		defer s.close()
		t := newTransaction(p.layout)
		e := newEdits(nil)
		for i := range maxRemembered {
			client := netip.AddrFrom4([4]byte{100, byte(i >> 16), byte(i >> 8), byte(i)})
			e.put(e.add, element{set: "affinity4", key: append(client.AsSlice(), frontendKey(f)...), data: make([]byte, 12)}, nil)
		}
		e.write(t)
		return t.commit(s, 0)
	})
	if got := w.ask(w.pods[1], desired.TCP, "10.96.0.1:80", long); got.err != nil {
		t.Error(got.err)
	}
}
