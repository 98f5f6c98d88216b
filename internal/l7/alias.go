package l7

import (
	"strings"

	"github.com/fairlead-net/fairlead/internal/desired"
)

// addAliases gives an Ingress further hosts: those of annotation server-alias, with the
// rules of its own hosts, and those that from-to-www-redirect sends to its own.
func (i *ingress) addAliases() {
	o := &i.options
	if o.Canary != nil || len(o.Aliases) == 0 && !o.WWWRedirect || o.Closed {
		return
	}
	i.aliases = map[string]bool{}
	own := make([]string, 0, len(i.rules))
	for host := range i.rules {
		if host != "" {
			own = append(own, host)
		}
	}
	for _, host := range own {
		for _, alias := range o.Aliases {
			i.alias(alias, host, i.rules[host])
			i.secured[alias] = i.secured[alias] || i.secured[host]
		}
	}
	for _, host := range own {
		other, is := strings.CutPrefix(host, "www.")
		if !is {
			other = "www." + host
		}
		if o.WWWRedirect && !strings.Contains(host, "*") && strings.Contains(other, ".") {
			to := &Route{Source: i.source.Ref(), Rule: "from-to-www-redirect", Redirect: &Redirect{Status: i.redirectStatus(), Host: host}}
			i.alias(other, host, []rule{{kind: text, path: "/", written: "/", route: to}})
		}
	}
}

// alias adds a host, unless the Ingress has it itself.
func (i *ingress) alias(alias, of string, rules []rule) {
	if _, has := i.rules[alias]; has && !i.aliases[alias] {
		return
	}
	i.aliases[alias] = true
	i.rules[alias] = append(i.rules[alias][:len(i.rules[alias]):len(i.rules[alias])], rules...)
	if secret, has := i.secrets[of]; has {
		if _, own := i.secrets[alias]; !own {
			i.secrets[alias] = secret
		}
	}
}

// withoutAliases returns the Ingresses whose host it is: if one has it in a rule, those
// that do; else the oldest that has it as an alias.
func withoutAliases(name string, by []*ingress) ([]*ingress, []desired.Reason) {
	var own, aliased []*ingress
	for _, i := range by {
		if i.aliases[name] {
			aliased = append(aliased, i)
		} else {
			own = append(own, i)
		}
	}
	if len(own) == 0 && len(aliased) > 0 {
		own, aliased = aliased[:1], aliased[1:]
	}
	var reasons []desired.Reason
	for _, i := range aliased {
		reasons = append(reasons, i.reason("AliasTaken", "host %s, an alias by annotation server-alias or from-to-www-redirect, is that of Ingress %s, whose requests are not for this one", name, own[0].source.Name))
	}
	return own, reasons
}
