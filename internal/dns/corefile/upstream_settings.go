package corefile

import (
	"net/netip"
	"slices"
	"time"
)

// ForwardSettings are the section dns.forward of fairlead.yaml.
type ForwardSettings struct {
	ZoneSettings `json:",inline"`
	Zones        []ZoneSettings `json:"zones,omitempty"`
	ReadTimeout  string         `json:"readTimeout,omitempty"`
}

// ZoneSettings say how names in a zone are asked for.
type ZoneSettings struct {
	Name          string              `json:"name,omitempty"`
	Servers       []ServerSettings    `json:"servers,omitempty"`
	ResolvConf    string              `json:"resolvConf,omitempty"`
	Except        []string            `json:"except,omitempty"`
	Policy        string              `json:"policy,omitempty"`
	MaxConcurrent int                 `json:"maxConcurrent,omitempty"`
	MaxFails      int                 `json:"maxFails,omitempty"`
	FailFast      bool                `json:"failFast,omitempty"`
	HealthCheck   HealthCheckSettings `json:"healthCheck,omitzero"`
	Failover      []string            `json:"failover,omitempty"`
	ForceTCP      bool                `json:"forceTCP,omitempty"`
	TLS           TLSSettings         `json:"tls,omitzero"`
	IdleTimeout   string              `json:"idleTimeout,omitempty"`
}

// ServerSettings are an upstream server.
type ServerSettings struct {
	Address    netip.AddrPort `json:"address"`
	Protocol   string         `json:"protocol,omitempty"`
	ServerName string         `json:"serverName,omitempty"`
}

// HealthCheckSettings are the question for a server that failed.
type HealthCheckSettings struct {
	Interval    string `json:"interval,omitempty"`
	Domain      string `json:"domain,omitempty"`
	NoRecursion bool   `json:"noRecursion,omitempty"`
}

// TLSSettings are files of certificates.
type TLSSettings struct {
	ServerName string `json:"serverName,omitempty"`
	CAFile     string `json:"caFile,omitempty"`
	CertFile   string `json:"certFile,omitempty"`
	KeyFile    string `json:"keyFile,omitempty"`
}

// CacheSettings are the section dns.cache of fairlead.yaml.
type CacheSettings struct {
	Disabled       bool             `json:"disabled,omitempty"`
	Zones          []string         `json:"zones,omitempty"`
	Success        ShareSettings    `json:"success,omitzero"`
	Denial         ShareSettings    `json:"denial,omitzero"`
	ServFail       string           `json:"servfail,omitempty"`
	Prefetch       PrefetchSettings `json:"prefetch,omitzero"`
	ServeStale     StaleSettings    `json:"serveStale,omitzero"`
	DisableSuccess []string         `json:"disableSuccess,omitempty"`
	DisableDenial  []string         `json:"disableDenial,omitempty"`
	KeepTTL        bool             `json:"keepTTL,omitempty"`
}

// ShareSettings are the part of the cache for one kind of answer.
type ShareSettings struct {
	Capacity int    `json:"capacity,omitempty"`
	MaxTTL   string `json:"maxTTL,omitempty"`
	MinTTL   string `json:"minTTL,omitempty"`
}

// PrefetchSettings say which answers are asked for before they expire.
type PrefetchSettings struct {
	Amount     int    `json:"amount,omitempty"`
	Duration   string `json:"duration,omitempty"`
	Percentage int    `json:"percentage,omitempty"`
}

// StaleSettings say which answers are used after they have expired.
type StaleSettings struct {
	Duration      string `json:"duration,omitempty"`
	Verify        bool   `json:"verify,omitempty"`
	VerifyTimeout string `json:"verifyTimeout,omitempty"`
	TTL           string `json:"ttl,omitempty"`
	Recheck       string `json:"recheck,omitempty"`
}

// written returns a duration as fairlead.yaml has it, or nothing if it is the
// default there.
func written(d, standard time.Duration) string {
	if d == standard {
		return ""
	}
	return d.String()
}

// zone returns what fairlead.yaml has for the directive, but for its name.
func (f Forward) zone() ZoneSettings {
	z := ZoneSettings{
		Except: f.Except, FailFast: f.FailFast, Failover: f.Failover, ForceTCP: f.ForceTCP,
		IdleTimeout: written(f.Expire, 0),
		HealthCheck: HealthCheckSettings{Interval: written(f.HealthCheck, 500*time.Millisecond), Domain: f.CheckDomain, NoRecursion: f.CheckNoRecursion},
		TLS:         TLSSettings{ServerName: f.TLSServerName},
	}
	if f.MaxConcurrent != 1000 {
		z.MaxConcurrent = f.MaxConcurrent
	}
	switch f.MaxFails {
	case 0:
		z.MaxFails = -1
	case 2:
	default:
		z.MaxFails = f.MaxFails
	}
	if f.Policy != "random" {
		z.Policy = f.Policy
	}
	switch len(f.TLS) {
	case 1:
		z.TLS.CAFile = f.TLS[0]
	case 2:
		z.TLS.CertFile, z.TLS.KeyFile = f.TLS[0], f.TLS[1]
	case 3:
		z.TLS.CertFile, z.TLS.KeyFile, z.TLS.CAFile = f.TLS[0], f.TLS[1], f.TLS[2]
	}
	for _, u := range f.To {
		switch {
		case u.File != "":
			z.ResolvConf = u.File
		case u.TLS:
			z.Servers = append(z.Servers, ServerSettings{u.Address, "tls", u.ServerName})
		default:
			z.Servers = append(z.Servers, ServerSettings{Address: u.Address})
		}
	}
	return z
}

// forward adds what a directive forward of a server block says.
func (d *DNS) forward(s *Server, f Forward) {
	z := f.zone()
	if s.main() && f.From == "." {
		if len(d.Forward.Servers) > 0 || d.Upstreams != nil || d.ResolvConf != "" {
			return
		}
		d.Forward.ReadTimeout = written(f.ReadTimeout, 0)
		// What can be said by the short fields is.
		plain := !slices.ContainsFunc(z.Servers, func(s ServerSettings) bool { return s.Protocol != "" })
		if plain && z.ResolvConf == "" {
			for _, server := range z.Servers {
				d.Upstreams = append(d.Upstreams, server.Address)
			}
			z.Servers = nil
		} else if len(z.Servers) == 0 {
			d.ResolvConf, z.ResolvConf = z.ResolvConf, ""
		}
		d.Forward.ZoneSettings = z
		return
	}
	names := []string{f.From}
	if f.From == "." {
		names = nil
		for _, k := range s.Keys {
			names = append(names, k.Zone)
		}
	}
	for _, name := range names {
		taken := func(other ZoneSettings) bool { return other.Name == name }
		if len(f.To) > 0 && !slices.ContainsFunc(d.Forward.Zones, taken) {
			z.Name = name
			d.Forward.Zones = append(d.Forward.Zones, z)
		}
	}
}

// settings returns what fairlead.yaml has for the cache, without the zones of
// the cluster, whose names are never kept.
func (c Cache) settings(cluster []string) CacheSettings {
	others := func(zones []string) (kept []string) {
		for _, zone := range zones {
			if !slices.Contains(cluster, zone) {
				kept = append(kept, zone)
			}
		}
		return kept
	}
	share := func(s Share, most int) ShareSettings {
		if s.TTL == 0 {
			s.TTL = min(c.TTL, most)
		}
		seconds := func(n int) time.Duration { return min(time.Duration(n)*time.Second, 7*24*time.Hour) }
		return ShareSettings{min(s.Capacity, 1<<24), written(seconds(s.TTL), 30*time.Second), written(seconds(min(s.MinTTL, s.TTL)), 0)}
	}
	settings := CacheSettings{
		Zones: c.Zones, Success: share(c.Success, 3600), Denial: share(c.Denial, 1800), ServFail: written(c.ServFail, 5*time.Second),
		DisableSuccess: others(c.NoSuccess), DisableDenial: others(c.NoDenial),
		KeepTTL: c.KeepTTL,
	}
	if c.ServFail == 0 {
		settings.ServFail = "-1s" // which means that failures are not kept
	}
	if p := c.Prefetch; p.Amount > 0 {
		settings.Prefetch = PrefetchSettings{p.Amount, written(p.Duration, time.Minute), p.Percentage}
	}
	if c.ServeStale > 0 {
		settings.ServeStale = StaleSettings{c.ServeStale.String(), c.StaleVerify, written(c.StaleTimeout, 0), written(c.StaleTTL, 0), written(c.StaleRecheck, 0)}
	}
	return settings
}
