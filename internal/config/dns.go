package config

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation"
)

// DNS configures cluster DNS.
type DNS struct {
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
	// Upstreams answer what is not the cluster's; empty means those in ResolvConf.
	Upstreams  []netip.AddrPort `yaml:"upstreams"`
	ResolvConf string           `yaml:"resolvConf"`
	// Lameduck is how long a server that is told to stop goes on answering.
	Lameduck time.Duration `yaml:"lameduck"`
	// Service is NAMESPACE/NAME of the Service in front of the DNS servers.
	Service string `yaml:"service"`
	// TLS configures DNS over TLS, which is off while it has no addresses.
	TLS DNSOverTLS `yaml:"tls"`
}

// DNSOverTLS configures DNS over TLS (RFC 7858).
type DNSOverTLS struct {
	// Listen are its addresses, usually with port 853.
	Listen []netip.AddrPort `yaml:"listen"`
	// Certificate and Key are files in PEM form, read again when they change.
	Certificate string `yaml:"certificate"`
	Key         string `yaml:"key"`
}

func (c DNS) validate(bad func(field, format string, args ...any)) {
	if len(c.Listen) == 0 {
		bad("dns.listen", "is empty; write at least one ADDRESS:PORT, such as \"[::]:53\"")
	}
	if c.TTL > 3600 {
		bad("dns.ttl", "is %d; at most 3600 seconds, as clients would hold on to endpoints that are gone", c.TTL)
	}
	if c.Pods != "insecure" && c.Pods != PodsVerified && c.Pods != "disabled" {
		bad("dns.pods", "%q is none of insecure, verified and disabled", c.Pods)
	}
	c.validateFilters(bad)
	if c.Lameduck < 0 || c.Lameduck > time.Minute {
		bad("dns.lameduck", "%s is not between 0s and 1m", c.Lameduck)
	}
	if namespace, name, ok := strings.Cut(c.Service, "/"); !ok || namespace == "" || name == "" {
		bad("dns.service", "%q is not of the form NAMESPACE/NAME", c.Service)
	}
	c.TLS.validate(bad)
}

func (c DNSOverTLS) validate(bad func(field, format string, args ...any)) {
	if len(c.Listen) == 0 && c.Certificate+c.Key != "" {
		bad("dns.tls.listen", "is empty, so the certificate is not used; write ADDRESS:PORT, such as \"[::]:853\"")
	} else if len(c.Listen) > 0 && (c.Certificate == "" || c.Key == "") {
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
