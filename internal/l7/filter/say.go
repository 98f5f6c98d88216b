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
	var lines []string
	say := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	if l := f.Limits; l != nil {
		for _, bound := range []struct {
			n    int
			text string
		}{{l.PerSecond, "requests a second"}, {l.PerMinute, "requests a minute"}, {l.Connections, "requests at a time"}} {
			if bound.n > 0 {
				say("takes %d %s of a client, burst %d times, but of %v any number", bound.n, bound.text, l.Burst, l.Exempt)
			}
		}
		if l.Rate > 0 {
			say("sends %d octets a second after %d", l.Rate, l.After)
		}
	}
	if a := f.Auth; a != nil {
		how := ""
		if a.Any {
			how = ", or another of those who let in"
		}
		if a.Basic != nil {
			say("asks for a password of a user in %s, realm %q%s", a.Basic.Users, a.Basic.Realm, how)
		}
		if e := a.External; e != nil {
			text := fmt.Sprintf("asks %s %s", orGET(e.Method), e.URL)
			if e.SignIn.String() != "" {
				text += ", who is unknown goes to " + e.SignIn.String()
			}
			if e.CacheKey.String() != "" {
				text += ", answers are used again by " + e.CacheKey.String()
			}
			say("%s%s", text, how)
		}
	}
	if b := f.Balance; b != nil {
		for how, name := range map[Algorithm]string{RoundRobin: "one after the other", EWMA: "by how long answers take"} {
			if b.How == how {
				say("chooses endpoints %s", name)
			}
		}
		if b.HashBy.String() != "" {
			say("chooses endpoints by %s, of a subset of %d", b.HashBy, max(b.Subset, 1))
		}
		if s := b.Session; s != nil {
			say("keeps clients at an endpoint by %s", s.Cookie("...", false, "", time.Unix(0, 0)))
		}
	}
	return lines
}

func orGET(method string) string {
	if method == "" {
		return "GET"
	}
	return method
}
