package server

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"

	wire "github.com/miekg/dns"
	"golang.org/x/sys/unix"
)

// TestHandover replaces the server several times while clients ask from ever new
// ports, as an upgrade does that starts the next one first. It expects no query
// over UDP to be lost, nor any over TCP, where one retry is allowed for a
// connection that was reset in the moment of closing, and counted.
func TestHandover(t *testing.T) {
	for _, listen := range []string{"[::]:0", "127.0.0.15:0"} {
		t.Run(listen, func(t *testing.T) {
			p, at := start(t, Config{Listen: []netip.AddrPort{netip.MustParseAddrPort(listen)}, Sockets: 2}, cluster(t, 0))
			if own := p.Addresses()[0]; !own.Addr().IsUnspecified() {
				at = own
			}
			next := netip.AddrPortFrom(netip.MustParseAddrPort(listen).Addr(), at.Port())
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var all sync.WaitGroup
			var asked, retried atomic.Int64
			for i := range 4 {
				network := []string{"udp", "udp", "udp", "tcp"}[i]
				all.Go(func() {
					client := wire.Client{Net: network}
					for ctx.Err() == nil {
						asked.Add(1)
						reply, _, err := client.Exchange(query("web.shop.svc.cluster.local.", wire.TypeA), at.String())
						if network == "tcp" && errors.Is(err, unix.ECONNRESET) {
							retried.Add(1)
							reply, _, err = client.Exchange(query("web.shop.svc.cluster.local.", wire.TypeA), at.String())
						}
						if err != nil || len(reply.Answer) != 1 {
							t.Errorf("%s: %v, %v", network, err, reply)
							return
						}
					}
				})
			}
			const handovers = 6
			for range handovers {
				successor, _ := start(t, Config{Listen: []netip.AddrPort{next}, Sockets: 2}, cluster(t, 0))
				p.Close()
				p = successor
			}
			cancel()
			all.Wait()
			t.Logf("%d queries, %d retried over TCP", asked.Load(), retried.Load())
			if retried.Load() > handovers {
				t.Errorf("%d retries over TCP", retried.Load())
			}
		})
	}
}
