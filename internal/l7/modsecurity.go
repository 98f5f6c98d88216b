package l7

import (
	"strconv"
	"strings"

	"github.com/fairlead-net/fairlead/internal/l7/filter"
	"github.com/fairlead-net/fairlead/internal/l7/nginx"
	"github.com/fairlead-net/fairlead/internal/l7/waf"
)

// compileRules has the rules of ModSecurity compiled that an Ingress asks for. Where that
// is not allowed, or cannot be, it is closed: it would let in more than it says.
func (i *ingress) compileRules(allowed bool) {
	if i.filters == nil || i.filters.ModSecurity == nil {
		return
	}
	filters, made := *i.filters, *i.filters.ModSecurity
	own, _ := strconv.ParseBool(strings.TrimSpace(i.source.Annotations[nginx.Prefix+"enable-modsecurity"]))
	if !allowed && !own && i.source.Annotations[nginx.Prefix+"modsecurity-snippet"] == "" {
		// The administrator's ConfigMap asks, and his configuration does not turn it on.
		filters.ModSecurity = nil
		if i.filters = &filters; filters == (filter.Filters{}) {
			i.filters = nil
		}
		return
	}
	if !allowed {
		i.options.Closed = true
		i.reasons = append(i.reasons, i.reason("ModSecurityDisabled", "annotation %senable-modsecurity asks for rules of ModSecurity, which gateway.modSecurity does not turn on; the Ingress gets 503, as it would let in more than it says", nginx.Prefix))
		return
	}
	var err error
	made.Rules, err = waf.Shared().Compile(i.source.Name.Namespace, waf.Wanted{Recommended: made.Recommended, Core: made.Core, Shared: made.Shared, Own: made.Own})
	if err != nil {
		i.options.Closed = true
		i.reasons = append(i.reasons, i.reason("RulesInvalid", "annotation %smodsecurity-snippet: %v; the Ingress gets 503 until it is corrected, as its requests would not be checked", nginx.Prefix, err))
		return
	}
	made.Core = made.Rules.Core()
	filters.ModSecurity = &made
	i.filters = &filters
}
