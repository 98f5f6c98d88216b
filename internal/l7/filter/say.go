package filter

import (
	"fmt"
	"time"
)

// Says returns what Filters do, a line for each, in words for people.
func (f *Filters) Says() []string {
	if f == nil {
		return nil
	}
	var s said
	f.CORS.say(&s)
	f.Headers.say(&s)
	f.Limits.say(&s)
	f.Auth.say(&s)
	f.Balance.say(&s)
	f.Retry.say(&s)
	f.Answer.say(&s)
	f.Snippet.say(&s)
	if f.NoAccessLog {
		s.add("leaves requests out of the access log")
	}
	f.Mirror.say(&s)
	f.ClientTLS.say(&s)
	f.ModSecurity.say(&s)
	return s.lines
}

type said struct{ lines []string }

func (s *said) add(format string, args ...any) {
	s.lines = append(s.lines, fmt.Sprintf(format, args...))
}

func (c *CORS) say(s *said) {
	switch {
	case c == nil:
	case c.Any:
		s.add("tells scripts of any origin %v", c.Fields(""))
	default:
		s.add("tells scripts of %d origins %v", len(c.Origins), c.Fields("ORIGIN"))
	}
}

func (h *Headers) say(s *said) {
	if h == nil {
		return
	}
	for _, r := range []Reference{h.All, h.Answer} {
		if r.Name != "" {
			s.add("gives answers the fields in %s", r)
		}
	}
	if h.Backends.Name != "" {
		s.add("gives backends the fields in %s", h.Backends)
	}
	if len(h.Hide) > 0 {
		s.add("hides of answers %v", h.Hide)
	}
	if h.HTTPS != "" {
		s.add("says by HTTPS Strict-Transport-Security: %s", h.HTTPS)
	}
}

func (l *Limits) say(s *said) {
	if l == nil {
		return
	}
	for _, bound := range []struct {
		n    int
		text string
	}{{l.PerSecond, "requests a second"}, {l.PerMinute, "requests a minute"}, {l.Connections, "requests at a time"}} {
		if bound.n > 0 {
			s.add("takes %d %s of a client, burst %d times, but of %v any number", bound.n, bound.text, l.Burst, l.Exempt)
		}
	}
	if l.Rate > 0 {
		s.add("sends %d octets a second after %d", l.Rate, l.After)
	}
}

func (a *Auth) say(s *said) {
	if a == nil {
		return
	}
	how := ""
	if a.Any {
		how = ", or another of those who let in"
	}
	if a.Basic != nil {
		s.add("asks for a password of a user in %s, realm %q%s", a.Basic.Users, a.Basic.Realm, how)
	}
	if e := a.External; e != nil {
		method := e.Method
		if method == "" {
			method = "GET"
		}
		text := fmt.Sprintf("asks %s %s", method, e.URL)
		if e.SignIn.String() != "" {
			text += ", who is unknown goes to " + e.SignIn.String()
		}
		if e.CacheKey.String() != "" {
			text += ", answers are used again by " + e.CacheKey.String()
		}
		s.add("%s%s", text, how)
	}
}

func (b *Balance) say(s *said) {
	if b == nil {
		return
	}
	switch b.How {
	case RoundRobin:
		s.add("chooses endpoints one after the other")
	case EWMA:
		s.add("chooses endpoints by how long answers take")
	}
	if b.HashBy.String() != "" {
		s.add("chooses endpoints by %s, of a subset of %d", b.HashBy, max(b.Subset, 1))
	}
	if b.Session != nil {
		s.add("keeps clients at an endpoint by %s", b.Session.Cookie("...", false, "", time.Unix(0, 0)))
	}
}
