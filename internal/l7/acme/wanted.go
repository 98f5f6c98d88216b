package acme

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/l7"
)

// Want is one certificate that is wanted.
type Want struct {
	// Secret is where it goes.
	Secret l7.CertificateID
	// Hosts are its names, sorted.
	Hosts []string
	// Ingresses ask for it, the oldest first.
	Ingresses []desired.Ref
}

// Annotations that make a certificate the business of cert-manager.
const (
	issuerAnnotation        = "cert-manager.io/issuer"
	clusterIssuerAnnotation = "cert-manager.io/cluster-issuer"
	tlsACMEAnnotation       = "kubernetes.io/tls-acme" // its default issuer
)

// Wanted returns the certificates that a Table's Ingresses ask for, sorted by Secret,
// and why some of what they ask for is not ordered. foreign tells whether there is a
// Secret that somebody else made; such a one is never replaced.
func Wanted(t *l7.Table, c Config, foreign func(l7.CertificateID) bool) ([]Want, []desired.Reason) {
	w := wanting{config: c, table: t, foreign: foreign, wants: map[l7.CertificateID]*wanted{}}
	for _, s := range t.Secured() {
		w.add(s)
	}
	return w.finish()
}

// wanting collects.
type wanting struct {
	config  Config
	table   *l7.Table
	foreign func(l7.CertificateID) bool
	wants   map[l7.CertificateID]*wanted
	reasons []desired.Reason
}

// wanted is what is known of one Secret.
type wanted struct {
	hosts map[string]bool
	by    map[*desired.Ingress]choice
}

// choice is whether an Ingress asks for certificates.
type choice uint8

const (
	declined    choice = iota
	byDefault          // the configuration does, for it
	asked              // its annotation does
	certManager        // it asks cert-manager
)

// choose reads the annotations of an Ingress.
func choose(i *desired.Ingress, c Config) choice {
	_, issuer := i.Annotations[issuerAnnotation]
	_, cluster := i.Annotations[clusterIssuerAnnotation]
	ours, has := i.Annotations[Annotation]
	switch {
	case issuer || cluster || i.Annotations[tlsACMEAnnotation] == "true" && ours != "true":
		return certManager
	case ours == "true":
		return asked
	case !has && c.Default:
		return byDefault
	}
	return declined
}

func (w *wanting) say(i *desired.Ingress, code, format string, args ...any) {
	w.reasons = append(w.reasons, desired.Reason{Object: i.Ref(), Code: code, Message: fmt.Sprintf(format, args...)})
}

// add takes in one host of one Ingress.
func (w *wanting) add(s l7.Secured) {
	is := choose(s.Ingress, w.config)
	if s.Secret == (l7.CertificateID{}) {
		if is == asked {
			w.say(s.Ingress, "CertificateNotOrdered", "spec.tls has host %s without secretName, so a certificate for it could be put nowhere; add secretName, the name of a Secret that need not exist", s.Host)
		}
		return
	}
	entry := w.wants[s.Secret]
	if entry == nil {
		entry = &wanted{hosts: map[string]bool{}, by: map[*desired.Ingress]choice{}}
		w.wants[s.Secret] = entry
	}
	entry.by[s.Ingress] = is
	if is != asked && is != byDefault {
		return
	}
	wildcard := strings.HasPrefix(s.Host, "*.")
	switch {
	case s.Rival != desired.Name{}:
		w.say(s.Ingress, "CertificateNotOrdered", "host %s belongs to Ingress %s, so Secret %s gets no certificate for it; remove the host from spec.tls, or the other Ingress", s.Host, s.Rival, s.Secret)
	case s.Idle:
		w.say(s.Ingress, "CertificateNotOrdered", "no Ingress has rules for host %s, so Secret %s gets no certificate for it; add a rule, or remove the host from spec.tls", s.Host, s.Secret)
	case wildcard && w.config.Webhook.URL == "":
		w.say(s.Ingress, "CertificateNotOrdered", "certificates for %s are only given by dns-01, and there is no acme.dnsWebhook; list the hosts one by one, or have the administrator set it", s.Host)
	default:
		entry.hosts[s.Host] = true
	}
}

// finish decides for each Secret as a whole.
func (w *wanting) finish() ([]Want, []desired.Reason) {
	var wants []Want
	for id, entry := range w.wants {
		if want, ok := w.decide(id, entry); ok {
			wants = append(wants, want)
		}
	}
	slices.SortFunc(wants, func(a, b Want) int { return compareIDs(a.Secret, b.Secret) })
	slices.SortFunc(w.reasons, func(a, b desired.Reason) int {
		return cmp.Or(strings.Compare(a.Object.String(), b.Object.String()), strings.Compare(a.Code, b.Code), strings.Compare(a.Message, b.Message))
	})
	return wants, slices.Compact(w.reasons)
}

func compareIDs(a, b l7.CertificateID) int { return desired.Name(a).Compare(desired.Name(b)) }

func (w *wanting) decide(id l7.CertificateID, entry *wanted) (Want, bool) {
	var by []*desired.Ingress
	var manager *desired.Ingress
	explicit := false
	for i, is := range entry.by {
		switch is {
		case certManager:
			if manager == nil || i.Compare(manager) < 0 {
				manager = i
			}
			if i.Annotations[Annotation] == "true" {
				w.say(i, "CertificateOfCertManager", "there are annotations of cert-manager beside %s, so Secret %s is left to cert-manager; remove one of them", Annotation, id)
			}
		case asked:
			explicit = true
			by = append(by, i)
		case byDefault:
			by = append(by, i)
		}
	}
	slices.SortFunc(by, (*desired.Ingress).Compare)
	var problem, code string
	switch {
	case len(by) == 0 || len(entry.hosts) == 0:
		return Want{}, false
	case manager != nil:
		code, problem = "CertificateOfCertManager", fmt.Sprintf("Secret %s is cert-manager's by Ingress %s, so no certificate is ordered for it here; give one of them another Secret", id, manager.Name)
	case w.foreign(id):
		if !explicit {
			return Want{}, false
		}
		code, problem = "SecretNotOurs", fmt.Sprintf("Secret %s exists and was not made by Fairlead, so it is served as it is and never replaced; delete it, or remove annotation %s", id, Annotation)
	case len(entry.hosts) > maxHosts:
		code, problem = "CertificateNotOrdered", fmt.Sprintf("Secret %s would have %d hosts, more than the %d that a certificate can have; use several Secrets", id, len(entry.hosts), maxHosts)
	}
	want := Want{Secret: id}
	for _, i := range by {
		want.Ingresses = append(want.Ingresses, i.Ref())
		if problem != "" {
			w.say(i, code, "%s", problem)
		}
	}
	for host := range entry.hosts {
		want.Hosts = append(want.Hosts, host)
	}
	slices.Sort(want.Hosts)
	return want, problem == ""
}
