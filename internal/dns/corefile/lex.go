package corefile

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// The limits on what one Corefile, with all that it imports, may ask for.
const (
	maxText        = 1 << 20 // bytes of one file; a ConfigMap holds no more
	maxTokens      = 100_000
	maxNesting     = 8    // braces within braces
	maxImports     = 1000 // as CoreDNS has it
	maxImportDepth = 16
	maxArguments   = 256     // zones, keys or addresses in one line
	maxProblems    = 100     // what comes after these is not looked at
	maxWord        = 1 << 16 // bytes of a word after its variables are put in place
)

// byteOrderMark may stand at the beginning of a file, where it is skipped.
const byteOrderMark = '\uFEFF'

// Word is one word of the file.
type Word struct {
	Text string
	Position
}

// token is a Word with what only the parser wants to know.
type token struct {
	Word
	quoted bool
	first  bool // of its line
}

// A quoted brace is a word.
func (t token) opens() bool  { return t.Text == "{" && !t.quoted }
func (t token) closes() bool { return t.Text == "}" && !t.quoted }

// lexer splits a text into tokens.
type lexer struct {
	rest  string
	at    Position
	first bool // the next token is the first of its line
	all   []token
}

// lex splits the text of a file into tokens, or returns the Problem in its way.
func lex(file, text string) ([]token, error) {
	l := lexer{rest: strings.TrimLeft(text, string(byteOrderMark)), at: Position{file, 1}, first: true}
	switch {
	case len(text) > maxText:
		return nil, mistake(l.at, "the file has more than %d bytes; split it and import the parts", maxText)
	case !utf8.ValidString(text):
		return nil, mistake(l.at, "the file is not UTF-8 text; save it as UTF-8")
	case strings.ContainsRune(l.rest, byteOrderMark):
		return nil, mistake(l.at, "the file has a byte order mark in its midst; remove it")
	}
	for l.rest != "" {
		if err := l.step(); err != nil {
			return nil, err
		}
		if len(l.all) > maxTokens {
			return nil, mistake(l.at, "the file has more than %d words; shorten it", maxTokens)
		}
	}
	return l.all, nil
}

// step takes one token, one comment or one character between tokens.
func (l *lexer) step() error {
	r, size := utf8.DecodeRuneInString(l.rest)
	switch {
	case r == '\n':
		l.at.Line, l.first = l.at.Line+1, true
	case unicode.IsSpace(r):
	case r == '#':
		end := strings.IndexByte(l.rest, '\n')
		if end < 0 {
			end = len(l.rest)
		}
		size = end
	case r == '"':
		return l.quote()
	default:
		return l.word()
	}
	l.rest = l.rest[size:]
	return nil
}

// word takes a token without quotes: up to space or a comment. As with Caddy,
// carriage returns within are dropped.
func (l *lexer) word() error {
	end := strings.IndexFunc(l.rest, func(r rune) bool { return r != '\r' && unicode.IsSpace(r) || r == '#' })
	if end < 0 {
		end = len(l.rest)
	}
	text := strings.ReplaceAll(l.rest[:end], "\r", "")
	l.rest = l.rest[end:]
	if text != `\` {
		l.add(text, false, l.at)
		return nil
	}
	if !strings.HasPrefix(l.rest, "\n") {
		return mistake(l.at, `a backslash by itself continues a line, and has to be its last character`)
	}
	l.rest, l.at.Line = l.rest[1:], l.at.Line+1
	return nil
}

// quote takes a token in quotes, which may reach over several lines. A backslash
// makes a quote part of it and stands for itself before anything else.
func (l *lexer) quote() error {
	start, text := l.at, strings.Builder{}
	for i := 1; i < len(l.rest); i++ {
		switch c := l.rest[i]; {
		case c == '"':
			l.rest = l.rest[i+1:]
			l.add(text.String(), true, start)
			return nil
		case c == '\\' && i+1 < len(l.rest):
			i++
			if l.rest[i] != '"' {
				text.WriteByte('\\')
			}
		}
		if l.rest[i] == '\n' {
			l.at.Line++
		}
		text.WriteByte(l.rest[i])
	}
	return mistake(start, `a quoted text does not end; close it with "`)
}

func (l *lexer) add(text string, quoted bool, at Position) {
	l.all = append(l.all, token{Word{text, at}, quoted, l.first})
	l.first = false
}
