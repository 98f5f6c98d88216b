package config

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"
)

// DNSForward says how names that are not the cluster's are asked for. In the
// zero value every field has the default of package forward.
type DNSForward struct {
	DNSZone `yaml:",inline"`
	// Zones have servers of their own; the longest that a name lies in decides.
	Zones []DNSZone `yaml:"zones"`
	// Patience bounds how long one server is waited for before another is asked as
	// well, Timeout how long all are.
	Patience    time.Duration `yaml:"patience"`
	ReadTimeout time.Duration `yaml:"readTimeout"`
	Timeout     time.Duration `yaml:"timeout"`
}

// DNSZone is how names in a zone are asked for.
type DNSZone struct {
	// Name is empty for the names that no zone has servers for.
	Name    string      `yaml:"name"`
	Servers []DNSServer `yaml:"servers"`
	// ResolvConf is a file with further servers.
	ResolvConf string   `yaml:"resolvConf"`
	Except     []string `yaml:"except"`
	// Policy is random, round_robin or sequential.
	Policy        string `yaml:"policy"`
	MaxConcurrent int    `yaml:"maxConcurrent"`
	// MaxFails is how often in a row a server may fail; -1: any number of times.
	MaxFails    int            `yaml:"maxFails"`
	FailFast    bool           `yaml:"failFast"`
	HealthCheck DNSHealthCheck `yaml:"healthCheck"`
	// Failover are names of response codes that make the next server be asked.
	Failover    []string      `yaml:"failover"`
	ForceTCP    bool          `yaml:"forceTCP"`
	TLS         DNSTLS        `yaml:"tls"`
	IdleTimeout time.Duration `yaml:"idleTimeout"`
	// RandomCase makes replies harder to forge (0x20).
	RandomCase bool `yaml:"randomCase"`
}

// DNSServer is an upstream server.
type DNSServer struct {
	Address netip.AddrPort `yaml:"address"`
	// Protocol is udp, tcp or tls.
	Protocol   string `yaml:"protocol"`
	ServerName string `yaml:"serverName"`
}

// DNSHealthCheck is the question that a server which failed is asked.
type DNSHealthCheck struct {
	Interval    time.Duration `yaml:"interval"`
	Domain      string        `yaml:"domain"`
	NoRecursion bool          `yaml:"noRecursion"`
}

// DNSTLS are the files of TLS servers' certificates.
type DNSTLS struct {
	ServerName string `yaml:"serverName"`
	CAFile     string `yaml:"caFile"`
	CertFile   string `yaml:"certFile"`
	KeyFile    string `yaml:"keyFile"`
}

// DNSCache says which answers of other servers are kept. In the zero value every
// field has the default of package forward.
type DNSCache struct {
	Disabled bool          `yaml:"disabled"`
	Zones    []string      `yaml:"zones"`
	Success  DNSCacheShare `yaml:"success"`
	Denial   DNSCacheShare `yaml:"denial"`
	Bytes    int           `yaml:"bytes"`
	// ServFail is how long failures are kept; below zero: not.
	ServFail       time.Duration `yaml:"servfail"`
	Prefetch       DNSPrefetch   `yaml:"prefetch"`
	ServeStale     DNSStale      `yaml:"serveStale"`
	DisableSuccess []string      `yaml:"disableSuccess"`
	DisableDenial  []string      `yaml:"disableDenial"`
	KeepTTL        bool          `yaml:"keepTTL"`
}

// DNSCacheShare is the part of the cache for one kind of answer.
type DNSCacheShare struct {
	Capacity int           `yaml:"capacity"`
	MaxTTL   time.Duration `yaml:"maxTTL"`
	MinTTL   time.Duration `yaml:"minTTL"`
}

// DNSPrefetch asks for popular answers again before they expire.
type DNSPrefetch struct {
	Amount     int           `yaml:"amount"`
	Duration   time.Duration `yaml:"duration"`
	Percentage int           `yaml:"percentage"`
}

// DNSStale uses answers that have expired when no fresh ones can be had.
type DNSStale struct {
	Duration      time.Duration `yaml:"duration"`
	Verify        bool          `yaml:"verify"`
	VerifyTimeout time.Duration `yaml:"verifyTimeout"`
	TTL           time.Duration `yaml:"ttl"`
	Recheck       time.Duration `yaml:"recheck"`
}

// reporter takes a field and what is wrong with it.
type reporter func(field, format string, args ...any)

func (c DNS) validateForwarding(bad reporter) {
	f := c.Forward
	if (len(f.Servers) > 0 || f.ResolvConf != "") && len(c.Upstreams) > 0 {
		bad("dns.upstreams", "and dns.forward both name servers for all names; move them to dns.forward.servers")
	}
	if f.Name != "" {
		bad("dns.forward.name", "is %q; zones with servers of their own go to dns.forward.zones", f.Name)
	}
	for _, d := range []struct {
		field string
		value time.Duration
	}{{"patience", f.Patience}, {"readTimeout", f.ReadTimeout}, {"timeout", f.Timeout}} {
		if d.value < 0 || d.value > time.Minute {
			bad("dns.forward."+d.field, "%s is not between 0s and 1m", d.value)
		}
	}
	f.DNSZone.validate("dns.forward", bad)
	seen := map[string]bool{}
	for i, z := range f.Zones {
		at := fmt.Sprintf("dns.forward.zones[%d]", i)
		name := strings.ToLower(strings.TrimSuffix(z.Name, "."))
		switch {
		case name == "":
			bad(at+".name", "is empty; servers for all names go to dns.forward.servers")
		case !isZone(name):
			bad(at+".name", "%q is not a DNS name such as example.local", z.Name)
		case seen[name]:
			bad(at+".name", "%q is there twice; join the two", z.Name)
		case len(z.Servers) == 0 && z.ResolvConf == "":
			bad(at+".servers", "is empty; name at least one server, or a resolvConf")
		}
		seen[name] = true
		z.validate(at, bad)
	}
	c.Cache.validate(bad)
}

func isZone(name string) bool {
	return len(validation.IsDNS1123Subdomain(strings.ReplaceAll(name, "_", "x"))) == 0
}

func zones(field string, names []string, bad reporter) {
	for i, name := range names {
		if name != "." && !isZone(strings.ToLower(strings.TrimSuffix(name, "."))) {
			bad(fmt.Sprintf("%s[%d]", field, i), "%q is not a DNS name such as example.local", name)
		}
	}
}

func (z DNSZone) validate(at string, bad reporter) {
	if len(z.Servers) > 15 {
		bad(at+".servers", "has %d entries; at most 15, as with CoreDNS", len(z.Servers))
	}
	for i, s := range z.Servers {
		at := fmt.Sprintf("%s.servers[%d]", at, i)
		if !s.Address.IsValid() || s.Address.Port() == 0 || s.Address.Addr().IsUnspecified() || s.Address.Addr().IsMulticast() {
			bad(at+".address", "%s is no ADDRESS:PORT that can be asked, such as 192.0.2.53:53", s.Address)
		}
		if p := s.Protocol; p != "" && p != "udp" && p != "tcp" && p != "tls" {
			bad(at+".protocol", "%q is none of udp, tcp and tls", p)
		}
		if s.ServerName != "" && s.Protocol != "tls" {
			bad(at+".serverName", "has a meaning with protocol: tls only")
		}
	}
	if p := z.Policy; p != "" && p != "random" && p != "round_robin" && p != "sequential" {
		bad(at+".policy", "%q is none of random, round_robin and sequential", p)
	}
	zones(at+".except", z.Except, bad)
	for i, name := range z.Except {
		zone := strings.ToLower(strings.Trim(z.Name, "."))
		if n := strings.ToLower(strings.Trim(name, ".")); zone != "" && n != zone && !strings.HasSuffix(n, "."+zone) {
			bad(fmt.Sprintf("%s.except[%d]", at, i), "%q does not lie in %s", name, z.Name)
		}
	}
	if z.MaxConcurrent < 0 {
		bad(at+".maxConcurrent", "is below 0")
	}
	if z.IdleTimeout < 0 || z.HealthCheck.Interval < 0 {
		bad(at, "idleTimeout and healthCheck.interval must not be below 0s")
	}
	if z.HealthCheck.Domain != "" {
		zones(at+".healthCheck.domain", []string{z.HealthCheck.Domain}, bad)
	}
	if (z.TLS.CertFile == "") != (z.TLS.KeyFile == "") {
		bad(at+".tls", "certFile and keyFile need each other")
	}
	for i, code := range z.Failover {
		if !isResponseCode(code) {
			bad(fmt.Sprintf("%s.failover[%d]", at, i), "%q is none of %s", code, strings.Join(responseCodes, ", "))
		}
	}
}

// responseCodes are the names of the codes 1 to 5 (RFC 1035, section 4.1.1).
var responseCodes = []string{"FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED"}

func isResponseCode(name string) bool { return ResponseCode(name) > 0 }

// ResponseCode returns the number of a response code's name, 0 if unknown.
func ResponseCode(name string) int {
	for i, known := range responseCodes {
		if strings.EqualFold(name, known) {
			return i + 1
		}
	}
	return 0
}

func (c DNSCache) validate(bad reporter) {
	for _, s := range []struct {
		at string
		DNSCacheShare
	}{{"dns.cache.success", c.Success}, {"dns.cache.denial", c.Denial}} {
		if s.Capacity < 0 || s.Capacity > 1<<24 {
			bad(s.at+".capacity", "%d is not between 0 and %d", s.Capacity, 1<<24)
		}
		if s.MaxTTL < 0 || s.MaxTTL > 7*24*time.Hour {
			bad(s.at+".maxTTL", "%s is not between 0s and 168h", s.MaxTTL)
		}
		if most := max(s.MaxTTL, 0); s.MinTTL < 0 || most > 0 && s.MinTTL > most || most == 0 && s.MinTTL > 30*time.Second {
			bad(s.at+".minTTL", "%s is not between 0s and maxTTL", s.MinTTL)
		}
	}
	if c.Bytes < 0 {
		bad("dns.cache.bytes", "is below 0")
	}
	if c.ServFail > 5*time.Minute {
		bad("dns.cache.servfail", "%s is more than 5m, the most that RFC 2308 allows", c.ServFail)
	}
	if p := c.Prefetch; p.Amount < 0 || p.Duration < 0 || p.Percentage < 0 || p.Percentage > 90 {
		bad("dns.cache.prefetch", "amount and duration must not be below 0, and percentage is one from 1 to 90")
	}
	s := c.ServeStale
	if s.Duration < 0 || s.Duration > 7*24*time.Hour || s.VerifyTimeout < 0 || s.TTL < 0 || s.TTL > 7*24*time.Hour {
		bad("dns.cache.serveStale", "duration, verifyTimeout and ttl must lie between 0s and 168h")
	}
	if s.Recheck < 0 || s.Recheck > 5*time.Minute {
		bad("dns.cache.serveStale.recheck", "%s is not between 0s and 5m", s.Recheck)
	}
	zones("dns.cache.zones", c.Zones, bad)
	zones("dns.cache.disableSuccess", c.DisableSuccess, bad)
	zones("dns.cache.disableDenial", c.DisableDenial, bad)
}
