package corefile

import (
	"strconv"
	"strings"
)

// lex splits a file and puts its variables in place.
func (p *parser) lex(source Source) ([]token, error) {
	tokens, err := lex(source.Name, source.Text)
	if err != nil {
		return nil, err
	}
	for i, t := range tokens {
		if tokens[i].Text, err = p.expand(t.Word); err != nil {
			return nil, err
		}
	}
	return tokens, p.count(tokens)
}

// count holds the number of tokens, wherever they come from, to its limit.
func (p *parser) count(tokens []token) error {
	if p.tokens += len(tokens); p.tokens > maxTokens {
		return mistake(tokens[0].Position, "the Corefile has more than %d words with what it imports; import less", maxTokens)
	}
	return nil
}

// variable finds the first {$NAME} or {%NAME%} of a text.
func variable(text string) (before, name, after string, found bool) {
	forms := [][2]string{{"{%", "%}"}, {"{$", "}"}}
	for i := range len(text) {
		for n, form := range forms {
			if form[0] == "" || !strings.HasPrefix(text[i:], form[0]) {
				continue
			}
			name, after, found = strings.Cut(text[i+2:], form[1])
			if found && name != "" {
				return text[:i], name, after, true
			}
			if !found {
				forms[n][0] = "" // it does not end further on either
			}
		}
	}
	return text, "", "", false
}

// expand puts the values of environment variables into a word.
func (p *parser) expand(w Word) (string, error) {
	done, rest := "", w.Text
	for {
		before, name, after, found := variable(rest)
		if done += before; !found {
			break
		}
		value, known := "", false
		if p.around.Env != nil {
			value, known = p.around.Env(name)
		}
		if !known {
			return "", mistake(w.Position, "the environment variable %s has no value here; write its value instead", name)
		}
		if done, rest = done+value, after; len(done) > maxWord {
			break
		}
	}
	if done == w.Text {
		return done, nil
	}
	return done, p.put(done, w.Position)
}

// put refuses words that came about by putting texts together and that no
// Corefile could hold as they are, or that are too long, alone or together.
func (p *parser) put(text string, at Position) error {
	if p.bytes += len(text); p.bytes > maxText {
		return mistake(at, "variables and arguments of imports make more than %d bytes; use fewer", maxText)
	}
	if _, _, _, again := variable(text); again || !quotable(text) || len(text) > maxWord {
		return mistake(at, "the value that was put in here holds another variable, a backslash before a quote, or more than %d bytes; write it out", maxWord)
	}
	return nil
}

// snippetName tells whether keys open the definition of a snippet: (NAME).
func snippetName(keys []Word) (string, bool) {
	if len(keys) != 1 || !strings.HasPrefix(keys[0].Text, "(") || !strings.HasSuffix(keys[0].Text, ")") || len(keys[0].Text) < 2 {
		return "", false
	}
	return keys[0].Text[1 : len(keys[0].Text)-1], true
}

// define takes the body of a snippet, to be parsed where it is imported.
func (p *parser) define(name string, at Position, s *stream) error {
	switch _, taken := p.snippets[name]; {
	case taken:
		return mistake(at, "the snippet (%s) is defined twice; rename one", name)
	case name == "":
		return mistake(at, "a snippet needs a name; write (NAME)")
	case !s.opens():
		return mistake(at, `the snippet (%s) has no body; write "{" behind it`, name)
	}
	depth := 0
	for i, t := range s.tokens {
		if t.opens() {
			depth++
		} else if t.closes() {
			depth--
		}
		if depth == 0 {
			p.snippets[name] = s.tokens[1:i]
			s.tokens = s.tokens[i+1:]
			return nil
		}
	}
	return mistake(at, `the body of the snippet (%s) is never closed; write "}" on a line of its own`, name)
}

// imported calls parse with the tokens of every file, or of the snippet, that a
// line "import NAME-OR-PATTERN [ARGUMENT...]" names.
func (p *parser) imported(line []token, parse func(*stream) error) error {
	at := line[0].Position
	if len(line) < 2 || line[1].Text == "" {
		return mistake(at, `import names nothing; write "import SNIPPET" or "import FILE"`)
	}
	if p.imports++; p.imports > maxImports || p.depth >= maxImportDepth {
		return mistake(at, "imports are more than %d, or %d deep; does a snippet or file import itself?", maxImports, maxImportDepth)
	}
	p.depth++
	defer func() { p.depth-- }()
	name := line[1].Text
	if snippet, ok := p.snippets[name]; ok {
		tokens, err := p.instantiate(snippet, line[2:])
		if err != nil {
			return err
		}
		return parse(&stream{tokens: tokens})
	}
	if len(line) > 2 {
		return mistake(at, "only the import of a snippet takes arguments, and there is no snippet (%s) above", name)
	}
	var files []Source
	if p.around.Files != nil {
		var err error
		if files, err = p.around.Files(name); err != nil {
			return mistake(at, "import %s: %v", name, err)
		}
	}
	if len(files) == 0 && !strings.ContainsAny(name, "*?[") {
		return mistake(at, "import %s: there is no snippet (%s) above and no such file; define the snippet or correct the name", name, name)
	}
	for _, file := range files {
		tokens, err := p.lex(file)
		if err != nil {
			return err
		}
		if err := parse(&stream{tokens: tokens}); err != nil {
			return err
		}
	}
	return nil
}

// instantiate returns the tokens of a snippet with its arguments in place.
func (p *parser) instantiate(snippet, arguments []token) ([]token, error) {
	tokens := make([]token, len(snippet))
	for i, t := range snippet {
		text, err := p.substitute(t.Word, arguments)
		if err != nil {
			return nil, err
		}
		t.Text, t.first = text, t.first || i == 0
		tokens[i] = t
	}
	return tokens, p.count(tokens)
}

// substitute replaces every {args[N]} of a word.
func (p *parser) substitute(w Word, arguments []token) (string, error) {
	done, rest := "", w.Text
	for {
		before, after, found := strings.Cut(rest, "{args[")
		index, tail, closed := strings.Cut(after, "]}")
		n, err := strconv.Atoi(index)
		if !found || !closed || err != nil || n < 0 {
			done += rest
			break
		}
		if n >= len(arguments) {
			return "", mistake(w.Position, "{args[%d]} has no value: the import gives %d arguments", n, len(arguments))
		}
		done, rest = done+before+arguments[n].Text, tail
		if len(done) > maxWord {
			break
		}
	}
	if done == w.Text {
		return done, nil
	}
	return done, p.put(done, w.Position)
}
