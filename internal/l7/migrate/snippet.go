package migrate

import (
	"slices"
	"strings"
)

// Bounds on what is read of a snippet.
const (
	maxSnippet    = 16 << 10 // octets
	maxDirectives = 24
)

// snippet says which directives a snippet has, and what can stand in for them. It is
// for people only: nothing of a snippet is carried out.
func snippet(text string) string {
	names := directives(text)
	if len(names) == 0 {
		return "it has no directives, so it can be removed"
	}
	var said []string
	for _, name := range names {
		if instead := insteadOf()[name]; instead != "" {
			name += " (" + instead + ")"
		} else {
			name += " (nothing stands in for it)"
		}
		said = append(said, name)
	}
	return "its directives: " + strings.Join(said, ", ")
}

// directives returns the names of a snippet's directives, those in blocks too, each
// once, in their order.
func directives(text string) []string {
	var names []string
	start, quote := true, byte(0) // start: a directive's name comes next
	text = text[:min(len(text), maxSnippet)]
	for i := 0; i < len(text) && len(names) < maxDirectives; i++ {
		c := text[i]
		switch {
		case c == '\\':
			i++
			start = false
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '\'' || c == '"':
			quote, start = c, false
		case c == '#':
			for i+1 < len(text) && text[i+1] != '\n' {
				i++
			}
		case c == ';' || c == '{' || c == '}':
			start = true
		case start && c > ' ':
			end := i
			for end < len(text) && strings.IndexByte(" \t\r\n;{}\"'#", text[end]) < 0 {
				end++
			}
			if name := printable(text[i:end]); !slices.Contains(names, name) {
				names = append(names, name)
			}
			start, i = false, end-1
		}
	}
	return names
}

// printable bounds a word, and leaves of it what terminals and YAML show as it is.
func printable(word string) string {
	return strings.Map(func(c rune) rune {
		if c <= ' ' || c >= 0x7f {
			return '?'
		}
		return c
	}, word[:min(len(word), 64)])
}

// insteadOf names what does the same as a directive.
func insteadOf() map[string]string {
	all := map[string]string{}
	for instead, names := range map[string][]string{
		"annotation custom-headers":                                 {"add_header", "more_set_headers"},
		"the backend's matter, or upstream-vhost for Host":          {"proxy_set_header", "more_set_input_headers"},
		"annotation permanent-redirect or temporal-redirect":        {"return"},
		"annotation rewrite-target":                                 {"rewrite"},
		"annotations allowlist-source-range, denylist-source-range": {"allow", "deny"},
		"annotations auth-type and auth-secret":                     {"auth_basic", "auth_basic_user_file"},
		"annotation auth-url":                                       {"auth_request"},
		"annotation satisfy":                                        {"satisfy"},
		"annotation proxy-body-size":                                {"client_max_body_size"},
		"annotation proxy-connect-timeout":                          {"proxy_connect_timeout"},
		"annotation proxy-read-timeout":                             {"proxy_read_timeout"},
		"annotation proxy-send-timeout":                             {"proxy_send_timeout"},
		"annotation proxy-next-upstream":                            {"proxy_next_upstream"},
		"annotations limit-rps, limit-rpm":                          {"limit_req"},
		"annotation limit-connections":                              {"limit_conn"},
		"annotation limit-rate":                                     {"limit_rate"},
		"annotations proxy-redirect-from and -to":                   {"proxy_redirect"},
		"annotations proxy-cookie-path, proxy-cookie-domain":        {"proxy_cookie_path", "proxy_cookie_domain"},
		"another path or canary-by-header, as far as they go":       {"if", "location"},
		"no need of it":                                             {"proxy_buffering", "proxy_buffer_size", "proxy_buffers", "proxy_busy_buffers_size", "proxy_http_version", "proxy_request_buffering", "client_body_buffer_size", "proxy_max_temp_file_size", "access_log"},
	} {
		for _, name := range names {
			all[name] = instead
		}
	}
	return all
}
