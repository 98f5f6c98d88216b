package l7

import "github.com/fairlead-net/fairlead/internal/desired"

// place is what only one Ingress can have of a host. Rules with conditions share it.
type place struct {
	kind kind
	path string
}

// host makes the rules of a host of those that the Ingresses have, the oldest first.
func (b *builder) host(name string, by []*ingress) {
	from := origin{fromHost, name}
	if len(by) == 0 {
		b.setHost(name, nil)
		b.say(from, nil)
		return
	}
	var rules []rule
	var reasons []desired.Reason
	taken := map[place]*holder{}
	for _, i := range by {
		for _, r := range i.rules[name] {
			at := place{r.kind, r.path}
			if has := taken[at]; has != nil {
				reasons = append(reasons, has.refuse(name, i, r))
				continue
			}
			taken[at] = &holder{i, r}
			rules = append(rules, r)
		}
	}
	b.setHost(name, newHost(name, rules))
	b.say(from, reasons)
}

// holder has a place.
type holder struct {
	ingress *ingress
	rule    rule
}

// refuse says that a rule has no place any more.
func (h *holder) refuse(host string, i *ingress, r rule) desired.Reason {
	if h.ingress == i {
		return i.reason("PathDuplicate", "spec.%s: path %s of host %s is already that of spec.%s, which counts; remove one of them", r.route.Rule, r.written, hostText(host), h.rule.route.Rule)
	}
	return i.reason("PathTaken", "spec.%s: path %s of host %s belongs to Ingress %s, which is older, so requests go there; remove one of them", r.route.Rule, r.written, hostText(host), h.ingress.source.Name)
}

// hostText returns a host for people to read.
func hostText(host string) string {
	if host == "" {
		return "(any other)"
	}
	return host
}
