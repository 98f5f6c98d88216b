package corefile

import (
	"net/netip"
	"regexp"
	"time"
)

// Hosts is the directive hosts: names as in /etc/hosts.
type Hosts struct {
	File      string
	Zones     []string
	Entries   []HostEntry
	TTL       int
	NoReverse bool
	Reload    time.Duration
	Fallthrough
}

// HostEntry is one line of a hosts file.
type HostEntry struct {
	Address netip.Addr
	Names   []string
}

// Rewrite is the directive rewrite: queries are changed, and answers back.
type Rewrite struct {
	// Continue goes on with the next rule after this one has matched.
	Continue bool
	// Field is name, type, class, ttl, edns0, cname or rcode.
	Field string
	// Match is how From is compared: exact, prefix, suffix, substring or regex.
	Match    string
	From, To string
	Answers  []AnswerRule
	// Rest are, of rcode, the codes before and after.
	Rest []string
	// Option is, of edns0, what is done; nil of all others.
	Option *OptionRule
}

// AnswerRule changes answers back. Auto undoes what the rule did.
type AnswerRule struct {
	Auto           bool
	Part, From, To string
}

// Template is the directive template: answers made from the question.
type Template struct {
	Class, Type                   string
	Zones                         []string
	Match                         []*regexp.Regexp
	Answer, Additional, Authority []string
	RCode                         string
	// Error is an extended error (RFC 8914) that goes with them, or nil.
	Error *ExtendedError
	Fallthrough
}

// ExtendedError is the code and the text of an extended error.
type ExtendedError struct {
	Code int
	Text string
}

// Effect implements Setting.
func (Hosts) Effect() string { return "names and addresses are answered as in a hosts file" }

// Effect implements Setting.
func (Rewrite) Effect() string { return "queries are changed before they are answered" }

// Effect implements Setting.
func (Template) Effect() string { return "answers are made from the question" }

// regexp reads the n-th argument as a regular expression, as Go has them, or
// returns nil.
func (l *line) regexp(n int) *regexp.Regexp {
	if len(l.text(n)) > 1024 {
		l.mistake("%s: a regular expression has more than 1024 bytes; split it", l.path)
		return nil
	}
	e, err := regexp.Compile(l.text(n))
	if err != nil {
		l.mistake("%s: %q is not a regular expression: %v", l.path, l.text(n), err)
	}
	return e
}

// readHosts follows CoreDNS's plugin/hosts. A line in its braces that begins with
// an address is an entry.
func readHosts(l *line) Setting {
	h := Hosts{File: "/etc/hosts", TTL: 3600, Reload: 5 * time.Second}
	if len(l.args()) > 0 {
		h.File, h.Zones = l.text(0), l.zones(1)
	}
	var rest []Statement
	for _, s := range l.Body {
		address, err := netip.ParseAddr(s.Words[0].Text)
		if err != nil {
			rest = append(rest, s)
			continue
		}
		entry := line{s, "hosts", l.server, l.notes, l.reader}
		entry.takes(1, -1, "NAME...")
		h.Entries = append(h.Entries, HostEntry{address, entry.texts(0)})
	}
	l.Body = rest
	l.options(options{
		"ttl":         func(o *line) { o.takes(1, 1, "SECONDS"); h.TTL = o.number(0, 1, 65535) },
		"no_reverse":  func(o *line) { h.NoReverse = o.takes(0, 0, "") },
		"reload":      func(o *line) { o.takes(1, 1, "DURATION"); h.Reload = o.duration(0, 0) },
		"fallthrough": func(o *line) { o.fallthroughs(&h.Fallthrough) },
	})
	return h
}

// readRewrite follows CoreDNS's plugin/rewrite. Its rules may stand in braces.
func readRewrite(l *line) Setting {
	r := Rewrite{Match: "exact"}
	if first := l.text(0); first == "continue" || first == "stop" {
		r.Continue = first == "continue"
		l.Words = append([]Word{l.Words[0]}, l.Words[2:]...)
	}
	if len(l.args()) == 0 && len(l.Body) > 0 {
		l.Words, l.Body = append(l.Words[:1:1], l.Body[0].Words...), l.Body[1:]
	}
	if !l.takes(2, -1, "[continue|stop] FIELD FROM TO") {
		return r
	}
	r.Field = l.choice(0, "name", "type", "class", "ttl", "edns0", "cname", "rcode")
	switch r.Field {
	case "edns0":
		r.Option = readOption(l)
	case "type", "class":
		if l.takes(3, 3, r.Field+" FROM TO") {
			r.From, r.To = l.text(1), l.text(2)
		}
	default:
		r.compare(l)
	}
	l.options(options{"answer": func(o *line) { r.answer(o, 0) }})
	return r
}

// compare reads "FIELD [exact|prefix|suffix|substring|regex] FROM TO [answer ...]".
func (r *Rewrite) compare(l *line) {
	at := 1
	switch l.text(1) {
	case "exact", "prefix", "suffix", "substring", "regex":
		r.Match, at = l.text(1), 2
	}
	if len(l.args()) < at+2 {
		l.mistake("rewrite %s has no value to change to; write \"rewrite %s %s FROM TO\"", r.Field, r.Field, r.Match)
		return
	}
	if r.From, r.To = l.text(at), l.text(at+1); r.Match == "regex" {
		l.regexp(at)
	}
	if r.Field == "rcode" && len(l.args()) != at+3 {
		l.mistake("rewrite rcode takes a name and two response codes; write for example \"rewrite rcode %s example.org SERVFAIL NXDOMAIN\"", r.Match)
		return
	}
	if r.Field == "rcode" {
		r.To, r.Rest = "", l.texts(at+1)
	}
	for at += 2; r.Field == "name" && at < len(l.args()); {
		if l.text(at) != "answer" {
			l.mistake("rewrite: %q after the rule is not \"answer\"; write for example \"answer auto\"", l.text(at))
			return
		}
		at = r.answer(l, at+1)
	}
}

// answer reads "auto" or "[name|value] FROM TO" and returns where it ends.
func (r *Rewrite) answer(l *line, at int) int {
	if l.text(at) == "auto" {
		r.Answers = append(r.Answers, AnswerRule{Auto: true})
		return at + 1
	}
	rule := AnswerRule{Part: "name"}
	if part := l.text(at); part == "name" || part == "value" {
		rule.Part, at = part, at+1
	}
	if len(l.args()) < at+2 {
		l.mistake("rewrite: the answer rule is incomplete; write \"answer auto\" or \"answer name FROM TO\"")
		return len(l.args())
	}
	l.regexp(at)
	rule.From, rule.To = l.text(at), l.text(at+1)
	r.Answers = append(r.Answers, rule)
	return at + 2
}

// readTemplate follows CoreDNS's plugin/template. What stands in {{ }} is not
// looked at.
func readTemplate(l *line) Setting {
	t := Template{RCode: "NOERROR"}
	if l.takes(2, -1, "CLASS TYPE [ZONE...]") {
		t.Class, t.Type, t.Zones = l.choice(0, "IN", "CH", "HS", "ANY"), l.text(1), l.zones(2)
	}
	record := func(into *[]string) func(*line) {
		return func(o *line) { o.takes(1, -1, "RECORD"); *into = append(*into, o.texts(0)...) }
	}
	l.options(options{
		"match": func(o *line) {
			o.takes(1, -1, "REGEX...")
			for i := range o.args() {
				t.Match = append(t.Match, o.regexp(i))
			}
		},
		"answer": record(&t.Answer), "additional": record(&t.Additional), "authority": record(&t.Authority),
		"rcode": func(o *line) {
			if o.takes(1, 1, "CODE") {
				t.RCode = o.choice(0, "NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED")
			}
		},
		"ederror": func(o *line) {
			if o.takes(1, 2, "CODE [REASON]") {
				t.Error = &ExtendedError{o.number(0, 0, 65535), o.text(1)}
			}
		},
		"upstream":    func(o *line) { o.takes(0, -1, "") },
		"fallthrough": func(o *line) { o.fallthroughs(&t.Fallthrough) },
	})
	return t
}
