package filter

import "github.com/fairlead-net/fairlead/internal/l7/waf"

// ModSecurity has requests and answers checked by rules of ModSecurity.
type ModSecurity struct {
	// Recommended are the rules of ingress-nginx's modsecurity.conf, Core is the core rule
	// set of OWASP.
	Recommended, Core bool
	// Shared is the administrator's text of rules, Own the Ingress's.
	Shared, Own string
	// ID is what the logs call a request; empty: the request's own identity.
	ID Template
	// Rules are what all that is compiled to. Until that is done those of before count, if
	// there were any: Former.
	Rules, Former *waf.Rules
}

// InForce returns the Rules that requests are checked by; nil: none are ready, so no
// request must pass.
func (m *ModSecurity) InForce() *waf.Rules {
	switch {
	case m.Rules == nil || m.Rules.Err() != nil:
		return nil
	case m.Rules.Ready():
		return m.Rules
	case m.Former != nil && m.Former.Ready():
		return m.Former
	}
	return nil
}

func (m *ModSecurity) say(s *said) {
	if m == nil {
		return
	}
	text := "checks requests and answers by rules of ModSecurity"
	for _, part := range []struct {
		is   bool
		what string
	}{{m.Recommended, "ingress-nginx's modsecurity.conf"}, {m.Shared != "", "the ConfigMap's"}, {m.Own != "", "its own"}, {m.Core, "the core rule set"}} {
		if part.is {
			text += ", " + part.what
		}
	}
	s.add("%s", text)
}
