package corefile

import (
	"strings"
	"unicode"
)

// String returns the Corefile in CoreDNS's usual form, with everything that was
// imported in place. Parsing it again gives the same File but for positions.
func (f File) String() string {
	var b strings.Builder
	for i, block := range f.Blocks {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(join(block.Keys) + " {\n")
		writeStatements(&b, block.Body, "    ")
		b.WriteString("}\n")
	}
	return b.String()
}

func writeStatements(b *strings.Builder, statements []Statement, indent string) {
	for _, s := range statements {
		b.WriteString(indent + s.String())
		if len(s.Body) > 0 {
			b.WriteString(" {\n")
			writeStatements(b, s.Body, indent+"    ")
			b.WriteString(indent + "}")
		}
		b.WriteByte('\n')
	}
}

// String returns the statement's line, without what stands in its braces.
func (s Statement) String() string { return join(s.Words) }

func join(words []Word) string {
	all := make([]string, len(words))
	for i, w := range words {
		all[i] = quote(w.Text)
	}
	return strings.Join(all, " ")
}

// quote returns a word as it is written in a Corefile.
func quote(text string) string {
	plain := text != "" && text != "{" && text != "}" && text != `\` && text[0] != '"' &&
		!strings.ContainsFunc(text, func(r rune) bool { return unicode.IsSpace(r) || r == '#' })
	if plain {
		return text
	}
	return `"` + strings.ReplaceAll(text, `"`, `\"`) + `"`
}

// quotable reports whether a word can be written in quotes: backslashes before a
// quote, and at the end, come in pairs, as an odd one would take the quote in.
func quotable(text string) bool {
	odd := false
	for _, r := range text {
		if r == '"' && odd || r == byteOrderMark {
			return false
		}
		odd = r == '\\' && !odd
	}
	return !odd
}
