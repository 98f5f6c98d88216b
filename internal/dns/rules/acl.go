package rules

import (
	"net/netip"
	"slices"

	wire "github.com/miekg/dns"

	"github.com/fairlead-net/fairlead/internal/dns"
	"github.com/fairlead-net/fairlead/internal/dns/corefile"
)

// action is what acl does with a query.
type action string

const (
	allow  action = "allow"
	block  action = "block"
	filter action = "filter"
	drop   action = "drop"
)

// acl is one directive acl.
type acl struct {
	zones []string
	rules []aclRule
}

type aclRule struct {
	action  action
	types   []uint16
	sources []netip.Prefix
}

func newACL(c corefile.ACL, zones []string) (acl, error) {
	a := acl{zones: c.Zones}
	if len(a.zones) == 0 {
		a.zones = zones
	}
	for _, r := range c.Rules {
		rule := aclRule{action: action(r.Action), sources: r.Sources}
		for _, text := range r.Types {
			t, err := typeNumber(text)
			if err != nil {
				return a, err
			}
			rule.types = append(rule.types, t)
		}
		a.rules = append(a.rules, rule)
	}
	return a, nil
}

// access returns what is to be done with a question: the directives in their
// order, of each the first rule that matches; one that allows ends it.
func (r *Rules) access(client netip.Addr, q wire.Question) action {
	if len(r.acl) == 0 {
		return allow
	}
	name := fold(q.Name)
	for _, a := range r.acl {
		if _, in := zoneOf(a.zones, name); !in {
			continue
		}
		for _, rule := range a.rules {
			if rule.matches(client, q.Qtype) {
				return rule.action
			}
		}
	}
	return allow
}

func (r aclRule) matches(client netip.Addr, qtype uint16) bool {
	if len(r.types) > 0 && !slices.Contains(r.types, qtype) {
		return false
	}
	return len(r.sources) == 0 || slices.ContainsFunc(r.sources, func(p netip.Prefix) bool { return p.Contains(client.WithZone("")) })
}

// refuse answers a query that acl does not allow (RFC 8914, sections 4.16 and 4.18).
func (o Outcome) refuse(by action) Outcome {
	switch by {
	case drop:
		o.Drop, o.By = true, "acl"
	case filter:
		o.reply("acl", wire.RcodeSuccess)
		o.Error = &dns.ExtendedError{Code: wire.ExtendedErrorCodeFiltered, Text: "the server's access list filters this question"}
	default:
		o.reply("acl", wire.RcodeRefused)
		o.Error = &dns.ExtendedError{Code: wire.ExtendedErrorCodeProhibited, Text: "the server's access list does not allow this question from here"}
	}
	return o
}
