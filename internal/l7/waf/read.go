package waf

import (
	"bufio"
	"errors"
	"fmt"
	"regexp/syntax"
	"strconv"
	"strings"
)

// directive is a line that has been read, and where it begins in the text.
type directive struct {
	line int
	text string
}

// Text is a text that has been read: nothing in it leads out of the request.
type Text struct {
	// first are directives before the core rules, last those after.
	first, last []directive
	// recommended and core are rules that it includes.
	recommended, core bool
	// request and response are how much of bodies is looked at; 0: not said.
	request, response int
	rules, programs   int
	// variables are those that rules look at, each as often as it is named.
	variables int
}

// Read reads a text as it stands in an annotation of ingress-nginx, which puts it into
// single quotes of nginx's: a backslash takes away the meaning of a quote or of itself.
// The error names the line.
func Read(text string) (*Text, error) {
	if len(text) > maxText {
		return nil, fmt.Errorf("has more than %d octets", maxText)
	}
	r := reader{directives: directives(), harmless: harmless(), operators: operators(), actions: actions(), controls: controls()}
	lines := bufio.NewScanner(strings.NewReader(text))
	lines.Buffer(nil, maxText+1)
	joined, begin := "", 0
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		if joined == "" {
			begin = n
		}
		if before, ok := strings.CutSuffix(line, `\`); ok {
			joined += strings.TrimSuffix(before, `\`) // as it is in nginx's quotes
			continue
		}
		if err := r.read(begin, unquote(joined+line)); err != nil {
			return nil, fmt.Errorf("line %d: %w", begin, err)
		}
		joined = ""
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	if joined != "" {
		return nil, fmt.Errorf("line %d: a directive goes on behind the end", begin)
	}
	return &r.text, nil
}

// unquote takes away the backslashes that nginx's quotes need.
func unquote(text string) string {
	return strings.NewReplacer(`\\`, `\`, `\'`, `'`, `\"`, `"`).Replace(text)
}

type reader struct {
	text                         Text
	directives                   map[string]standing
	harmless                     map[string][]string
	operators, actions, controls map[string]bool
}

// read reads one directive.
func (r *reader) read(line int, text string) error {
	for i := range len(text) {
		if c := text[i]; c < ' ' && c != '\t' || c == 0x7f {
			return errors.New("it has control characters")
		}
	}
	text = strings.TrimSpace(text)
	at := strings.IndexAny(text, " \t")
	name, rest := text, ""
	if at >= 0 {
		name, rest = text[:at], strings.TrimSpace(text[at:])
	}
	if name == "" || rest == "" && !strings.EqualFold(name, "SecResponseBodyMimeTypesClear") || strings.HasSuffix(text, `\`) || strings.HasSuffix(text, "`") {
		return fmt.Errorf("directive %s is malformed", name)
	}
	low := strings.ToLower(name)
	is := r.directives[low]
	if is == 0 {
		return r.odd(low, name, rest)
	}
	made := directive{line, name + " " + rest}
	if rest == "" {
		made.text = name
	}
	var err error
	switch is {
	case include:
		return r.include(rest)
	case needless:
		return nil
	case sized:
		return r.size(low, rest)
	case rule:
		err = r.rule(rest)
	case action:
		err = r.act(strings.Trim(rest, `"`), low == "secaction")
	case updatesAction:
		_, list, _ := strings.Cut(rest, " ")
		err = r.act(strings.Trim(strings.TrimSpace(list), `"`), false)
	}
	if err != nil {
		return fmt.Errorf("directive %s: %w", name, err)
	}
	if is == late || is == updatesAction {
		r.text.last = append(r.text.last, made)
	} else {
		r.text.first = append(r.text.first, made)
	}
	return nil
}

// odd takes directives of which one value is followed.
func (r *reader) odd(low, name, rest string) error {
	values, known := r.harmless[low]
	for _, value := range values {
		if strings.EqualFold(strings.Trim(rest, `"`), value) {
			return nil
		}
	}
	if known {
		return fmt.Errorf("directive %s %s is not allowed; only %s is", name, rest, strings.Join(values, " or "))
	}
	return fmt.Errorf("directive %s is not supported or not allowed, as what names files, runs programs or reaches the network", name)
}

// include takes the rules that ingress-nginx brings, by their paths there.
func (r *reader) include(path string) error {
	path = strings.Trim(path, `"`)
	file, core := strings.CutPrefix(path, nginxCoreRules)
	switch {
	case path == nginxRecommended:
		r.text.recommended = true
	case core && (file == "nginx-modsecurity.conf" || file == "rules/*.conf"):
		r.text.core = true
	case core && file == "crs-setup.conf": // comes with them
	default:
		return fmt.Errorf("Include %s is not allowed; %s and %snginx-modsecurity.conf are", path, nginxRecommended, nginxCoreRules)
	}
	return nil
}

// size notes how much of a body is looked at.
func (r *reader) size(low, text string) error {
	n, err := strconv.Atoi(strings.Trim(text, `"`))
	if err != nil || n < 1 {
		return fmt.Errorf("%q is no number of octets", text)
	}
	if low == "secrequestbodylimit" {
		r.text.request = min(n, MaxRequestBody)
	} else {
		r.text.response = min(n, MaxResponseBody)
	}
	return nil
}

// rule reads SecRule VARIABLES "OPERATOR" ["ACTIONS"].
func (r *reader) rule(rest string) error {
	variables, rest, _ := strings.Cut(rest, " ")
	rest = strings.TrimSpace(rest)
	if strings.ContainsAny(variables, `"`) || rest == "" || rest[0] != '"' {
		return errors.New("it is not VARIABLES \"OPERATOR\" \"ACTIONS\"")
	}
	if err := r.look(variables); err != nil {
		return err
	}
	end := closing(rest)
	if end < 0 {
		return errors.New("a quote is not closed")
	}
	if err := r.operator(strings.ReplaceAll(rest[1:end], `\"`, `"`)); err != nil {
		return err
	}
	list := strings.TrimSpace(rest[end+1:])
	if list == "" {
		return r.act("", true)
	}
	if len(list) < 2 || list[0] != '"' || list[len(list)-1] != '"' {
		return errors.New("its actions are not in quotes")
	}
	return r.act(list[1:len(list)-1], true)
}

// look bounds what a rule looks at: each variable is compared by itself, as often as it
// is named.
func (r *reader) look(variables string) error {
	if strings.Contains(variables, "/") {
		return errors.New("variables that a regular expression selects are not supported")
	}
	n := strings.Count(variables, "|") + 1
	if r.text.variables += n; n > maxVariables || r.text.variables > maxAllVariables {
		return fmt.Errorf("it looks at %d variables, and the rules of the text at %d; at most %d and %d are", n, r.text.variables, maxVariables, maxAllVariables)
	}
	return nil
}

// closing returns where the quote ends that a text begins with; -1 if it does not.
func closing(text string) int {
	for i := 1; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '"':
			return i
		}
	}
	return -1
}

// operator reads what a rule compares with.
func (r *reader) operator(text string) error {
	named, ok := strings.CutPrefix(strings.TrimPrefix(strings.TrimSpace(text), "!"), "@")
	name, argument, _ := strings.Cut(named, " ")
	if !ok {
		name, argument = "rx", strings.TrimPrefix(text, "!")
	}
	if !r.operators[name] {
		return fmt.Errorf("operator @%s is not supported or not allowed", name)
	}
	if name != "rx" {
		return nil
	}
	if argument = strings.TrimSpace(argument); len(argument) > maxExpression {
		return fmt.Errorf("a regular expression has more than %d octets", maxExpression)
	}
	parsed, err := syntax.Parse("(?sm)"+argument, syntax.Perl)
	if err != nil {
		return fmt.Errorf("%w; Go's regular expressions have no look-around and no backreferences", err)
	}
	program, err := syntax.Compile(parsed.Simplify())
	if err != nil {
		return err
	}
	size := len(program.Inst)
	if r.text.programs += size; size > maxProgram || r.text.programs > maxPrograms {
		return fmt.Errorf("its regular expression makes %d steps, and those of the text %d; at most %d and %d are", size, r.text.programs, maxProgram, maxPrograms)
	}
	return nil
}
