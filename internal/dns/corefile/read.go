package corefile

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Config is what a Corefile says.
type Config struct {
	Servers []Server
}

// Server is a server block: Directives for the zones and ports in Keys.
type Server struct {
	Position
	Keys       []Key
	Directives []Directive
	cluster    []string // zones of kubernetes
	stub       bool     // a stub domain: other servers are asked, and nothing else
	forwards   bool     // other servers are asked
	verified   bool     // kubernetes has "pods verified"
}

// Directive is one directive of a server block.
type Directive struct {
	Position
	// Text is its line as it stands in the Corefile.
	Text string
	// Setting is what it says; nil if the directive is not understood.
	Setting Setting
	// Notes say which of its options have no effect, and why.
	Notes []string
	// Ignored tells that Fairlead does not follow it at all.
	Ignored bool
}

// Effect says in one sentence what the directive means in Fairlead.
func (d Directive) Effect() string {
	switch {
	case d.Ignored:
		return "none: not supported"
	case d.Setting == nil:
		return "none: not understood"
	}
	return d.Setting.Effect()
}

// Setting is what a directive says, typed: Kubernetes, Forward and so on.
type Setting interface {
	// Effect says in one sentence what the directive means in Fairlead.
	Effect() string
}

// Read makes a Config of a File. What the Problems do not concern is in the
// Config. Of a directive, those of its options come before those of the whole.
func Read(f File) (Config, []Problem) {
	var c Config
	var r reader
	for _, block := range f.Blocks {
		c.Servers = append(c.Servers, r.server(block))
	}
	r.overlaps(c)
	return c, r.problems
}

type reader struct{ problems []Problem }

func (r *reader) server(block Block) Server {
	s := Server{Position: block.Keys[0].Position, cluster: clusterZones(block.Body)}
	if len(block.Keys) > maxArguments {
		r.problems = append(r.problems, mistake(s.Position, "the server block has more than %d keys; split it", maxArguments))
		return s
	}
	for _, word := range block.Keys {
		if key, err := parseKey(word); err != nil {
			r.problems = append(r.problems, mistake(word.Position, "%v", err))
		} else {
			s.Keys = append(s.Keys, key...)
		}
	}
	s.forwards = slices.ContainsFunc(block.Body, func(s Statement) bool { return s.Words[0].Text == "forward" })
	s.stub = !s.main() && s.cluster == nil && s.forwards
	s.verified = verifiesPods(block.Body)
	s.support(r)
	seen := map[string]Position{}
	for _, statement := range block.Body {
		if len(r.problems) >= maxProblems {
			break
		}
		s.Directives = append(s.Directives, r.directive(&s, statement, seen))
	}
	return s
}

func (r *reader) directive(server *Server, s Statement, seen map[string]Position) Directive {
	name := s.Words[0]
	d := Directive{Position: name.Position, Text: s.String()}
	l := line{Statement: s, path: name.Text, reader: r, server: server, notes: &d.Notes}
	known, ok := directives[name.Text]
	if !ok && slices.Contains(others, name.Text) {
		d.Ignored = true
		l.unsupported("%s: its arguments are not looked at; remove it", name.Text)
		return d
	}
	if !ok {
		names := append(slices.Collect(maps.Keys(directives)), others...)
		r.problems = append(r.problems, Problem{name.Position, Unknown, fmt.Sprintf("CoreDNS has no directive %q%s", name.Text, suggest(name.Text, names))})
		return d
	}
	if first, again := seen[name.Text]; again && known.once {
		l.mistake("%s is there twice, first at %s; CoreDNS takes it once for a server block, remove one", name.Text, first)
	}
	seen[name.Text] = name.Position
	d.Ignored = l.lacks(name.Text)
	d.Setting = known.read(&l)
	return d
}

// definition is how a directive is read, and whether CoreDNS refuses a second
// one in the same server block.
type definition struct {
	once bool
	read func(*line) Setting
}

// line is one directive or option while it is read.
type line struct {
	Statement
	path   string // directive and option
	server *Server
	notes  *[]string
	*reader
}

func (l *line) args() []Word { return l.Words[1:] }

// texts returns the arguments from the n-th on, counted from 0.
func (l *line) texts(n int) []string {
	var all []string
	for _, w := range l.args()[min(n, len(l.args())):] {
		all = append(all, w.Text)
	}
	return all
}

// text returns the n-th argument, or nothing if there are fewer.
func (l *line) text(n int) string {
	if n < len(l.args()) {
		return l.args()[n].Text
	}
	return ""
}

func (l *line) mistake(format string, args ...any) {
	l.problems = append(l.problems, mistake(l.Words[0].Position, format, args...))
}

// note says why the directive or option has no effect.
func (l *line) note(why string) {
	*l.notes = append(*l.notes, fmt.Sprintf("%s: without effect, as %s", l.Words[0].Text, why))
}

func (l *line) unsupported(format string, args ...any) {
	l.problems = append(l.problems, Problem{l.Words[0].Position, Unsupported, "not supported: " + fmt.Sprintf(format, args...)})
}

// lacks reports whether the table lacking has an entry, and says so as a Problem.
func (l *line) lacks(key string) bool {
	why, found := lacking[key]
	if found {
		l.unsupported("%s: %s", l.Statement, why)
	}
	return found
}

// takes reports whether there are so many arguments (most -1: no upper bound),
// and shows the usage if not.
func (l *line) takes(least, most int, usage string) bool {
	if n := len(l.args()); n < least || most >= 0 && n > most {
		l.mistake("%s has the wrong number of arguments, %d; write %q", l.path, n, strings.TrimSpace(l.Words[0].Text+" "+usage))
		return false
	}
	return true
}

// number reads the n-th argument, if there is one, as a whole number.
func (l *line) number(n, least, most int) int {
	if n >= len(l.args()) {
		return 0
	}
	value, err := strconv.Atoi(l.text(n))
	if err != nil || value < least || value > most {
		l.mistake("%s: %q is not a number from %d to %d", l.path, l.text(n), least, most)
		return 0
	}
	return value
}

// duration reads the n-th argument, if there is one, as a duration.
func (l *line) duration(n int, least time.Duration) time.Duration {
	if n >= len(l.args()) {
		return 0
	}
	value, err := time.ParseDuration(l.text(n))
	if err != nil || value < least {
		l.mistake("%s: %q is not a duration of at least %s; write for example 5s", l.path, l.text(n), least)
		return 0
	}
	return value
}

// choice reads the n-th argument as one of some words; the first is the default.
func (l *line) choice(n int, words ...string) string {
	if n >= len(l.args()) {
		return words[0]
	}
	if !slices.Contains(words, l.text(n)) {
		l.mistake("%s: %q is none of %s%s", l.path, l.text(n), strings.Join(words, ", "), suggest(l.text(n), slices.Clone(words)))
		return words[0]
	}
	return l.text(n)
}

// zones reads the arguments from the n-th on as zones.
func (l *line) zones(n int) []string {
	var all []string
	if len(l.args()) > maxArguments {
		l.mistake("%s has more than %d zones; remove some", l.path, maxArguments)
		return nil
	}
	for _, w := range l.args()[min(n, len(l.args())):] {
		zones, err := parseZone(w.Text)
		if err != nil {
			l.mistake("%s: %v", l.path, err)
		}
		all = append(all, zones...)
	}
	return all
}

// options are what the braces of a directive may hold.
type options map[string]func(*line)

// options reads what stands in braces.
func (l *line) options(known options) {
	for _, s := range l.Body {
		if len(l.problems) >= maxProblems {
			return
		}
		name := s.Words[0]
		option := line{s, l.path + " " + name.Text, l.server, l.notes, l.reader}
		read, ok := known[name.Text]
		if !ok {
			text := fmt.Sprintf("%s has no option %q%s", l.path, name.Text, suggest(name.Text, slices.Collect(maps.Keys(known))))
			if len(known) == 0 {
				text = fmt.Sprintf("%s takes no options in braces; remove %q", l.path, name.Text)
			}
			l.problems = append(l.problems, Problem{name.Position, Unknown, text})
			continue
		}
		if len(s.Body) > 0 {
			option.mistake("%s takes no options in braces; remove them", option.path)
		}
		read(&option)
		if _, whole := lacking[l.path]; !whole {
			option.lacks(option.path)
		}
		if why, none := without[option.path]; none {
			option.note(why)
		}
	}
}

// Cluster reports whether the server block answers the cluster's names.
func (s Server) Cluster() bool { return len(s.cluster) > 0 }

// Forwards reports whether the server block has other servers asked.
func (s Server) Forwards() bool { return s.forwards }
