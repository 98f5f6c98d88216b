package nginx

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/fairlead-net/fairlead/internal/l7/filter"
)

// balanceReaders are the annotations that say which endpoint gets a request; all are
// read together.
func balanceReaders() map[string]reader {
	all := map[string]reader{}
	for _, name := range []string{
		"load-balance", "upstream-hash-by", "upstream-hash-by-subset", "upstream-hash-by-subset-size",
		"affinity", "affinity-mode", "affinity-canary-behavior", "session-cookie-name", "session-cookie-path", "session-cookie-domain",
		"session-cookie-expires", "session-cookie-max-age", "session-cookie-samesite", "session-cookie-conditional-samesite-none",
		"session-cookie-secure", "session-cookie-partitioned", "session-cookie-change-on-failure",
	} {
		all[name] = reader{nothing, false}
	}
	return all
}

// balance reads them. None of them guards: a wrong one is left out.
func (r *report) balance(given map[string]string) {
	b := filter.Balance{Session: r.session(given)}
	switch how := given["load-balance"]; how {
	case "":
	case "round_robin":
		b.How = filter.RoundRobin
	case "ewma":
		b.How = filter.EWMA
	default:
		r.wrong("load-balance", how, false, errors.New("is neither round_robin nor ewma"))
	}
	if text := given["upstream-hash-by"]; text != "" {
		made, err := filter.ParseTemplate(text)
		switch {
		case err != nil:
			r.wrong("upstream-hash-by", text, false, err)
		case made.Plain():
			r.wrong("upstream-hash-by", text, false, errors.New("is the same for all requests, as it has no variable such as $request_uri"))
		default:
			b.HashBy = made
		}
	}
	if r.optional(given, "upstream-hash-by-subset") == filter.Yes {
		b.Subset = 3
		if n, ok := r.whole(given, "upstream-hash-by-subset-size", 1, 16); ok {
			b.Subset = n
		}
	}
	if b.Session != nil || b.HashBy.String() != "" || b.How != 0 {
		r.options.Filters.Balance = &b
	}
}

// session reads the annotations of a cookie that keeps clients at an endpoint.
func (r *report) session(given map[string]string) *filter.Session {
	switch kind := given["affinity"]; kind {
	case "":
		return nil
	case "cookie":
	default:
		r.wrong("affinity", kind, false, errors.New("is not cookie, which is supported"))
		return nil
	}
	s := &filter.Session{Name: "INGRESSCOOKIE"}
	if name := given["session-cookie-name"]; name != "" {
		if token(name) {
			s.Name = name
		} else {
			r.wrong("session-cookie-name", name, false, errors.New("is no name of letters, digits, - and _"))
		}
	}
	s.Path = r.attribute(given, "session-cookie-path")
	s.Domain = r.attribute(given, "session-cookie-domain")
	for _, mode := range []struct {
		name, usual, other string
		to                 *bool
	}{{"affinity-mode", "balanced", "persistent", &s.Persistent}, {"affinity-canary-behavior", "sticky", "legacy", &s.AnyBackend}} {
		switch given[mode.name] {
		case "", mode.usual:
		case mode.other:
			*mode.to = true
		default:
			r.wrong(mode.name, given[mode.name], false, errors.New("is neither "+mode.usual+" nor "+mode.other))
		}
	}
	switch site := given["session-cookie-samesite"]; strings.ToLower(site) {
	case "":
	case "none", "lax", "strict":
		s.SameSite = strings.ToUpper(site[:1]) + strings.ToLower(site[1:])
	default:
		r.wrong("session-cookie-samesite", site, false, errors.New("is none of None, Lax and Strict"))
	}
	if n, ok := r.whole(given, "session-cookie-expires", 0, 1<<31-1); ok {
		s.Expires = time.Duration(n) * time.Second
	}
	if n, ok := r.whole(given, "session-cookie-max-age", 0, 1<<31-1); ok {
		s.MaxAge = time.Duration(n) * time.Second
	}
	s.Secure = r.optional(given, "session-cookie-secure")
	s.LaxForOld = r.optional(given, "session-cookie-conditional-samesite-none") == filter.Yes
	s.Partitioned = r.optional(given, "session-cookie-partitioned") == filter.Yes
	s.ChangeOnFailure = r.optional(given, "session-cookie-change-on-failure") == filter.Yes
	return s
}

// attribute reads what can be the value of a cookie's attribute.
func (r *report) attribute(given map[string]string, name string) string {
	text := given[name]
	if strings.ContainsFunc(text, func(c rune) bool { return c <= ' ' || c >= 0x7f || c == ';' || c == ',' || c == '"' }) || len(text) > 1024 {
		r.wrong(name, text, false, errors.New("has characters that an attribute of a cookie must not have"))
		return ""
	}
	return text
}

// optional reads true or false, where neither is a choice too.
func (r *report) optional(given map[string]string, name string) filter.Choice {
	text := strings.TrimSpace(given[name])
	if text == "" {
		return filter.Unset
	}
	b, err := strconv.ParseBool(text)
	switch {
	case err != nil:
		r.wrong(name, text, false, errors.New("is not true or false"))
		return filter.Unset
	case b:
		return filter.Yes
	}
	return filter.No
}

// whole reads a whole number within bounds.
func (r *report) whole(given map[string]string, name string, least, most int) (int, bool) {
	text := strings.TrimSpace(given[name])
	if text == "" {
		return 0, false
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < least || n > most {
		r.wrong(name, text, false, errors.New("is no whole number from "+strconv.Itoa(least)+" to "+strconv.Itoa(most)))
		return 0, false
	}
	return n, true
}
