package l7

// addCanary lets a rule of a canary share the place of the main rule with the same
// path and type. Who decides is, in this order, the header, the cookie, the weight.
func (m *hostMaker) addCanary(i *ingress, r rule) {
	if len(m.by) > 0 {
		var ok bool
		if r, ok = m.asRegex(i, r); !ok {
			return
		}
	}
	main := m.taken[placeOf(r)]
	switch {
	case main == nil:
		m.reasons = append(m.reasons, i.reason("CanaryWithoutMain", "spec.%s: no Ingress without annotation canary has path %s of host %s with this type, so nothing is sent here", r.route.Rule, r.written, hostText(m.name)))
		return
	case main.ingress.source.Name.Namespace != i.source.Name.Namespace:
		m.reasons = append(m.reasons, i.reason("CanaryTaken", "spec.%s: path %s of host %s is that of Ingress %s of another namespace, whose requests are not for this one", r.route.Rule, r.written, hostText(m.name), main.ingress.source.Name))
		return
	case main.canary:
		m.reasons = append(m.reasons, i.reason("CanaryTaken", "spec.%s: path %s of host %s has a canary already, which goes before this one", r.route.Rule, r.written, hostText(m.name)))
		return
	}
	main.canary = true
	all := *main.rule.route // all but the backends is as the main one has it
	all.Source, all.Rule, all.Backends, all.Status = r.route.Source, r.route.Rule, r.route.Backends, r.route.Status
	some := *main.rule.route
	some.Backends = shared(main.rule.route, r.route, i.options.Canary.Weight, i.options.Canary.Total)
	if len(main.rule.route.Backends) == 0 {
		return // a path that is closed stays so
	}
	for at := range m.rules {
		if m.rules[at].route == main.rule.route && m.rules[at].kind == r.kind && m.rules[at].path == main.rule.path {
			m.rules[at].route = &some
		}
	}
	add := func(when *Conditions, to *Route) {
		variant := main.rule
		variant.when, variant.route = when, to
		m.rules = append(m.rules, variant)
	}
	c := i.options.Canary
	header := func(match FieldMatch) *Conditions { return &Conditions{Headers: []FieldMatch{match}} }
	cookie := func(value string) *Conditions {
		return &Conditions{Cookies: []FieldMatch{{Name: c.Cookie, Value: value}}}
	}
	switch {
	case c.Header == "":
	case c.HeaderValue != "":
		add(header(FieldMatch{Name: c.Header, Value: c.HeaderValue}), &all)
	case c.HeaderPattern != nil:
		add(header(FieldMatch{Name: c.Header, Regexp: c.HeaderPattern}), &all)
	default:
		add(header(FieldMatch{Name: c.Header, Value: "always"}), &all)
		add(header(FieldMatch{Name: c.Header, Value: "never"}), main.rule.route)
	}
	if c.Cookie != "" {
		add(cookie("always"), &all)
		add(cookie("never"), main.rule.route)
	}
}

// shared returns the backends of two Routes, of which the second gets weight of total.
func shared(main, canary *Route, weight, total uint32) []Weighted {
	var all []Weighted
	for _, w := range main.Backends {
		all = append(all, Weighted{w.Backend, total - weight})
	}
	for _, w := range canary.Backends {
		all = append(all, Weighted{w.Backend, weight})
	}
	return all
}
