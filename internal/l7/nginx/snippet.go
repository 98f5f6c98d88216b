package nginx

import (
	"errors"
	"fmt"
	"strings"
)

// Bounds of a snippet.
const (
	maxSnippet    = 16 << 10
	maxDirectives = 128
)

// directive is one of nginx's directives: words, and what is in its braces.
type directive struct {
	line  int
	words []string
	block []directive
	// braces: there are some, maybe with nothing in them.
	braces bool
}

// parseSnippet reads directives as nginx's configuration has them. It knows nothing of
// what they mean. The error names a line.
func parseSnippet(text string) ([]directive, error) {
	if len(text) > maxSnippet {
		return nil, fmt.Errorf("has more than %d octets", maxSnippet)
	}
	p := snippetParser{rest: text, line: 1}
	all, err := p.directives(0)
	if err != nil {
		return nil, fmt.Errorf("line %d: %w", p.line, err)
	}
	return all, nil
}

type snippetParser struct {
	rest  string
	line  int
	count int
}

// directives reads up to the end, or to the brace that ends a block.
func (p *snippetParser) directives(depth int) ([]directive, error) {
	var all []directive
	for {
		p.skip()
		switch {
		case p.rest == "" && depth > 0:
			return nil, errors.New("a brace is not closed")
		case p.rest == "":
			return all, nil
		case p.rest[0] == '}' && depth == 0:
			return nil, errors.New("a brace is closed that was not opened")
		case p.rest[0] == '}':
			p.rest = p.rest[1:]
			return all, nil
		}
		d, err := p.directive(depth)
		if err != nil {
			return nil, err
		}
		if p.count++; p.count > maxDirectives {
			return nil, fmt.Errorf("there are more than %d directives", maxDirectives)
		}
		all = append(all, d)
	}
}

// directive reads words up to a semicolon or a block.
func (p *snippetParser) directive(depth int) (directive, error) {
	d := directive{line: p.line}
	for {
		p.skip()
		if p.rest == "" {
			return d, errors.New("a semicolon is missing")
		}
		switch p.rest[0] {
		case ';':
			if p.rest = p.rest[1:]; len(d.words) == 0 {
				return d, errors.New("there is no directive before the semicolon")
			}
			return d, nil
		case '{':
			if len(d.words) == 0 || depth > 0 {
				return d, errors.New("a brace is opened where none may be")
			}
			p.rest, d.braces = p.rest[1:], true
			var err error
			d.block, err = p.directives(depth + 1)
			return d, err
		case '}':
			return d, errors.New("a semicolon is missing")
		}
		word, err := p.word()
		if err != nil {
			return d, err
		}
		d.words = append(d.words, word)
	}
}

// skip passes over spaces and comments.
func (p *snippetParser) skip() {
	for p.rest != "" {
		switch p.rest[0] {
		case '\n':
			p.line++
			p.rest = p.rest[1:]
		case ' ', '\t', '\r':
			p.rest = p.rest[1:]
		case '#':
			_, after, ok := strings.Cut(p.rest, "\n")
			if p.rest = after; ok {
				p.line++
			}
		default:
			return
		}
	}
}

// word reads a word, in quotes or not. A backslash takes away the meaning of a quote or
// of itself; before anything else both stay, as regular expressions want it.
func (p *snippetParser) word() (string, error) {
	var b strings.Builder
	quote := byte(0)
	if p.rest[0] == '"' || p.rest[0] == '\'' {
		quote = p.rest[0]
		p.rest = p.rest[1:]
	}
	for i := 0; i < len(p.rest); i++ {
		c := p.rest[i]
		switch {
		case c == '\\' && i+1 < len(p.rest) && strings.IndexByte(`"'\`, p.rest[i+1]) >= 0:
			i++
			b.WriteByte(p.rest[i])
		case quote != 0 && c == quote:
			p.rest = p.rest[i+1:]
			if p.rest != "" && strings.IndexByte(" \t\r\n;{)", p.rest[0]) < 0 {
				return "", errors.New("something follows a quote without a space")
			}
			return b.String(), nil
		case quote == 0 && (strings.IndexByte(" \t\r\n;", c) >= 0 || c == '{' && (i == 0 || p.rest[i-1] != '$')):
			p.rest = p.rest[i:]
			return b.String(), nil
		case c == 0 || c == '\n':
			return "", errors.New("a word has a line end or a null in it")
		default:
			b.WriteByte(c)
		}
	}
	if quote != 0 {
		return "", errors.New("a quote is not closed")
	}
	p.rest = ""
	return b.String(), nil
}
