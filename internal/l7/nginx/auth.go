package nginx

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fairlead-net/fairlead/internal/l7/filter"
)

// authReaders are the annotations that say who is let in; all are read together.
func authReaders() map[string]reader {
	return map[string]reader{
		"auth-type": {nothing, true}, "auth-secret": {nothing, true}, "auth-secret-type": {nothing, true}, "auth-realm": {nothing, true},
		"auth-url": {nothing, true}, "auth-method": {nothing, true}, "auth-signin": {nothing, true}, "auth-signin-redirect-param": {nothing, true},
		"auth-response-headers": {nothing, true}, "auth-request-redirect": {nothing, true}, "auth-proxy-set-headers": {nothing, true},
		"auth-cache-key": {nothing, true}, "auth-cache-duration": {nothing, true}, "auth-always-set-cookie": {nothing, true},
		"satisfy":            {nothing, true},
		"enable-global-auth": {flag(func(o *Options) *bool { return &o.GlobalAuth }), true},
	}
}

// auth reads what says who is let in.
func (r *report) auth(given map[string]string) {
	basic := r.basic(given)
	external := r.external(given)
	if basic == nil && external == nil && given["satisfy"] == "" {
		return
	}
	made := &filter.Auth{Basic: basic, External: external}
	switch strings.ToLower(given["satisfy"]) {
	case "any":
		made.Any = true
	case "", "all":
	default:
		r.wrong("satisfy", given["satisfy"], true, errors.New("is neither any nor all"))
	}
	r.options.Filters.Auth = made
}

// basic reads the annotations of basic authentication.
func (r *report) basic(given map[string]string) *filter.Basic {
	kind, secret := given["auth-type"], given["auth-secret"]
	switch {
	case kind == "" && secret == "":
		return nil
	case kind == "digest":
		r.wrong("auth-type", kind, true, errors.New("is not supported, as its hashes are of MD5; use basic"))
		return nil
	case kind != "basic":
		r.wrong("auth-type", kind, true, errors.New("is not basic, which is supported"))
		return nil
	}
	made := &filter.Basic{Realm: given["auth-realm"]}
	made.Users.Purpose = filter.UserFile
	switch given["auth-secret-type"] {
	case "", "auth-file":
	case "auth-map":
		made.Users.Purpose = filter.UserMap
	default:
		r.wrong("auth-secret-type", given["auth-secret-type"], true, errors.New("is neither auth-file nor auth-map"))
	}
	var err error
	if made.Users.Namespace, made.Users.Name, err = objectName(secret); err != nil {
		r.wrong("auth-secret", secret, true, err)
	}
	if err := fieldText(made.Realm); err != nil || strings.ContainsAny(made.Realm, `"\`) {
		r.wrong("auth-realm", made.Realm, true, errors.New("has quotes, backslashes or control characters, or more than 1024 characters"))
	}
	return made
}

// objectName reads [NAMESPACE/]NAME.
func objectName(text string) (namespace, name string, err error) {
	namespace, name, ok := strings.Cut(text, "/")
	if !ok {
		namespace, name = "", text
	}
	for _, part := range []string{namespace, name} {
		for i := range len(part) {
			if c := part[i]; !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '.') {
				return "", "", fmt.Errorf("has %q, which a name of an object must not have", c)
			}
		}
	}
	if name == "" || len(text) > 320 || ok && namespace == "" {
		return "", "", errors.New("is neither NAME nor NAMESPACE/NAME")
	}
	return namespace, name, nil
}

// fieldText refuses what the value of a header field must not have.
func fieldText(text string) error {
	if len(text) > 1024 {
		return errors.New("has more than 1024 characters")
	}
	for i := range len(text) {
		if c := text[i]; c < ' ' || c == 0x7f {
			return fmt.Errorf("has %q, which a header field must not have", c)
		}
	}
	return nil
}

// external reads the annotations about another server that is asked.
func (r *report) external(given map[string]string) *filter.External {
	address := given["auth-url"]
	if address == "" {
		if given["auth-signin"] != "" {
			r.about("auth-signin", false, "AnnotationWithoutEffect", "annotation %sauth-signin has no effect without auth-url", Prefix)
		}
		return nil
	}
	made := &filter.External{Method: given["auth-method"], AlwaysSetCookie: r.flag(given, "auth-always-set-cookie")}
	made.URL = r.template(given, "auth-url", urlTemplate)
	made.Redirect = r.template(given, "auth-request-redirect", fieldTemplate)
	made.CacheKey = r.template(given, "auth-cache-key", fieldTemplate)
	if made.Method != "" && !slices.Contains([]string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}, made.Method) {
		r.wrong("auth-method", made.Method, true, errors.New("is no method that can be used"))
	}
	for name := range strings.SplitSeq(given["auth-response-headers"], ",") {
		if name = strings.ToLower(strings.TrimSpace(name)); name == "" {
			continue
		}
		if !filter.FieldName(name) || name == "host" {
			r.wrong("auth-response-headers", name, true, errors.New("is no name of a header field that can be passed on"))
			continue
		}
		made.AnswerFields = append(made.AnswerFields, name)
	}
	if text := given["auth-proxy-set-headers"]; text != "" {
		namespace, name, err := objectName(text)
		if err != nil {
			r.wrong("auth-proxy-set-headers", text, true, err)
		}
		made.Fields = filter.Reference{Purpose: filter.RequestFields, Namespace: namespace, Name: name}
	}
	r.signIn(given, made)
	durations := given["auth-cache-duration"]
	if durations == "" {
		durations = "200 202 401 5m"
	}
	var err error
	if made.Cached, err = cacheDurations(durations); err != nil {
		r.wrong("auth-cache-duration", durations, true, err)
	}
	return made
}

// signIn reads where clients without authority are sent to. They bring with them, in a
// parameter, where they came from.
func (r *report) signIn(given map[string]string, made *filter.External) {
	text := given["auth-signin"]
	if text == "" {
		return
	}
	param := given["auth-signin-redirect-param"]
	if param == "" {
		param = "rd"
	}
	if !token(param) {
		r.wrong("auth-signin-redirect-param", param, true, errors.New("is no name of letters, digits, - and _"))
		return
	}
	u, err := url.Parse(text)
	if err != nil {
		r.wrong("auth-signin", text, true, errors.New("is no URL"))
		return
	}
	if query := u.Query(); query.Get(param) == "" {
		joint := "?"
		if len(query) > 0 {
			joint = "&"
		}
		text += joint + param + "=$pass_access_scheme://$http_host$escaped_request_uri"
	}
	made.SignIn = r.template(map[string]string{"auth-signin": text}, "auth-signin", urlTemplate)
}

// template reads an annotation as a Template; the Ingress closes if that fails.
func (r *report) template(given map[string]string, name string, check func(filter.Template) error) filter.Template {
	made, err := filter.ParseTemplate(given[name])
	if err == nil && given[name] != "" {
		err = check(made)
	}
	if err != nil {
		r.wrong(name, given[name], true, err)
	}
	return made
}

// urlTemplate demands a URL of http or https.
func urlTemplate(t filter.Template) error {
	text := t.String()
	if err := plainURL(strings.NewReplacer("$", "", "{", "", "}", "").Replace(text)); err != nil {
		return err
	}
	for _, scheme := range []string{"http://", "https://", "$scheme://", "$pass_access_scheme://"} {
		if rest, ok := strings.CutPrefix(text, scheme); ok && rest != "" && rest[0] != '/' {
			return nil
		}
	}
	return errors.New("is no URL of http or https")
}

func fieldTemplate(t filter.Template) error { return fieldText(t.String()) }

// flag reads true or false; without value it is false.
func (r *report) flag(given map[string]string, name string) bool {
	text, ok := given[name]
	if !ok {
		return false
	}
	b, err := strconv.ParseBool(strings.TrimSpace(text))
	if err != nil {
		r.wrong(name, text, true, errors.New("is not true or false"))
	}
	return b
}

// cacheDurations reads a list of "STATUS... TIME..." with commas between.
func cacheDurations(text string) ([]filter.CacheFor, error) {
	var all []filter.CacheFor
	for entry := range strings.SplitSeq(text, ",") {
		var made filter.CacheFor
		for word := range strings.FieldsSeq(entry) {
			if n, err := strconv.Atoi(word); err == nil && len(word) == 3 && made.For == 0 {
				made.Statuses = append(made.Statuses, n)
				continue
			}
			d, err := nginxTime(word)
			if err != nil {
				return nil, err
			}
			made.For = min(made.For+d, 24*time.Hour)
		}
		if made.For == 0 {
			return nil, fmt.Errorf("has %q, where no time is", strings.TrimSpace(entry))
		}
		if len(made.Statuses) == 0 {
			made.Statuses = []int{200, 301, 302} // proxy_cache_valid without statuses
		}
		all = append(all, made)
	}
	return all, nil
}

// nginxTime reads a number with a unit of nginx's.
func nginxTime(word string) (time.Duration, error) {
	digits := strings.TrimRight(word, "msuhdwMy")
	unit, ok := map[string]time.Duration{
		"ms": time.Millisecond, "s": time.Second, "": time.Second, "m": time.Minute, "h": time.Hour,
		"d": 24 * time.Hour, "w": 7 * 24 * time.Hour, "M": 30 * 24 * time.Hour, "y": 365 * 24 * time.Hour,
	}[word[len(digits):]]
	n, err := strconv.ParseUint(digits, 10, 31)
	if !ok || err != nil {
		return 0, fmt.Errorf("has %q, which is no time such as 30s, 5m or 1h", word)
	}
	if n > uint64(24*365*time.Hour/unit) {
		return 24 * 365 * time.Hour, nil
	}
	return time.Duration(n) * unit, nil
}
