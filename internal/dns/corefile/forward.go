package corefile

import (
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// Forward is the directive forward: other servers are asked.
type Forward struct {
	// From is the zone whose names are asked from To.
	From string
	To   []Upstream
	// Except are zones below From that are not.
	Except              []string
	ForceTCP, PreferUDP bool
	Expire              time.Duration
	MaxFails            int
	TLS                 []string // certificate, key and CA
	TLSServerName       string
	// Policy is random, round_robin or sequential.
	Policy      string
	HealthCheck time.Duration
	// CheckDomain is the name that health checks ask for, CheckNoRecursion whether
	// they leave out the flag RD.
	CheckDomain      string
	CheckNoRecursion bool
	ReadTimeout      time.Duration
	MaxConcurrent    int
	// Next are response codes that make the next forward be asked.
	Next []string
	// Failover are those that make the next server be asked.
	Failover []string
	FailFast bool
	stub     bool // in a block for zones of its own
}

// Upstream is a server's address, or a file such as /etc/resolv.conf that names
// servers.
type Upstream struct {
	Address netip.AddrPort
	TLS     bool
	// ServerName is the name in the server's certificate that was given with it.
	ServerName string
	File       string
}

func (u Upstream) String() string {
	switch {
	case u.File != "":
		return "the servers in " + u.File
	case u.TLS:
		return "tls://" + u.Address.String()
	}
	return u.Address.String()
}

// maxUpstreams is the number of servers that CoreDNS takes.
const maxUpstreams = 15

// Effect implements Setting.
func (f Forward) Effect() string {
	var to []string
	for _, u := range f.To {
		to = append(to, u.String())
	}
	if f.From != "." {
		return fmt.Sprintf("names in %s are asked from %s", f.From, strings.Join(to, ", "))
	}
	if f.stub {
		return fmt.Sprintf("names in the server block's zones are asked from %s", strings.Join(to, ", "))
	}
	return fmt.Sprintf("all names but the cluster's are asked from %s", strings.Join(to, ", "))
}

// readForward follows CoreDNS's plugin/forward, README and setup.
func readForward(l *line) Setting {
	f := Forward{From: ".", MaxFails: 2, Policy: "random", HealthCheck: 500 * time.Millisecond, stub: l.server.stub}
	if l.takes(2, -1, "ZONE SERVER...") {
		if zones, err := parseZone(l.text(0)); err != nil {
			l.mistake("forward: %v", err)
		} else {
			f.From = zones[0]
		}
		f.upstreams(l)
	}
	l.options(f.options())
	f.check(l)
	return f
}

func (f *Forward) options() options {
	return options{
		"except":         func(o *line) { o.takes(1, -1, "ZONE..."); f.Except = append(f.Except, o.zones(0)...) },
		"force_tcp":      func(o *line) { f.ForceTCP = o.takes(0, 0, "") },
		"prefer_udp":     func(o *line) { f.PreferUDP = o.takes(0, 0, "") },
		"expire":         func(o *line) { o.takes(1, 1, "DURATION"); f.Expire = o.duration(0, 0) },
		"max_fails":      func(o *line) { o.takes(1, 1, "NUMBER"); f.MaxFails = o.number(0, 0, 1<<31-1) },
		"tls":            func(o *line) { o.takes(0, 3, "[CERT KEY] [CACERT]"); f.TLS = o.texts(0) },
		"tls_servername": func(o *line) { o.takes(1, 1, "NAME"); f.TLSServerName = o.text(0) },
		"policy": func(o *line) {
			if o.takes(1, 1, "random|round_robin|sequential") {
				f.Policy = o.choice(0, "random", "round_robin", "sequential")
			}
		},
		"health_check": func(o *line) {
			if !o.takes(1, 4, "DURATION [no_rec] [domain NAME]") {
				return
			}
			f.HealthCheck = o.duration(0, 0)
			for i := 1; i < len(o.args()); i++ {
				if o.choice(i, "no_rec", "domain") == "no_rec" {
					f.CheckNoRecursion = true
					continue
				}
				i++
				if zones, err := parseZone(o.text(i)); err != nil {
					o.mistake("%s: %v", o.path, err)
				} else {
					f.CheckDomain = zones[0]
				}
			}
		},
		"max_concurrent": func(o *line) {
			o.takes(1, 1, "NUMBER")
			f.MaxConcurrent = o.number(0, 0, 1<<31-1)
		},
		"next":                             func(o *line) { o.takes(1, -1, "RCODE..."); f.Next = o.texts(0) },
		"failover":                         func(o *line) { f.failover(o) },
		"read_timeout":                     func(o *line) { o.takes(1, 1, "DURATION"); f.ReadTimeout = o.duration(0, 0) },
		"max_age":                          func(o *line) { o.takes(1, 1, "DURATION"); o.duration(0, 0) },
		"max_idle_conns":                   func(o *line) { o.takes(1, 1, "NUMBER"); o.number(0, 0, 1<<31-1) },
		"max_connect_attempts":             func(o *line) { o.takes(1, 1, "NUMBER"); o.number(0, 0, 1<<31-1) },
		"source_address":                   func(o *line) { o.takes(1, 1, "ADDRESS") },
		"resolver":                         func(o *line) { o.takes(1, -1, "ADDRESS...") },
		"doh_method":                       func(o *line) { o.takes(1, 1, "GET|POST"); o.choice(0, "POST", "GET") },
		"failfast_all_unhealthy_upstreams": func(o *line) { f.FailFast = o.takes(0, 0, "") },
	}
}

// failover reads the codes that a server may not answer with.
func (f *Forward) failover(o *line) {
	o.takes(1, -1, "RCODE...")
	for i := range o.args() {
		if i == maxArguments {
			o.mistake("%s has more than %d codes; remove some", o.path, maxArguments)
			return
		}
		f.Failover = append(f.Failover, o.choice(i, "SERVFAIL", "FORMERR", "NXDOMAIN", "NOTIMP", "REFUSED"))
	}
}

// upstreams reads the servers: [dns://|tls://]ADDRESS[:PORT][%NAME], or a file.
func (f *Forward) upstreams(l *line) {
	for _, text := range l.texts(1) {
		scheme, rest, ok := strings.Cut(text, "://")
		if !ok {
			scheme, rest = "dns", text
		}
		u, port := Upstream{TLS: scheme == "tls"}, ports[scheme]
		if scheme != "dns" && scheme != "tls" {
			l.mistake("forward: %q is neither dns:// nor tls://; servers are asked by one of these", scheme+"://")
			continue
		}
		host, name, _ := strings.Cut(rest, "%")
		u.ServerName = name
		address, err := netip.ParseAddr(strings.Trim(host, "[]"))
		if u.Address = netip.AddrPortFrom(address, port); err != nil {
			u.Address, err = netip.ParseAddrPort(host)
		}
		switch {
		case err == nil && u.Address.Port() != 0:
		case strings.Contains(rest, "/") && !u.TLS:
			u = Upstream{File: rest}
		default:
			l.mistake("forward: %q is neither an address nor a file; write ADDRESS, ADDRESS:PORT or a path such as /etc/resolv.conf", text)
			continue
		}
		f.To = append(f.To, u)
	}
	if len(f.To) > maxUpstreams {
		l.mistake("forward has %d servers; CoreDNS takes at most %d, remove some", len(f.To), maxUpstreams)
	}
}

func (f *Forward) check(l *line) {
	files := 0
	for _, u := range f.To {
		if u.File != "" {
			files++
		}
	}
	if files > 1 {
		l.lacks("forward files")
	}
	if !l.server.main() {
		return
	}
	for _, zone := range l.server.cluster {
		if f.From == zone {
			l.lacks("forward cluster")
		}
	}
}
