package bgp

import (
	"bytes"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	wire "github.com/osrg/gobgp/v4/pkg/packet/bgp"
	"github.com/vishvananda/netlink"

	"github.com/fairlead-net/fairlead/internal/announce"
)

// TestAdvertisement: what is sent is what is believed, and only from the same link.
func TestAdvertisement(t *testing.T) {
	mac := net.HardwareAddr{2, 0, 0, 0, 0, 1}
	router, stranger := netip.MustParseAddr("fe80::1"), netip.MustParseAddr("2001:db8::1")
	sent, asked := routerAdvertisement(mac), appendSolicitation(nil, mac)
	if len(sent) != 24 || sent[6] != 0 || sent[7] != 0 || len(asked) != 16 {
		t.Errorf("got % x and % x", sent, asked)
	}
	for i, c := range []struct {
		message  []byte
		hopLimit int
		sender   netip.Addr
		want     bool
	}{
		{sent, 255, router, true}, {asked, 255, stranger, true}, {sent, 254, router, false}, {sent, 255, stranger, false},
		{sent[:15], 255, router, false}, {asked[:7], 255, router, false}, {nil, 255, router, false}, {[]byte{128, 0, 0, 0, 0, 0, 0, 0}, 255, router, false},
	} {
		if got := trusted(c.message, c.hopLimit, c.sender); got != c.want {
			t.Errorf("%d: %t", i, got)
		}
	}
}

// TestRouter: of several routers the one that was first stays, and what is not heard
// any more is forgotten.
func TestRouter(t *testing.T) {
	changes := 0
	n := &neighbourhood{heard: map[netip.Addr]time.Time{}, changed: func() { changes++ }}
	now := time.Unix(1000, 0)
	a, b := netip.MustParseAddr("fe80::a"), netip.MustParseAddr("fe80::b")
	expect := func(want netip.Addr, told int) {
		t.Helper()
		if got := n.router(now); got != want || changes != told {
			t.Errorf("%s after %d changes, want %s after %d", got, changes, want, told)
		}
	}
	expect(netip.Addr{}, 0)
	n.hear(now, b)
	expect(b, 1)
	n.hear(now, a)
	expect(b, 1)
	now = now.Add(forgotten)
	n.hear(now, a)
	expect(b, 1)
	now = now.Add(time.Second)
	expect(a, 1) // whoever asks next sees it
	now = now.Add(forgotten + 1)
	expect(netip.Addr{}, 1)
	for i := range 1000 {
		n.hear(now, netip.AddrFrom16([16]byte{0xfe, 0x80, 15: byte(i), 14: byte(i >> 8)}))
	}
	if len(n.heard) > maxHeard {
		t.Errorf("%d routers are remembered", len(n.heard))
	}
}

// TestAnswers: those who ask for routers again and again do not make this node talk.
func TestAnswers(t *testing.T) {
	var n neighbourhood
	now := time.Unix(1000, 0)
	answers := 0
	for range 1000 {
		if n.answers(now) {
			answers++
		}
		now = now.Add(10 * time.Millisecond)
	}
	if answers != 4 {
		t.Errorf("%d answers in 10 s", answers)
	}
}

// TestInterfaceAnew: an interface that was deleted and made anew is listened at again.
func TestInterfaceAnew(t *testing.T) {
	const name = "anew"
	link := func() int {
		must(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: "anew-end"}))
		l := must2(netlink.LinkByName(name))(t)
		must(t, netlink.LinkSetUp(l))
		return l.Attrs().Index
	}
	t.Cleanup(func() {
		if l, err := netlink.LinkByName(name); err == nil {
			_ = netlink.LinkDel(l)
		}
	})
	p := plane(t)
	want := table([]announce.Peer{peer("a", netip.Addr{}, 0, func(p *announce.Peer) { p.Interface = name })})
	expect := func(index int, problem string) {
		t.Helper()
		apply(t, p, want)
		p.mu.Lock()
		defer p.mu.Unlock()
		got := 0
		if l := p.links[name]; l != nil {
			got = l.index
		}
		if e := p.entries[want.Peers[0].Name]; got != index || !strings.HasPrefix(e.problem, problem) {
			t.Errorf("listens at interface %d, want %d; %s", got, index, e.problem)
		}
	}
	first := link()
	expect(first, "no router has been heard at interface anew")
	must(t, netlink.LinkDel(must2(netlink.LinkByName(name))(t)))
	expect(0, "there is no interface anew")
	second := link()
	if second == first {
		t.Fatal("the interface has the same number")
	}
	expect(second, "no router has been heard at interface anew")
}

// FuzzReadMessage: whatever a router sends in answer to a peek ends in a message or an
// error.
func FuzzReadMessage(f *testing.F) {
	f.Add(open())
	f.Add(keepalive())
	f.Add(message(wire.BGP_MSG_NOTIFICATION, []byte{6, 2, 3, 'b', 'y', 'e'}))
	f.Add(message(wire.BGP_MSG_OPEN, []byte{4, 0xfc, 1, 0, 90, 1, 2, 3, 4, 8, 2, 6, 65, 4, 0, 0, 0xfc, 1}))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := safeMessage(bytes.NewReader(b))
		if err == nil && m == nil {
			t.Error("neither a message nor an error")
		}
		if err != nil {
			return
		}
		if o, ok := m.Body.(*wire.BGPOpen); ok {
			asOf(o)
		}
	})
}

func TestASOf(t *testing.T) {
	for as, b := range map[uint32][]byte{
		64513:  open(),
		131072: message(wire.BGP_MSG_OPEN, []byte{4, 0x5b, 0xa0, 0, 90, 1, 2, 3, 4, 8, 2, 6, 65, 4, 0, 2, 0, 0}),
	} {
		m, err := safeMessage(bytes.NewReader(b))
		must(t, err)
		if got := asOf(m.Body.(*wire.BGPOpen)); got != as {
			t.Errorf("%d, want %d", got, as)
		}
	}
}
