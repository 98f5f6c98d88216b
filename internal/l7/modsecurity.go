package l7

import (
	"strconv"
	"strings"

	"github.com/fairlead-net/fairlead/internal/l7/filter"
	"github.com/fairlead-net/fairlead/internal/l7/nginx"
	"github.com/fairlead-net/fairlead/internal/l7/waf"
)

// ruling is what becomes of the rules of ModSecurity that an Ingress wants.
type ruling struct {
	// denied is why there is no place for them; empty: there is one.
	denied string
	// pending: they are not compiled yet. trouble is why not, if that has been tried.
	pending bool
	trouble string
	// wrong is what Coraza says of them.
	wrong string
	// former are in force until they are compiled; nil: none.
	former *waf.Rules
}

// setRules has requests checked by the rules of ModSecurity that an Ingress asks for.
// Where that is not allowed, or cannot be, it is closed: it would let in more than it
// says.
func (i *ingress) setRules(c *Config, r ruling) {
	if i.filters == nil || i.filters.ModSecurity == nil {
		return
	}
	filters, made := *i.filters, *i.filters.ModSecurity
	own, _ := strconv.ParseBool(strings.TrimSpace(i.source.Annotations[nginx.Prefix+"enable-modsecurity"]))
	if !c.ModSecurity && !own && i.source.Annotations[nginx.Prefix+"modsecurity-snippet"] == "" {
		// The administrator's ConfigMap asks, and his configuration does not turn it on.
		filters.ModSecurity = nil
		if i.filters = &filters; filters == (filter.Filters{}) {
			i.filters = nil
		}
		return
	}
	if !c.ModSecurity {
		i.options.Closed = true
		i.reasons = append(i.reasons, i.reason("ModSecurityDisabled", "annotation %senable-modsecurity asks for rules of ModSecurity, which gateway.modSecurity does not turn on; the Ingress gets 503, as it would let in more than it says", nginx.Prefix))
		return
	}
	rules, err := c.compiler().Read(i.source.Name.Namespace, waf.Wanted{Recommended: made.Recommended, Core: made.Core, Shared: made.Shared, Own: made.Own})
	if err != nil {
		r = ruling{wrong: err.Error()}
	}
	i.checks, i.ruling = rules, r
	i.options.Closed = i.options.Closed || r.denied != "" || r.wrong != ""
	switch {
	case r.denied != "":
		i.reasons = append(i.reasons, i.reason("RulesTooMany", "annotation %smodsecurity-snippet: %s; the Ingress gets 503 until there is a place for its text, as its requests would not be checked", nginx.Prefix, r.denied))
		return
	case r.wrong != "":
		i.reasons = append(i.reasons, i.reason("RulesInvalid", "annotation %smodsecurity-snippet: %s; the Ingress gets 503 until it is corrected, as its requests would not be checked", nginx.Prefix, r.wrong))
		return
	case r.trouble != "":
		what := "the Ingress gets 503 until then"
		if r.former != nil {
			what = "the rules of before are in force until then"
		}
		i.reasons = append(i.reasons, i.reason("RulesDelayed", "annotation %smodsecurity-snippet: %s; it is tried again, and %s", nginx.Prefix, r.trouble, what))
	}
	made.Rules, made.Former, made.Core = rules, r.former, rules.Core()
	filters.ModSecurity = &made
	i.filters = &filters
}

// compiler returns what compiles rules.
func (c *Config) compiler() *waf.Compiler {
	if c.Rules == nil {
		return waf.Shared()
	}
	return c.Rules
}

// inForce returns the rules that requests for an Ingress are checked by now; nil: none.
func (i *ingress) inForce() *waf.Rules {
	if i == nil || i.options.Closed || i.filters == nil || i.filters.ModSecurity == nil {
		return nil
	}
	rules, _ := i.filters.ModSecurity.InForce()
	return rules
}
