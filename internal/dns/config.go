package dns

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/fairlead-net/fairlead/internal/desired"
)

// The defaults of a Config.
const (
	DefaultDomain = "cluster.local"
	DefaultTTL    = 30 // what kubeadm sets in the Corefile
	// MaxTTL is the largest TTL that CoreDNS accepts for cluster names.
	MaxTTL = 3600
)

// Pods says whether A-B-C-D.NAMESPACE.pod.DOMAIN exists.
type Pods string

// The values of Pods.
const (
	// PodsInsecure answers with the address in the name, without looking whether
	// a pod has it; the namespace has to exist. This is the default.
	PodsInsecure Pods = "insecure"
	PodsDisabled Pods = "disabled"
)

// Config is what Compile must know beside the State. The zero Config is good.
type Config struct {
	// Domain is the cluster domain; empty means DefaultDomain.
	Domain string
	// TTL is the lifetime of records in seconds; zero means DefaultTTL.
	TTL  uint32
	Pods Pods
	// Server is the Service through which clients reach this server: the name
	// server of the zone. While it does not exist, ns.dns.DOMAIN with the
	// addresses ServerAddresses is.
	Server          desired.Name
	ServerAddresses []netip.Addr
	// Serial is added to the State's revision to make the zone's serial number.
	// A start time in Unix seconds keeps it rising across restarts.
	Serial uint32
}

// Complete returns the Config with defaults filled in and the domain in lower
// case without a final dot, or an error that says which field to correct.
func (c Config) Complete() (Config, error) {
	c.Domain = strings.TrimSuffix(strings.ToLower(c.Domain), ".")
	if c.Domain == "" {
		c.Domain = DefaultDomain
	}
	if !isHostname(c.Domain) {
		return c, fmt.Errorf("cluster domain %q is not a DNS name: use letters, digits, '-' and '.' only, labels of 1 to 63 characters", c.Domain)
	}
	if c.TTL == 0 {
		c.TTL = DefaultTTL
	}
	if c.TTL > MaxTTL {
		return c, fmt.Errorf("TTL %d is too large: use 1 to %d seconds", c.TTL, MaxTTL)
	}
	if c.Pods == "" {
		c.Pods = PodsInsecure
	}
	if c.Pods != PodsInsecure && c.Pods != PodsDisabled {
		return c, fmt.Errorf("pods mode %q is unknown: use %q or %q", c.Pods, PodsInsecure, PodsDisabled)
	}
	return c, nil
}

// isHostname reports whether a lower-case name without final dot consists of
// the characters and lengths that host names have.
func isHostname(name string) bool {
	if name == "" || len(name) > maxName {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 {
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
