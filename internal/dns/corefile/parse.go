package corefile

import "strings"

// File is a Corefile with its snippets, imports and variables put in place.
type File struct {
	Blocks []Block
}

// Block is a server block: what its keys name is served as its Body says.
type Block struct {
	Keys []Word
	Body []Statement
}

// Statement is a directive, or an option of one: a name, arguments, and perhaps
// further statements in braces.
type Statement struct {
	Words []Word // at least the name
	Body  []Statement
}

// Source is one file.
type Source struct{ Name, Text string }

// Surroundings answers what a Corefile asks of the place where it is used. A nil
// function knows nothing.
type Surroundings struct {
	// Env returns the value of an environment variable.
	Env func(name string) (string, bool)
	// Files returns the files that match a pattern of import, in order. A pattern
	// with a wildcard may match none; one of them that cannot be read is an error.
	Files func(pattern string) ([]Source, error)
}

// Parse reads a Corefile, or returns the first mistake in its syntax: what
// follows it cannot be read with certainty.
func Parse(source Source, around Surroundings) (File, *Problem) {
	p := parser{around: around, snippets: map[string][]token{}}
	tokens, err := p.lex(source)
	if err != nil {
		return File{}, asProblem(err)
	}
	blocks, err := p.blocks(&stream{tokens: tokens})
	if err == nil && len(blocks) == 0 {
		err = mistake(Position{source.Name, 1}, "there is no server block; write one, such as \". {\", directives, and \"}\"")
	}
	if err != nil {
		return File{}, asProblem(err)
	}
	return File{blocks}, nil
}

type parser struct {
	around   Surroundings
	snippets map[string][]token
	// What has been used of the limits.
	tokens, bytes, imports, depth int
}

// blocks parses what stands outside all braces.
func (p *parser) blocks(s *stream) ([]Block, error) {
	var all []Block
	for !s.done() {
		if s.peek().Text == "import" {
			err := p.imported(s.line(), func(inner *stream) error {
				more, err := p.blocks(inner)
				all = append(all, more...)
				return err
			})
			if err != nil {
				return nil, err
			}
			continue
		}
		keys, err := p.keys(s)
		if err != nil {
			return nil, err
		}
		if name, ok := snippetName(keys); ok {
			if err := p.define(name, keys[0].Position, s); err != nil {
				return nil, err
			}
			continue
		}
		block := Block{Keys: keys}
		if s.opens() {
			open := s.next()
			block.Body, err = p.body(s, open.Position, 1)
		} else {
			block.Body, err = p.statements(s, 1)
		}
		if err != nil {
			return nil, err
		}
		all = append(all, block)
	}
	return all, nil
}

// keys parses the keys of a server block: those on one line, and on the next
// one after a comma at the end.
func (p *parser) keys(s *stream) ([]Word, error) {
	var keys []Word
	for more := true; !s.done() && !s.opens() && (more || !s.peek().first); {
		t := s.next()
		if t.closes() {
			return nil, mistake(t.Position, `"}" closes nothing; remove it`)
		}
		t.Text, more = strings.CutSuffix(t.Text, ",")
		if t.Text == "" || t.Text == `\` || t.Text == "import" || strings.Contains(t.Text, ",") {
			return nil, mistake(t.Position, "the key %q is none; separate keys by a comma and a space", t.Text)
		}
		keys = append(keys, t.Word)
		if more && (s.done() || s.opens()) {
			return nil, mistake(t.Position, "another key has to follow the comma after %q; write it or remove the comma", t.Text)
		}
	}
	if len(keys) == 0 {
		return nil, mistake(s.peek().Position, `"{" needs a key before it, the zone that is served; write "." for all names`)
	}
	return keys, nil
}

// statements parses up to a closing brace, which it leaves, or to the end.
func (p *parser) statements(s *stream, depth int) ([]Statement, error) {
	var all []Statement
	for !s.done() && !s.peek().closes() {
		if s.opens() {
			return nil, mistake(s.peek().Position, `"{" needs a name before it`)
		}
		line := s.line()
		if line[0].Text == "import" {
			err := p.imported(line, func(inner *stream) error {
				more, err := p.statements(inner, depth)
				all = append(all, more...)
				if err == nil && !inner.done() {
					err = mistake(inner.peek().Position, `"}" closes nothing; remove it`)
				}
				return err
			})
			if err != nil {
				return nil, err
			}
			continue
		}
		statement := Statement{Words: words(line)}
		if s.opens() {
			open := s.next()
			body, err := p.body(s, open.Position, depth+1)
			if err != nil {
				return nil, err
			}
			if !s.done() && !s.peek().first {
				return nil, mistake(s.peek().Position, `%q follows "}"; begin a new line`, s.peek().Text)
			}
			statement.Body = body
		} else if !s.done() && s.peek().closes() && !s.peek().first {
			return nil, mistake(s.peek().Position, `"}" must stand on a line of its own`)
		}
		all = append(all, statement)
	}
	if depth == 1 && !s.braced && !s.done() {
		return nil, mistake(s.peek().Position, `"}" closes nothing; remove it`)
	}
	return all, nil
}

// body parses what follows an opening brace, and the closing one.
func (p *parser) body(s *stream, open Position, depth int) ([]Statement, error) {
	if depth > maxNesting {
		return nil, mistake(open, "braces are nested more than %d deep", maxNesting)
	}
	outer := s.braced
	s.braced = true
	all, err := p.statements(s, depth)
	s.braced = outer
	if err != nil {
		return nil, err
	}
	if s.done() {
		return nil, mistake(open, `"{" is never closed; write "}" on a line of its own`)
	}
	s.next()
	return all, nil
}

// stream hands out tokens.
type stream struct {
	tokens []token
	braced bool // what is parsed now ends with a closing brace
}

func (s *stream) done() bool  { return len(s.tokens) == 0 }
func (s *stream) opens() bool { return !s.done() && s.peek().opens() }

// peek returns the next token; there has to be one.
func (s *stream) peek() token { return s.tokens[0] }

func (s *stream) next() token {
	t := s.tokens[0]
	s.tokens = s.tokens[1:]
	return t
}

// line takes the next token and those behind it on its line, up to a brace.
func (s *stream) line() []token {
	n := 1
	for n < len(s.tokens) && !s.tokens[n].first && !s.tokens[n].opens() && !s.tokens[n].closes() {
		n++
	}
	line := s.tokens[:n]
	s.tokens = s.tokens[n:]
	return line
}

func words(line []token) []Word {
	all := make([]Word, len(line))
	for i, t := range line {
		all[i] = t.Word
	}
	return all
}
