package nginx

import (
	"errors"
	"strings"

	"github.com/fairlead-net/fairlead/internal/l7/filter"
)

// ProxyTLS is what is demanded of backends that are spoken with within TLS.
type ProxyTLS struct {
	Secret           filter.Reference
	Verify, SendName bool
	Depth            uint8
	Name             string
	TLS12, TLS13     bool
}

// tlsReaders are the annotations about that; all are read together, and all guard: they
// say whom requests may go to.
func tlsReaders() map[string]reader {
	all := map[string]reader{}
	for _, name := range []string{"proxy-ssl-secret", "proxy-ssl-verify", "proxy-ssl-verify-depth", "proxy-ssl-name", "proxy-ssl-server-name", "proxy-ssl-protocols"} {
		all[name] = reader{nothing, true}
	}
	return all
}

// proxyTLS reads them.
func (r *report) proxyTLS(given map[string]string) {
	t := &r.options.TLS
	if text := given["proxy-ssl-secret"]; text != "" {
		namespace, name, err := objectName(text)
		if err != nil {
			r.wrong("proxy-ssl-secret", text, true, err)
		}
		t.Secret = filter.Reference{Purpose: filter.BackendTLS, Namespace: namespace, Name: name}
	}
	t.Verify = r.onOff(given, "proxy-ssl-verify")
	t.SendName = r.onOff(given, "proxy-ssl-server-name")
	if n := r.amount(given, "proxy-ssl-verify-depth"); n > 32 {
		r.wrong("proxy-ssl-verify-depth", given["proxy-ssl-verify-depth"], true, errors.New("is more than 32"))
	} else {
		t.Depth = uint8(n)
	}
	if name := given["proxy-ssl-name"]; name != "" {
		if strings.Trim(strings.ToLower(name), "abcdefghijklmnopqrstuvwxyz0123456789-.") != "" || len(name) > 253 {
			r.wrong("proxy-ssl-name", name, true, errors.New("is no host name"))
		}
		t.Name = name
	}
	for version := range strings.FieldsSeq(given["proxy-ssl-protocols"]) {
		switch version {
		case "TLSv1.2":
			t.TLS12 = true
		case "TLSv1.3":
			t.TLS13 = true
		case "TLSv1", "TLSv1.1", "SSLv2", "SSLv3": // nobody should, and nothing here does
		default:
			r.wrong("proxy-ssl-protocols", version, true, errors.New("is no version of TLS"))
		}
	}
	if given["proxy-ssl-protocols"] != "" && !t.TLS12 && !t.TLS13 {
		r.wrong("proxy-ssl-protocols", given["proxy-ssl-protocols"], true, errors.New("names neither TLSv1.2 nor TLSv1.3, which are what is spoken"))
	}
}

// onOff reads on or off, also true and false; without value it is off.
func (r *report) onOff(given map[string]string, name string) bool {
	switch text := strings.ToLower(strings.TrimSpace(given[name])); text {
	case "on", "true":
		return true
	case "", "off", "false":
	default:
		r.wrong(name, text, true, errors.New("is neither on nor off"))
	}
	return false
}
