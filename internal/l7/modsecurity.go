package l7

import (
	"github.com/fairlead-net/fairlead/internal/l7/filter"
	"github.com/fairlead-net/fairlead/internal/l7/waf"
)

// compileRules has the rules of ModSecurity compiled that an Ingress asks for. Rules that
// cannot be followed close it: without them it would let in more than it says.
func (i *ingress) compileRules(f *filter.Filters) {
	if f.ModSecurity == nil {
		return
	}
	made := *f.ModSecurity
	var err error
	made.Rules, err = waf.Shared().Compile(i.source.Name.Namespace, waf.Wanted{Recommended: made.Recommended, Core: made.Core, Shared: made.Shared, Own: made.Own})
	if err != nil {
		i.options.Closed = true
		i.reasons = append(i.reasons, i.reason("RulesInvalid", "annotation modsecurity-snippet: %v; the Ingress gets 503 until it is corrected, as its requests would not be checked", err))
		return
	}
	made.Core = made.Rules.Core()
	f.ModSecurity = &made
}
