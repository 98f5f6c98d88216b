package agent

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"time"

	wire "github.com/miekg/dns"
)

// TestDNSBeforeFirstState asks a server that has not heard of any object yet for one of
// the cluster's names. It must not ask another server, which says that there is no such
// name.
func TestDNSBeforeFirstState(t *testing.T) {
	listen := func() net.PacketConn {
		conn, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		return conn
	}
	port := func(conn net.PacketConn) netip.AddrPort { return conn.LocalAddr().(*net.UDPAddr).AddrPort() }
	elsewhere := listen()
	up := &wire.Server{PacketConn: elsewhere, Handler: wire.HandlerFunc(func(w wire.ResponseWriter, m *wire.Msg) {
		w.WriteMsg(new(wire.Msg).SetRcode(m, wire.RcodeNameError))
	})}
	go up.ActivateAndServe()
	t.Cleanup(func() { up.Shutdown() })
	at := freeAddress(t)

	a := bare(t, Options{})
	a.options.Config.DNS.Listen = []netip.AddrPort{at}
	a.options.Config.DNS.Upstreams = []netip.AddrPort{port(elsewhere)}
	a.options.Config.DNS.Lameduck = 0
	p, err := a.newDNS()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- p.run(ctx) }()
	asked := func(name string) int {
		for {
			reply, _, err := new(wire.Client).Exchange(new(wire.Msg).SetQuestion(name, wire.TypeA), at.String())
			if err == nil {
				return reply.Rcode
			}
			if ctx.Err() != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Millisecond) // it does not listen yet
		}
	}
	if rcode := asked("web.shop.svc.cluster.local."); rcode != wire.RcodeServerFailure {
		t.Errorf("a name of the cluster: %s", wire.RcodeToString[rcode])
	}
	if rcode := asked("www.example.com."); rcode != wire.RcodeNameError {
		t.Errorf("another name: %s", wire.RcodeToString[rcode])
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
