package rules

import (
	"strings"

	wire "github.com/miekg/dns"

	"github.com/fairlead-net/fairlead/internal/dns/corefile"
)

// answerRule changes names in the records of a reply.
type answerRule struct {
	// value is for the names that records point to, else it is for their owners.
	value bool
	name  matcher
}

func newAnswerRules(all []corefile.AnswerRule) ([]answerRule, error) {
	var rules []answerRule
	for _, a := range all {
		if a.Auto {
			continue // what is done anyway
		}
		m, err := newMatcher("regex", a.From, a.To)
		if err != nil {
			return nil, err
		}
		rules = append(rules, answerRule{a.Part == "value", m})
	}
	return rules, nil
}

// back returns what undoes the change of a name from what the client asked for: the
// rules for answers first, then the name itself. Records of the reply are the
// caller's own.
func (w *rewrite) back(asked, to string) func(*wire.Msg) {
	return func(reply *wire.Msg) {
		for _, section := range [][]wire.RR{reply.Answer, reply.Ns, reply.Extra} {
			for _, rr := range section {
				owner, value := &rr.Header().Name, target(rr)
				for i := range w.answers {
					if rule := &w.answers[i]; !rule.value {
						rule.apply(owner)
					} else if value != nil {
						rule.apply(value)
					}
				}
				if strings.EqualFold(*owner, to) {
					*owner = asked
				}
			}
		}
	}
}

func (a *answerRule) apply(name *string) {
	if to, ok := a.name.replace(fold(*name)); ok {
		if _, valid := wire.IsDomainName(to); valid {
			*name = to
		}
	}
}

// target returns the name that a record points to, or nil.
func target(rr wire.RR) *string {
	switch rr := rr.(type) {
	case *wire.CNAME:
		return &rr.Target
	case *wire.DNAME:
		return &rr.Target
	case *wire.SRV:
		return &rr.Target
	case *wire.PTR:
		return &rr.Ptr
	case *wire.NS:
		return &rr.Ns
	case *wire.MX:
		return &rr.Mx
	case *wire.NAPTR:
		return &rr.Replacement
	case *wire.SVCB:
		return &rr.Target
	case *wire.HTTPS:
		return &rr.Target
	}
	return nil
}
