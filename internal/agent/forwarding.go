package agent

import (
	"github.com/fairlead-net/fairlead/internal/config"
	"github.com/fairlead-net/fairlead/internal/dns/server/forward"
)

// forwarding returns how the DNS server asks other servers.
func forwarding(c config.DNS) forward.Config {
	f := c.Forward
	root := forwardZone(f.DNSZone)
	root.Name = "."
	for _, address := range c.Upstreams {
		root.Servers = append(root.Servers, forward.Server{Address: address})
	}
	if len(root.Servers) == 0 && root.ResolvConf == "" {
		root.ResolvConf = c.ResolvConf
	}
	zones := []forward.Zone{root}
	for _, z := range f.Zones {
		zones = append(zones, forwardZone(z))
	}
	k := c.Cache
	share := func(s config.DNSCacheShare) forward.Share {
		return forward.Share{Entries: s.Capacity, MaxTTL: s.MaxTTL, MinTTL: s.MinTTL}
	}
	return forward.Config{
		Zones: zones, Patience: f.Patience, ReadTimeout: f.ReadTimeout, Timeout: f.Timeout,
		Cache: forward.Cache{
			Disabled: k.Disabled, Zones: k.Zones, Success: share(k.Success), Denial: share(k.Denial), Bytes: k.Bytes,
			FailureTTL: k.ServFail, Prefetch: forward.Prefetch(k.Prefetch),
			Stale: forward.Stale{
				For: k.ServeStale.Duration, Verify: k.ServeStale.Verify, VerifyTimeout: k.ServeStale.VerifyTimeout,
				TTL: k.ServeStale.TTL, Recheck: k.ServeStale.Recheck,
			},
			NoSuccess: k.DisableSuccess, NoDenial: k.DisableDenial, KeepTTL: k.KeepTTL,
		},
	}
}

func forwardZone(z config.DNSZone) forward.Zone {
	zone := forward.Zone{
		Name: z.Name, ResolvConf: z.ResolvConf, Except: z.Except, Policy: forward.Policy(z.Policy), MaxConcurrent: z.MaxConcurrent,
		MaxFails: z.MaxFails, FailFast: z.FailFast, TCP: z.ForceTCP, IdleTimeout: z.IdleTimeout, RandomCase: z.RandomCase,
		Probe: forward.Probe{Interval: z.HealthCheck.Interval, Name: z.HealthCheck.Domain, NoRecursion: z.HealthCheck.NoRecursion},
		TLS:   forward.TLSFiles{ServerName: z.TLS.ServerName, CA: z.TLS.CAFile, Cert: z.TLS.CertFile, Key: z.TLS.KeyFile},
	}
	for _, s := range z.Servers {
		zone.Servers = append(zone.Servers, forward.Server{Address: s.Address, Protocol: forward.Protocol(s.Protocol), ServerName: s.ServerName})
	}
	for _, code := range z.Failover {
		zone.Failover = append(zone.Failover, config.ResponseCode(code))
	}
	return zone
}
