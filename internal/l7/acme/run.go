package acme

import (
	"context"
	"crypto/x509"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/l7"
)

// run is one time of leading. All but results is its goroutine's alone.
type run struct {
	*Manager
	// held is what was read, by the Version that it was read of.
	held map[l7.CertificateID]heldAs
	// ledgers are those that were read, by namespace.
	ledgers   map[string]Ledger
	authority *Failure
	busy      map[l7.CertificateID]bool
	// unseen were put into their Secrets then, and the Store has not shown them yet.
	unseen map[l7.CertificateID]put
	// made is when this run last ordered a certificate.
	made    map[l7.CertificateID]time.Time
	advice  map[l7.CertificateID]advised
	asking  bool
	results chan result
	advices chan map[l7.CertificateID]advised
	workers sync.WaitGroup
	last    Report
}

type heldAs struct {
	version string
	read    time.Time
	held    Held
}

// put is a certificate in the place of another one, or of none.
type put struct {
	at       time.Time
	replaces *x509.Certificate
}

// result is how an order went.
type result struct {
	want   Want
	held   Held // before
	before Ledger
	begun  time.Time
	after  time.Duration
	err    error
}

const (
	// longUnseen is how long a Store may take to show what was put into it.
	longUnseen = 30 * time.Second
	// lookAgain is how long nothing may be looked at, and how long a Store that fails is
	// left alone.
	lookAgain = 10 * time.Minute
	storeWait = 30 * time.Second
)

// look orders what is due, and returns after how long to look again.
func (r *run) look(ctx context.Context) time.Duration {
	t := r.table.Load()
	if t == nil || !t.Synced || ctx.Err() != nil {
		return lookAgain
	}
	c, now := r.options.Config, time.Now()
	var broken error
	r.forget(now)
	wants, reasons := Wanted(t, c, func(id l7.CertificateID) bool {
		held, err := r.read(ctx, id)
		if err != nil {
			broken = err
		}
		return held.Exists && !held.Ours
	})
	if !c.AgreeToTerms {
		r.publish(Report{Reasons: append(reasons, off(wants)...)})
		return lookAgain
	}
	if broken == nil {
		broken = r.load(ctx, wants)
	}
	if broken != nil {
		// Without them it is not known what is due, or what has failed.
		r.options.Log.Error("certificates are not looked at", "error", broken)
		r.publish(Report{Reasons: reasons, Certificates: r.last.Certificates})
		return storeWait
	}
	known := r.known(wants, now)
	agenda := Plan(now, c, wants, known)
	if err := r.begin(ctx, agenda.Due, known, now); err != nil {
		r.options.Log.Error("no certificate is ordered", "error", err)
		return storeWait
	}
	r.seekAdvice(ctx, wants, known, now)
	r.publish(Report{Reasons: append(reasons, agenda.Reasons...), Certificates: agenda.Certificates})
	wait := lookAgain
	if !agenda.Next.IsZero() {
		wait = min(wait, max(agenda.Next.Sub(now), time.Second))
	}
	if len(r.unseen) > 0 {
		wait = min(wait, longUnseen)
	}
	return wait
}

// off says at Ingresses that ask for certificates that there are none.
func off(wants []Want) []desired.Reason {
	var reasons []desired.Reason
	for _, want := range wants {
		for _, ingress := range want.Ingresses {
			reasons = append(reasons, desired.Reason{
				Object: ingress, Code: "CertificateNotOrdered",
				Message: fmt.Sprintf("Secret %s gets no certificate, as the administrator has not set acme.agreeToTerms", want.Secret),
			})
		}
	}
	return reasons
}

// forget has those Secrets read again that have changed, and all now and then.
func (r *run) forget(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, has := range r.held {
		_, unseen := r.unseen[id]
		if r.stale[id] || unseen || now.Sub(has.read) >= lookAgain {
			has.read = time.Time{}
			r.held[id] = has
		}
	}
	clear(r.stale)
}

// read returns what there is under a name; the certificate is parsed once.
func (r *run) read(ctx context.Context, id l7.CertificateID) (Held, error) {
	has, ok := r.held[id]
	if ok && !has.read.IsZero() {
		return has.held, nil
	}
	s, found, err := r.options.Store.Get(ctx, desired.Name(id))
	if err != nil {
		return Held{}, fmt.Errorf("reading Secret %s: %w", id, err)
	}
	if !ok || !found || !has.held.Exists || has.version != s.Version {
		has.held = readHeld(s, found)
	}
	has.version, has.read = s.Version, time.Now()
	r.held[id] = has
	return has.held, nil
}

// load reads the ledgers that are not known yet.
func (r *run) load(ctx context.Context, wants []Want) error {
	if r.authority == nil {
		ledger, err := r.ledger(ctx, "")
		if err != nil {
			return err
		}
		failure := ledger.Failures[authorityEntry]
		if failure.Want != r.options.Config.Server {
			failure = Failure{} // of another server
		}
		r.authority = &failure
	}
	for _, want := range wants {
		namespace := want.Secret.Namespace
		if _, ok := r.ledgers[namespace]; ok {
			continue
		}
		ledger, err := r.ledger(ctx, namespace)
		if err != nil {
			return err
		}
		r.ledgers[namespace] = ledger
	}
	return nil
}

// authorityEntry is what the authority's own failure has in place of a Secret.
const authorityEntry = "authority"

// ledgerName is the Secret with the ledger of a namespace; of none: the authority's.
func (r *run) ledgerName(namespace string) desired.Name {
	name := desired.Name{Namespace: r.options.Config.Namespace, Name: ledgerSecret}
	if namespace != "" {
		name.Name += "-" + namespace
	}
	return name
}

func (r *run) ledger(ctx context.Context, namespace string) (Ledger, error) {
	name := r.ledgerName(namespace)
	s, _, err := r.options.Store.Get(ctx, name)
	if err != nil {
		return Ledger{}, fmt.Errorf("reading Secret %s: %w", name, err)
	}
	ledger, err := parseLedger(s.Data[keyLedger])
	if err != nil {
		r.options.Log.Warn("what is known of earlier orders is lost", "secret", name, "error", err)
	}
	return ledger, nil
}

func (r *run) keep(ctx context.Context, namespace string, ledger Ledger) error {
	return update(ctx, r.options.Store, r.ledgerName(namespace), func(data map[string][]byte) error {
		data[keyLedger] = ledger.text()
		return nil
	})
}

// known gathers what Plan goes by, and forgets what nobody wants any more.
func (r *run) known(wants []Want, now time.Time) Known {
	k := Known{Held: map[l7.CertificateID]Held{}, Ledgers: r.ledgers, Authority: *r.authority, Busy: maps.Clone(r.busy)}
	for _, want := range wants {
		held := r.held[want.Secret].held
		if a, ok := r.advice[want.Secret]; ok && held.leaf != nil && a.leaf.Equal(held.leaf) {
			held.RenewAt = a.renewAt
		}
		k.Held[want.Secret] = held
		if last, ok := r.unseen[want.Secret]; ok {
			if held.leaf != nil && !held.leaf.Equal(last.replaces) || now.Sub(last.at) > longUnseen {
				delete(r.unseen, want.Secret)
			} else {
				k.Busy[want.Secret] = true
			}
		}
	}
	for namespace, ledger := range r.ledgers {
		// Who asks for something else, or for nothing and then again, is tried at once.
		r.ledgers[namespace] = ledger.pruned(func(secret string) bool {
			id := l7.CertificateID{Namespace: namespace, Name: secret}
			_, wanted := k.Held[id]
			return wanted || r.busy[id]
		})
	}
	gone := func(id l7.CertificateID) bool { _, wanted := k.Held[id]; return !wanted && !r.busy[id] }
	maps.DeleteFunc(r.held, func(id l7.CertificateID, _ heldAs) bool { return gone(id) })
	maps.DeleteFunc(r.advice, func(id l7.CertificateID, _ advised) bool { return gone(id) })
	maps.DeleteFunc(r.made, func(id l7.CertificateID, at time.Time) bool { return gone(id) || now.Sub(at) > adviceUsual })
	maps.DeleteFunc(r.unseen, func(id l7.CertificateID, _ put) bool { return gone(id) })
	return k
}

// begin orders the first of what is due. That an order begins is
// kept before the authority hears of it.
func (r *run) begin(ctx context.Context, due []Want, known Known, now time.Time) error {
	for _, want := range due {
		if len(r.busy) >= maxOrders {
			return nil
		}
		namespace := want.Secret.Namespace
		before := r.ledgers[namespace]
		ledger := before.began(want.Secret.Name, digest(r.options.Config, want), now)
		if err := r.keep(ctx, namespace, ledger); err != nil {
			return err
		}
		r.ledgers[namespace] = ledger
		r.busy[want.Secret] = true
		held := known.Held[want.Secret]
		r.options.Log.Info("orders a certificate", "secret", want.Secret, "hosts", hostList(want.Hosts))
		r.workers.Go(func() {
			after, err := r.issue(ctx, want, held)
			r.results <- result{want: want, held: held, before: before, begun: now, after: after, err: err}
		})
	}
	return nil
}

// settle takes in how an order went.
func (r *run) settle(ctx context.Context, done result) {
	id, now := done.want.Secret, time.Now()
	delete(r.busy, id)
	how, message := judge(ctx, r.options.Config, done.err)
	r.metrics.orders.WithLabelValues(string(how)).Inc()
	ledger, authority := r.ledgers[id.Namespace], *r.authority
	log := r.options.Log.With("secret", id, "hosts", hostList(done.want.Hosts))
	switch how {
	case issued:
		log.Info("has a new certificate")
		ledger, authority = ledger.succeeded(id.Name), Failure{}
		r.unseen[id], r.made[id] = put{now, done.held.leaf}, now
	case refused:
		log.Warn("certificate was not issued", "problem", message)
		ledger = ledger.failed(id.Name, message, now, done.after)
	case unavailable:
		log.Warn("certificates cannot be ordered", "problem", message)
		ledger = ledger.forgiven(id.Name, done.before)
		if !done.begun.Before(authority.Next) { // several that were at work fail as one
			authority.Count++
		}
		authority.Want, authority.Message = r.options.Config.Server, cut(message)
		authority.Next = now.Add(max(min(time.Minute<<min(authority.Count-1, 10), time.Hour), min(done.after, 24*time.Hour)))
	case interrupted:
		return // what began said stands
	}
	r.ledgers[id.Namespace] = ledger
	err := r.keep(ctx, id.Namespace, ledger)
	if authority != *r.authority {
		r.authority = &authority
		if err == nil {
			err = r.keep(ctx, "", Ledger{}.with(authorityEntry, authority))
		}
	}
	if err != nil {
		log.Error("how an order went cannot be kept, only in memory", "error", err)
	}
}

// publish reports, if there is something new to say.
func (r *run) publish(report Report) {
	slices.SortStableFunc(report.Reasons, func(a, b desired.Reason) int { return compareObjects(a, b) })
	if !reflect.DeepEqual(r.last, report) {
		r.last = report
		r.report(report)
	}
}
