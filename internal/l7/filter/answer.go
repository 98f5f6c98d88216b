package filter

import "strings"

// Answer changes what backends say of where things are: in redirects, and in cookies.
type Answer struct {
	// Redirects are for Location and the URL in Refresh: the first that fits counts.
	Redirects []Replacement
	// CookieDomains and CookiePaths are for the attributes of cookies.
	CookieDomains, CookiePaths []Replacement
}

// Replacement is a text that takes the place of another: at the beginning, or, of a
// domain, of all of it.
type Replacement struct {
	From string
	To   Template
}

// Redirect returns a Location as the client gets it.
func (a *Answer) Redirect(location string, s Source) string {
	for _, r := range a.Redirects {
		if rest, ok := strings.CutPrefix(location, r.From); ok {
			return string(r.To.AppendURL(nil, s)) + rest
		}
	}
	return location
}

// Refresh returns a Refresh field, "SECONDS; url=URL", as the client gets it.
func (a *Answer) Refresh(text string, s Source) string {
	at := strings.Index(strings.ToLower(text), "url=")
	if at < 0 {
		return text
	}
	return text[:at+4] + a.Redirect(text[at+4:], s)
}

// Cookie returns a Set-Cookie as the client gets it.
func (a *Answer) Cookie(text string, s Source) string {
	parts := strings.Split(text, ";")
	for i, part := range parts[1:] {
		name, value, ok := strings.Cut(part, "=")
		switch {
		case !ok:
		case strings.EqualFold(strings.TrimSpace(name), "domain"):
			for _, r := range a.CookieDomains {
				if strings.EqualFold(strings.TrimPrefix(strings.TrimSpace(value), "."), strings.TrimPrefix(r.From, ".")) {
					parts[i+1] = name + "=" + string(r.To.Append(nil, s))
					break
				}
			}
		case strings.EqualFold(strings.TrimSpace(name), "path"):
			for _, r := range a.CookiePaths {
				if rest, ok := strings.CutPrefix(strings.TrimSpace(value), r.From); ok {
					parts[i+1] = name + "=" + string(r.To.Append(nil, s)) + rest
					break
				}
			}
		}
	}
	return strings.Join(parts, ";")
}

func (a *Answer) say(s *said) {
	if a == nil {
		return
	}
	for _, kind := range []struct {
		what string
		list []Replacement
	}{{"redirects", a.Redirects}, {"domains of cookies", a.CookieDomains}, {"paths of cookies", a.CookiePaths}} {
		for _, r := range kind.list {
			s.add("in %s, has %s instead of %s", kind.what, r.To, r.From)
		}
	}
}
