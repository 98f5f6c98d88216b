package forward

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"time"

	wire "github.com/miekg/dns"
)

// Policy is the order in which healthy upstreams are asked.
type Policy string

// The policies, named as in CoreDNS.
const (
	Random     Policy = "random"
	RoundRobin Policy = "round_robin"
	Sequential Policy = "sequential"
)

// Protocol is how an upstream is asked.
type Protocol string

// UDP turns to TCP when a reply does not fit; TLS is DNS over TLS (RFC 7858).
const (
	UDP Protocol = "udp"
	TCP Protocol = "tcp"
	TLS Protocol = "tls"
)

// Config says whom to ask and within which bounds. The zero Config has no
// upstreams; every other field has a default.
type Config struct {
	// Upstreams, ResolvConf and Policy stand for a Zone "." that says nothing
	// else; they count only if Zones has no such Zone.
	Upstreams  []netip.AddrPort
	ResolvConf string
	Policy     Policy
	// Zones have servers of their own. The longest one that a name lies in
	// decides who is asked for it.
	Zones []Zone
	// Patience bounds how long one upstream is waited for before the next one is
	// asked as well, 450 ms; MinPatience is the other bound, 30 ms. Between them
	// it is what the upstream's replies usually take.
	Patience    time.Duration
	MinPatience time.Duration
	// ReadTimeout ends the wait for one upstream, 2 s; Timeout that for all, 5 s.
	ReadTimeout time.Duration
	Timeout     time.Duration
	// MaxConcurrent bounds the queries under way, for each Zone that has no bound
	// of its own: 1000.
	MaxConcurrent int
	Cache         Cache
	// Own tells whether an address leads to this server itself; such upstreams
	// are not asked. May be nil.
	Own func(netip.AddrPort) bool
	// Tap, if it is set, is told of every Attempt before its reply is used; it must not
	// change or keep the messages. Probes are none.
	Tap func(Attempt)
	Log *slog.Logger
}

// Zone is a part of the name space that certain servers are asked for.
type Zone struct {
	// Name is absolute: "example.local.", or "." for all names.
	Name string
	// Servers are asked, together with those that the file ResolvConf names,
	// which is read again when it changes.
	Servers    []Server
	ResolvConf string
	// Except are zones below Name that are treated as if this Zone were not.
	Except []string
	// Policy is Random by default.
	Policy        Policy
	MaxConcurrent int
	// MaxFails in a row make a server be left out until it answers again: 2. If
	// negative, it never is.
	MaxFails int
	// FailFast fails queries at once while every server is left out.
	FailFast bool
	Probe    Probe
	// Failover are response codes, beside SERVFAIL and REFUSED, that make the next
	// server be asked.
	Failover []int
	// TCP asks servers that are not asked by TLS by TCP only.
	TCP bool
	TLS TLSFiles
	// IdleTimeout closes TCP and TLS connections that are not used: 10 s.
	IdleTimeout time.Duration
	// RandomCase spells names at random and wants replies to keep the spelling,
	// which makes them harder to forge (draft-vixie-dnsext-dns0x20-00). A server
	// that is found, over TCP, not to keep it is asked without.
	RandomCase bool
}

// Server is an upstream.
type Server struct {
	Address netip.AddrPort
	// Protocol is UDP by default.
	Protocol Protocol
	// ServerName is what a TLS server's certificate is for; by default the one in
	// TLSFiles, or else the address.
	ServerName string
}

func (s Server) String() string {
	if s.Protocol == TLS {
		return "tls://" + s.Address.String()
	}
	return s.Address.String()
}

// TLSFiles says how the servers of a Zone that are asked by TLS are verified,
// and what they are shown. Files are read for every connection.
type TLSFiles struct {
	ServerName string
	// CA holds the certificates, in PEM, that sign the servers'; the system's by
	// default. Cert and Key are the client's, if servers want one.
	CA, Cert, Key string
}

// Probe is the question that finds out whether a server that failed answers
// again; any reply says so.
type Probe struct {
	// Interval is 500 ms.
	Interval time.Duration
	// Name is that of the NS records asked for: ".".
	Name string
	// NoRecursion asks without the flag RD.
	NoRecursion bool
}

const (
	// maxServers is the number of servers that CoreDNS takes.
	maxServers = 15
	maxZones   = 1000
)

// Check says which field New would refuse, and why.
func (c Config) Check() error {
	_, err := c.complete()
	return err
}

func (c Config) complete() (Config, error) {
	if c.Patience < 0 || c.MinPatience < 0 || c.ReadTimeout < 0 || c.Timeout < 0 || c.MaxConcurrent < 0 {
		return c, errors.New("limits of forwarding must not be negative")
	}
	c.Patience = orDefault(c.Patience, 450*time.Millisecond)
	c.MinPatience = min(orDefault(c.MinPatience, 30*time.Millisecond), c.Patience)
	c.ReadTimeout = orDefault(c.ReadTimeout, 2*time.Second)
	c.Timeout = orDefault(c.Timeout, 5*time.Second)
	c.MaxConcurrent = orDefault(c.MaxConcurrent, 1000)
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Own == nil {
		c.Own = func(netip.AddrPort) bool { return false }
	}
	var err error
	if c.Cache, err = c.Cache.complete(); err != nil {
		return c, err
	}
	if len(c.Zones) > maxZones {
		return c, fmt.Errorf("%d zones have servers of their own: at most %d are possible", len(c.Zones), maxZones)
	}
	c.Zones = slices.Clone(c.Zones)
	if !slices.ContainsFunc(c.Zones, func(z Zone) bool { return z.Name == "." }) {
		root := Zone{Name: ".", ResolvConf: c.ResolvConf, Policy: c.Policy}
		for _, address := range c.Upstreams {
			root.Servers = append(root.Servers, Server{Address: address})
		}
		if len(root.Servers) > 0 {
			root.ResolvConf = ""
		}
		c.Zones = append(c.Zones, root)
	}
	seen := map[string]bool{}
	for i := range c.Zones {
		if c.Zones[i], err = c.Zones[i].complete(c); err != nil {
			return c, fmt.Errorf("zone %q: %w", c.Zones[i].Name, err)
		}
		if name := c.Zones[i].Name; seen[name] {
			return c, fmt.Errorf("zone %q is there twice: join the two", name)
		}
		seen[c.Zones[i].Name] = true
	}
	// The longest name first, so that the first match is the right one.
	slices.SortStableFunc(c.Zones, func(a, b Zone) int { return wire.CountLabel(b.Name) - wire.CountLabel(a.Name) })
	return c, nil
}

func (z Zone) complete(c Config) (Zone, error) {
	var err error
	if z.Name, err = zoneName(z.Name); err != nil {
		return z, err
	}
	z.Except = slices.Clone(z.Except)
	for i := range z.Except {
		if z.Except[i], err = zoneName(z.Except[i]); err != nil {
			return z, fmt.Errorf("except: %w", err)
		}
		if !wire.IsSubDomain(z.Name, z.Except[i]) {
			return z, fmt.Errorf("except: %q does not lie in it", z.Except[i])
		}
	}
	if len(z.Servers) > maxServers {
		return z, fmt.Errorf("%d servers: at most %d are possible", len(z.Servers), maxServers)
	}
	z.Servers = slices.Clone(z.Servers)
	for i := range z.Servers {
		if z.Servers[i], err = z.server(z.Servers[i]); err != nil {
			return z, err
		}
	}
	z.Policy = orDefault(z.Policy, Random)
	if z.Policy != Random && z.Policy != RoundRobin && z.Policy != Sequential {
		return z, fmt.Errorf("upstream policy %q is unknown: use %q, %q or %q", z.Policy, Random, RoundRobin, Sequential)
	}
	if z.MaxConcurrent < 0 || z.IdleTimeout < 0 || z.Probe.Interval < 0 {
		return z, errors.New("limits must not be negative")
	}
	z.MaxConcurrent = orDefault(z.MaxConcurrent, c.MaxConcurrent)
	z.MaxFails = orDefault(z.MaxFails, 2)
	z.IdleTimeout = orDefault(z.IdleTimeout, 10*time.Second)
	z.Probe.Interval = max(orDefault(z.Probe.Interval, 500*time.Millisecond), 10*time.Millisecond)
	if z.Probe.Name, err = zoneName(orDefault(z.Probe.Name, ".")); err != nil {
		return z, fmt.Errorf("name of the health check: %w", err)
	}
	return z, nil
}

// server completes one of the zone's servers.
func (z Zone) server(s Server) (Server, error) {
	if !s.Address.IsValid() || s.Address.Port() == 0 || s.Address.Addr().IsUnspecified() || s.Address.Addr().IsMulticast() {
		return s, fmt.Errorf("upstream %s is not an address and port that can be asked: write ADDRESS:PORT", s.Address)
	}
	s.Protocol = orDefault(s.Protocol, UDP)
	switch s.Protocol {
	case UDP:
		if z.TCP {
			s.Protocol = TCP
		}
	case TCP:
	case TLS:
		if s.ServerName == "" {
			s.ServerName = z.TLS.ServerName
		}
		if _, err := z.TLS.load(s); err != nil {
			return s, fmt.Errorf("upstream %s: %w", s, err)
		}
	default:
		return s, fmt.Errorf("upstream %s: protocol %q is unknown: use %q, %q or %q", s.Address, s.Protocol, UDP, TCP, TLS)
	}
	return s, nil
}

// zoneName returns a zone's name absolute and in lower case.
func zoneName(name string) (string, error) {
	if _, ok := wire.IsDomainName(name); !ok || name == "" {
		return name, fmt.Errorf("%q is not a DNS name: write one such as example.local, or \".\"", name)
	}
	return wire.CanonicalName(name), nil
}

func orDefault[T comparable](value, standard T) T {
	var zero T
	if value == zero {
		return standard
	}
	return value
}
