package config

import (
	"fmt"
	"math"
	"path"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// PortRange is a range of ports, both ends included, written as FIRST-LAST.
type PortRange struct{ First, Last uint16 }

// UnmarshalYAML reads FIRST-LAST.
func (r *PortRange) UnmarshalYAML(node *yaml.Node) error {
	first, last, found := strings.Cut(node.Value, "-")
	from, err := strconv.ParseUint(first, 10, 16)
	to, err2 := strconv.ParseUint(last, 10, 16)
	if !found || err != nil || err2 != nil || from == 0 || from > to {
		return &yaml.TypeError{Errors: []string{fmt.Sprintf("line %d: `%s` is not a range of ports such as 30000-32767", node.Line, node.Value)}}
	}
	r.First, r.Last = uint16(from), uint16(to)
	return nil
}

// MarshalText writes FIRST-LAST.
func (r PortRange) MarshalText() ([]byte, error) {
	return fmt.Appendf(nil, "%d-%d", r.First, r.Last), nil
}

// Conntrack configures the node's connection tracking, as KubeProxyConfiguration
// does: 0 leaves alone what the kernel has.
type Conntrack struct {
	// MaxPerCore times the number of processors, at most 1,048,576, and at least
	// Min, is the number of connections that the node can track. It is raised to
	// that, never lowered.
	MaxPerCore int `yaml:"maxPerCore"`
	Min        int `yaml:"min"`
	// TCPEstablishedTimeout is how long a silent TCP connection is remembered,
	// TCPCloseWaitTimeout one that the other side has closed.
	TCPEstablishedTimeout time.Duration `yaml:"tcpEstablishedTimeout"`
	TCPCloseWaitTimeout   time.Duration `yaml:"tcpCloseWaitTimeout"`
	// TCPBeLiberal takes packets outside the window for valid.
	TCPBeLiberal bool `yaml:"tcpBeLiberal"`
	// UDPTimeout is how long a UDP packet's addresses are remembered,
	// UDPStreamTimeout those of packets that were answered.
	UDPTimeout       time.Duration `yaml:"udpTimeout"`
	UDPStreamTimeout time.Duration `yaml:"udpStreamTimeout"`
}

func (c Conntrack) validate(bad func(field, format string, args ...any)) {
	for field, d := range map[string]time.Duration{
		"tcpEstablishedTimeout": c.TCPEstablishedTimeout, "tcpCloseWaitTimeout": c.TCPCloseWaitTimeout,
		"udpTimeout": c.UDPTimeout, "udpStreamTimeout": c.UDPStreamTimeout,
	} {
		if d < 0 || d%time.Second != 0 || d > math.MaxInt32*time.Second {
			bad("lb.conntrack."+field, "%s is no whole number of seconds; 0s leaves alone what the kernel has", d)
		}
	}
	if c.MaxPerCore < 0 || c.Min < 0 {
		bad("lb.conntrack", "maxPerCore and min must not be below 0")
	}
}

// validatePackets checks what concerns packets from outside.
func (c LB) validatePackets(bad func(field, format string, args ...any)) {
	for i, pattern := range c.Uplinks {
		if _, err := path.Match(pattern, ""); err != nil || pattern == "" {
			bad(fmt.Sprintf("lb.uplinks[%d]", i), "%q is not the name of an interface or a pattern such as eth*", pattern)
		}
	}
	if d := c.PacketDataplane; d != Auto && d != EBPF && d != Nftables {
		bad("lb.packetDataplane", "%q is none of auto, ebpf and nftables", d)
	}
	if c.PacketDataplane == EBPF && c.ServiceDataplane == Nftables {
		bad("lb.packetDataplane", "is ebpf, but lb.serviceDataplane: nftables means no eBPF at all; say auto for one of them")
	}
	if c.XDP != Auto && c.XDP != Native && c.XDP != Disabled {
		bad("lb.xdp", "%q is none of auto, native and disabled", c.XDP)
	}
	c.Conntrack.validate(bad)
	if at := c.MetricsBindAddress; at.IsValid() && at == c.HealthzBindAddress {
		bad("lb.healthzBindAddress", "is %s, as lb.metricsBindAddress; give them two ports, 10256 and 10249 with kube-proxy", at)
	}
	if c.NodeService != "" {
		if namespace, name, ok := strings.Cut(c.NodeService, "/"); !ok || namespace == "" || name == "" {
			bad("lb.nodeService", "%q is not of the form NAMESPACE/NAME", c.NodeService)
		}
	}
	if c.DirectReturn && c.PacketDataplane != EBPF {
		// A node that fell back to nftables would get SYNs that it cannot answer.
		bad("lb.directReturn", "needs lb.packetDataplane: ebpf, so that a node that cannot do it says so instead of losing connections")
	}
	if c.DirectReturn && c.NodeService == "" {
		bad("lb.directReturn", "needs lb.nodeService, by which nodes know each other; the chart sets it")
	}
}
