package config

import (
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"
)

// LoadBalancer configures the addresses of Services of type LoadBalancer.
type LoadBalancer struct {
	// Namespace is where the IPAddressPools and MetalLB's other objects are read;
	// the empty text means that Fairlead gives and announces no addresses.
	Namespace string `yaml:"namespace"`
	// Default gives addresses to Services without a loadBalancerClass too.
	Default bool `yaml:"default"`
	// Classes are loadBalancerClasses that are answered to beside fairlead.dev/lb.
	Classes []string `yaml:"classes"`
	Probes  Probes   `yaml:"probes"`
	BGP     BGP      `yaml:"bgp"`
}

// BGP configures what the routers of all BGPPeers are told besides what
// BGPAdvertisements say.
type BGP struct {
	// ExternalIPs of Services, ClusterIPs by the ranges they come from, and the
	// PodCIDRs of each node.
	ExternalIPs bool `yaml:"externalIPs"`
	ClusterIPs  bool `yaml:"clusterIPs"`
	PodCIDRs    bool `yaml:"podCIDRs"`
}

// Probes configures how nodes that announce addresses find out that another has
// gone.
type Probes struct {
	// Port is the UDP port of every node that probes go to.
	Port uint16 `yaml:"port"`
	// KeyFile holds the key that all nodes share; without it a node announces
	// nothing by ARP and NDP.
	KeyFile string `yaml:"keyFile"`
	// Interval is the time between two probes of one node, Misses how many must
	// remain unanswered.
	Interval time.Duration `yaml:"interval"`
	Misses   int           `yaml:"misses"`
}

func (c LoadBalancer) validate(bad func(field, format string, args ...any)) {
	if c.Namespace != "" {
		if p := validation.IsDNS1123Label(c.Namespace); len(p) > 0 {
			bad("loadBalancer.namespace", "%q is not the name of a namespace: %s", c.Namespace, p[0])
		}
	}
	for _, class := range c.Classes {
		if p := validation.IsQualifiedName(class); len(p) > 0 || strings.TrimSpace(class) == "" {
			bad("loadBalancer.classes", "%q is not a loadBalancerClass such as metallb.io/metallb", class)
		}
	}
	p := c.Probes
	if p.Port == 0 {
		bad("loadBalancer.probes.port", "must not be 0")
	}
	if !strings.HasPrefix(p.KeyFile, "/") {
		bad("loadBalancer.probes.keyFile", "%q is not an absolute path", p.KeyFile)
	}
	if p.Interval < 10*time.Millisecond || p.Interval > 10*time.Second {
		bad("loadBalancer.probes.interval", "%s is not between 10ms and 10s", p.Interval)
	}
	if p.Misses < 2 || p.Misses > 100 {
		bad("loadBalancer.probes.misses", "%d is not between 2 and 100", p.Misses)
	}
}
