package main

import (
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// TestLoad lets the load ask a server that answers a third with names, a third
// with NXDOMAIN, and loses the rest.
func TestLoad(t *testing.T) {
	packets, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &dns.Server{PacketConn: packets, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, m *dns.Msg) {
		reply := new(dns.Msg).SetReply(m)
		switch m.Question[0].Name {
		case "yes.":
			rr, _ := dns.NewRR("yes. 1 A 192.0.2.1")
			reply.Answer = append(reply.Answer, rr)
		case "no.":
			reply.Rcode = dns.RcodeNameError
		case "lost.":
			return
		}
		_ = w.WriteMsg(reply)
	})}
	go func() { _ = s.ActivateAndServe() }()
	t.Cleanup(func() { _ = s.Shutdown() })
	task := task{server: packets.LocalAddr().(*net.UDPAddr).AddrPort(), pid: os.Getpid(), cpu: -1, rate: 2000, window: 500, length: time.Second}
	for _, name := range []string{"yes.", "no.", "lost."} {
		packed, err := new(dns.Msg).SetQuestion(name, dns.TypeA).Pack()
		if err != nil {
			t.Fatal(err)
		}
		task.queries = append(task.queries, packed)
	}
	got, err := task.run()
	if err != nil {
		t.Fatal(err)
	}
	if got.NoError == 0 || got.NXDomain == 0 || got.Other != 0 || got.Answered != got.NoError+got.NXDomain || got.P99 == 0 || got.CPU == 0 {
		t.Errorf("%+v", got)
	}
	task.server = netip.AddrPortFrom(task.server.Addr(), 1)
	if got, err := task.run(); err == nil {
		t.Errorf("nobody answers, and the load finds %+v", got)
	}
}

func TestHistogram(t *testing.T) {
	var h histogram
	for i := range 1000 {
		h.add(time.Duration(i) * time.Microsecond)
	}
	for q, want := range map[float64]time.Duration{0.5: 500 * time.Microsecond, 0.99: 990 * time.Microsecond} {
		if got := h.quantile(q); got < want || got > want+want/10 {
			t.Errorf("quantile %g is %s, want about %s", q, got, want)
		}
	}
}

func TestMixes(t *testing.T) {
	for _, m := range mixes(100) {
		path, err := m.write(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		list, err := readQueries(path)
		if err != nil || len(list) != queries {
			t.Fatalf("%s: %d queries, %v", m.name, len(list), err)
		}
		var first dns.Msg
		if err := first.Unpack(list[0]); err != nil || len(first.Question) != 1 || !first.RecursionDesired {
			t.Errorf("%s: %v, %v", m.name, &first, err)
		}
	}
}
