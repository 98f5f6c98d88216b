package accesslog

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Default is ingress-nginx's log-format-upstream where nothing is set.
const Default = `$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent "$http_referer" "$http_user_agent" ` +
	`$request_length $request_time [$proxy_upstream_name] [$proxy_alternative_upstream_name] $upstream_addr ` +
	`$upstream_response_length $upstream_response_time $upstream_status $req_id`

const (
	maxFormat = 8192
	maxParts  = 256
	// maxFields is how many fields of answers a format may have.
	maxFields = 16
)

// escaping is how values are written.
type escaping uint8

const (
	escapesHex escaping = iota
	escapesJSON
)

// Format is how an Entry becomes a line.
type Format struct {
	// text is what Parse has read; parts are nil for JSON.
	text   string
	parts  []part
	escape escaping
	fields []Field
	// user is set if the name of basic authentication is needed.
	user bool
}

// Field is a field of answers that a Format needs.
type Field struct {
	// Name is in lower case.
	Name string
	// Upstream: of the backend's answer; else of that which the client gets.
	Upstream bool
}

// part is a text, or a variable if one of the other fields is set.
type part struct {
	literal string
	// made appends what cannot need to be escaped.
	made func(dst []byte, e *Entry) []byte
	// whole appends what has parts that are escaped.
	whole func(dst []byte, e *Entry, how escaping) []byte
	// text returns what is escaped.
	text func(e *Entry, argument string) string
	// may is set if the value may be empty, as that of a variable is that is always set.
	may bool
	// argument is the NAME of $http_NAME and its like; field the number of a Field, from 1.
	argument string
	field    int
}

// JSON returns the Format of one JSON object a line.
func JSON() *Format { return &Format{} }

// Equal reports whether two Formats make the same lines. Either may be nil, which is equal
// to nil only.
func (f *Format) Equal(other *Format) bool {
	if f == nil || other == nil {
		return f == other
	}
	return f.text == other.text && f.escape == other.escape // no text that is read is empty
}

// Parse reads a text with nginx's variables, such as $status or ${status}. With
// escapeJSON values are written so that they can be between the quotes of JSON, and those
// that are missing are empty; else they are written as nginx does by default, and are -.
// Errors say what to correct.
func Parse(format string, escapeJSON bool) (*Format, error) {
	if format == "" {
		return nil, errors.New("is empty")
	}
	if len(format) > maxFormat {
		return nil, fmt.Errorf("has more than %d characters", maxFormat)
	}
	f := &Format{text: format, parts: []part{}}
	if escapeJSON {
		f.escape = escapesJSON
	}
	for rest := format; rest != ""; {
		literal, after, found := strings.Cut(rest, "$")
		f.add(part{literal: strings.NewReplacer("\n", " ", "\r", "").Replace(literal)})
		if !found {
			break
		}
		name, next, err := cutName(after)
		if err != nil {
			return nil, err
		}
		if err := f.variable(name); err != nil {
			return nil, err
		}
		if rest = next; len(f.parts) > maxParts {
			return nil, fmt.Errorf("has more than %d parts", maxParts)
		}
	}
	return f, nil
}

func (f *Format) add(p part) {
	if p.literal != "" || p.variable() {
		f.parts = append(f.parts, p)
	}
}

// variable adds a variable.
func (f *Format) variable(name string) error {
	if whole, ok := wholeVariables()[name]; ok {
		f.add(part{whole: whole, may: name == "proxy_alternative_upstream_name"})
		return nil
	}
	if made, ok := madeVariables()[name]; ok {
		f.add(part{made: made})
		return nil
	}
	if text, ok := textVariables()[name]; ok {
		f.user = f.user || name == "remote_user"
		f.add(part{text: text})
		return nil
	}
	for prefix, text := range prefixes() {
		if argument, ok := strings.CutPrefix(name, prefix); ok && argument != "" {
			if prefix == "http_" {
				argument = strings.ReplaceAll(strings.ToLower(argument), "_", "-")
			}
			f.add(part{text: text, argument: argument})
			return nil
		}
	}
	for prefix, upstream := range map[string]bool{"upstream_http_": true, "sent_http_": false} {
		if argument, ok := strings.CutPrefix(name, prefix); ok && argument != "" {
			return f.answer(Field{strings.ReplaceAll(strings.ToLower(argument), "_", "-"), upstream})
		}
	}
	return fmt.Errorf("has the variable $%s, which is not known%s, the list is in docs/observability.md", name, suggest(name))
}

// answer adds a field of answers.
func (f *Format) answer(field Field) error {
	i := slices.Index(f.fields, field)
	if i < 0 {
		i = len(f.fields)
		f.fields = append(f.fields, field)
	}
	if i >= maxFields {
		return fmt.Errorf("has more than %d fields of answers", maxFields)
	}
	f.add(part{field: i + 1})
	return nil
}

// Fields returns the fields of answers that Entry.Answers has to have the values of.
func (f *Format) Fields() []Field { return f.fields }

// User reports whether Entry.User is needed.
func (f *Format) User() bool { return f.user }

// Append appends the line of an Entry, with its end.
func (f *Format) Append(dst []byte, e *Entry) []byte {
	if f.parts == nil {
		return appendEntry(dst, e)
	}
	for i := range f.parts {
		dst = append(dst, f.parts[i].literal...)
		if f.parts[i].variable() {
			before := len(dst)
			if dst = f.value(dst, &f.parts[i], e); len(dst) == before && !f.parts[i].may {
				dst = f.missing(dst)
			}
		}
	}
	return append(dst, '\n')
}

func (p *part) variable() bool {
	return p.made != nil || p.whole != nil || p.text != nil || p.field > 0
}

// value appends that of a variable.
func (f *Format) value(dst []byte, p *part, e *Entry) []byte {
	switch {
	case p.made != nil:
		return p.made(dst, e)
	case p.whole != nil:
		return p.whole(dst, e, f.escape)
	case p.text != nil:
		return f.escape.append(dst, p.text(e, p.argument))
	case p.field <= len(e.Answers):
		return f.escape.append(dst, text(e.Answers[p.field-1]))
	}
	return dst
}

func (f *Format) missing(dst []byte) []byte { return appendIf(dst, "-", f.escape == escapesHex) }

func appendIf(dst []byte, s string, do bool) []byte {
	if do {
		dst = append(dst, s...)
	}
	return dst
}

func (h escaping) append(dst []byte, s string) []byte {
	if h == escapesJSON {
		return appendJSON(dst, s)
	}
	return appendHex(dst, s)
}

// cutName takes the name of a variable off a text that follows a dollar sign.
func cutName(text string) (name, rest string, err error) {
	inner, braces := strings.CutPrefix(text, "{")
	n := 0
	for n < len(inner) && (inner[n] == '_' || inner[n]|0x20 >= 'a' && inner[n]|0x20 <= 'z' || n > 0 && inner[n] >= '0' && inner[n] <= '9') {
		n++
	}
	switch {
	case n == 0:
		return "", "", errors.New("has a $ that no name of a variable follows")
	case !braces:
		return inner[:n], inner[n:], nil
	case n == len(inner) || inner[n] != '}':
		return "", "", errors.New("has ${ without a name and }")
	}
	return inner[:n], inner[n+1:], nil
}

// suggest names a variable that may have been meant: one with the same beginning or end.
func suggest(name string) string {
	for _, known := range slices.Sorted(maps.Keys(madeVariables())) {
		if strings.HasPrefix(known, name) || strings.HasSuffix(known, "_"+name) {
			return " (did you mean $" + known + "?)"
		}
	}
	return ""
}
