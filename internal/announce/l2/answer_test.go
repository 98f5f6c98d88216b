package l2

import (
	"net/netip"
	"os/exec"
	"testing"
)

// TestIgnored sends what must not be answered, each followed by a question that
// is: on one socket nothing overtakes.
func TestIgnored(t *testing.T) {
	w := newWorld(t)
	node, client := w.machine(), w.machine("192.0.2.1/24", "fd00::1/64")
	p, h := node.plane(t), client.tap(t, "eth0")
	gain(t, p, "192.0.2.50", "fd00::50", "192.0.2.51", "fd00::51")
	for _, a := range []string{"192.0.2.51", "fd00::51"} {
		client.reaches(t, a, node.mac)
	}
	h.forget()
	request := arp{to: broadcast(), operation: arpRequest, sender: h.mac, senderIP: client4, targetIP: vip4}
	another, reply, mine := request, request, request
	another.targetIP = netip.MustParseAddr("192.0.2.52")
	reply.operation = arpReply
	mine.sender = node.mac // it hears itself
	overheard := request
	overheard.to = hardware{2, 0xee, 0, 0, 0, 1}
	for _, a := range []arp{another, reply, mine, overheard} {
		must(t, h.arp.send(appendARP(nil, a)))
	}
	for _, at := range []int{15, 19, 21} {
		frame := appendARP(nil, request)
		frame[at] ^= 8
		must(t, h.arp.send(frame))
	}
	h.ask(t, "192.0.2.51")
	await(t, "the question after them is answered", func() bool { return h.answers("192.0.2.51") == 1 })
	malformed := p.Malformed()
	if n := h.answers("192.0.2.50"); n != 0 || malformed != 3 {
		t.Errorf("%d answers, and %d packets are malformed, want 0 and 3", n, malformed)
	}

	question := solicit(h.mac, client6, vip6)
	elsewhere, answered := question, advertise(h.mac, client6)
	elsewhere.target = netip.MustParseAddr("fd00::52")
	for _, n := range []ndp{elsewhere, answered} {
		must(t, h.ndp.send(appendNDP(nil, n)))
	}
	const message = ethernetLength + ipv6Length
	for _, at := range []int{21, message + 1, message + 2, message + 25} { // hop limit, code, checksum, length of the option
		frame := appendNDP(nil, question)
		frame[at] ^= 1
		if at != message+2 {
			resum(frame)
		}
		must(t, h.ndp.send(frame))
	}
	for _, at := range []int{20, message} { // another protocol, another message: the filter stops them
		frame := appendNDP(nil, question)
		frame[at] ^= 0x10
		must(t, h.ndp.send(resum(frame)))
	}
	h.ask(t, "fd00::51")
	await(t, "the question after them is answered", func() bool { return h.answers("fd00::51") == 1 })
	if n := h.answers("fd00::50"); n != 0 || p.Malformed() != malformed+4 {
		t.Errorf("%d answers, and %d packets are malformed, want 0 and 4", n, p.Malformed()-malformed)
	}
	if rivals(p) != 0 {
		t.Error("one of them is a conflict")
	}
}

// TestProbed asks as machines do that are about to take an address.
func TestProbed(t *testing.T) {
	w := newWorld(t)
	node, client := w.machine(), w.machine("192.0.2.1/24")
	p, h := node.plane(t), client.tap(t, "eth0")
	gain(t, p, "192.0.2.50", "fd00::50")
	client.reaches(t, "192.0.2.50", node.mac)
	h.forget()
	must(t, h.arp.send(appendARP(nil, arpProbe(h.mac, vip4))))
	await(t, "an ARP probe is answered", func() bool { return h.answers("192.0.2.50") == 1 })
	if h.countARP(func(a arp) bool { return a.to == h.mac && a.targetIP.IsUnspecified() && a.target == h.mac }) != 1 {
		t.Error("the answer is not addressed to the probe")
	}
	asked := solicit(h.mac, netip.IPv6Unspecified(), vip6)
	asked.station = hardware{}
	before := h.announced("fd00::50", node.mac)
	must(t, h.ndp.send(appendNDP(nil, asked)))
	await(t, "duplicate address detection is answered through all nodes", func() bool { return h.announced("fd00::50", node.mac) > before })
	if c := p.Counters()[vip6]; c.Responses != 1 {
		t.Errorf("counted as %+v", c)
	}
}

// TestSnooping has a switch that passes multicast packets on only to where they
// are asked for (RFC 4541).
func TestSnooping(t *testing.T) {
	w := newWorld(t)
	node, other, client := w.machine(), w.machine(), w.machine("fd00::1/64")
	// A querier that asks every second, and believes what it knows after one.
	const second = "100"
	w.network.in(t, func() {
		output, err := exec.CommandContext(t.Context(), "ip", "link", "set", "br0", "type", "bridge", "mcast_snooping", "1",
			"mcast_query_response_interval", second, "mcast_startup_query_interval", second, "mcast_query_interval", second).CombinedOutput()
		if err == nil {
			output, err = exec.CommandContext(t.Context(), "ip", "link", "set", "br0", "type", "bridge", "mcast_querier", "1").CombinedOutput()
		}
		if err != nil {
			t.Fatalf("ip: %v: %s", err, output)
		}
	})
	p, deaf, h := node.plane(t), other.tap(t, "eth0"), client.tap(t, "eth0")
	gain(t, p, "fd00::50")
	await(t, "questions go to the node and nowhere else", func() bool {
		deaf.forget()
		h.forget()
		for i := range 10 {
			await(t, "the question is answered", func() bool {
				h.ask(t, "fd00::50")
				return h.answers("fd00::50") > i
			})
		}
		return deaf.countNDP(func(n ndp) bool { return n.kind == solicitation && n.target == vip6 }) == 0
	})
}

// TestAllocations expects none for what everybody on the network sends, nor for
// answers.
func TestAllocations(t *testing.T) {
	w := newWorld(t)
	node := w.machine()
	p := node.plane(t)
	gain(t, p, "192.0.2.50", "fd00::50")
	p.mu.Lock()
	port := p.ports[node.link(t, "eth0").Attrs().Index]
	p.mu.Unlock()
	reply := make([]byte, 0, maxFrame)
	request := arp{to: broadcast(), operation: arpRequest, sender: station, senderIP: client4, targetIP: vip4}
	other := request
	other.targetIP = client4.Next()
	for what, f := range map[string]func(){
		"another's ARP": func() { port.answerARP(port.arp, appendARP(reply, other), reply[100:100]) },
		"ARP":           func() { port.answerARP(port.arp, appendARP(reply, request), reply[100:100]) },
		"another's NDP": func() {
			port.answerNDP(port.ndp, appendNDP(reply, solicit(station, client6, client6.Next())), reply[200:200])
		},
		"NDP": func() { port.answerNDP(port.ndp, appendNDP(reply, solicit(station, client6, vip6)), reply[200:200]) },
	} {
		least := testing.AllocsPerRun(100, f)
		for range 5 { // what the Plane does meanwhile is counted too
			least = min(least, testing.AllocsPerRun(100, f))
		}
		if least != 0 {
			t.Errorf("%s: %v allocations", what, least)
		}
	}
	if c := p.Counters(); c[vip4].Requests < 100 || c[vip6].Requests < 100 || c[vip4].Requests != c[vip4].Responses {
		t.Errorf("counted as %v", c)
	}
}
