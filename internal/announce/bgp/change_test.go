package bgp

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	wire "github.com/osrg/gobgp/v4/pkg/packet/bgp"

	"github.com/fairlead-net/fairlead/internal/announce"
	"github.com/fairlead-net/fairlead/internal/desired"
)

// TestCorrected: a BGPPeer that has been corrected is tried at once, however long the
// router was to be let be before, and what was wrong before is not said any more.
func TestCorrected(t *testing.T) {
	f := serve(t, netip.AddrFrom4([4]byte{127, 0, 3, 1}), func(conn net.Conn) {
		handshake(conn)
		_, _ = io.Copy(io.Discard, conn)
	})
	p := plane(t)
	apply(t, p, table([]announce.Peer{f.peer("a", func(p *announce.Peer) { p.PeerASN = 64999 })}))
	says(t, p, "a", "the router's AS number is 64513")
	p.mu.Lock()
	for _, e := range p.entries {
		e.damper.failures = 100
		e.keepOff(time.Now().Add(time.Hour))
	}
	p.mu.Unlock()
	await(t, "the router is let be", func() bool { return !status(t, p, "a").Retry.IsZero() })
	apply(t, p, table([]announce.Peer{f.peer("a")}))
	if s := status(t, p, "a"); !s.Retry.IsZero() {
		t.Errorf("it is tried at %s: %+v", s.Retry, s)
	}
	established(t, p, "a")
	if s := status(t, p, "a"); s.Error != "" {
		t.Errorf("got %+v", s)
	}
}

// TestRestarting: the OPEN message of a new process says that it has restarted and kept
// the forwarding state of each family (RFC 4724, section 3), and that of a BGPPeer
// without graceful restart says nothing of it.
func TestRestarting(t *testing.T) {
	seen := make(chan *wire.BGPOpen, 100)
	f := serve(t, netip.AddrFrom4([4]byte{127, 0, 3, 2}), func(conn net.Conn) {
		if m, err := readMessage(conn); err == nil {
			seen <- m.Body.(*wire.BGPOpen)
		}
		_, _ = conn.Write(slices.Concat(open(), keepalive()))
		_, _ = io.Copy(io.Discard, conn)
	})
	p := plane(t)
	for _, graceful := range []bool{true, false} {
		apply(t, p, table([]announce.Peer{f.peer("a", func(p *announce.Peer) { p.GracefulRestart, p.BothFamilies = graceful, true })}))
		var got *wire.CapGracefulRestart
		select {
		case o := <-seen:
			for _, c := range capabilities(o) {
				if g, ok := c.(*wire.CapGracefulRestart); ok {
					got = g
				}
			}
		case <-time.After(late):
			t.Fatal("no OPEN message has come")
		}
		if !graceful {
			if got != nil {
				t.Errorf("got %+v", got)
			}
			continue
		}
		if got == nil || got.Flags&0x8 == 0 || got.Time != restartTime || len(got.Tuples) != 2 {
			t.Fatalf("got %+v, want the restart state, and two families", got)
		}
		for _, family := range got.Tuples {
			if family.Flags&0x80 == 0 {
				t.Errorf("%+v: the forwarding state is not said to be kept", family)
			}
		}
	}
}

// TestListenUntil: a look at a router that has ended already does not wait for it.
func TestListenUntil(t *testing.T) {
	here, there := net.Pipe()
	defer func() { _, _ = here.Close(), there.Close() }()
	ctx, cancel := context.WithCancel(t.Context())
	must(t, listenUntil(ctx, here, time.Time{}))
	cancel()
	if err := listenUntil(ctx, here, time.Time{}); err == nil {
		t.Error("it would be waited for")
	}
}

// TestHanging: a router that reads nothing of what it is told keeps nobody waiting, be it
// another router, those who apply and ask, or the end of its session.
func TestHanging(t *testing.T) {
	over := make(chan struct{})
	hanging := serve(t, netip.AddrFrom4([4]byte{127, 0, 3, 4}), func(conn net.Conn) {
		_ = conn.(*net.TCPConn).SetReadBuffer(4096)
		handshake(conn)
		<-over
	})
	t.Cleanup(func() { close(over) })
	good := serve(t, netip.AddrFrom4([4]byte{127, 0, 3, 5}), func(conn net.Conn) {
		handshake(conn)
		_, _ = io.Copy(io.Discard, conn)
	})
	peers := []announce.Peer{good.peer("good"), hanging.peer("hanging")}
	p := plane(t)
	apply(t, p, table(peers))
	established(t, p, "good")
	established(t, p, "hanging")
	var slowest time.Duration
	for n := range 8 {
		// Communities of its own give each route a message, and one that fills buffers.
		var routes []announce.Route
		for i := range 2000 {
			r := route(fmt.Sprintf("10.%d.%d.%d/32", 1+n%2, i>>8, i&255), "")
			for c := range uint32(100) {
				r.Communities = append(r.Communities, desired.Community{Numbers: [3]uint32{uint32(i), c}})
			}
			routes = append(routes, r)
		}
		began := time.Now()
		apply(t, p, table(peers, routes...))
		p.Peers()
		slowest = max(slowest, time.Since(began))
	}
	t.Logf("the slowest Apply took %s", slowest)
	if slowest > late/2 {
		t.Errorf("an Apply took %s", slowest)
	}
	var told uint64
	await(t, "one is stuck, and the other has all", func() bool {
		stuck, free := status(t, p, "hanging").Counters.UpdatesSent, status(t, p, "good").Counters.UpdatesSent
		done := free > 10000 && stuck < free && free == told
		told = free
		return done
	}, func() string { return fmt.Sprintf("%+v", p.Peers()) })
	began := time.Now()
	apply(t, p, table(peers[:1]))
	if took := time.Since(began); took > late/2 {
		t.Errorf("to end the session took %s", took)
	}
}
