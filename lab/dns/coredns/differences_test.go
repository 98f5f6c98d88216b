package coredns

import (
	"regexp"
	"slices"
	"strings"

	"github.com/miekg/dns"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
)

// difference is one in which Fairlead departs from CoreDNS on purpose.
type difference struct {
	name, reason string
	// is reports whether a comparison that found the servers to differ is of this
	// kind and nothing else.
	is func(*comparison) bool
}

// differences returns all that are allowed. The first that fits counts.
func differences() []difference {
	return slices.Concat(refusals(), negatives(), reverseNames(), aliases(), services())
}

// refused reports whether Fairlead refuses, with nothing else in the reply.
func (c *comparison) refused() bool { return c.fairlead.equal(outcome{rcode: dns.RcodeRefused}) }

func (c *comparison) typed(types ...uint16) bool { return slices.Contains(types, c.question.Qtype) }

// known reports whether the name is that of an address with a name in the cluster.
func (c *comparison) known() bool {
	for address := range c.names.addresses {
		if reverse(address) == c.name {
			return true
		}
	}
	return false
}

func refusals() []difference {
	return []difference{
		{"class", "Names of a cluster are in class IN; CoreDNS does not look at the class and gives their records, which are of class IN, to any question.",
			func(c *comparison) bool { return c.question.Qclass != dns.ClassINET && c.refused() }},
		{"meta-types", "TKEY, TSIG, MAILB and MAILA are no types that a name can hold data of (RFC 6895, section 3.1); CoreDNS looks the name up.",
			func(c *comparison) bool {
				return c.question.Qclass == dns.ClassINET && c.typed(dns.TypeTKEY, dns.TypeMAILB) && c.refused()
			}},
		{"transfer-outside", "Zones of others are not transferred; CoreDNS forwards the question as if it were one for records.",
			func(c *comparison) bool {
				return c.typed(dns.TypeAXFR, dns.TypeIXFR) && c.zone == "" && c.refused() && c.core.equal(c.outside)
			}},
		{"any", "Type ANY gets a HINFO record (RFC 8482, section 4.2); CoreDNS says that the name holds no data.",
			func(c *comparison) bool {
				hinfo := len(c.fairlead.answer) == 1 && strings.Contains(c.fairlead.answer[0], ` IN HINFO "RFC8482" ""`)
				return c.typed(dns.TypeANY) && hinfo && c.fairlead.rcode == dns.RcodeSuccess && c.fairlead.authoritative &&
					len(c.fairlead.authority)+len(c.fairlead.additional) == 0 && len(c.core.answer) == 0
			}},
	}
}

// nodata and nonexistent report whether Fairlead says so of a name in the
// cluster's domain.
func (c *comparison) nodata() bool {
	return c.inside && c.fairlead.negative(dns.RcodeSuccess, c.zone)
}

func (c *comparison) nonexistent() bool {
	return c.inside && c.fairlead.negative(dns.RcodeNameError, c.zone)
}

// hollow reports whether there are names below the name, but no records. Names
// of ports are answered with and without their underscores.
func (c *comparison) hollow() bool { return c.names.empty[c.name] || c.names.empty["_"+c.name] }

func negatives() []difference {
	denied := func(c *comparison) bool { return c.core.negative(dns.RcodeNameError, c.zone) }
	return []difference{
		{"txt-nodata", "CoreDNS denies names without any records if they are asked for TXT, and the apex and ns.dns, too; they exist for all types or for none (RFC 8020).",
			func(c *comparison) bool {
				return c.typed(dns.TypeTXT) && c.nodata() && denied(c) && (c.hollow() || c.name == c.zone || c.name == "ns.dns."+c.zone)
			}},
		{"empty-non-terminal", "Names exist if names exist below them (RFC 8020); CoreDNS denies _tcp.SERVICE.NAMESPACE.svc and dns.DOMAIN.",
			func(c *comparison) bool { return !c.typed(dns.TypeTXT) && c.nodata() && denied(c) && c.hollow() }},
		{"lone-underscore", "An underscore alone is no name of a port or protocol; CoreDNS takes it for any.",
			func(c *comparison) bool {
				parts := c.relative()
				return c.nonexistent() && c.core.rcode == dns.RcodeSuccess && len(parts) == 5 && parts[4] == "svc" && (parts[0] == "_" || parts[1] == "_")
			}},
		{"dns-version-nodata", "dns-version exists for types other than TXT; CoreDNS denies it.",
			func(c *comparison) bool { return c.nodata() && denied(c) && c.name == "dns-version."+c.zone }},
		{"name-server-case", "The domain and its ns.dns have their records in capital letters, too (RFC 4343); CoreDNS gives none.",
			func(c *comparison) bool {
				mine := c.name == c.zone && c.typed(dns.TypeNS) || c.name == "ns.dns."+c.zone && c.typed(dns.TypeA, dns.TypeAAAA)
				return c.inside && mine && c.question.Name != c.name && (c.core.negative(dns.RcodeSuccess, c.zone) || denied(c)) && c.fairlead.rcode == dns.RcodeSuccess
			}},
		{"ns-nodata", "ns.dns exists for types other than A and AAAA; CoreDNS denies it.",
			func(c *comparison) bool {
				return c.nodata() && denied(c) && c.name == "ns.dns."+c.zone && !c.typed(dns.TypeA, dns.TypeAAAA)
			}},
		{"soa-of-nothing", "A name that does not exist is denied for type SOA, too; CoreDNS says that it holds no data of this type.",
			func(c *comparison) bool {
				return c.typed(dns.TypeSOA) && c.nonexistent() && c.core.negative(dns.RcodeSuccess, c.zone) && !c.names.data[c.name] && !c.names.empty[c.name]
			}},
		{"pod-srv", "The name of a pod holds addresses only; CoreDNS makes up an SRV record with port 0.",
			func(c *comparison) bool {
				parts := c.relative()
				return c.typed(dns.TypeSRV) && c.nodata() && len(parts) == 3 && parts[2] == "pod" && len(c.core.answer) == 1 && strings.Contains(c.core.answer[0], " IN SRV 0 100 0 ")
			}},
		{"below-pods", "There are no names below the name of a pod; CoreDNS answers them as the pod's.",
			func(c *comparison) bool {
				parts := c.relative()
				n := len(parts)
				return c.nonexistent() && c.core.rcode == dns.RcodeSuccess && c.cluster.pods == "insecure" && n > 3 && n < 6 && parts[n-1] == "pod"
			}},
	}
}

func reverseNames() []difference {
	own := func(c *comparison) bool { return c.zone != "" && !c.inside }
	forwarded := func(c *comparison) bool { return own(c) && c.fairlead.equal(c.outside) }
	return []difference{
		{"reverse-type", "The name of an address of the cluster holds PTR records only; CoreDNS asks the upstream for other types, which cannot know it.",
			func(c *comparison) bool {
				return own(c) && c.known() && !c.typed(dns.TypePTR, dns.TypeSOA) && c.fairlead.negative(dns.RcodeSuccess, c.zone) && c.core.equal(c.outside)
			}},
		{"reverse-soa", "Questions for SOA in reverse zones go to the upstream like others, or get the SOA record that Fairlead's other answers have; CoreDNS denies that any name there has one.",
			func(c *comparison) bool {
				return c.typed(dns.TypeSOA) && c.core.negative(dns.RcodeSuccess, c.zone) && (forwarded(c) || own(c) && c.known() && c.fairlead.negative(dns.RcodeSuccess, c.zone))
			}},
		{"reverse-apex", "in-addr.arpa and ip6.arpa themselves, and svc and pod below them, are not the cluster's; CoreDNS takes them for its own.",
			func(c *comparison) bool {
				parts := c.relative()
				mine := len(parts) == 0 || len(parts) <= 2 && slices.Contains([]string{"svc", "pod"}, parts[len(parts)-1])
				return forwarded(c) && mine && c.core.rcode == dns.RcodeSuccess && c.core.authoritative
			}},
		{"reverse-sloppy", "CoreDNS takes names of the wrong form for those of IPv6 addresses: with labels in front of the 32, and of IPv4 addresses written as IPv6.",
			func(c *comparison) bool {
				return forwarded(c) && c.typed(dns.TypePTR) && c.zone == "ip6.arpa." && len(c.core.answer) > 0 && (len(c.relative()) > 32 || c.mapped())
			}},
		{"reverse-orphan", "An address in an EndpointSlice without Service, or with one of type ExternalName, has no name there; CoreDNS gives one that does not exist.",
			func(c *comparison) bool {
				if !own(c) || !c.typed(dns.TypePTR) || c.core.rcode != dns.RcodeSuccess {
					return false
				}
				exist := slices.DeleteFunc(slices.Clone(c.core.answer), c.orphan)
				return len(exist) < len(c.core.answer) && (len(exist) == 0 && forwarded(c) || slices.Equal(exist, c.fairlead.answer))
			}},
	}
}

// mapped reports whether the name is that of an IPv4 address in IPv6.
func (c *comparison) mapped() bool {
	return strings.HasSuffix(c.name, ".f.f.f.f.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa.")
}

// orphan reports whether a PTR record leads to a name that does not exist.
func (c *comparison) orphan(record string) bool {
	return !c.names.data[record[strings.LastIndexByte(record, ' ')+1:]]
}

// alias returns the Service of type ExternalName that the name is.
func (c *comparison) alias() *corev1.Service {
	for _, s := range c.cluster.Services {
		if c.name == s.Name+"."+s.Namespace+".svc."+c.cluster.domain+"." && s.Spec.Type == corev1.ServiceTypeExternalName {
			return s
		}
	}
	return nil
}

func aliases() []difference {
	addressed := func(c *comparison) bool { return c.typed(dns.TypeA, dns.TypeAAAA) && c.alias() != nil }
	cname := func(o outcome) bool { return len(o.answer) > 0 && strings.Contains(o.answer[0], " IN CNAME ") }
	return []difference{
		{"alias-to-nothing", "An alias whose target is in the cluster and does not exist, or holds no data of the type, is given, with the target's response code (RFC 6604); CoreDNS hides it.",
			func(c *comparison) bool {
				return addressed(c) && c.core.negative(dns.RcodeSuccess, c.zone) && cname(c.fairlead) && len(c.fairlead.authority) == 1 &&
					strings.HasPrefix(c.fairlead.authority[0], c.zone)
			}},
		{"alias-to-negative", "If the target of an alias is elsewhere and does not exist, or holds no data of the type, the reply has the target's response code (RFC 6604) and the SOA record that says how long that is true (RFC 2308); CoreDNS drops both.",
			func(c *comparison) bool {
				return addressed(c) && cname(c.core) && c.core.rcode == dns.RcodeSuccess && len(c.core.authority) == 0 && slices.Equal(c.core.answer, c.fairlead.answer) &&
					slices.Equal(c.fairlead.authority, c.outside.authority) && (c.fairlead.rcode == dns.RcodeSuccess || c.fairlead.rcode == dns.RcodeNameError)
			}},
		{"alias-circle", "Aliases in a circle are a mistake that SERVFAIL shows, and CoreDNS hides.",
			func(c *comparison) bool {
				return addressed(c) && c.core.negative(dns.RcodeSuccess, c.zone) && c.fairlead.equal(outcome{rcode: dns.RcodeServerFailure, authoritative: true})
			}},
	}
}

func services() []difference {
	return []difference{
		{"srv-weight", "The weights of SRV records are equal shares of 100 over the ports there are; CoreDNS counts endpoints without ports, and ports without numbers, as well.",
			func(c *comparison) bool {
				return c.typed(dns.TypeSRV) && c.portless() && c.core.unweighted().equal(c.fairlead.unweighted())
			}},
		{"port-without-number", "A port of an EndpointSlice without a number stands for all of them and gets no name; CoreDNS gives addresses for it.",
			func(c *comparison) bool {
				unknown := func(record string) bool { return !slices.Contains(c.core.answer, record) }
				return c.inside && len(c.relative()) == 5 && c.portless() && c.core.rcode == dns.RcodeSuccess && !slices.ContainsFunc(c.fairlead.answer, unknown)
			}},
	}
}

var weight = regexp.MustCompile(` IN SRV 0 \d+ `)

// unweighted returns the outcome without the weights of SRV records.
func (o outcome) unweighted() outcome {
	o.answer = slices.Clone(o.answer)
	for i, record := range o.answer {
		o.answer[i] = weight.ReplaceAllString(record, " IN SRV 0 ? ")
	}
	return o
}

// service returns the namespace and name of the Service in a name of the cluster.
func (c *comparison) service() (namespace, name string) {
	parts := c.relative()
	if n := len(parts); c.inside && n >= 3 && parts[n-1] == "svc" {
		return parts[n-2], parts[n-3]
	}
	return "", ""
}

// portless reports whether an EndpointSlice of the Service has a ready endpoint
// and no ports, or one without number.
func (c *comparison) portless() bool {
	namespace, name := c.service()
	for _, slice := range c.cluster.Slices {
		if slice.Namespace != namespace || slice.Labels[discoveryv1.LabelServiceName] != name {
			continue
		}
		if len(slice.Ports) > 0 && !slices.ContainsFunc(slice.Ports, func(p discoveryv1.EndpointPort) bool { return p.Port == nil }) {
			continue
		}
		if slices.ContainsFunc(slice.Endpoints, func(e discoveryv1.Endpoint) bool { return e.Conditions.Ready == nil || *e.Conditions.Ready }) {
			return true
		}
	}
	return false
}
