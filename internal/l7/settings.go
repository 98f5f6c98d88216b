package l7

import (
	"reflect"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/l7/nginx"
	"github.com/fairlead-net/fairlead/internal/l7/waf"
)

// settings are what the ConfigMap of ingress-nginx says.
type settings struct {
	// from is the object; nil if there is none.
	from *desired.ConfigMap
	// settings and engine keep their pointers as long as they say the same.
	settings *nginx.Settings
	engine   *nginx.Engine
	reasons  []desired.Reason
}

// readSettings returns what the ConfigMap says now, which is what it said last if it is
// the same object.
func readSettings(s *desired.State, last Table, c Config) *settings {
	known := last.index.settings
	if known == nil || last.config.NginxConfigMap != c.NginxConfigMap || last.config.NoAccessLog != c.NoAccessLog {
		known = new(settings)
	}
	if c.NginxConfigMap == (desired.Name{}) {
		return known
	}
	from, _ := s.ConfigMaps.Get(c.NginxConfigMap)
	if from == known.from {
		return known
	}
	made := &settings{from: from}
	if from == nil {
		return made
	}
	all, problems := nginx.ReadSettings(from.Data)
	engine := all.Engine
	all.Engine = nginx.Engine{}
	made.settings, made.engine = all, &engine
	if reflect.DeepEqual(known.settings, all) {
		made.settings = known.settings
	}
	if reflect.DeepEqual(known.engine, &engine) {
		made.engine = known.engine
	}
	for _, p := range problems {
		made.reasons = append(made.reasons, desired.Reason{Object: from.Ref(), Code: p.Code, Message: p.Message})
	}
	made.reasons = append(made.reasons, c.rulesOf(from, all)...)
	if c.NoAccessLog && (engine.Format != nil || engine.Skips != nil) {
		made.reasons = append(made.reasons, desired.Reason{
			Object: from.Ref(), Code: "SettingWithoutEffect",
			Message: "ConfigMap keys log-format-upstream and skip-access-log-urls have no effect as long as requests are not written down; set gateway.accessLog.output, such as to stdout",
		})
	}
	return made
}

// rulesOf says what becomes of the ConfigMap's rules of ModSecurity.
func (c *Config) rulesOf(from *desired.ConfigMap, s *nginx.Settings) []desired.Reason {
	switch _, err := waf.Read(s.ModSecurity.Snippet); {
	case s.ModSecurity.Enable && !c.ModSecurity:
		return []desired.Reason{{
			Object: from.Ref(), Code: "SettingWithoutEffect",
			Message: "ConfigMap key enable-modsecurity has no effect, so requests are not checked by rules; set gateway.modSecurity: true",
		}}
	case err != nil && c.ModSecurity:
		return []desired.Reason{{
			Object: from.Ref(), Code: "RulesInvalid",
			Message: "ConfigMap key modsecurity-snippet: " + err.Error() + "; Ingresses that ask for rules get 503 until it is corrected, as their requests would not be checked",
		}}
	}
	return nil
}
