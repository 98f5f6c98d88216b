package proxy

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fairlead-net/fairlead/internal/l7/accesslog"
	"github.com/fairlead-net/fairlead/internal/l7/http1"
)

// Config says where to serve and within which bounds. In the zero Config every
// field has a default; times and sizes are those of ingress-nginx where it has them.
type Config struct {
	// Address is what Listeners bind: [::], which takes IPv4 too.
	Address netip.Addr
	// TrustedProxies are clients whose word about earlier hops is taken (X-Forwarded-For
	// and the like): none.
	TrustedProxies []netip.Prefix
	// unbounded are those of them that the Config names, not a Table.
	unbounded []netip.Prefix
	// ProxyProtocol are peers, load balancers, whose connections begin with a header of the
	// PROXY protocol, of version 1 or 2, which says who the client is: none. Connections of
	// theirs without one are closed; from others such a header is no request.
	ProxyProtocol []netip.Prefix
	// Upgrades are the protocols that connections may change to: websocket, and
	// SPDY/3.1, which kubectl exec uses. Others are as if not asked for.
	Upgrades []string
	// AskTLS is how servers are spoken with that decide who is let in, by https; nil: their
	// certificates have to be of an authority that the machine trusts.
	AskTLS *tls.Config
	// AllowedRanges are reached by the names that users choose (of ExternalName, and the
	// URLs of servers that are asked or get copies) though it would not be so otherwise,
	// DeniedRanges are not: none. Otherwise not reached are loopback, link-local, multicast,
	// unspecified and reserved addresses, metadata services, and the addresses that the
	// process itself has.
	AllowedRanges, DeniedRanges []netip.Prefix
	// ReservedPorts of this process are no backend's, also by their address: none.
	ReservedPorts []uint16
	// Balancing chooses among the endpoints of a backend: RoundRobin.
	Balancing Balancing

	// HTTP3 has HTTPS listeners serve HTTP/3 as well, at the UDP port of the same number.
	// AltSvcPort is what other answers of theirs say is that port (RFC 7838), which is
	// another one if clients reach the proxy through a Service: the listener's.
	HTTP3      bool
	AltSvcPort uint16

	// MaxConnections bounds those of clients in all: 16384; more are closed at once.
	MaxConnections int
	// MaxClientConnections bounds those of one client, which is an address of IPv4 or 64 bits
	// of one of IPv6, and its requests of HTTP/2 and HTTP/3 under way; 0: as many as are still
	// free, so that no client leaves others without. TrustedProxies are not bounded.
	MaxClientConnections int
	// MaxStreams bounds the requests that a client has under way on one connection of
	// HTTP/2 or HTTP/3: 128. MaxConnections bounds them in all.
	MaxStreams int
	// MaxLine, MaxHead and MaxFields bound the header of requests and responses: 8 KB,
	// 32 KB and 100.
	MaxLine, MaxHead, MaxFields int
	// MaxBody bounds the body of a request whose Route does not say: 1 MB. Negative means
	// not at all.
	MaxBody int64
	// MaxIdle bounds the connections to an endpoint that wait for a request: 320.
	MaxIdle int
	// Tries is how many endpoints are tried for a request, and how often it is sent in
	// all, at most: 3.
	Tries int
	// MinRate is how many bytes in a second a client has to send of a body, and to take of
	// an answer, on average and beyond the first BodyTimeout or WriteTimeout: 500. Only the
	// time counts that is spent in waiting for the client. Negative means any.
	MinRate int

	// HeadTimeout is for a request's header from its first byte, and for the handshake
	// of TLS: 60 s. IdleTimeout is for its first byte: 75 s.
	HeadTimeout, IdleTimeout time.Duration
	// BodyTimeout is for the next part of a request's body: 60 s.
	BodyTimeout time.Duration
	// ConnectTimeout is for a connection to an endpoint: 5 s. ReadTimeout is for the
	// next part of its answer, WriteTimeout for a part to be taken, by either side: 60 s.
	ConnectTimeout, ReadTimeout, WriteTimeout time.Duration
	// ContinueTimeout is for an endpoint's leave to send a body; after that it is sent: 1 s.
	ContinueTimeout time.Duration
	// UpstreamIdleTimeout closes connections to endpoints that wait for a request: 60 s.
	UpstreamIdleTimeout time.Duration
	// TunnelTimeout closes an upgraded connection on which nothing moves: 1 h.
	TunnelTimeout time.Duration
	// StreamTimeout closes connections of TCP Listeners, and sessions of UDP ones, on which
	// nothing moves: 10 min. StreamTries is how many endpoints are tried for one: 3.
	// MaxSessions bounds those of all UDP Listeners: 8192.
	StreamTimeout            time.Duration
	StreamTries, MaxSessions int
	// TLS13: clients are spoken with in no earlier version of TLS than 1.3; else 1.2.
	TLS13 bool
	// Lameduck is how long Close goes on accepting after readiness is withdrawn, so that
	// clients find another proxy first. DrainTimeout is how long it then waits for
	// connections: 30 s. In the meantime every answer says that it is the last.
	Lameduck, DrainTimeout time.Duration

	// AccessLog says how requests are written down; nil: they are not.
	AccessLog *AccessLog
	// Tracing says which requests are traced; nil: none.
	Tracing *Tracing

	Log *slog.Logger
	// Registry gets the metrics; may be nil.
	Registry prometheus.Registerer
}

func (c Config) complete() (Config, error) {
	for _, n := range []int{c.MaxConnections, c.MaxClientConnections, c.MaxLine, c.MaxHead, c.MaxFields, c.MaxIdle, c.Tries, c.MaxStreams, c.StreamTries, c.MaxSessions} {
		if n < 0 {
			return c, fmt.Errorf("limits of the proxy must not be negative: %+v", c)
		}
	}
	for _, d := range []*time.Duration{
		&c.HeadTimeout, &c.BodyTimeout, &c.ReadTimeout, &c.WriteTimeout, &c.UpstreamIdleTimeout, &c.IdleTimeout,
		&c.ConnectTimeout, &c.ContinueTimeout, &c.TunnelTimeout, &c.DrainTimeout, &c.Lameduck, &c.StreamTimeout,
	} {
		if *d < 0 {
			return c, fmt.Errorf("times of the proxy must not be negative: %+v", c)
		}
	}
	for _, d := range []*time.Duration{&c.HeadTimeout, &c.BodyTimeout, &c.ReadTimeout, &c.WriteTimeout, &c.UpstreamIdleTimeout} {
		*d = orDefault(*d, time.Minute)
	}
	c.IdleTimeout = orDefault(c.IdleTimeout, 75*time.Second)
	c.ConnectTimeout = orDefault(c.ConnectTimeout, 5*time.Second)
	c.ContinueTimeout = orDefault(c.ContinueTimeout, time.Second)
	c.StreamTimeout = orDefault(c.StreamTimeout, 10*time.Minute)
	c.StreamTries = orDefault(c.StreamTries, 3)
	c.MaxSessions = orDefault(c.MaxSessions, 8192)
	c.TunnelTimeout = orDefault(c.TunnelTimeout, time.Hour)
	c.DrainTimeout = orDefault(c.DrainTimeout, 30*time.Second)
	c.MaxConnections = orDefault(c.MaxConnections, 16384)
	c.MaxStreams = orDefault(c.MaxStreams, 128)
	c.MaxLine = orDefault(c.MaxLine, 8<<10)
	c.MaxHead = orDefault(c.MaxHead, 32<<10)
	c.MaxFields = orDefault(c.MaxFields, 100)
	c.MaxBody = orDefault(c.MaxBody, 1<<20)
	c.MaxIdle = orDefault(c.MaxIdle, 320)
	c.Tries = orDefault(c.Tries, 3)
	c.MinRate = orDefault(c.MinRate, 500)
	if a := c.AccessLog; a != nil && (a.Format == nil || a.Skips == nil) {
		log := *a
		log.Format, log.Skips = orDefault(a.Format, accesslog.JSON()), orDefault(a.Skips, new(accesslog.Skips))
		c.AccessLog = &log
	}
	if c.Upgrades == nil {
		c.Upgrades = []string{"websocket", "SPDY/3.1"}
	}
	if !c.Address.IsValid() {
		c.Address = netip.IPv6Unspecified()
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c, nil
}

func (c *Config) limits() http1.Limits {
	return http1.Limits{Line: c.MaxLine, Head: c.MaxHead, Fields: c.MaxFields}
}

func (c *Config) trusts(client netip.Addr) bool {
	return within(c.TrustedProxies, client)
}

func orDefault[T comparable](value, standard T) T {
	var zero T
	if value == zero {
		return standard
	}
	return value
}
