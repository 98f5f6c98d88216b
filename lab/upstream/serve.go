package upstream

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/miekg/dns"
)

// Serve answers on port 53 of every address, over UDP and TCP, until ctx ends or a socket fails.
func Serve(ctx context.Context, addrs []netip.Addr) error {
	answers := NewAnswers()
	handler := dns.HandlerFunc(func(w dns.ResponseWriter, query *dns.Msg) {
		reply := answers.Answer(query)
		if reply == nil {
			return
		}
		if w.RemoteAddr().Network() == "udp" {
			reply.Truncate(udpSize(query))
		}
		_ = w.WriteMsg(reply) // a client that went away asks again
	})
	failed := make(chan error)
	for _, addr := range addrs {
		for _, network := range []string{"udp", "tcp"} {
			server := &dns.Server{Addr: netip.AddrPortFrom(addr, 53).String(), Net: network, Handler: handler}
			go func() {
				err := server.ListenAndServe()
				select {
				case failed <- fmt.Errorf("answer DNS on %s %s: %w", network, server.Addr, err):
				case <-ctx.Done():
				}
			}()
		}
	}
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
		return nil
	}
}

// udpSize is the largest answer the client takes over UDP (RFC 6891, section 6.2.3).
func udpSize(query *dns.Msg) int {
	if opt := query.IsEdns0(); opt != nil {
		return max(int(opt.UDPSize()), dns.MinMsgSize)
	}
	return dns.MinMsgSize
}
