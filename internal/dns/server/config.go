package server

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fairlead-net/fairlead/internal/dns/server/forward"
)

// Config says where to serve and within which bounds. In the zero Config every
// field has a default; it has no upstreams.
type Config struct {
	// Listen are the addresses for UDP and TCP: [::]:53, which takes IPv4 too.
	Listen []netip.AddrPort
	// TLS configures DNS over TLS; it is off in the zero Config.
	TLS TLS
	// HTTPS configures DNS over HTTPS; it is off, too.
	HTTPS HTTPS
	// Sockets is the number of UDP sockets per address: GOMAXPROCS.
	Sockets int
	// MaxUDP is the largest UDP reply in bytes, and what is advertised as the
	// largest query: 1232, which passes every path unfragmented.
	MaxUDP int
	// MaxConnections and MaxClientConnections bound TCP connections in all and
	// per client address: 4096 and 512. MaxPipelined bounds the queries of one
	// connection that wait for an upstream: 100; no further query is read then.
	MaxConnections       int
	MaxClientConnections int
	MaxPipelined         int
	// MaxWaiting bounds the queries, over UDP and TCP, that wait for an upstream:
	// 4096; more are refused.
	MaxWaiting int
	// IdleTimeout closes a TCP connection without queries: 10 s (RFC 7766).
	// IOTimeout is for the rest of a query, and for a reply to be taken: 5 s.
	IdleTimeout time.Duration
	IOTimeout   time.Duration
	// Lameduck is how long Close goes on answering after readiness is withdrawn,
	// so that clients find another server first. Zero means not at all.
	Lameduck time.Duration
	// Autopath answers a pod that looks a name up along its search path at the first
	// attempt; the Tables have to know the pods. Search is what nodes add to search paths.
	Autopath bool
	Search   []string
	// CountNames has the names counted that are asked most, for Plane.Top.
	CountNames bool
	// Blocks say what is special about zones; without any, nothing is.
	Blocks []Block
	// KernelFastPath lets the kernel answer usual queries about the cluster where they
	// come in, if it can (package kernel).
	KernelFastPath bool
	// Forward configures upstream servers; its Own, Tap and Log are set here.
	Forward forward.Config
	Log     *slog.Logger
	// Registry gets the metrics; may be nil.
	Registry prometheus.Registerer
}

// Port 53 needs a privilege that the message of a failure names.
const defaultPort = 53

func (c Config) complete() (Config, error) {
	if len(c.Listen) == 0 {
		c.Listen = []netip.AddrPort{netip.AddrPortFrom(netip.IPv6Unspecified(), defaultPort)}
	}
	for _, address := range c.Listen {
		if !address.IsValid() {
			return c, fmt.Errorf("listen address %q is none: write ADDRESS:PORT or [ADDRESS]:PORT", address)
		}
	}
	if err := errors.Join(c.TLS.check(c.HTTPS), c.HTTPS.check(c.TLS)); err != nil {
		return c, err
	}
	if c.Sockets < 0 || c.MaxConnections < 0 || c.MaxClientConnections < 0 || c.MaxPipelined < 0 || c.MaxWaiting < 0 || c.IdleTimeout < 0 || c.IOTimeout < 0 || c.Lameduck < 0 {
		return c, fmt.Errorf("limits of the DNS server must not be negative: %+v", c)
	}
	if c.MaxUDP != 0 && (c.MaxUDP < 512 || c.MaxUDP > 4096) {
		return c, fmt.Errorf("UDP size %d is out of range: use 512 to 4096", c.MaxUDP)
	}
	c.Sockets = orDefault(c.Sockets, runtime.GOMAXPROCS(0))
	c.MaxUDP = orDefault(c.MaxUDP, 1232)
	c.MaxConnections = orDefault(c.MaxConnections, 4096)
	c.MaxClientConnections = orDefault(c.MaxClientConnections, 512)
	c.MaxPipelined = orDefault(c.MaxPipelined, 100)
	c.MaxWaiting = orDefault(c.MaxWaiting, 4096)
	c.IdleTimeout = orDefault(c.IdleTimeout, 10*time.Second)
	c.IOTimeout = orDefault(c.IOTimeout, 5*time.Second)
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c, nil
}

func orDefault[T comparable](value, standard T) T {
	var zero T
	if value == zero {
		return standard
	}
	return value
}
