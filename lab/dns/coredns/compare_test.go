package coredns

import (
	"fmt"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// outcome is a reply as far as it is compared: sections are sets of records,
// with names in lower case and without the serial numbers of zones.
type outcome struct {
	rcode                         int
	authoritative                 bool
	answer, authority, additional []string
}

func outcomeOf(m *dns.Msg) outcome {
	return outcome{m.Rcode, m.Authoritative, set(m.Answer), set(m.Ns), set(m.Extra)}
}

func set(records []dns.RR) []string {
	var texts []string
	for _, record := range records {
		if record.Header().Rrtype == dns.TypeOPT {
			continue
		}
		texts = append(texts, canonical(record))
	}
	slices.Sort(texts)
	return slices.Compact(texts)
}

func canonical(record dns.RR) string {
	record = dns.Copy(record)
	fold := func(name *string) { *name = dns.CanonicalName(*name) }
	fold(&record.Header().Name)
	switch r := record.(type) {
	case *dns.CNAME:
		fold(&r.Target)
	case *dns.PTR:
		fold(&r.Ptr)
	case *dns.NS:
		fold(&r.Ns)
	case *dns.SRV:
		fold(&r.Target)
	case *dns.SOA:
		fold(&r.Ns)
		fold(&r.Mbox)
		r.Serial = min(r.Serial, 1) // none would be wrong
	}
	return strings.Join(strings.Fields(record.String()), " ")
}

func (o outcome) equal(other outcome) bool {
	return o.rcode == other.rcode && o.authoritative == other.authoritative && slices.Equal(o.answer, other.answer) &&
		slices.Equal(o.authority, other.authority) && slices.Equal(o.additional, other.additional)
}

func (o outcome) String() string {
	return fmt.Sprintf("%s AA=%t answer %q authority %q additional %q", dns.RcodeToString[o.rcode], o.authoritative, o.answer, o.authority, o.additional)
}

// negative reports whether the reply is an authoritative one without records
// but the SOA of the zone.
func (o outcome) negative(rcode int, zone string) bool {
	return o.rcode == rcode && o.authoritative && len(o.answer) == 0 && len(o.additional) == 0 &&
		len(o.authority) == 1 && strings.HasPrefix(o.authority[0], zone+" ") && strings.Contains(o.authority[0], " IN SOA ns.dns.")
}

// comparison is one question and what both servers say to it.
type comparison struct {
	cluster  *cluster
	names    names
	question dns.Question
	// name is the question's in lower case; inside is set if it is in the
	// cluster's domain, and zone is the zone that CoreDNS takes it to be in, or "".
	name, zone     string
	inside         bool
	core, fairlead outcome
	// outside is what the upstream answers, as far as it is asked.
	outside outcome
}

func (a *asker) comparison(q dns.Question, core, fairlead, outside *dns.Msg) *comparison {
	c := &comparison{
		cluster: a.cluster, names: a.names, question: q, name: dns.CanonicalName(q.Name),
		core: outcomeOf(core), fairlead: outcomeOf(fairlead), outside: outcomeOf(outside),
	}
	for _, zone := range []string{a.cluster.domain + ".", "in-addr.arpa.", "ip6.arpa."} {
		if dns.IsSubDomain(zone, c.name) {
			c.zone = zone
		}
	}
	c.inside = c.zone == a.cluster.domain+"."
	return c
}

// relative returns the labels of the name in front of its zone.
func (c *comparison) relative() []string {
	return dns.SplitDomainName(c.name)[:dns.CountLabel(c.name)-dns.CountLabel(c.zone)]
}

func (c *comparison) String() string {
	return fmt.Sprintf("%s (domain %s, pods %s)\n  CoreDNS  %s\n  Fairlead %s", describe(c.question), c.cluster.domain, c.cluster.pods, c.core, c.fairlead)
}
