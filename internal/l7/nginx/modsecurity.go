package nginx

import (
	"errors"
	"strconv"
	"strings"

	"github.com/fairlead-net/fairlead/internal/l7/filter"
)

// ModSecurity is what the ConfigMap says of rules of ModSecurity.
type ModSecurity struct {
	Enable, Core bool
	Snippet      string
}

// modSecurityReaders are the annotations about rules of ModSecurity, which are read
// together.
func modSecurityReaders() map[string]reader {
	return map[string]reader{"enable-modsecurity": {nothing, true}, "enable-owasp-core-rules": {nothing, true}, "modsecurity-snippet": {nothing, true}, "modsecurity-transaction-id": {nothing, false}}
}

// modSecurity reads them. As ingress-nginx has it: nothing else counts without
// enable-modsecurity, there or in the ConfigMap, and false takes the ConfigMap's away; a
// snippet replaces modsecurity.conf, or comes after what the ConfigMap has.
func (r *report) modSecurity(given map[string]string, shared *ModSecurity) {
	enable, said := r.boolean(given, "enable-modsecurity")
	core, _ := r.boolean(given, "enable-owasp-core-rules")
	if !enable && (said || !shared.Enable) {
		return
	}
	m := &filter.ModSecurity{Own: given["modsecurity-snippet"], Core: core}
	if shared.Enable {
		m.Shared, m.Core, m.Recommended = shared.Snippet, core || shared.Core, shared.Snippet == ""
	} else {
		m.Recommended = m.Own == ""
	}
	if text := given["modsecurity-transaction-id"]; text != "" {
		var err error
		if m.ID, err = filter.ParseTemplate(text); err != nil {
			r.wrong("modsecurity-transaction-id", text, false, err)
		}
	}
	r.options.Filters.ModSecurity = m
}

// boolean reads true or false; a wrong value closes the Ingress.
func (r *report) boolean(given map[string]string, name string) (is, said bool) {
	text, said := given[name]
	if !said {
		return false, false
	}
	is, err := strconv.ParseBool(strings.TrimSpace(text))
	if err != nil {
		r.wrong(name, text, true, errors.New("is neither true nor false"))
	}
	return is, true
}

// modSecuritySettings are the keys of the ConfigMap.
func modSecuritySettings() map[string]func(string, *Settings) error {
	return map[string]func(string, *Settings) error{
		"enable-modsecurity":           truth(func(s *Settings) *bool { return &s.ModSecurity.Enable }),
		"enable-owasp-modsecurity-crs": truth(func(s *Settings) *bool { return &s.ModSecurity.Core }),
		"modsecurity-snippet": func(v string, s *Settings) error {
			s.ModSecurity.Snippet = v
			return nil
		},
	}
}

func truth(of func(*Settings) *bool) func(string, *Settings) error {
	return func(value string, s *Settings) error {
		is, err := strconv.ParseBool(strings.TrimSpace(value))
		if err != nil {
			return errors.New("is neither true nor false")
		}
		*of(s) = is
		return nil
	}
}
