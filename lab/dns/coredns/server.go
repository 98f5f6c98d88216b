package coredns

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/coredns/caddy"
	"github.com/coredns/coredns/core/dnsserver"
	// Plugins register themselves.
	_ "github.com/coredns/coredns/plugin/autopath"
	_ "github.com/coredns/coredns/plugin/bind"
	_ "github.com/coredns/coredns/plugin/bufsize"
	_ "github.com/coredns/coredns/plugin/cache"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/forward"
	_ "github.com/coredns/coredns/plugin/hosts"
	_ "github.com/coredns/coredns/plugin/kubernetes"
	_ "github.com/coredns/coredns/plugin/loadbalance"
	_ "github.com/coredns/coredns/plugin/nsid"
	"github.com/coredns/coredns/plugin/pkg/log"
	_ "github.com/coredns/coredns/plugin/rewrite"
)

// Server is a running CoreDNS.
type Server struct{ instance *caddy.Instance }

// Start runs CoreDNS with the text of a Corefile, whose plugins can be those that
// this file imports. It returns when the
// kubernetes plugin has every object, or after five seconds. CoreDNS keeps its
// state in package variables: one Server at a time.
func Start(corefile string) (*Server, error) {
	caddy.Quiet, dnsserver.Quiet = true, true
	log.Discard()
	instance, err := caddy.Start(caddy.CaddyfileInput{Filepath: "Corefile", Contents: []byte(corefile), ServerTypeName: "dns"})
	if err != nil {
		return nil, fmt.Errorf("CoreDNS does not start: %w", err)
	}
	return &Server{instance}, nil
}

// TCP returns the loopback address and port at which the first server block
// answers over TCP.
func (s *Server) TCP() (netip.AddrPort, error) {
	for _, listener := range s.instance.Servers() {
		if address, ok := listener.Addr().(*net.TCPAddr); ok {
			return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), address.AddrPort().Port()), nil
		}
	}
	return netip.AddrPort{}, fmt.Errorf("CoreDNS listens nowhere")
}

// Stop ends the server and its informers.
func (s *Server) Stop() error {
	if errs := s.instance.ShutdownCallbacks(); len(errs) > 0 {
		return fmt.Errorf("CoreDNS: %v", errs)
	}
	return s.instance.Stop()
}
