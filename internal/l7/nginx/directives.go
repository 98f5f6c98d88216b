package nginx

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/fairlead-net/fairlead/internal/l7/filter"
)

// snippetReaders are the annotations with directives of nginx's.
func snippetReaders() map[string]reader {
	return map[string]reader{"configuration-snippet": {nothing, true}, "server-snippet": {nothing, true}, "auth-snippet": {nothing, true}}
}

// snippets reads them. Directives of a closed list become data; any other closes the
// Ingress, since nobody knows what it was to guard.
func (r *report) snippets(given map[string]string) {
	var s filter.Snippet
	for _, name := range []string{"server-snippet", "configuration-snippet"} {
		directives, err := parseSnippet(given[name])
		if err != nil {
			r.refuse(name, err)
			continue
		}
		steps := &s.Steps
		if name == "server-snippet" {
			steps = &s.First
		}
		for _, d := range directives {
			if err := readDirective(d, &s, steps); err != nil {
				r.refuse(name, fmt.Errorf("line %d: %s %w", d.line, d.words[0], err))
			}
		}
	}
	if len(s.First)+len(s.Steps)+len(s.Request)+len(s.Answer) > 0 {
		r.options.Filters.Snippet = &s
	}
	directives, err := parseSnippet(given["auth-snippet"])
	if err != nil {
		r.refuse("auth-snippet", err)
	}
	for _, d := range directives {
		var only filter.Snippet
		err := readDirective(d, &only, &only.Steps)
		if err == nil && len(only.Request) != 1 {
			err = errors.New("is not supported in an auth-snippet, only proxy_set_header is")
		}
		switch auth := r.options.Filters.Auth; {
		case err != nil:
			r.refuse("auth-snippet", fmt.Errorf("line %d: %s %w", d.line, d.words[0], err))
		case auth != nil && auth.External != nil:
			auth.External.Snippet = append(auth.External.Snippet, only.Request...)
		}
	}
}

func (r *report) refuse(name string, err error) {
	r.options.Closed = true
	r.about(name, true, "SnippetUnsupported", "annotation %s%s: %v; the Ingress gets 503 until it is corrected, as nobody knows what else it was to guard", Prefix, name, err)
}

// instead names, for directives that are often in snippets, the annotation that does
// the same.
func instead(name string) string {
	annotation := map[string]string{
		"allow": "allowlist-source-range", "deny": "denylist-source-range", "client_max_body_size": "proxy-body-size", "proxy_read_timeout": "proxy-read-timeout",
		"proxy_send_timeout": "proxy-send-timeout", "proxy_connect_timeout": "proxy-connect-timeout", "limit_req": "limit-rps", "limit_conn": "limit-connections",
		"limit_rate": "limit-rate", "auth_basic": "auth-type", "auth_request": "auth-url", "error_page": "custom-http-errors", "proxy_redirect": "proxy-redirect-from",
		"proxy_cookie_path": "proxy-cookie-path", "proxy_cookie_domain": "proxy-cookie-domain", "proxy_next_upstream": "proxy-next-upstream", "mirror": "mirror-target",
		"satisfy": "satisfy", "proxy_ssl_verify": "proxy-ssl-verify", "proxy_ssl_name": "proxy-ssl-name",
	}[name]
	if annotation == "" {
		return ""
	}
	return "; use annotation " + annotation
}

// readDirective takes in a directive of the closed list.
func readDirective(d directive, s *filter.Snippet, steps *[]filter.Step) error {
	name, words := d.words[0], d.words[1:]
	if d.braces && name != "if" {
		return errors.New("is not supported, nor is any block but if")
	}
	switch name {
	case "add_header":
		return readAddHeader(words, s)
	case "more_set_headers", "more_clear_headers":
		return readMoreHeaders(words, s, name == "more_clear_headers")
	case "proxy_hide_header":
		return readMoreHeaders(words, s, true)
	case "proxy_set_header", "more_set_input_headers":
		return readRequestHeader(name, words, s)
	case "return":
		return readReturn(words, nil, steps)
	case "rewrite":
		return readRewrite(words, nil, steps)
	case "if":
		return readIf(d, steps)
	}
	return errors.New("is not supported" + instead(name))
}

func readAddHeader(words []string, s *filter.Snippet) error {
	how := filter.AddField
	if len(words) == 3 && words[2] == "always" {
		how, words = filter.AddAlways, words[:2]
	}
	if len(words) != 2 {
		return errors.New("is not NAME VALUE [always]")
	}
	f, err := readField(words[0], words[1])
	if err == nil && words[1] != "" {
		s.Answer = append(s.Answer, filter.FieldChange{Name: f.Name, Value: f.Value, How: how})
	}
	return err
}

// readField reads a field that a snippet sets.
func readField(name, value string) (filter.FieldTemplate, error) {
	made, err := filter.ParseTemplate(value)
	switch {
	case err != nil:
		return filter.FieldTemplate{}, err
	case !filter.FieldName(name):
		return filter.FieldTemplate{}, fmt.Errorf("sets %q, which is no name of a field that can be set", name)
	case fieldText(value) != nil:
		return filter.FieldTemplate{}, fieldText(value)
	}
	return filter.FieldTemplate{Name: name, Value: made}, nil
}

// readMoreHeaders reads "NAME: VALUE"..., or NAME... to clear.
func readMoreHeaders(words []string, s *filter.Snippet, clear bool) error {
	if len(words) == 0 {
		return errors.New("names no field")
	}
	for _, word := range words {
		if strings.HasPrefix(word, "-") {
			return fmt.Errorf("has the option %s, which is not supported", word)
		}
		name, value, _ := strings.Cut(word, ":")
		value = strings.TrimSpace(value)
		f, err := readField(strings.TrimSpace(name), value)
		if err != nil {
			return err
		}
		how := filter.SetField
		if clear || value == "" {
			how = filter.ClearField
		}
		s.Answer = append(s.Answer, filter.FieldChange{Name: f.Name, Value: f.Value, How: how})
	}
	return nil
}

func readRequestHeader(name string, words []string, s *filter.Snippet) error {
	pairs := [][2]string{}
	switch {
	case name == "proxy_set_header" && len(words) == 2:
		pairs = append(pairs, [2]string{words[0], words[1]})
	case name == "proxy_set_header" || len(words) == 0:
		return errors.New("is not NAME VALUE")
	default:
		for _, word := range words {
			field, value, _ := strings.Cut(word, ":")
			pairs = append(pairs, [2]string{field, strings.TrimSpace(value)})
		}
	}
	for _, pair := range pairs {
		if strings.EqualFold(pair[0], "host") {
			return errors.New("sets Host, for which there is annotation upstream-vhost")
		}
		f, err := readField(pair[0], pair[1])
		if err != nil {
			return err
		}
		s.Request = append(s.Request, f)
	}
	return nil
}

// readReturn reads STATUS [TEXT], or a URL.
func readReturn(words []string, when *filter.Condition, steps *[]filter.Step) error {
	step := filter.Step{When: when, Status: 302}
	text := ""
	switch len(words) {
	case 1, 2:
		n, err := strconv.Atoi(words[0])
		if err != nil && len(words) == 1 && (strings.HasPrefix(words[0], "http://") || strings.HasPrefix(words[0], "https://") || strings.HasPrefix(words[0], "$scheme://")) {
			text = words[0]
			break
		}
		if err != nil || n < 200 || n > 599 || n == 444 || n >= 204 && n < 206 && len(words) == 2 {
			return errors.New("is neither STATUS [TEXT] with a status from 200 to 599, nor a URL")
		}
		step.Status = n
		if len(words) == 2 {
			text = words[1]
		}
	default:
		return errors.New("is not STATUS [TEXT]")
	}
	made, err := filter.ParseTemplate(text)
	if err != nil {
		return err
	}
	if step.Text = made; redirects(step.Status) {
		if err := redirectText(text); err != nil {
			return err
		}
	}
	*steps = append(*steps, step)
	return nil
}

func redirects(status int) bool { return status >= 301 && status <= 308 && status != 304 }

// redirectText demands where a redirect leads: a URL, or a path.
func redirectText(text string) error {
	if text == "" || strings.ContainsFunc(text, func(c rune) bool { return c <= ' ' || c >= 0x7f }) {
		return errors.New("redirects to what is no URL")
	}
	for _, begin := range []string{"http://", "https://", "$scheme://", "/"} {
		if strings.HasPrefix(text, begin) {
			return nil
		}
	}
	return errors.New("redirects to what begins with none of http://, https://, $scheme:// and /")
}

// readRewrite reads EXPRESSION TARGET redirect|permanent: the forms that answer. Those
// that change which location a request goes on in have no meaning here.
func readRewrite(words []string, when *filter.Condition, steps *[]filter.Step) error {
	if len(words) < 2 || len(words) > 3 {
		return errors.New("is not EXPRESSION TARGET FLAG")
	}
	step := filter.Step{When: when, Status: 302}
	switch target := words[1]; {
	case len(words) == 3 && words[2] == "permanent":
		step.Status = 301
	case len(words) == 3 && words[2] == "redirect":
	case len(words) == 2 && (strings.HasPrefix(target, "http://") || strings.HasPrefix(target, "https://")):
	default:
		return errors.New("without flag redirect or permanent is not supported; use annotation rewrite-target")
	}
	var err error
	if step.Path, err = parsePattern(words[0]); err != nil {
		return err
	}
	if err := redirectText(words[1]); err != nil {
		return err
	}
	if step.Target, step.Groups, err = splitGroups(words[1]); err != nil {
		return err
	}
	step.Text = filter.Literal(words[1])
	*steps = append(*steps, step)
	return nil
}

// splitGroups takes a text apart at $1 to $9.
func splitGroups(text string) (between []filter.Template, groups []int, err error) {
	begin := 0
	for i := 0; i+1 < len(text); i++ {
		if text[i] != '$' || text[i+1] < '1' || text[i+1] > '9' {
			continue
		}
		made, err := filter.ParseTemplate(text[begin:i])
		if err != nil {
			return nil, nil, err
		}
		between, groups = append(between, made), append(groups, int(text[i+1]-'0'))
		begin = i + 2
	}
	made, err := filter.ParseTemplate(text[begin:])
	return append(between, made), groups, err
}

// readIf reads if (CONDITION) { return or rewrite }. Other directives do in nginx what
// nobody expects, so they are refused within.
func readIf(d directive, steps *[]filter.Step) error {
	if !d.braces {
		return errors.New("has no block")
	}
	text := strings.Join(d.words[1:], " ")
	if len(d.words) < 2 || !strings.HasPrefix(text, "(") || !strings.HasSuffix(text, ")") {
		return errors.New("has no condition in parentheses")
	}
	when, err := readCondition(d.words[1:])
	if err != nil {
		return err
	}
	for _, inner := range d.block {
		switch inner.words[0] {
		case "return":
			err = readReturn(inner.words[1:], when, steps)
		case "rewrite":
			err = readRewrite(inner.words[1:], when, steps)
		default:
			err = errors.New("is not supported within if, only return and rewrite are")
		}
		if err != nil {
			return fmt.Errorf("line %d: %s %w", inner.line, inner.words[0], err)
		}
	}
	return nil
}

// readCondition reads ($variable), ($variable OPERATOR TEXT).
func readCondition(words []string) (*filter.Condition, error) {
	words = append([]string(nil), words...)
	words[0] = strings.TrimPrefix(words[0], "(")
	words[len(words)-1] = strings.TrimSuffix(words[len(words)-1], ")")
	var parts []string
	for _, w := range words {
		if w != "" || len(parts) == 2 {
			parts = append(parts, w)
		}
	}
	if len(parts) == 4 && parts[3] == "" {
		parts = parts[:3]
	}
	if len(parts) != 1 && len(parts) != 3 || !strings.HasPrefix(parts[0], "$") {
		return nil, errors.New("has a condition that is not ($variable OPERATOR TEXT)")
	}
	value, err := filter.ParseTemplate(parts[0])
	if err != nil {
		return nil, err
	}
	c := &filter.Condition{Value: value, Some: len(parts) == 1}
	if c.Some {
		return c, nil
	}
	operator, negated := strings.CutPrefix(parts[1], "!")
	switch c.Not = negated; operator {
	case "=":
		c.Text = parts[2]
		if strings.Contains(c.Text, "$") {
			err = errors.New("compares with a variable, which is not supported")
		}
	case "~":
		c.Pattern, err = parsePattern(parts[2])
	case "~*":
		c.Pattern, err = parsePattern("(?i)" + parts[2])
	default:
		err = fmt.Errorf("has the operator %q, which is not supported", parts[1])
	}
	return c, err
}
