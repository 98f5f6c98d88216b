package dns

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"

	"github.com/fairlead-net/fairlead/internal/desired"
)

// The defaults of a Config.
const (
	DefaultDomain = "cluster.local"
	DefaultTTL    = 30 // what kubeadm sets in the Corefile
	// MaxTTL is the largest TTL that CoreDNS accepts for cluster names.
	MaxTTL = 3600
	// As CoreDNS's k8s_external has them.
	DefaultApex        = "dns"
	DefaultExternalTTL = 5
)

// Pods says whether A-B-C-D.NAMESPACE.pod.DOMAIN exists.
type Pods string

// The values of Pods.
const (
	// PodsInsecure answers with the address in the name, without looking whether
	// a pod has it; the namespace has to exist. This is the default.
	PodsInsecure Pods = "insecure"
	// PodsVerified answers if a pod of the namespace has the address, be it that of
	// its node. The State has to have the pods.
	PodsVerified Pods = "verified"
	PodsDisabled Pods = "disabled"
)

// Config is what Compile must know beside the State. The zero Config is good.
type Config struct {
	// Domain is the cluster domain; empty means DefaultDomain.
	Domain string
	// TTL is the lifetime of records in seconds; zero means DefaultTTL.
	TTL uint32
	// ZeroTTL makes the TTL 0, so that nobody keeps an answer.
	ZeroTTL bool
	Pods    Pods
	// EndpointPodNames names endpoints without hostname after their pods.
	EndpointPodNames bool
	// NoEndpoints leaves out all endpoints: headless Services have no name then.
	NoEndpoints bool
	// IgnoreEmpty leaves out Services without ready endpoints, those of type
	// ExternalName excepted.
	IgnoreEmpty bool
	// Namespaces are the only ones with names, and NamespaceLabels selects them by
	// their labels, as kubectl's --selector does; empty means all.
	Namespaces      []string
	NamespaceLabels string
	// Labels selects the Services and EndpointSlices that have names; empty means
	// all. The State has to have their labels.
	Labels string
	// Fallthrough are zones, the cluster domain or below it, in which other servers are
	// asked for names that do not exist here; "." stands for the whole domain.
	Fallthrough []string
	// Zonal adds names of headless Services' endpoints in one topology zone.
	Zonal    bool
	External External
	// Multicluster are the zones in which ServiceImports have names (KEP-1645),
	// usually clusterset.local. The State has to have them.
	Multicluster []string
	// Server is the Service through which clients reach this server: the name
	// server of the zone. While it does not exist, ns.dns.DOMAIN with the
	// addresses ServerAddresses is.
	Server          desired.Name
	ServerAddresses []netip.Addr
	// Serial is added to the State's revision to make the zone's serial number.
	// A start time in Unix seconds keeps it rising across restarts.
	Serial uint32
}

// External says under which zones the external addresses of Services have names:
// SERVICE.NAMESPACE.ZONE. The zero External has none.
type External struct {
	Zones []string
	// Apex is the label below which the zones' name server has its name, ns1.APEX;
	// empty means DefaultApex. A namespace of this name has no names.
	Apex string
	// TTL is the lifetime of records in seconds; zero means DefaultExternalTTL,
	// unless ZeroTTL makes it 0.
	TTL     uint32
	ZeroTTL bool
	// Headless adds the ready endpoints of Services without external addresses.
	Headless bool
	// Fallthrough asks other servers for names that do not exist here.
	Fallthrough bool
}

// Complete returns the Config with defaults filled in and the domain in lower
// case without a final dot, or an error that says which field to correct.
func (c Config) Complete() (Config, error) {
	c, _, err := c.read()
	return c, err
}

// selectors are those of a Config.
type selectors struct{ namespaces, objects desired.Selector }

// read returns what Complete does, and the selectors.
func (c Config) read() (Config, selectors, error) {
	var s selectors
	c.Domain = cmp.Or(canonical(c.Domain), DefaultDomain)
	if !isHostname(c.Domain) {
		return c, s, fmt.Errorf("cluster domain %q is not a DNS name: use letters, digits, '-' and '.' only, labels of 1 to 63 characters", c.Domain)
	}
	var err error
	if c.TTL, err = completeTTL(c.TTL, c.ZeroTTL, DefaultTTL); err != nil {
		return c, s, err
	}
	if c.External, err = c.External.complete(c.Domain); err != nil {
		return c, s, err
	}
	if c.Multicluster, err = completeZones("multicluster zone", c.Multicluster, append([]string{c.Domain}, c.External.Zones...)); err != nil {
		return c, s, err
	}
	var through []string
	for _, name := range c.Fallthrough {
		through = append(through, canonical(name))
	}
	c.Fallthrough = through
	if c.Pods == "" {
		c.Pods = PodsInsecure
	}
	if c.Pods != PodsInsecure && c.Pods != PodsVerified && c.Pods != PodsDisabled {
		return c, s, fmt.Errorf("pods mode %q is unknown: use %q, %q or %q", c.Pods, PodsInsecure, PodsVerified, PodsDisabled)
	}
	if c.NoEndpoints && c.IgnoreEmpty {
		return c, s, errors.New("without endpoints every Service is empty, so ignoring empty ones leaves no names: use one of the two")
	}
	if c.NoEndpoints && c.Zonal {
		return c, s, errors.New("zones are those of endpoints: use zonal names or no endpoints, not both")
	}
	if len(c.Namespaces) > 0 && c.NamespaceLabels != "" {
		return c, s, errors.New("namespaces are given both by name and by labels: use one of the two")
	}
	if s.namespaces, err = desired.ParseSelector(c.NamespaceLabels); err != nil {
		return c, s, fmt.Errorf("labels of namespaces %q are no selector such as team=a,stage!=test: %w", c.NamespaceLabels, err)
	}
	if s.objects, err = desired.ParseSelector(c.Labels); err != nil {
		return c, s, fmt.Errorf("labels %q are no selector such as team=a,stage!=test: %w", c.Labels, err)
	}
	return c, s, nil
}

func (e External) complete(domain string) (External, error) {
	if len(e.Zones) == 0 {
		return External{}, nil
	}
	var err error
	if e.Zones, err = completeZones("zone of external names", e.Zones, []string{domain}); err != nil {
		return e, err
	}
	e.Apex = cmp.Or(strings.ToLower(e.Apex), DefaultApex)
	if !isHostname(e.Apex) || strings.Contains(e.Apex, ".") {
		return e, fmt.Errorf("apex %q of the zones of external names is not a label: use letters, digits and '-' only, 1 to 63 characters", e.Apex)
	}
	e.TTL, err = completeTTL(e.TTL, e.ZeroTTL, DefaultExternalTTL)
	return e, err
}

// completeZones returns the names of zones in their canonical form; other zones
// are known already.
func completeZones(what string, names, others []string) ([]string, error) {
	var zones []string
	for _, name := range names {
		name = canonical(name)
		switch {
		case !isHostname(name):
			return nil, fmt.Errorf("%s %q is not a DNS name: use letters, digits, '-' and '.' only, labels of 1 to 63 characters", what, name)
		case slices.Contains(others, name) || slices.Contains(zones, name):
			return nil, fmt.Errorf("%s %q is served already: name each zone once, and not the cluster domain", what, name)
		}
		zones = append(zones, name)
	}
	return zones, nil
}

// canonical returns a name in lower case without a final dot.
func canonical(name string) string { return strings.TrimSuffix(strings.ToLower(name), ".") }

func completeTTL(ttl uint32, zero bool, otherwise uint32) (uint32, error) {
	switch {
	case zero && ttl > 0:
		return ttl, fmt.Errorf("TTL is both %d and 0: use one of the two", ttl)
	case ttl > MaxTTL:
		return ttl, fmt.Errorf("TTL %d is too large: use 0 to %d seconds", ttl, MaxTTL)
	case ttl == 0 && !zero:
		return otherwise, nil
	}
	return ttl, nil
}

// sameIndex reports whether a Table of one Config can be the start of one of the
// other: it has the same names, whatever is answered for them.
func (c Config) sameIndex(other Config) bool {
	for _, c := range []*Config{&c, &other} {
		c.TTL, c.ZeroTTL, c.IgnoreEmpty, c.Zonal = 0, false, false, false
		c.Server, c.ServerAddresses, c.Serial, c.Fallthrough = desired.Name{}, nil, 0, nil
	}
	return reflect.DeepEqual(c, other)
}

// filters reports whether some namespaces have no names.
func (c *Config) filters() bool { return len(c.Namespaces) > 0 || c.NamespaceLabels != "" }

// isHostname reports whether a lower-case name without final dot consists of
// the characters and lengths that host names have.
func isHostname(name string) bool {
	if name == "" || len(name) > maxName {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > maxLabel {
			return false
		}
		for _, c := range []byte(label) {
			if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
				return false
			}
		}
	}
	return true
}
