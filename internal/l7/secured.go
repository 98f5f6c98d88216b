package l7

import (
	"strings"

	"github.com/fairlead-net/fairlead/internal/desired"
)

// Secured is one host that spec.tls of an Ingress has.
type Secured struct {
	Ingress *desired.Ingress
	Host    string
	// Secret has its certificate; the zero value: none is named.
	Secret CertificateID
	// Rival is whose the host is instead: of another Ingress that has another Secret
	// for it or, in another namespace, its requests. The zero value: nobody's.
	Rival desired.Name
	// Idle: no Ingress has rules that a request for the host could take.
	Idle bool
}

// Secured lists the hosts in spec.tls of all Ingresses that are served, but for
// canaries, in no certain order. It costs time in proportion to all of them;
// SameIngresses tells when it is the same list.
func (t *Table) Secured() []Secured {
	var all []Secured
	var below map[string][]*ingress // made when it is needed
	for name, i := range t.index.ingresses.All() {
		for host := range i.secured {
			secret, named := i.secrets[host]
			s := Secured{Ingress: i.source, Host: host, Secret: secret}
			if !named {
				all = append(all, s)
				continue
			}
			if by, _ := t.index.secrets.Get(host); by != nil && by.by[0].secrets[host] != secret {
				s.Rival = by.by[0].source.Name
			} else {
				if strings.HasPrefix(host, "*.") && below == nil {
					below = t.belowWildcards()
				}
				s.Rival, s.Idle = t.holds(host, i, below)
			}
			if s.Rival == name { // it names two Secrets for the host, and another counts
				s.Rival = desired.Name{}
			}
			all = append(all, s)
		}
	}
	return all
}

// SameIngresses tells whether two Tables have the same Ingresses and classes, and so
// the same hosts with the same certificates; a change of endpoints changes neither.
func (t *Table) SameIngresses(other *Table) bool {
	return t.index.ingresses == other.index.ingresses && t.config == other.config
}

// holds tells which Ingress of another namespace has the requests for a host, and
// whether nobody has them. A certificate speaks for a host, so it is only for the
// namespace whose the host is: that of the oldest Ingress with rules that are tried for
// it.
func (t *Table) holds(host string, i *ingress, below map[string][]*ingress) (rival desired.Name, idle bool) {
	namespace := i.source.Name.Namespace
	_, rest, _ := strings.Cut(host, ".")
	owner := t.oldest(host)
	if owner == nil && !strings.HasPrefix(host, "*.") {
		owner = t.oldest("*." + rest)
	}
	if strings.HasPrefix(host, "*.") {
		// The certificate also speaks for names that are somebody else's already.
		for _, other := range below[rest] {
			switch {
			case other.source.Name.Namespace != namespace && other.source.Compare(i.source) < 0:
				return other.source.Name, false
			case other.source.Name.Namespace == namespace && owner == nil:
				owner = other
			}
		}
	}
	if owner == nil {
		owner = t.oldest("")
	}
	switch {
	case owner == nil:
		return desired.Name{}, true
	case owner.source.Name.Namespace != namespace:
		return owner.source.Name, false
	}
	return desired.Name{}, false
}

// oldest returns the oldest Ingress with rules for a host, which is no canary; nil if
// there is none.
func (t *Table) oldest(host string) *ingress {
	by, _ := t.index.hosts.Get(host)
	if by == nil {
		return nil
	}
	for _, i := range by.by {
		if i.options.Canary == nil {
			return i
		}
	}
	return nil
}

// belowWildcards lists, by the part after the first label, whose each host is.
func (t *Table) belowWildcards() map[string][]*ingress {
	below := map[string][]*ingress{}
	for host := range t.index.hosts.All() {
		label, rest, ok := strings.Cut(host, ".")
		if owner := t.oldest(host); ok && label != "*" && owner != nil {
			below[rest] = append(below[rest], owner)
		}
	}
	return below
}
