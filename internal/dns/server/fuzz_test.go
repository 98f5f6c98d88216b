package server

import (
	"bytes"
	"context"
	"strings"
	"testing"

	wire "github.com/miekg/dns"
)

// FuzzHandle expects no packet to break the server, and every reply to be one
// to its packet: well-formed, same ID, same question, within the limits.
func FuzzHandle(f *testing.F) {
	for _, m := range []*wire.Msg{
		query("web.shop.svc.cluster.local.", wire.TypeA), query("big.shop.svc.cluster.local.", wire.TypeSRV), query("out.shop.svc.cluster.local.", wire.TypeAAAA),
		query("1.0.96.10.in-addr.arpa.", wire.TypePTR), query("cluster.local.", wire.TypeNS), query(".", wire.TypeANY), query(`a\.b\200.cluster.local.`, wire.TypeA),
		query("www.example.com.", wire.TypeA).SetEdns0(4096, true), new(wire.Msg).SetNotify("cluster.local."),
	} {
		packed, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(packed, true)
		f.Add(packed, false)
	}
	p, err := New(Config{})
	if err != nil {
		f.Fatal(err)
	}
	p.Apply(context.Background(), cluster(f, 120))
	h := newHot(p, p.tallies[0])
	f.Fuzz(func(t *testing.T, packet []byte, udp bool) {
		n, limit := overTCP, wire.MaxMsgSize
		if udp {
			n, limit = overUDP, p.config.MaxUDP
		}
		sent := bytes.Clone(packet)
		if reply, ok := h.answer(packet, nil, n, nobody); ok {
			checkReply(t, packet, reply, limit)
		}
		reply, later := p.handle(packet, p.tallies[0], n, nobody)
		if later != nil {
			t.Fatal("an upstream is to be asked although there is none")
		}
		if !bytes.Equal(sent, packet) {
			t.Fatal("the packet was changed")
		}
		if p.tallies[0].panics.Load() > 0 {
			t.Fatal("the server panicked")
		}
		if reply == nil {
			if len(packet) >= headerSize && packet[2]&0x80 == 0 {
				t.Fatal("no reply to a query")
			}
			return
		}
		checkReply(t, packet, reply, limit)
	})
}

func checkReply(t *testing.T, packet, packed []byte, limit int) {
	t.Helper()
	reply := new(wire.Msg)
	if err := reply.Unpack(packed); err != nil {
		t.Fatalf("reply is malformed: %v: %x", err, packed)
	}
	if len(packed) > limit || !reply.Response || packed[0] != packet[0] || packed[1] != packet[1] {
		t.Fatalf("reply of %d bytes to another query: %v", len(packed), reply)
	}
	asked := new(wire.Msg)
	if err := asked.Unpack(packet); err != nil || len(asked.Question) != 1 {
		return
	}
	if len(reply.Question) == 1 && reply.Question[0] != asked.Question[0] {
		t.Fatalf("question %v became %v", asked.Question[0], reply.Question[0])
	}
	if reply.Rcode == wire.RcodeSuccess && len(reply.Question) != 1 {
		t.Fatalf("no question in %v", reply)
	}
	for _, rr := range reply.Answer {
		if !strings.HasSuffix(rr.Header().Name, ".") {
			t.Fatalf("relative name in %v", rr)
		}
	}
}
