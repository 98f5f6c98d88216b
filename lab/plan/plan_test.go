package plan

import (
	"net/netip"
	"testing"
)

func TestNewGivesEveryThingItsOwnAddress(t *testing.T) {
	p, err := New(MaxNodes)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[netip.Addr]string{}
	claim := func(owner string, pair Pair, network Nets) {
		for _, a := range []netip.Addr{pair.V4, pair.V6} {
			if other, taken := seen[a]; taken {
				t.Errorf("%s and %s both have %s", owner, other, a)
			}
			seen[a] = owner
			if !network.V4.Contains(a) && !network.V6.Contains(a) {
				t.Errorf("%s: %s is not on its network", owner, a)
			}
		}
	}
	claim("gateway", p.Gateway, p.Fabric)
	claim("resolver", p.Resolver, p.Fabric)
	claim("client", p.Client, p.Fabric)
	claim("remote", p.Remote, p.Outside)
	for _, r := range p.Routers() {
		claim(r.Name, r.Addr, p.Fabric)
		claim(r.Name+" outside", r.Outside, p.Outside)
	}
	for _, n := range p.Nodes {
		claim(n.Name, n.Addr, p.Fabric)
		if !p.Pods.V4.Contains(n.Pods.V4.Addr()) || !p.Pods.V6.Contains(n.Pods.V6.Addr()) {
			t.Errorf("%s: pods %v are outside the cluster's range", n.Name, n.Pods)
		}
	}
	for i, a := range p.Nodes {
		for _, b := range p.Nodes[i+1:] {
			if a.Pods.V4.Overlaps(b.Pods.V4) || a.Pods.V6.Overlaps(b.Pods.V6) || a.Name == b.Name {
				t.Errorf("%s and %s overlap", a.Name, b.Name)
			}
		}
	}
}

func TestServiceAddressesAreInTheirRange(t *testing.T) {
	p, err := New(1)
	if err != nil {
		t.Fatal(err)
	}
	for _, pair := range []Pair{p.DNS, p.Kubernetes} {
		if !p.Services.V4.Contains(pair.V4) || !p.Services.V6.Contains(pair.V6) {
			t.Errorf("%v is outside %v", pair, p.Services)
		}
	}
}

func TestNewRefusesImpossibleNumbers(t *testing.T) {
	for _, n := range []int{-1, 0, MaxNodes + 1} {
		if _, err := New(n); err == nil {
			t.Errorf("%d nodes: no error", n)
		}
	}
}

func TestFind(t *testing.T) {
	p, _ := New(2)
	if n, ok := p.Find("worker-1"); !ok || n.Role != Worker {
		t.Errorf("worker-1: %v %v", n, ok)
	}
	if _, ok := p.Find("worker-2"); ok {
		t.Error("found a node that is not planned")
	}
}
