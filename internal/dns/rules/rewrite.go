package rules

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"

	wire "github.com/miekg/dns"

	"github.com/fairlead-net/fairlead/internal/dns/corefile"
)

// rewrite is one directive rewrite.
type rewrite struct {
	field string
	// goOn goes on with the next rule after this one has matched.
	goOn bool
	name matcher
	// from and to are the values of a type or a class.
	from, to uint16
	ttl      ttlRange
	answers  []answerRule
	// before and after are response codes.
	before, after int
	// option is, of edns0, what is done.
	option *optionRule
}

// newRewrite follows the README of CoreDNS's plugin/rewrite.
func newRewrite(c corefile.Rewrite) (rewrite, error) {
	r := rewrite{field: c.Field, goOn: c.Continue}
	var err error
	switch c.Field {
	case "name":
		if r.name, err = newMatcher(c.Match, c.From, c.To); err == nil {
			r.answers, err = newAnswerRules(c.Answers)
		}
	case "ttl":
		if r.name, err = newMatcher(c.Match, c.From, ""); err == nil {
			r.ttl, err = parseTTL(c.To)
		}
	case "cname":
		r.name, err = newMatcher(c.Match, c.From, c.To)
	case "rcode":
		if r.name, err = newMatcher(c.Match, c.From, ""); err == nil {
			r.before, r.after, err = parseCodes(c.Rest)
		}
	case "type":
		if r.from, err = typeNumber(c.From); err == nil {
			r.to, err = typeNumber(c.To)
		}
	case "class":
		if r.from, err = classNumber(c.From); err == nil {
			r.to, err = classNumber(c.To)
		}
	case "edns0":
		r.option = newOptionRule(c.Option)
	}
	return r, err
}

func classNumber(text string) (uint16, error) {
	if c, ok := wire.StringToClass[strings.ToUpper(text)]; ok {
		return c, nil
	}
	return 0, fmt.Errorf("%q is not a class; write IN, CH or HS", text)
}

// rewrite applies the rules to the Request, which becomes a copy if one matches.
func (r *Rules) rewrite(o *Outcome, client Client) {
	for i := range r.rewrites {
		if w := &r.rewrites[i]; w.apply(o, client) && !w.goOn {
			return
		}
	}
}

// apply reports whether the rule matches.
func (w *rewrite) apply(o *Outcome, client Client) bool {
	asked := o.Request.Question[0]
	switch w.field {
	case "edns0":
		return w.option != nil && w.option.apply(o, client)
	case "type":
		if asked.Qtype != w.from {
			return false
		}
		asked.Qtype = w.to
	case "class":
		if asked.Qclass != w.from {
			return false
		}
		asked.Qclass = w.to
	case "ttl":
		if _, ok := w.name.replace(fold(asked.Name)); !ok {
			return false
		}
		o.undo = append(o.undo, w.ttl.set)
		return true
	case "rcode":
		if _, ok := w.name.replace(fold(asked.Name)); !ok {
			return false
		}
		o.undo = append(o.undo, w.setCode)
		return true
	case "cname":
		o.aliases = append(o.aliases, &w.name)
		return true
	case "name":
		to, ok := w.name.replace(fold(asked.Name))
		if !ok {
			return false
		}
		if _, valid := wire.IsDomainName(to); !valid {
			return false // too long, say: nothing could be asked for it
		}
		o.undo = append(o.undo, w.back(asked.Name, to))
		asked.Name = to
	}
	changed := *o.Request
	changed.Question = []wire.Question{asked}
	o.Request = &changed
	return true
}

// matcher finds names and makes others of them. Names are folded and absolute.
type matcher struct {
	kind     string // exact, prefix, suffix, substring or regex
	from, to string
	pattern  *regexp.Regexp
}

func newMatcher(kind, from, to string) (matcher, error) {
	m := matcher{kind: kind, from: strings.ToLower(from), to: to}
	switch kind {
	case "exact", "suffix":
		// Both end where names do.
		m.from = fold(from)
		if to != "" {
			m.to = fold(to)
		}
	case "regex":
		var err error
		if m.pattern, err = regexp.Compile(from); err != nil {
			return m, fmt.Errorf("rewrite: %q is not a regular expression: %w", from, err)
		}
	}
	return m, nil
}

// replace returns the name that takes a name's place, or false if it does not match.
func (m *matcher) replace(name string) (string, bool) {
	to := ""
	switch m.kind {
	case "exact":
		if name != m.from {
			return "", false
		}
		to = m.to
	case "prefix":
		rest, ok := strings.CutPrefix(name, m.from)
		if !ok {
			return "", false
		}
		to = m.to + rest
	case "suffix":
		rest, ok := strings.CutSuffix(name, m.from)
		if !ok {
			return "", false
		}
		to = rest + m.to
	case "substring":
		if !strings.Contains(name, m.from) {
			return "", false
		}
		to = strings.ReplaceAll(name, m.from, m.to)
	case "regex":
		groups := m.pattern.FindStringSubmatch(name)
		if groups == nil {
			return "", false
		}
		to = expand(m.to, groups)
	}
	return fold(to), true
}

// expand puts groups into a text in the place of {0}, {1} and so on.
func expand(text string, groups []string) string {
	pairs := make([]string, 0, 2*len(groups))
	for i, group := range groups {
		pairs = append(pairs, "{"+strconv.Itoa(i)+"}", group)
	}
	return strings.NewReplacer(pairs...).Replace(text)
}

// ttlRange is what a TTL is brought into.
type ttlRange struct{ least, most uint32 }

// parseTTL reads SECONDS, LEAST-MOST, LEAST- or -MOST.
func parseTTL(text string) (ttlRange, error) {
	least, most, isRange := strings.Cut(text, "-")
	if !isRange {
		most = least
	}
	r := ttlRange{0, math.MaxInt32}
	for _, part := range []struct {
		text string
		into *uint32
	}{{least, &r.least}, {most, &r.most}} {
		if part.text == "" && isRange && text != "-" {
			continue
		}
		n, err := strconv.ParseUint(part.text, 10, 31) // RFC 2181, section 8
		if err != nil {
			return r, fmt.Errorf("rewrite ttl: %q is neither a number of seconds nor a range; write for example 30 or 30-300", text)
		}
		*part.into = uint32(n)
	}
	if r.least > r.most {
		return r, fmt.Errorf("rewrite ttl: the range %q ends before it begins", text)
	}
	return r, nil
}

func (r ttlRange) set(reply *wire.Msg) {
	for _, section := range [][]wire.RR{reply.Answer, reply.Ns, reply.Extra} {
		for _, rr := range section {
			if h := rr.Header(); h.Rrtype != wire.TypeOPT {
				h.Ttl = min(max(h.Ttl, r.least), r.most)
			}
		}
	}
}
