package corefile

import (
	"encoding/json"
	"net/netip"
	"slices"
	"strconv"
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
	Listen []netip.AddrPort `json:"listen,omitempty"`
	// TTL is a number, 0 among them, or nothing.
	TTL                 json.Number `json:"ttl,omitempty"`
	Pods                string      `json:"pods,omitempty"`
	EndpointPodNames    bool        `json:"endpointPodNames,omitempty"`
	NoEndpoints         bool        `json:"noEndpoints,omitempty"`
	IgnoreEmptyServices bool        `json:"ignoreEmptyServices,omitempty"`
	Namespaces          []string    `json:"namespaces,omitempty"`
	NamespaceLabels     string      `json:"namespaceLabels,omitempty"`
	Labels              string      `json:"labels,omitempty"`

	External          *ExternalSettings `json:"external,omitempty"`
	MulticlusterZones []string          `json:"multiclusterZones,omitempty"`
	Zonal             bool              `json:"zonal,omitempty"`
	Fallthrough       []string          `json:"fallthrough,omitempty"`

	Upstreams  []netip.AddrPort `json:"upstreams,omitempty"`
	ResolvConf string           `json:"resolvConf,omitempty"`
	Forward    ForwardSettings  `json:"forward,omitzero"`
	Cache      CacheSettings    `json:"cache,omitzero"`
	MaxUDP     int              `json:"maxUDP,omitempty"`
	Autopath   bool             `json:"autopath,omitempty"`
	Lameduck   string           `json:"lameduck"`
}

// ExternalSettings is the section dns.external of fairlead.yaml.
type ExternalSettings struct {
	Zones       []string    `json:"zones"`
	Apex        string      `json:"apex"`
	TTL         json.Number `json:"ttl"`
	Headless    bool        `json:"headless,omitempty"`
	Fallthrough bool        `json:"fallthrough,omitempty"`
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
			if v, ok := d.Setting.(Kubernetes); ok && s.ClusterDomain == "" { // in a block of its own
				s.ClusterDomain = v.Domain()
				v.settings(&s.DNS)
			}
		}
		if stub := &c.Servers[i]; stub.stub && !stub.caches() && !s.DNS.Cache.Disabled {
			s.DNS.Cache.leaveOut(stub)
		}
	}
	return s
}

// caches reports whether a server block has the directive cache.
func (s *Server) caches() bool {
	return slices.ContainsFunc(s.Directives, func(d Directive) bool { _, is := d.Setting.(Cache); return is })
}

// leaveOut has no answers kept for a server block's zones, as CoreDNS, where every block
// has a cache of its own or none, would keep none.
func (c *CacheSettings) leaveOut(s *Server) {
	for _, k := range s.Keys {
		if !slices.Contains(c.DisableSuccess, k.Zone) {
			c.DisableSuccess = append(c.DisableSuccess, k.Zone)
		}
		if !slices.Contains(c.DisableDenial, k.Zone) {
			c.DisableDenial = append(c.DisableDenial, k.Zone)
		}
	}
}

// server takes what the block for all names says.
func (s *Settings) server(from *Server) {
	s.DNS.Listen = from.listen()
	s.DNS.Cache.Disabled = true
	for _, d := range from.Directives {
		switch v := d.Setting.(type) {
		case Kubernetes:
			s.ClusterDomain = v.Domain()
			v.settings(&s.DNS)
		case External:
			if len(v.domains()) > 0 { // of several CoreDNS takes the last
				s.DNS.External = v.settings()
			}
		case Health:
			s.DNS.Lameduck = v.Lameduck.String()
		case Forward:
			s.DNS.forward(from, v)
		case Bufsize:
			s.DNS.MaxUDP = v.Size
		case Autopath:
			s.DNS.Autopath = v.Effective && v.covers(from)
		case Cache:
			s.DNS.Cache = v.settings(from.cluster)
		}
	}
}

// settings writes down what the directive says of names.
func (k Kubernetes) settings(d *DNS) {
	d.TTL, d.Pods = json.Number(strconv.Itoa(k.TTL)), k.Pods
	d.EndpointPodNames, d.NoEndpoints = k.EndpointPodNames, k.NoEndpoints
	// Without endpoints every Service is empty, which fairlead.yaml refuses to ignore.
	d.IgnoreEmptyServices = k.IgnoreEmpty && !k.NoEndpoints
	d.MulticlusterZones, d.Zonal = trimmed(k.Multicluster), k.Zonal && !k.NoEndpoints
	d.Fallthrough = k.Fallthrough.names(k.Zones)
	d.Namespaces, d.NamespaceLabels, d.Labels = k.Namespaces, k.NamespaceLabels, k.Labels
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

// verifiesPods reports whether a server block answers names of pods that exist only.
func verifiesPods(body []Statement) bool {
	for _, statement := range body {
		if statement.Words[0].Text == "kubernetes" && slices.ContainsFunc(statement.Body, func(o Statement) bool { return o.String() == "pods verified" }) {
			return true
		}
	}
	return false
}

// covers reports whether the names of the cluster are in the directive's zones.
func (a Autopath) covers(s *Server) bool {
	inside := func(name string, zone string) bool { return zone == "." || strings.HasSuffix("."+name, "."+zone) }
	zones := a.Zones
	for _, k := range s.Keys {
		if len(a.Zones) == 0 {
			zones = append(zones, k.Zone)
		}
	}
	return slices.ContainsFunc(zones, func(zone string) bool {
		return slices.ContainsFunc(s.cluster, func(name string) bool { return !isReverse(name) && inside(name, zone) })
	})
}

// names returns the zones, but reverse ones, whose unknown names are asked upstream;
// all is what the directive has.
func (f Fallthrough) names(all []string) []string {
	if !f.On {
		return nil
	}
	if len(f.Zones) > 0 {
		all = f.Zones
	}
	var names []string
	for _, zone := range all {
		if zone == "." {
			return []string{"."}
		}
		if !isReverse(zone) {
			names = append(names, strings.TrimSuffix(zone, "."))
		}
	}
	return names
}
