package server

import (
	"net"
	"net/netip"
	"testing"
	"time"

	wire "github.com/miekg/dns"
)

// TestBatchSize expects the inbox to ask for more packets the more there are,
// for one after a pause, and to lose none.
func TestBatchSize(t *testing.T) {
	conn, err := listenUDP(t.Context(), netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	raw, err := conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	client, err := net.Dial("udp", conn.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	const packets = 100
	for i := range packets {
		client.Write([]byte{byte(i)})
	}
	in := newInbox()
	var sizes []int
	for next := 0; next < packets; {
		if err := raw.Read(in.receive); err != nil || in.failure != 0 {
			t.Fatal(err, in.failure)
		}
		sizes = append(sizes, in.got)
		for i := range in.got {
			if packet := in.packet(i); len(packet) != 1 || packet[0] != byte(next) {
				t.Fatalf("packet %d is %v", next, packet)
			}
			next++
		}
	}
	for i, want := range []int{1, 2, 4, 8, 16, 32} {
		if sizes[i] != want {
			t.Fatalf("batches of %v", sizes)
		}
	}
	for range 6 {
		conn.SetReadDeadline(time.Now().Add(time.Millisecond))
		if raw.Read(in.receive) == nil {
			t.Fatal("a packet out of nowhere")
		}
	}
	if in.want != 1 {
		t.Errorf("after pauses %d packets are asked for", in.want)
	}
}

// TestBurst sends queries of both kinds faster than they are answered, from
// clients of which some are gone by then, and expects every other reply.
func TestBurst(t *testing.T) {
	_, at := start(t, Config{Sockets: 1}, cluster(t, 3))
	for _, address := range []string{"127.0.0.1", "::1"} {
		client, err := net.Dial("udp", netip.AddrPortFrom(netip.MustParseAddr(address), at.Port()).String())
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		const queries = 150
		for i := range queries {
			name := []string{"web.shop.svc.cluster.local.", "dns-version.cluster.local.", "big.shop.svc.cluster.local."}[i%3]
			m := query(name, []uint16{wire.TypeA, wire.TypeTXT, wire.TypeSRV}[i%3])
			m.Id = uint16(i)
			packed, err := m.Pack()
			if err != nil {
				t.Fatal(err)
			}
			client.Write(packed)
			if i%10 == 0 {
				gone, err := net.Dial("udp", client.RemoteAddr().String())
				if err != nil {
					t.Fatal(err)
				}
				gone.Write(packed)
				gone.Close()
			}
		}
		seen := map[uint16]bool{}
		client.SetReadDeadline(time.Now().Add(10 * time.Second))
		buffer := make([]byte, 1500)
		for range queries {
			n, err := client.Read(buffer)
			if err != nil {
				t.Fatalf("after %d replies: %v", len(seen), err)
			}
			reply := new(wire.Msg)
			if err := reply.Unpack(buffer[:n]); err != nil || len(reply.Answer) != []int{1, 1, 3}[reply.Id%3] || seen[reply.Id] {
				t.Fatalf("%v, %v", err, reply)
			}
			seen[reply.Id] = true
		}
	}
}
