package uplink

import (
	"fmt"
	"maps"
	"net"
	"net/netip"
	"testing"

	"github.com/fairlead-net/fairlead/internal/desired"
)

// TestPorts lets many clients of one endpoint use up the ports, which are then
// taken from flows that have ended, and never from others.
func TestPorts(t *testing.T) {
	f := ways()[0]
	f.kind, f.pod, f.six, f.vip = packetsFlowKindTO_REMOTE, 2, false, vip4
	w := newWorld(t)
	w.sysctl(w.nodes[1], "ipv4/ip_local_port_range=1024 64511") // leaves 1,024
	p := w.plane(1)
	w.apply(1, p, table(1, f.services(1)))
	b := w.bench(p)
	seen := map[uint16]int{}
	from := func(i int) netip.AddrPort {
		return netip.AddrPortFrom(netip.MustParseAddr(clientIP4), uint16(10000+i))
	}
	send := func(i int, flags byte) (port uint16, err error) {
		q := packet{from: from(i), to: netip.MustParseAddrPort(f.vip + ":80"), protocol: desired.TCP, flags: flags}
		verdict, out, err := b.run(q.frame(b.card), 1)
		if err != nil || verdict != redirects {
			return 0, err
		}
		return read(t, out).from.Port(), nil
	}
	knock := func(first, last int) (served int) {
		w.in(w.nodes[1], func() error {
			for i := first; i < last; i++ {
				port, err := send(i, flagSYN)
				if err != nil {
					return err
				}
				if port != 0 && (port < 64512 || seen[port] > 0) {
					return fmt.Errorf("client %d got port %d, which %d had", i, port, seen[port])
				}
				if port != 0 {
					seen[port]++
					served++
				}
			}
			return nil
		})
		return served
	}
	knock(0, 3000)
	if len(seen) < 1000 {
		t.Errorf("only %d of 1024 ports were used", len(seen))
	}
	if c, err := p.Counters(); err != nil || c.Passed.NoPort == 0 {
		t.Errorf("%+v, %v", c, err)
	}
	// Clients that never went on are forgotten after a minute, even if nobody sweeps.
	age(t, p, int(p.config.timeouts.unanswered)+1)
	clear(seen)
	if served := knock(5000, 5300); served != 300 {
		t.Errorf("%d of 300 clients got a port that others had left", served)
	}
}

// TestPortsRest closes connections: their ports are not used again while endpoints may
// remember them, unless there are no others.
func TestPortsRest(t *testing.T) {
	f := ways()[0]
	f.kind, f.pod, f.six, f.vip = packetsFlowKindTO_REMOTE, 2, false, vip4
	w := newWorld(t)
	w.sysctl(w.nodes[1], "ipv4/ip_local_port_range=1024 64511") // leaves 1,024
	p := w.plane(1)
	w.apply(1, p, table(1, f.services(1)))
	b := w.bench(p)
	pod, vip := netip.MustParseAddrPort(join(podIP(2, 0, false), 8080)), netip.MustParseAddrPort(f.vip+":80")
	send := func(from, to netip.AddrPort, flags byte) (packet, bool) {
		verdict, out, err := b.run(packet{from: from, to: to, protocol: desired.TCP, flags: flags}.frame(b.card), 1)
		if err != nil {
			t.Fatal(err)
		}
		return read(t, out), verdict == redirects
	}
	// connect has clients send a SYN, and returns the addresses that they got.
	connect := func(first, last int) (got []netip.AddrPort) {
		for i := first; i < last; i++ {
			if q, served := send(netip.AddrPortFrom(netip.MustParseAddr(clientIP4), uint16(i)), vip, flagSYN); served {
				got = append(got, q.from)
			}
		}
		return got
	}
	w.in(w.nodes[1], func() error {
		resting := map[netip.AddrPort]bool{}
		for i, at := range connect(10000, 10400) {
			resting[at] = true
			send(netip.AddrPortFrom(netip.MustParseAddr(clientIP4), uint16(10000+i)), vip, flagFIN|flagACK)
			send(pod, at, flagFIN|flagACK)
		}
		age(t, p, int(p.config.timeouts.closed)+1)
		for _, at := range connect(20000, 20200) {
			if resting[at] {
				t.Errorf("%s was used again", at)
			}
		}
		again := 0
		for _, at := range connect(30000, 33000) {
			if resting[at] {
				again++
			}
		}
		if again < 300 {
			t.Errorf("only %d of %d ports were used again when no others were left", again, len(resting))
		}
		return nil
	})
}

func addrPort(address packetsAddress, port uint16) netip.AddrPort {
	return packetsEndpoint{Address: address, Port: port}.addrPort()
}

// TestSharedEndpoint has one port of a client talk to an endpoint on this node by two
// addresses: the endpoint sees two ports, and both get their answers.
func TestSharedEndpoint(t *testing.T) {
	for _, f := range ways() {
		if f.kind != packetsFlowKindTO_LOCAL {
			continue
		}
		t.Run(f.String(), func(t *testing.T) {
			w := newWorld(t)
			p := w.plane(1)
			w.apply(1, p, table(1, f.services(1)))
			b := w.bench(p)
			client, pod := netip.AddrPortFrom(netip.MustParseAddr(f.client), 40000), netip.MustParseAddrPort(join(podIP(1, 0, f.six), 8080))
			seen := map[netip.AddrPort]netip.AddrPort{}
			w.in(w.nodes[1], func() error {
				for _, to := range []string{join(f.vip, 80), join(nodeIP(1, f.six), 30080)} {
					asked := packet{from: client, to: netip.MustParseAddrPort(to), protocol: desired.TCP, flags: flagSYN}
					for range 2 { // the second time as what follows
						_, out, err := b.run(asked.frame(b.card), 1)
						if err != nil {
							return err
						}
						got := read(t, out)
						if got.to != pod || got.from.Addr() != client.Addr() {
							t.Errorf("to %s: %s > %s", to, got.from, got.to)
						}
						if before, known := seen[got.from]; known && before != asked.to {
							t.Errorf("the endpoint sees %s by %s and by %s", got.from, before, asked.to)
						}
						seen[got.from] = asked.to
						asked.flags = flagACK
					}
				}
				return nil
			})
			if len(seen) != 2 || !seen[client].IsValid() {
				t.Errorf("the endpoint sees %v", seen)
			}
			answers := map[netip.AddrPort]netip.AddrPort{}
			if err := forEach(p.maps[packetsMapReplies], func(key packetsTuple, f packetsFlow) {
				answers[addrPort(key.Target, key.TargetPort)] = addrPort(f.To.Source, f.To.SourcePort)
			}); err != nil {
				t.Fatal(err)
			}
			if !maps.Equal(answers, seen) {
				t.Errorf("answers come from %v, want %v", answers, seen)
			}
		})
	}
}

// TestPortsOfOthers keeps off ports from which the stack talks to the same
// endpoint, as nftables does for connections that are older than the programs.
func TestPortsOfOthers(t *testing.T) {
	f := ways()[0]
	f.kind, f.pod, f.six, f.vip = packetsFlowKindTO_REMOTE, 2, false, vip4
	w := newWorld(t)
	w.track(1)
	w.sysctl(w.nodes[1], "ipv4/ip_local_port_range=1024 64511") // leaves 1,024
	const first, last = 64512, 65012
	pod := netip.MustParseAddrPort(join(podIP(2, 0, false), 8080))
	w.in(w.nodes[1], func() error {
		for port := first; port < last; port++ {
			c, err := net.DialUDP("udp4", &net.UDPAddr{Port: port}, net.UDPAddrFromAddrPort(pod))
			if err != nil {
				return err
			}
			defer c.Close()
			if _, err := c.Write([]byte("older")); err != nil {
				return err
			}
		}
		return nil
	})
	p := w.plane(1)
	w.apply(1, p, table(1, f.services(1)))
	b := w.bench(p)
	served := 0
	w.in(w.nodes[1], func() error {
		for i := range 400 {
			q := packet{from: netip.AddrPortFrom(netip.MustParseAddr(clientIP4), uint16(10000+i)), to: netip.MustParseAddrPort(f.vip + ":80"), protocol: desired.UDP}
			verdict, out, err := b.run(q.frame(b.card), 1)
			if err != nil || verdict != redirects {
				continue
			}
			served++
			if port := read(t, out).from.Port(); port >= first && port < last {
				return fmt.Errorf("client %d got port %d, which the node uses", i, port)
			}
		}
		return nil
	})
	if served < 300 {
		t.Errorf("only %d of 400 clients were served", served)
	}
}
