package nginx

import (
	"errors"
	"strings"

	"github.com/fairlead-net/fairlead/internal/l7/filter"
)

// corsReaders are the annotations about scripts of other origins, and about fields of
// answers; all are read together.
func corsReaders() map[string]reader {
	all := map[string]reader{}
	for _, name := range []string{"enable-cors", "cors-allow-origin", "cors-allow-methods", "cors-allow-headers", "cors-expose-headers", "cors-allow-credentials", "cors-max-age"} {
		all[name] = reader{nothing, false}
	}
	all["custom-headers"] = reader{nothing, true}
	return all
}

// The defaults of ingress-nginx.
const (
	corsMethods = "GET, PUT, POST, DELETE, PATCH, OPTIONS"
	corsHeaders = "DNT,Keep-Alive,User-Agent,X-Requested-With,If-Modified-Since,Cache-Control,Content-Type,Range,Authorization"
	corsMaxAge  = 1728000
)

// cors reads them. If one is wrong, no script of another origin is allowed: where
// ingress-nginx then allows all, that would be more than was meant.
func (r *report) cors(given map[string]string) {
	if r.optional(given, "enable-cors") != filter.Yes {
		return
	}
	before := len(r.problems)
	c := &filter.CORS{Any: true, Methods: corsMethods, Headers: corsHeaders, Credentials: r.optional(given, "cors-allow-credentials") != filter.No, MaxAge: corsMaxAge}
	if text := given["cors-allow-origin"]; text != "" {
		var err error
		if c.Origins, c.Any, err = filter.ParseOrigins(text); err != nil {
			r.wrong("cors-allow-origin", text, false, err)
		}
	}
	for name, to := range map[string]*string{"cors-allow-methods": &c.Methods, "cors-allow-headers": &c.Headers, "cors-expose-headers": &c.Expose} {
		text := given[name]
		switch {
		case text == "":
		case strings.Trim(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_, *") != "" || len(text) > 1024:
			r.wrong(name, text, false, errors.New("is no list of words of letters, digits, - and _"))
		default:
			*to = text
		}
	}
	if n, ok := r.whole(given, "cors-max-age", 0, 1<<31-1); ok {
		c.MaxAge = n
	}
	if len(r.problems) > before {
		r.about("enable-cors", false, "CORSDisabled", "annotation %senable-cors: as another annotation of CORS is wrong, scripts of other origins are not allowed", Prefix)
		return
	}
	r.options.Filters.CORS = c
}

// headers reads the annotation about fields of answers.
func (r *report) headers(given map[string]string) {
	text := given["custom-headers"]
	if text == "" {
		return
	}
	namespace, name, err := objectName(text)
	if err != nil {
		r.wrong("custom-headers", text, true, err)
	}
	r.options.Filters.Headers = &filter.Headers{Answer: filter.Reference{Purpose: filter.AnswerFields, Namespace: namespace, Name: name}}
}
