package rules

import "github.com/fairlead-net/fairlead/internal/dns/corefile"

// Tap is one directive dnstap.
type Tap struct {
	corefile.Dnstap
	extra logging
}

func newTap(c corefile.Dnstap) *Tap {
	return &Tap{c, newLogging(corefile.Log{Format: c.Extra})}
}

// Taps returns the directives dnstap.
func (r *Rules) Taps() []*Tap { return r.taps }

// Text returns the text that goes with a message about an exchange, which need not have
// a reply.
func (t *Tap) Text(e Exchange) string {
	if t.Extra == "" {
		return ""
	}
	return t.extra.line(&e)
}
