package filter

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// CORS says which other origins scripts may ask from (Fetch, section 3.2), with the
// answers that ingress-nginx gives.
type CORS struct {
	// Any: every origin may. Origins are those that may otherwise.
	Any     bool
	Origins []Origin
	// Methods, Headers and Expose are lists as clients get them.
	Methods, Headers, Expose string
	Credentials              bool
	// MaxAge is how many seconds an answer about this may be kept.
	MaxAge int
}

// Origin is an origin, or all that have one label in place of an asterisk. Letters
// match in either case.
type Origin struct {
	before, after string
	wildcard      bool
}

// ParseOrigin reads SCHEME://HOST[:PORT], where HOST may begin with "*.".
func ParseOrigin(text string) (Origin, error) {
	scheme, rest, ok := strings.Cut(text, "://")
	if !ok || !all(scheme, func(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }) {
		return Origin{}, fmt.Errorf("has %q, which does not begin with a scheme such as https://", text)
	}
	host, port, hasPort := strings.Cut(rest, ":")
	if n, err := strconv.ParseUint(port, 10, 16); hasPort && (err != nil || n == 0) {
		return Origin{}, fmt.Errorf("has %q, whose port is none", text)
	}
	name, wildcard := strings.CutPrefix(host, "*.")
	if name == "" || len(text) > 300 || !all(name, func(c byte) bool { return label(c) || c == '.' }) {
		return Origin{}, fmt.Errorf("has %q, which is no origin; an asterisk can only be the first label", text)
	}
	if !wildcard {
		return Origin{before: text}, nil
	}
	return Origin{before: scheme + "://", after: strings.TrimPrefix(rest, "*"), wildcard: true}, nil
}

func all(text string, is func(byte) bool) bool {
	for i := range len(text) {
		if !is(text[i]) {
			return false
		}
	}
	return text != ""
}

func label(c byte) bool {
	return c|0x20 >= 'a' && c|0x20 <= 'z' || c >= '0' && c <= '9' || c == '-'
}

// ParseOrigins reads a list with commas between; * is every origin.
func ParseOrigins(text string) (origins []Origin, any bool, err error) {
	for entry := range strings.SplitSeq(text, ",") {
		entry = strings.TrimSpace(entry)
		switch entry {
		case "":
			continue
		case "*":
			any = true
			continue
		}
		origin, err := ParseOrigin(entry)
		if err != nil {
			return nil, false, err
		}
		origins = append(origins, origin)
	}
	if any {
		return nil, true, nil
	}
	if len(origins) == 0 {
		return nil, false, errors.New("names no origin")
	}
	return origins, false, nil
}

// Matches reports whether an origin is the one meant, or one of them.
func (o Origin) Matches(origin string) bool {
	if !o.wildcard {
		return strings.EqualFold(o.before, origin)
	}
	middle := len(origin) - len(o.before) - len(o.after)
	return middle > 0 && strings.EqualFold(origin[:len(o.before)], o.before) &&
		strings.EqualFold(origin[len(o.before)+middle:], o.after) && all(origin[len(o.before):len(o.before)+middle], label)
}

// Allows reports whether scripts of an origin may ask; without one it is "".
func (c *CORS) Allows(origin string) bool {
	if c.Any {
		return true
	}
	for _, o := range c.Origins {
		if o.Matches(origin) {
			return true
		}
	}
	return false
}

// Fields returns what an answer to a script of an origin that is allowed has.
func (c *CORS) Fields(origin string) []Field {
	if c.Any {
		origin = "*"
	}
	fields := []Field{{"Access-Control-Allow-Origin", origin}}
	if c.Credentials {
		fields = append(fields, Field{"Access-Control-Allow-Credentials", "true"})
	}
	fields = append(fields, Field{"Access-Control-Allow-Methods", c.Methods}, Field{"Access-Control-Allow-Headers", c.Headers})
	if c.Expose != "" {
		fields = append(fields, Field{"Access-Control-Expose-Headers", c.Expose})
	}
	return append(fields, Field{"Access-Control-Max-Age", strconv.Itoa(c.MaxAge)})
}

// String returns the origin as ParseOrigin reads it.
func (o Origin) String() string {
	if o.wildcard {
		return o.before + "*" + o.after
	}
	return o.before
}
