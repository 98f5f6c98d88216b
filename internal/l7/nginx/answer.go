package nginx

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fairlead-net/fairlead/internal/l7/filter"
)

// answerReaders are the annotations about what backends answer, and which endpoint is
// asked next; all are read together.
func answerReaders() map[string]reader {
	all := map[string]reader{}
	for _, name := range []string{
		"proxy-redirect-from", "proxy-redirect-to", "proxy-cookie-domain", "proxy-cookie-path",
		"proxy-next-upstream", "proxy-next-upstream-tries", "proxy-next-upstream-timeout",
	} {
		all[name] = reader{nothing, false}
	}
	all["custom-http-errors"] = reader{readErrors, false}
	all["default-backend"] = reader{readDefaultBackend, false}
	all["disable-proxy-intercept-errors"] = reader{nothing, false}
	return all
}

// readErrors takes a list of statuses.
func readErrors(value string, o *Options) error {
	for text := range strings.SplitSeq(value, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(text))
		if err != nil || n < 300 || n > 599 {
			o.Errors = nil
			return errors.New("is no list of statuses from 300 to 599")
		}
		o.Errors = append(o.Errors, n)
	}
	return nil
}

func readDefaultBackend(value string, o *Options) error {
	namespace, name, err := objectName(value)
	if err != nil || namespace != "" {
		return errors.New("is no name of a Service")
	}
	o.DefaultBackend = name
	return nil
}

// answers reads what changes answers.
func (r *report) answers(given map[string]string) {
	if r.optional(given, "disable-proxy-intercept-errors") == filter.Yes {
		r.options.Errors = nil
	}
	var a filter.Answer
	from, to := given["proxy-redirect-from"], given["proxy-redirect-to"]
	if from != "" && from != "off" && from != "default" && to != "" && to != "off" {
		if made, ok := r.replacement("proxy-redirect-from", from, to); ok {
			a.Redirects = append(a.Redirects, made)
		}
	}
	for name, list := range map[string]*[]filter.Replacement{"proxy-cookie-domain": &a.CookieDomains, "proxy-cookie-path": &a.CookiePaths} {
		text := given[name]
		if text == "" || text == "off" {
			continue
		}
		words, err := splitWords(text)
		if err == nil && len(words) != 2 {
			err = errors.New("is not two words, what is replaced and what takes its place")
		}
		if err != nil {
			r.wrong(name, text, false, err)
		} else if made, ok := r.replacement(name, words[0], words[1]); ok {
			*list = append(*list, made)
		}
	}
	if len(a.Redirects)+len(a.CookieDomains)+len(a.CookiePaths) > 0 {
		r.options.Filters.Answer = &a
	}
}

func (r *report) replacement(name, from, to string) (filter.Replacement, bool) {
	made, err := filter.ParseTemplate(to)
	switch {
	case err != nil:
	case strings.HasPrefix(from, "~"):
		err = errors.New("is a regular expression, which is not supported here")
	case strings.Contains(from, "$"):
		err = errors.New("has a variable in what is replaced, which is not supported")
	case fieldText(from) != nil:
		err = fieldText(from)
	default:
		err = fieldText(to)
	}
	if err != nil {
		r.wrong(name, from+" "+to, false, err)
	}
	return filter.Replacement{From: from, To: made}, err == nil
}

// splitWords splits a text at spaces, but not within quotes of either kind; nginx's
// backslash is not supported.
func splitWords(text string) ([]string, error) {
	var words []string
	for text = strings.TrimSpace(text); text != ""; text = strings.TrimSpace(text) {
		if quote := text[0]; quote == '"' || quote == '\'' {
			word, rest, ok := strings.Cut(text[1:], string(quote))
			if !ok {
				return nil, errors.New("has a quote that does not end")
			}
			words, text = append(words, word), rest
			continue
		}
		end := strings.IndexAny(text, " \t\"'")
		if end < 0 {
			end = len(text)
		}
		words, text = append(words, text[:end]), text[end:]
	}
	return words, nil
}

// retry reads which endpoint is asked next, and when.
func (r *report) retry(given map[string]string) {
	var t filter.Retry
	has := false
	if text := given["proxy-next-upstream"]; text != "" {
		has = true
		for word := range strings.FieldsSeq(text) {
			status, isStatus := strings.CutPrefix(word, "http_")
			n, err := strconv.Atoi(status)
			switch {
			case word == "off":
				t.Off = true
			case word == "error", word == "timeout", word == "invalid_header":
			case word == "non_idempotent":
				t.Always = true
			case isStatus && err == nil && slices.Contains([]int{403, 404, 429, 500, 502, 503, 504}, n):
				t.Statuses = append(t.Statuses, n)
			default:
				r.wrong("proxy-next-upstream", word, false, errors.New("is no condition of nginx's"))
			}
		}
	}
	if n, ok := r.whole(given, "proxy-next-upstream-tries", 0, 1000); ok {
		t.Tries, has = n, true
		if n == 0 || n > filter.MaxTries {
			t.Tries = filter.MaxTries
		}
	}
	if n, ok := r.whole(given, "proxy-next-upstream-timeout", 0, 86400); ok {
		t.Within, has = time.Duration(n)*time.Second, true
	}
	if has {
		r.options.Filters.Retry = &t
	}
}

// withoutEffect says of annotations that are known why there is nothing to do for them.
func withoutEffect() map[string]string {
	all := map[string]string{}
	for why, names := range map[string][]string{
		"connections to the server that is asked are always kept and used again":                                   {"auth-keepalive", "auth-keepalive-requests", "auth-keepalive-timeout", "auth-keepalive-share-vars"},
		"connections to backends are always kept and used again, and those that change to another protocol say so": {"connection-proxy-header"},
		"redirects always keep a slash at the end":                                                                 {"preserve-trailing-slash"},
		"requests and answers are passed on while they come, and never gathered in memory or files":                {"proxy-buffering", "proxy-request-buffering", "proxy-buffer-size", "proxy-buffers-number", "proxy-busy-buffers-size", "proxy-max-temp-file-size", "client-body-buffer-size"},
		"backends are spoken with in HTTP/1.1, or in what backend-protocol says":                                   {"proxy-http-version"},
		"server push is gone from browsers, and from nginx":                                                        {"http2-push-preload"},
		"the administrator decides what is traced, for all alike, and rewrites are not logged":                     {"enable-rewrite-log", "enable-opentelemetry", "opentelemetry-trust-incoming-span", "opentelemetry-operation-name", "enable-opentracing", "opentracing-trust-incoming-span"},
		"the ciphers are those of Go, all of which are safe, in its order":                                         {"ssl-ciphers", "ssl-prefer-server-ciphers", "proxy-ssl-ciphers"},
		"redirects are whole URLs":    {"relative-redirects", "use-port-in-redirects"},
		"nothing speaks FastCGI here": {"fastcgi-index", "fastcgi-params-configmap"},
	} {
		for _, name := range names {
			all[name] = why
		}
	}
	return all
}
