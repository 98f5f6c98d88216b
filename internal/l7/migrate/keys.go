package migrate

import (
	"strconv"
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

// rules corrects what becomes of a key that asks for rules of ModSecurity, which are to
// be turned on here too.
func (in Input) rules(f Finding) Finding {
	if asks, _ := strconv.ParseBool(strings.TrimSpace(f.Value)); f.What == "enable-modsecurity" && asks {
		f.Verdict, f.Text = Differs, nginx.About(f.What).Note
		if !in.Config.ModSecurity {
			f.Verdict, f.Text = Refused, "left out until gateway.modSecurity turns it on; Ingresses that ask for it themselves get 503"
		}
	}
	return f
}

// guards tells keys without which more is let in, or something else is served.
func guards(key string) bool {
	return strings.HasSuffix(key, "-snippet") || strings.HasPrefix(key, "block-") || strings.HasPrefix(key, "global-auth-") || strings.HasSuffix(key, "-source-range") ||
		key == "enable-modsecurity" || key == "enable-owasp-modsecurity-crs" || key == "use-proxy-protocol"
}
