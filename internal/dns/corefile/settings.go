package corefile

import (
	"net/netip"
	"slices"
	"strings"
)

// Settings are the parts of fairlead.yaml that a Corefile corresponds to, with
// the names that they have there.
type Settings struct {
	ClusterDomain string `json:"clusterDomain,omitempty"`
	DNS           DNS    `json:"dns"`
}

// DNS is the section dns of fairlead.yaml. Durations are written as in 5s.
type DNS struct {
	Listen     []netip.AddrPort `json:"listen,omitempty"`
	TTL        int              `json:"ttl,omitempty"`
	Pods       string           `json:"pods,omitempty"`
	Upstreams  []netip.AddrPort `json:"upstreams,omitempty"`
	ResolvConf string           `json:"resolvConf,omitempty"`
	Forward    ForwardSettings  `json:"forward,omitzero"`
	Cache      CacheSettings    `json:"cache,omitzero"`
	Lameduck   string           `json:"lameduck"`
}

// Settings returns what fairlead.yaml has to say for what this Config means, as
// far as it can: what the first server block for all names says, and who is
// asked by blocks that are stub domains.
func (c Config) Settings() Settings {
	s := Settings{DNS: DNS{Lameduck: "0s"}}
	if at := slices.IndexFunc(c.Servers, func(s Server) bool { return s.main() }); at >= 0 {
		s.server(&c.Servers[at])
	}
	for i := range c.Servers {
		for _, d := range c.Servers[i].Directives {
			if v, ok := d.Setting.(Forward); ok && c.Servers[i].stub {
				s.DNS.forward(&c.Servers[i], v)
			}
		}
	}
	return s
}

// server takes what the block for all names says.
func (s *Settings) server(from *Server) {
	s.DNS.Listen = from.listen()
	s.DNS.Cache.Disabled = true
	for _, d := range from.Directives {
		switch v := d.Setting.(type) {
		case Kubernetes:
			s.ClusterDomain, s.DNS.TTL = v.Domain(), max(v.TTL, 1)
			if s.DNS.Pods = v.Pods; v.Pods == "verified" {
				s.DNS.Pods = "insecure"
			}
		case Health:
			s.DNS.Lameduck = v.Lameduck.String()
		case Forward:
			s.DNS.forward(from, v)
		case Cache:
			s.DNS.Cache = v.settings(from.cluster)
		}
	}
}

// listen returns where the server listens by plain DNS.
func (s *Server) listen() []netip.AddrPort {
	addresses := []netip.Addr{netip.IPv6Unspecified()}
	for _, d := range s.Directives {
		if b, ok := d.Setting.(Bind); ok {
			addresses = nil
			for _, text := range b.At {
				if a, err := netip.ParseAddr(text); err == nil {
					addresses = append(addresses, a)
				}
			}
		}
	}
	var all []netip.AddrPort
	for _, k := range s.Keys {
		if k.Zone != "." || k.Transport != "dns" {
			continue
		}
		for _, a := range addresses {
			if at := netip.AddrPortFrom(a, k.Port); !slices.Contains(all, at) {
				all = append(all, at)
			}
		}
	}
	return all
}

// clusterZones returns the zones of the directive kubernetes, wherever it
// stands in a server block: their order does not matter to CoreDNS either.
func clusterZones(body []Statement) []string {
	for _, statement := range body {
		if statement.Words[0].Text != "kubernetes" {
			continue
		}
		var zones []string
		for _, w := range statement.Words[1:min(len(statement.Words), maxArguments)] {
			zones = append(zones, strings.ToLower(strings.TrimSuffix(w.Text, "."))+".")
		}
		return zones
	}
	return nil
}
