package migrate

import (
	"strings"

	"github.com/fairlead-net/fairlead/internal/l7/nginx"
)

// keyOf says what becomes of a key of ingress-nginx's ConfigMap, by what is read of it.
func keyOf(key, value string, problems []nginx.Problem) Finding {
	f := Finding{What: key, Value: value, Verdict: Same}
	for _, p := range problems {
		text, ok := strings.CutPrefix(p.Message, "ConfigMap key "+key)
		if !ok || text == "" || text[0] != ':' && text[0] != ' ' {
			continue
		}
		f.Text = strings.TrimLeft(text, ": ")
		switch {
		case p.Code == "SettingWithoutEffect":
		case guards(key) && value != "" && value != "false":
			f.Verdict = Refused
		default:
			f.Verdict = Differs
		}
	}
	return f
}

// guards tells keys without which more is let in, or something else is served.
func guards(key string) bool {
	return strings.HasSuffix(key, "-snippet") || strings.HasPrefix(key, "block-") || strings.HasPrefix(key, "global-auth-") || strings.HasSuffix(key, "-source-range") ||
		key == "enable-modsecurity" || key == "enable-owasp-modsecurity-crs" || key == "use-proxy-protocol"
}
