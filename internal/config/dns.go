package config

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation"
)

// DNS configures cluster DNS.
type DNS struct {
	// Corefile is a file in CoreDNS's form. If it is there, what it says counts instead
	// of the fields below, but for listen, tls, https, service, nodeLocal, countNames and
	// kernelFastPath.
	Corefile string `yaml:"corefile"`
	// Listen are the addresses for UDP and TCP.
	Listen []netip.AddrPort `yaml:"listen"`
	// TTL is that of the cluster's own records, in seconds; with 0 nobody keeps them.
	TTL uint32 `yaml:"ttl"`
	// Pods tells whether a-b-c-d.NAMESPACE.pod names are answered: insecure (yes,
	// for any address), verified (if a pod there has the address) or disabled.
	Pods string `yaml:"pods"`
	// EndpointPodNames names endpoints without hostname after their pods.
	EndpointPodNames bool `yaml:"endpointPodNames"`
	// NoEndpoints leaves out endpoints, and with them headless Services.
	NoEndpoints bool `yaml:"noEndpoints"`
	// IgnoreEmptyServices leaves out Services without ready endpoints.
	IgnoreEmptyServices bool `yaml:"ignoreEmptyServices"`
	// Namespaces are the only ones with names, NamespaceLabels selects them instead,
	// and Labels selects Services and EndpointSlices; empty means all.
	Namespaces      []string `yaml:"namespaces"`
	NamespaceLabels string   `yaml:"namespaceLabels"`
	Labels          string   `yaml:"labels"`
	External        External `yaml:"external"`
	// MulticlusterZones are where ServiceImports have names, usually clusterset.local.
	MulticlusterZones []string `yaml:"multiclusterZones"`
	// Zonal adds ZONE.pin._zone and ZONE.prefer._zone in front of headless Services:
	// their endpoints in one topology zone.
	Zonal bool `yaml:"zonal"`
	// Fallthrough are zones in the cluster domain, or . for all of it, in which upstreams
	// are asked for names that do not exist in the cluster.
	Fallthrough []string `yaml:"fallthrough"`
	// Autopath answers a pod that looks a name up along its search path at the first
	// attempt; it needs pods: verified.
	Autopath bool `yaml:"autopath"`
	// MaxUDP is how large replies by UDP may be, in bytes.
	MaxUDP int `yaml:"maxUDP"`
	// Upstreams answer what is not the cluster's; empty means those in ResolvConf.
	Upstreams  []netip.AddrPort `yaml:"upstreams"`
	ResolvConf string           `yaml:"resolvConf"`
	// Forward and Cache say more of how these are asked, and what is kept.
	Forward DNSForward `yaml:"forward"`
	Cache   DNSCache   `yaml:"cache"`
	// CountNames has the names counted that are asked most, for fairlead dns top.
	CountNames bool `yaml:"countNames"`
	// Lameduck is how long a server that is told to stop goes on answering.
	Lameduck time.Duration `yaml:"lameduck"`
	// Service is NAMESPACE/NAME of the Service in front of the DNS servers.
	Service string `yaml:"service"`
	// NodeLocal are addresses at which the clients of every node reach Service, beside its
	// own: usually 169.254.20.10, that of NodeLocal DNSCache. No interface has them.
	NodeLocal []netip.Addr `yaml:"nodeLocal"`
	// KernelFastPath lets the kernel answer queries for addresses of the cluster's names,
	// by an eBPF program, which needs privileges.
	KernelFastPath bool `yaml:"kernelFastPath"`
	// TLS configures DNS over TLS, HTTPS DNS over HTTPS with the same certificate. Each is
	// off while it has no addresses.
	TLS   DNSOverTLS   `yaml:"tls"`
	HTTPS DNSOverHTTPS `yaml:"https"`
}

// DNSOverTLS configures DNS over TLS (RFC 7858).
type DNSOverTLS struct {
	// Listen are its addresses, usually with port 853.
	Listen []netip.AddrPort `yaml:"listen"`
	// Certificate and Key are files in PEM form, read again when they change.
	Certificate string `yaml:"certificate"`
	Key         string `yaml:"key"`
}

// DNSOverHTTPS configures DNS over HTTPS (RFC 8484).
type DNSOverHTTPS struct {
	// Listen are its addresses, usually with port 443.
	Listen []netip.AddrPort `yaml:"listen"`
}

// External configures names of the addresses at which Services are reached from
// outside of the cluster.
type External struct {
	// Zones are where SERVICE.NAMESPACE has them; none means no such names.
	Zones []string `yaml:"zones"`
	// Apex is the label below which the zones' name server has its name, ns1.APEX.
	Apex string `yaml:"apex"`
	// TTL is that of the records, in seconds.
	TTL uint32 `yaml:"ttl"`
	// Headless adds the endpoints of Services without such addresses.
	Headless bool `yaml:"headless"`
	// Fallthrough asks upstreams for names that do not exist in the cluster.
	Fallthrough bool `yaml:"fallthrough"`
}

// validateZones checks the zones beside the cluster domain.
func (c DNS) validateZones(domain string, bad func(field, format string, args ...any)) {
	seen := []string{strings.TrimSuffix(strings.ToLower(domain), ".")}
	check := func(field string, zones []string) {
		for i, zone := range zones {
			field, name := fmt.Sprintf("%s[%d]", field, i), strings.TrimSuffix(strings.ToLower(zone), ".")
			if p := validation.IsDNS1123Subdomain(name); len(p) > 0 {
				bad(field, "%q is not a DNS name: %s", zone, p[0])
			} else if slices.Contains(seen, name) {
				bad(field, "%q is there twice, or the clusterDomain; each zone has its own names", zone)
			}
			seen = append(seen, name)
		}
	}
	check("dns.external.zones", c.External.Zones)
	check("dns.multiclusterZones", c.MulticlusterZones)
}

func (c External) validate(bad func(field, format string, args ...any)) {
	if p := validation.IsDNS1123Label(strings.ToLower(c.Apex)); len(p) > 0 {
		bad("dns.external.apex", "%q is not a label: %s", c.Apex, p[0])
	}
	if c.TTL > maxTTL {
		bad("dns.external.ttl", "is %d; at most %d seconds, as clients would hold on to addresses that are gone", c.TTL, maxTTL)
	}
}

// maxTTL is the largest that CoreDNS accepts.
const maxTTL = 3600

func (c DNS) validate(bad func(field, format string, args ...any)) {
	if len(c.Listen) == 0 {
		bad("dns.listen", "is empty; write at least one ADDRESS:PORT, such as \"[::]:53\"")
	}
	if c.TTL > maxTTL {
		bad("dns.ttl", "is %d; at most %d seconds, as clients would hold on to endpoints that are gone", c.TTL, maxTTL)
	}
	if c.Pods != "insecure" && c.Pods != PodsVerified && c.Pods != "disabled" {
		bad("dns.pods", "%q is none of insecure, verified and disabled", c.Pods)
	}
	c.validateFilters(bad)
	c.validateForwarding(bad)
	c.External.validate(bad)
	if c.Zonal && c.NoEndpoints {
		bad("dns.zonal", "is true, and so is dns.noEndpoints; zones are those of endpoints, set one of them")
	}
	if c.Lameduck < 0 || c.Lameduck > time.Minute {
		bad("dns.lameduck", "%s is not between 0s and 1m", c.Lameduck)
	}
	if namespace, name, ok := strings.Cut(c.Service, "/"); !ok || namespace == "" || name == "" {
		bad("dns.service", "%q is not of the form NAMESPACE/NAME", c.Service)
	}
	if c.Autopath && c.Pods != PodsVerified {
		bad("dns.autopath", "is true, but without dns.pods: verified it is not known which pod asks; set both")
	}
	if c.MaxUDP < 512 || c.MaxUDP > 4096 {
		bad("dns.maxUDP", "is %d; write 512 to 4096 bytes", c.MaxUDP)
	}
	for i, zone := range c.Fallthrough {
		if p := validation.IsDNS1123Subdomain(strings.TrimSuffix(strings.ToLower(zone), ".")); zone != "." && len(p) > 0 {
			bad(fmt.Sprintf("dns.fallthrough[%d]", i), "%q is not a DNS name: %s", zone, p[0])
		}
	}
	for i, address := range c.NodeLocal {
		if !address.IsValid() || address.IsUnspecified() || address.IsLoopback() || address.IsMulticast() || address.Zone() != "" || address.Is4In6() {
			bad(fmt.Sprintf("dns.nodeLocal[%d]", i), "%s is no address that pods can reach; usual is 169.254.20.10", address)
		}
	}
	c.TLS.validate(c.HTTPS, bad)
}

func (c DNSOverTLS) validate(https DNSOverHTTPS, bad func(field, format string, args ...any)) {
	used := len(c.Listen)+len(https.Listen) > 0
	if !used && c.Certificate+c.Key != "" {
		bad("dns.tls.listen", "is empty, so the certificate is not used; write ADDRESS:PORT, such as \"[::]:853\"")
	} else if used && (c.Certificate == "" || c.Key == "") {
		bad("dns.tls", "needs both certificate and key, the names of files in PEM form")
	}
}

// validateFilters checks what leaves out names.
func (c DNS) validateFilters(bad func(field, format string, args ...any)) {
	if c.NoEndpoints && c.IgnoreEmptyServices {
		bad("dns.ignoreEmptyServices", "is true, but with dns.noEndpoints every Service is empty, and no name would be left; set one of them")
	}
	if len(c.Namespaces) > 0 && c.NamespaceLabels != "" {
		bad("dns.namespaceLabels", "is set, and so is dns.namespaces; namespaces are chosen by name or by labels, keep one of them")
	}
	for i, name := range c.Namespaces {
		if p := validation.IsDNS1123Label(name); len(p) > 0 {
			bad(fmt.Sprintf("dns.namespaces[%d]", i), "%q is not the name of a namespace: %s", name, p[0])
		}
	}
	for field, text := range map[string]string{"dns.namespaceLabels": c.NamespaceLabels, "dns.labels": c.Labels} {
		if _, err := labels.Parse(text); err != nil {
			bad(field, "%q is no label selector such as team=a,stage!=test: %v", text, err)
		}
	}
}
