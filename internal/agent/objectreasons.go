package agent

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/kube"
	"github.com/fairlead-net/fairlead/internal/l7"
)

// objectReasons says at Ingresses what is wrong with the Secrets and ConfigMaps that they
// name. Gateways do so, for only they may read those. What a Secret holds is never said:
// who may read Events need not be one who may read Secrets.
func (p *gatewayPlane) objectReasons() []desired.Reason {
	p.mu.Lock()
	wants, began := p.wants, p.began
	p.mu.Unlock()
	data, complete := p.data.Get()
	if !began || !complete {
		return nil
	}
	var all []desired.Reason
	say := func(by desired.Name, code, format string, args ...any) {
		all = append(all, desired.Reason{
			Object: desired.Ref{Kind: "Ingress", Namespace: by.Namespace, Name: by.Name}, Code: code, Message: fmt.Sprintf(format, args...),
		})
	}
	for _, s := range wants.Secured() {
		name := kube.DataName{Name: desired.Name(s.Secret)}
		if s.Secret == (l7.CertificateID{}) || s.Rival != (desired.Name{}) {
			continue
		}
		if _, exists := data.Get(name); !exists {
			say(s.Ingress.Name, "SecretNotFound", "%s does not exist, so its hosts in spec.tls get a certificate that no client trusts; create it (kubectl create secret tls), or correct secretName", name)
		} else if problem := p.credentials.problem(name.Name); problem != "" {
			say(s.Ingress.Name, "SecretInvalid", "%s", problem)
		}
	}
	for r, users := range wants.References.All() {
		name := dataName(r)
		code, problem := "", ""
		if _, exists := data.Get(name); !exists {
			code, problem = "NotFound", fmt.Sprintf("%s does not exist, so what needs it lets nothing through; create it, or correct the annotation that names it", name)
		} else if n := p.contents.wrong(r); n > 0 {
			code, problem = "Invalid", fmt.Sprintf("%s: %d of its entries cannot be used and are left out; fairlead status says which and why", name, n)
		}
		kind := "Secret"
		if name.ConfigMap {
			kind = "ConfigMap"
		}
		if code != "" {
			for by := range users.All() {
				if r.Namespace != by.Namespace {
					continue // the administrator's, which is no matter of this Ingress's owner
				}
				say(by, kind+code, "%s", problem)
			}
		}
	}
	slices.SortFunc(all, func(a, b desired.Reason) int {
		return cmp.Or(cmp.Compare(a.Object.String(), b.Object.String()), cmp.Compare(a.Code, b.Code), cmp.Compare(a.Message, b.Message))
	})
	return slices.Compact(all)
}

const (
	// objectPeriod is how often it is looked what is wrong, and objectWarnings how many
	// Events are written then at most.
	objectPeriod, objectWarnings = 15 * time.Second, 20
	// objectGrace is how long something has to be wrong: what is created together does not
	// come together, and certificates are ordered.
	objectGrace = time.Minute
	// objectAgain is how often what stays wrong is said, since Events expire.
	objectAgain = 30 * time.Minute
	// objectFailed is after what time one that could not be written is tried again, so that
	// it leaves room for others.
	objectFailed = 5 * time.Minute
)

// objectWarner says what is wrong, after a while and once in a while.
type objectWarner struct {
	reasons func() []desired.Reason
	warn    func(context.Context, desired.Reason) error
	failed  func(error)
	known   map[desired.Reason]saidAt
}

// saidAt is since when something is wrong, and when that was last said; the zero time:
// never. failed is when it could not be.
type saidAt struct{ since, said, failed time.Time }

// look says what is to be said at a time.
func (w *objectWarner) look(ctx context.Context, now time.Time) {
	before, left := w.known, objectWarnings
	w.known = map[desired.Reason]saidAt{}
	for _, r := range w.reasons() {
		at, known := before[r]
		if !known {
			at.since = now
		}
		due := now.Sub(at.since) >= objectGrace && (at.said.IsZero() || now.Sub(at.said) >= objectAgain) &&
			(at.failed.IsZero() || now.Sub(at.failed) >= objectFailed)
		if due && left > 0 {
			left--
			if err := w.warn(ctx, r); err != nil {
				at.failed = now
				w.failed(err)
			} else {
				at.said = now
			}
		}
		w.known[r] = at
	}
}

// run looks every objectPeriod until ctx ends.
func (w *objectWarner) run(ctx context.Context) error {
	for sleep(ctx, objectPeriod) {
		w.look(ctx, time.Now())
	}
	return nil
}

// warnOfObjects has a gateway write Events, by a client of a cluster.
func (a *Agent) warnOfObjects(plane *gatewayPlane) {
	if a.ingressEvents == nil {
		return
	}
	w := &objectWarner{reasons: plane.objectReasons, warn: a.ingressEvents.Warn, failed: func(err error) {
		a.log.Warn("an Event at an Ingress cannot be written; what it would say is in fairlead status", "error", err)
	}}
	a.services = append(a.services, w.run)
}
