package nginx

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/fairlead-net/fairlead/internal/l7/filter"
)

// Settings are what the ConfigMap of ingress-nginx says of all Ingresses of its classes.
// They are not changed once they are made. A nil *Settings is an empty ConfigMap.
type Settings struct {
	// Defaults are values of annotations, without prefix, for Ingresses that do not have
	// them; GlobalAuth the same of those that say who is let in, for Ingresses without any.
	Defaults, GlobalAuth map[string]string
	// RedirectStatus is that of redirects to HTTPS; 0: 308.
	RedirectStatus int
	// NoTLSRedirect and NoAuth are beginnings of paths that are not redirected to HTTPS,
	// and for which nobody is asked who he is; nil: those of ACME.
	NoTLSRedirect, NoAuth []string
	// LimitStatus and ConnectionStatus answer what is too much; 0: 503.
	LimitStatus, ConnectionStatus int
	// HSTS is the Strict-Transport-Security of answers by HTTPS; empty: none.
	HSTS string
	// RequestFields and AnswerFields are ConfigMaps with fields for all backends and
	// clients; Hide are fields of backends that clients do not get.
	RequestFields, AnswerFields filter.Reference
	Hide                        []string
	// Deny and Blocked are who is refused with 403.
	Deny    []netip.Prefix
	Blocked []filter.Step
	Engine  Engine
	// ModSecurity is what it says of rules of ModSecurity.
	ModSecurity ModSecurity
}

// ACME is what is neither redirected to HTTPS nor closed to strangers by default.
const ACME = "/.well-known/acme-challenge"

// asAnnotations are keys that are the defaults of the annotations of the same name.
func asAnnotations() []string {
	return []string{
		"proxy-body-size", "proxy-connect-timeout", "proxy-read-timeout", "proxy-send-timeout", "ssl-redirect", "force-ssl-redirect",
		"whitelist-source-range", "denylist-source-range", "custom-http-errors", "disable-proxy-intercept-errors", "limit-rate", "limit-rate-after",
		"proxy-next-upstream", "proxy-next-upstream-tries", "proxy-next-upstream-timeout", "proxy-cookie-domain", "proxy-cookie-path",
		"proxy-redirect-from", "proxy-redirect-to", "load-balance", "upstream-hash-by", "service-upstream",
	}
}

// ReadSettings reads the data of the ConfigMap. Problems say what is left out, and why.
func ReadSettings(data map[string]string) (*Settings, []Problem) {
	s := &Settings{Defaults: map[string]string{}, GlobalAuth: map[string]string{}, HSTS: "max-age=31536000; includeSubDomains"}
	r := report{options: &Options{}}
	readers := settingReaders()
	maps.Copy(readers, modSecuritySettings())
	for _, key := range slices.Sorted(maps.Keys(data)) {
		value := data[key]
		auth, isAuth := strings.CutPrefix(key, "global-auth-")
		switch read := readers[key]; {
		case slices.Contains(asAnnotations(), key):
			s.Defaults[key] = value
		case isAuth:
			s.GlobalAuth["auth-"+auth] = value
		case read != nil:
			var part *partly
			if err := read(value, s); errors.As(err, &part) {
				r.add("SettingUnsupported", "ConfigMap key %s: %v", key, part)
			} else if err != nil {
				r.add("SettingInvalid", "ConfigMap key %s: %q %v; it is left out", key, value, err)
			}
		case settingsWithoutEffect()[key] != "":
			r.add("SettingWithoutEffect", "ConfigMap key %s has no effect here: %s", key, settingsWithoutEffect()[key])
		default:
			r.add("SettingUnsupported", "ConfigMap key %s is not supported and is left out", key)
		}
	}
	s.hsts(data, &r)
	s.engine(data, &r)
	s.check(&r)
	return s, r.problems
}

// complete adds to annotations what they do not say.
func (s *Settings) complete(annotations map[string]string) map[string]string {
	if len(s.Defaults)+len(s.GlobalAuth) == 0 {
		return annotations
	}
	all := map[string]string{}
	for name, value := range s.Defaults {
		all[Prefix+name] = value
	}
	_, allow := annotations[Prefix+"allowlist-source-range"]
	if allow { // the same under another name
		delete(all, Prefix+"whitelist-source-range")
	}
	global, err := strconv.ParseBool(strings.TrimSpace(annotations[Prefix+"enable-global-auth"]))
	if annotations[Prefix+"auth-url"] == "" && (global || err != nil) {
		for name, value := range s.GlobalAuth {
			all[Prefix+name] = value
		}
	}
	maps.Copy(all, annotations)
	return all
}

// check leaves out values that the annotations would not take. Who is let in by a wrong
// one is everybody's matter: then nobody is.
func (s *Settings) check(r *report) {
	for name, value := range s.Defaults {
		if _, problems := Read(map[string]string{Prefix + name: value}); len(problems) > 0 {
			delete(s.Defaults, name)
			r.add("SettingInvalid", "ConfigMap key %s: %q is left out, as its annotation would be: %s", name, value, problems[0].Message)
		}
	}
	if len(s.GlobalAuth) == 0 {
		return
	}
	annotations := map[string]string{}
	for name, value := range s.GlobalAuth {
		annotations[Prefix+name] = value
	}
	if _, problems := Read(annotations); len(problems) > 0 {
		r.add("SettingInvalid", "ConfigMap keys global-auth-*: Ingresses that do not say themselves who is let in get 503 until they are corrected: %s", problems[0].Message)
	}
}

// hsts reads how long browsers are to come by HTTPS only.
func (s *Settings) hsts(data map[string]string, all *report) {
	r := report{options: all.options}
	defer func() { // values are read as those of annotations are
		for _, p := range r.problems {
			all.add("SettingInvalid", "ConfigMap key %s", strings.TrimPrefix(p.Message, "annotation "+Prefix))
		}
	}()
	given := map[string]string{}
	for _, name := range []string{"hsts", "hsts-include-subdomains", "hsts-preload", "hsts-max-age"} {
		given[name] = data[name]
	}
	age := 31536000
	if n, ok := r.whole(given, "hsts-max-age", 0, 1<<31-1); ok {
		age = n
	}
	s.HSTS = "max-age=" + strconv.Itoa(age)
	if r.optional(given, "hsts-include-subdomains") != filter.No {
		s.HSTS += "; includeSubDomains"
	}
	if r.optional(given, "hsts-preload") == filter.Yes {
		s.HSTS += "; preload"
	}
	if r.optional(given, "hsts") == filter.No {
		s.HSTS = ""
	}
}

// settingReaders are the keys that have a meaning of their own.
func settingReaders() map[string]func(string, *Settings) error {
	noted := func(string, *Settings) error { return nil }
	all := map[string]func(string, *Settings) error{
		"hsts": noted, "hsts-max-age": noted, "hsts-include-subdomains": noted, "hsts-preload": noted,
		"http-redirect-code":        status(func(s *Settings) *int { return &s.RedirectStatus }, 301, 308),
		"limit-req-status-code":     status(func(s *Settings) *int { return &s.LimitStatus }, 400, 599),
		"limit-conn-status-code":    status(func(s *Settings) *int { return &s.ConnectionStatus }, 400, 599),
		"no-tls-redirect-locations": paths(func(s *Settings) *[]string { return &s.NoTLSRedirect }),
		"no-auth-locations":         paths(func(s *Settings) *[]string { return &s.NoAuth }),
		"proxy-set-headers":         object(filter.RequestFields, func(s *Settings) *filter.Reference { return &s.RequestFields }),
		"add-headers":               object(filter.AnswerFields, func(s *Settings) *filter.Reference { return &s.AnswerFields }),
		"hide-headers":              readHide,
		"block-cidrs":               func(v string, s *Settings) (err error) { s.Deny, err = readRanges(v); return err },
		"block-user-agents":         blocks(filter.Header, "user-agent"),
		"block-referers":            blocks(filter.Header, "referer"),
	}
	maps.Copy(all, engineReaders())
	return all
}

func status(of func(*Settings) *int, least, most int) func(string, *Settings) error {
	return func(value string, s *Settings) error {
		n, err := strconv.Atoi(value)
		if err != nil || n < least || n > most {
			return fmt.Errorf("is no status from %d to %d", least, most)
		}
		*of(s) = n
		return nil
	}
}

func paths(of func(*Settings) *[]string) func(string, *Settings) error {
	return func(value string, s *Settings) error {
		list := []string{}
		for path := range strings.SplitSeq(value, ",") {
			if path = strings.TrimSpace(path); path != "" && path[0] != '/' {
				return errors.New("is no list of paths")
			} else if path != "" {
				list = append(list, path)
			}
		}
		*of(s) = list
		return nil
	}
}

func object(purpose filter.Purpose, of func(*Settings) *filter.Reference) func(string, *Settings) error {
	return func(value string, s *Settings) error {
		namespace, name, err := objectName(value)
		if err == nil && namespace == "" {
			err = errors.New("is not NAMESPACE/NAME")
		}
		if err == nil {
			*of(s) = filter.Reference{Purpose: purpose, Namespace: namespace, Name: name}
		}
		return err
	}
}

func readHide(value string, s *Settings) error {
	for name := range strings.SplitSeq(value, ",") {
		if name = strings.TrimSpace(name); !filter.FieldName(name) {
			return errors.New("is no list of header fields")
		}
		s.Hide = append(s.Hide, name)
	}
	return nil
}

// blocks reads a list of texts, and expressions after ~ or ~*, that a field must not have.
func blocks(v filter.Variable, argument string) func(string, *Settings) error {
	return func(value string, s *Settings) error {
		var made []filter.Step
		for entry := range strings.SplitSeq(value, ",") {
			entry = strings.TrimSpace(entry)
			if entry == "" {
				continue
			}
			c := &filter.Condition{Value: filter.Of(v, argument), Text: entry}
			if expression, ok := strings.CutPrefix(entry, "~"); ok {
				if rest, ok := strings.CutPrefix(expression, "*"); ok {
					expression = "(?i)" + rest
				}
				var err error
				if c.Pattern, err = parsePattern(expression); err != nil {
					return err
				}
			}
			made = append(made, filter.Step{When: c, Status: 403})
		}
		s.Blocked = append(s.Blocked, made...)
		return nil
	}
}

// settingsWithoutEffect says of keys that are known why there is nothing to do for them.
func settingsWithoutEffect() map[string]string {
	all := map[string]string{}
	for why, names := range map[string][]string{
		"snippets are read as data, never run, so they are always allowed; cross-namespace names never are": {"allow-snippet-annotations", "allow-cross-namespace-resources", "annotations-risk-level", "annotation-value-word-blocklist", "strict-validate-path-type"},
		"Fairlead has no workers, and changes nothing by reloading":                                         {"worker-processes", "worker-shutdown-timeout", "max-worker-connections", "max-worker-open-files", "worker-cpu-affinity", "reuse-port", "enable-multi-accept"},
		"requests and answers are passed on while they come":                                                {"proxy-buffering", "proxy-request-buffering", "proxy-buffer-size", "proxy-buffers-number", "client-body-buffer-size", "proxy-max-temp-file-size", "proxy-busy-buffers-size"},
		"gateway.accessLog.output says where requests are written down, logLevel what else":                 {"access-log-path", "http-access-log-path", "error-log-path", "error-log-level", "access-log-params"},
		"gateway.tracing says what is traced, and where to":                                                 {"enable-opentelemetry", "opentelemetry-config", "opentelemetry-operation-name", "otel-max-queuesize", "otel-max-export-batch-size", "otel-schedule-delay-millis", "opentelemetry-trust-incoming-span", "otlp-collector-host", "otlp-collector-port", "otel-sampler", "otel-sampler-ratio", "otel-service-name"},
		"connections are used for as many requests as come":                                                 {"keep-alive-requests", "upstream-keepalive-requests", "upstream-keepalive-time", "upstream-max-fails"},
		"it is one of the times for a request's header (client-header-timeout)":                             {"proxy-protocol-header-timeout"},
		"connections of tcp-services are written down as requests are, sessions of udp-services are not":    {"log-format-stream", "disable-stream-access-log", "stream-access-log-path"},
		"it is always so here": {"use-http2", "generate-request-id", "enable-real-ip", "ignore-invalid-headers", "proxy-add-original-uri-header", "ssl-session-tickets", "ssl-session-cache", "ssl-early-data", "server-tokens", "allow-backend-server-header", "enable-underscores-in-headers"},
		"the ciphers are those of Go, all of which are safe, in its order": {"ssl-ciphers", "ssl-ecdh-curve", "ssl-dh-param", "ssl-prefer-server-ciphers"},
	} {
		for _, name := range names {
			all[name] = why
		}
	}
	return all
}
