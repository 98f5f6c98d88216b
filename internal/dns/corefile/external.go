package corefile

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// External is the directive k8s_external: names of the addresses at which
// Services are reached from outside of the cluster.
type External struct {
	Zones       []string
	Apex        string
	TTL         int // seconds
	Headless    bool
	Fallthrough Fallthrough
}

// Effect implements Setting.
func (e External) Effect() string {
	said := fmt.Sprintf("external addresses of Services below %s, TTL %d s", strings.Join(e.domains(), " "), e.TTL)
	if e.Headless {
		said += ", and endpoints of those without"
	}
	if e.Fallthrough.On {
		said += "; other names are asked upstream"
	}
	return said
}

// domains returns the zones without final dot and without those of addresses,
// which have no such names.
func (e External) domains() []string {
	var all []string
	for _, zone := range e.Zones {
		if zone != "." && !isReverse(zone) {
			all = append(all, strings.TrimSuffix(zone, "."))
		}
	}
	return all
}

// settings returns the section of fairlead.yaml.
func (e External) settings() *ExternalSettings {
	return &ExternalSettings{
		Zones: e.domains(), Apex: e.Apex, TTL: json.Number(strconv.Itoa(e.TTL)),
		Headless: e.Headless, Fallthrough: e.Fallthrough.On,
	}
}

// readExternal follows CoreDNS's plugin/k8s_external, README and setup.
func readExternal(l *line) Setting {
	e := External{Zones: l.zones(0), Apex: "dns", TTL: 5}
	if len(l.args()) == 0 {
		for _, key := range l.server.Keys {
			e.Zones = append(e.Zones, key.Zone)
		}
	}
	l.options(options{
		"apex": func(o *line) {
			if o.takes(1, 1, "NAME") {
				e.Apex = o.text(0)
			}
		},
		"ttl": func(o *line) {
			if o.takes(1, 1, "SECONDS") {
				e.TTL = o.number(0, 0, 3600)
			}
		},
		"headless": func(o *line) { e.Headless = o.takes(0, 0, "") },
		"fallthrough": func(o *line) {
			if o.fallthroughs(&e.Fallthrough); len(e.Fallthrough.Zones) > 0 {
				o.lacks("k8s_external fallthrough zones")
			}
		},
	})
	if len(e.domains()) == 0 {
		l.mistake("k8s_external names no zone but the root or reverse ones; add one, as in \"k8s_external example.org\"")
	}
	return e
}
