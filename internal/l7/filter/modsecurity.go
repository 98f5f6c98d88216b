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
	// Open: requests pass unchecked as long as neither Rules nor Former are compiled, as they
	// did before there were any. Compiling that fails ends it.
	Open bool
}

// InForce returns the Rules that requests are checked by; nil: none are ready, so no
// request must pass unless it is open.
func (m *ModSecurity) InForce() (rules *waf.Rules, open bool) {
	switch {
	case m.Rules == nil || m.Rules.Err() != nil:
		return nil, false
	case m.Rules.Ready():
		return m.Rules, false
	case m.Former != nil && m.Former.Ready():
		return m.Former, false
	}
	return nil, m.Open && untried(m.Rules) && (m.Former == nil || untried(m.Former))
}

// untried reports whether Rules are to be compiled for the first time.
func untried(r *waf.Rules) bool { return r.Err() == nil && r.Trouble() == nil }

// Waits reports whether no request passes until other Rules are ready. nil does not wait.
func (m *ModSecurity) Waits() bool {
	if m == nil {
		return false
	}
	rules, open := m.InForce()
	return rules == nil && !open
}

// After returns the same for what has been served by before until now, nil if without
// rules: what was in force stays so. If requests passed unchecked, they do until any of the
// Rules is compiled that there have been since: another text puts that off no further. It
// returns false if none passed.
func (m *ModSecurity) After(before *ModSecurity) (*ModSecurity, bool) {
	made := *m
	if before == nil {
		made.Open = true
		return &made, true
	}
	made.Former, made.Open = before.InForce()
	if !made.Open {
		return &made, made.Former != nil
	}
	if made.Former = before.Former; made.Former == nil && before.Rules != m.Rules {
		made.Former = before.Rules
	}
	return &made, true
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
