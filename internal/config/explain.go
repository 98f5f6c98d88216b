package config

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

// explain turns the decoder's words, which speak of Go types, into words about
// the file.
func explain(err error) error {
	var typed *yaml.TypeError
	if !errors.As(err, &typed) {
		return fmt.Errorf("not valid YAML: %s", strings.TrimPrefix(err.Error(), "yaml: "))
	}
	unknown := regexp.MustCompile(`^(line \d+): field (\S+) not found in type config\.(\w+)$`)
	intoType := regexp.MustCompile(` into (\S+)$`)
	var lines []error
	for _, text := range typed.Errors {
		if m := unknown.FindStringSubmatch(text); m != nil {
			lines = append(lines, fmt.Errorf("%s: unknown field %q%s", m[1], m[2], suggest(m[2], m[3])))
			continue
		}
		text = strings.NewReplacer("cannot unmarshal ", "", "!!str ", "", "!!int ", "", "!!seq", "a list", "!!map", "a mapping").Replace(text)
		lines = append(lines, errors.New(intoType.ReplaceAllStringFunc(text, func(s string) string {
			return " is not " + expected(strings.TrimPrefix(s, " into "))
		})))
	}
	return errors.Join(lines...)
}

// expected says in words what a Go type takes.
func expected(goType string) string {
	switch goType {
	case "int":
		return "a whole number"
	case "bool":
		return "true or false"
	case "uint32":
		return "a number from 0 to 4294967295"
	case "time.Duration":
		return "a duration such as 5s"
	case "netip.AddrPort":
		return "ADDRESS:PORT"
	case "string":
		return "a text"
	}
	if strings.HasPrefix(goType, "[]") {
		return "a list"
	}
	return "a mapping with fields of its own"
}

// suggest names the known fields of a section, the likeliest one first.
func suggest(field, section string) string {
	var known []string
	for _, t := range []reflect.Type{reflect.TypeFor[Config](), reflect.TypeFor[LB](), reflect.TypeFor[Conntrack](), reflect.TypeFor[DNS](), reflect.TypeFor[DNSOverTLS](), reflect.TypeFor[DNSOverHTTPS](), reflect.TypeFor[External](), reflect.TypeFor[DNSForward](), reflect.TypeFor[DNSZone](), reflect.TypeFor[DNSServer](), reflect.TypeFor[DNSHealthCheck](),
		reflect.TypeFor[DNSTLS](), reflect.TypeFor[DNSCache](), reflect.TypeFor[DNSCacheShare](), reflect.TypeFor[DNSPrefetch](), reflect.TypeFor[DNSStale](), reflect.TypeFor[Status](), reflect.TypeFor[Gateway](), reflect.TypeFor[ACME](), reflect.TypeFor[DNSWebhook](), reflect.TypeFor[EAB](), reflect.TypeFor[Migration]()} {
		if t.Name() != section {
			continue
		}
		for f := range t.NumField() {
			name := t.Field(f).Tag.Get("yaml")
			if t.Field(f).Anonymous {
				continue // its fields are those of a zone
			}
			if Distance(strings.ToLower(field), strings.ToLower(name)) <= 2 {
				return fmt.Sprintf("; did you mean %q?", name)
			}
			known = append(known, name)
		}
	}
	return "; known here are " + strings.Join(known, ", ")
}

// Distance is the number of single-letter edits between two words, which tells a
// misspelt one (Levenshtein, "Binary codes capable of correcting deletions,
// insertions and reversals", 1966). A word a of over 64 bytes is far from
// everything, which bounds the work for what others have written.
func Distance(a, b string) int {
	if len(a) > 64 {
		return len(a)
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			above := row[j+1]
			if a[i] == b[j] {
				row[j+1] = diagonal
			} else {
				row[j+1] = 1 + min(diagonal, above, row[j])
			}
			diagonal = above
		}
	}
	return row[len(b)]
}
