package acme

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/l7"
)

// Known is what Plan goes by, besides what is wanted.
type Known struct {
	Held map[l7.CertificateID]Held
	// Ledgers are by namespace.
	Ledgers map[string]Ledger
	// Authority is that of the server itself; a Next in the future is for all orders.
	Authority Failure
	// Busy are being ordered.
	Busy map[l7.CertificateID]bool
}

// Agenda is what is to be done.
type Agenda struct {
	// Due can be ordered now, in this order.
	Due []Want
	// Next is when there is something to do that is not due yet; zero: never.
	Next time.Time
	// Reasons say what is not to be had at the moment, at the Ingresses that want it.
	Reasons []desired.Reason
	// Certificates are the states of all that are wanted, sorted by Secret.
	Certificates []Certificate
}

// Certificate is the state of one certificate.
type Certificate struct {
	Secret l7.CertificateID `json:"secret"`
	Hosts  []string         `json:"hosts"`
	// NotAfter is the end of the one that is served now; zero: there is none.
	NotAfter time.Time `json:"notAfter,omitzero"`
	// RenewAt is when it will be renewed, or was to be.
	RenewAt time.Time `json:"renewAt,omitzero"`
	// Problem says why there is none, or no newer one.
	Problem string `json:"problem,omitempty"`
}

// Plan returns what is to be ordered now, and what is to be said. Namespaces that
// ordered least in the last hour go first, and in each of them what is not there before
// what is merely to be renewed.
func Plan(now time.Time, c Config, wants []Want, known Known) Agenda {
	p := planning{now: now, config: c, known: known, turn: map[string]int{}}
	for _, want := range wants {
		p.consider(want)
	}
	p.order()
	return p.agenda
}

type planning struct {
	now    time.Time
	config Config
	known  Known
	agenda Agenda
	due    []due
	// turn counts the orders of each namespace, and those that it has coming.
	turn map[string]int
}

// due is a candidate.
type due struct {
	want   Want
	held   Held
	ledger Ledger
	turn   int
}

// at has the Plan made again then.
func (p *planning) at(t time.Time) {
	if p.agenda.Next.IsZero() || t.Before(p.agenda.Next) {
		p.agenda.Next = t
	}
}

// consider finds out what becomes of one certificate.
func (p *planning) consider(want Want) {
	held := p.known.Held[want.Secret]
	state := Certificate{Secret: want.Secret, Hosts: want.Hosts, NotAfter: held.NotAfter}
	if held.leaf != nil {
		state.RenewAt = held.renewal()
	}
	defer func() { p.agenda.Certificates = append(p.agenda.Certificates, state) }()
	if held.serves(want, p.config.Server) && p.now.Before(held.renewal()) {
		p.at(held.renewal())
		return
	}
	ledger := p.known.Ledgers[want.Secret.Namespace]
	failure, failed := ledger.Failures[want.Secret.Name]
	failed = failed && failure.Want == digest(p.config, want)
	switch {
	case p.known.Busy[want.Secret]:
		if failed && failure.Count > 1 { // what was wrong before is not right yet
			state.Problem = failure.Message
			p.say(want, held, "CertificateNotIssued", failure.Message, failure.Next)
		}
	case failed && p.now.Before(failure.Next):
		p.at(failure.Next)
		state.Problem = failure.Message
		p.say(want, held, "CertificateNotIssued", failure.Message, failure.Next)
	case p.now.Before(p.known.Authority.Next):
		p.at(p.known.Authority.Next)
		state.Problem = p.known.Authority.Message
		p.say(want, held, "CertificateAuthorityUnavailable", state.Problem, p.known.Authority.Next)
	default:
		p.due = append(p.due, due{want: want, held: held, ledger: ledger})
	}
}

// order puts what is due in order, and leaves out what is too much for an hour.
func (p *planning) order() {
	slices.SortStableFunc(p.due, func(a, b due) int { return cmp.Compare(p.urgency(&a), p.urgency(&b)) })
	for i := range p.due {
		d := &p.due[i]
		namespace := d.want.Secret.Namespace
		recent := d.ledger.recent(p.now)
		if _, begun := p.turn[namespace]; !begun {
			p.turn[namespace] = len(recent)
		}
		d.turn = p.turn[namespace]
		p.turn[namespace]++
		if d.turn < p.config.OrdersPerHour {
			continue
		}
		next := p.now.Add(time.Hour)
		if len(recent) > 0 {
			next = recent[0].Add(time.Hour)
		}
		p.at(next)
		p.say(d.want, d.held, "CertificateNotIssued", fmt.Sprintf("namespace %s has ordered %d certificates within an hour, as many as acme.ordersPerHour allows", namespace, len(recent)), next)
	}
	p.due = slices.DeleteFunc(p.due, func(d due) bool { return d.turn >= p.config.OrdersPerHour })
	slices.SortStableFunc(p.due, func(a, b due) int { return cmp.Compare(a.turn, b.turn) })
	for _, d := range p.due {
		p.agenda.Due = append(p.agenda.Due, d.want)
	}
}

// urgency is less for what is needed more.
func (p *planning) urgency(d *due) int {
	switch {
	case d.held.leaf == nil || p.now.After(d.held.NotAfter):
		return 0
	case !d.held.serves(d.want, p.config.Server):
		return 1
	}
	return 2
}

// say tells those who want a certificate why there is none, or no newer one.
func (p *planning) say(want Want, held Held, code, problem string, next time.Time) {
	what := "there is no certificate"
	switch {
	case held.leaf != nil && p.now.After(held.NotAfter):
		what = "the certificate has expired"
	case held.leaf != nil:
		what = "the old certificate goes on until " + stamp(held.NotAfter)
	}
	for _, ingress := range want.Ingresses {
		p.agenda.Reasons = append(p.agenda.Reasons, desired.Reason{
			Object: ingress, Code: code,
			Message: fmt.Sprintf("Secret %s for %s: %s; %s, and it is tried again at %s", want.Secret, hostList(want.Hosts), problem, what, stamp(next)),
		})
	}
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 MST") }

// hostList names a few of many hosts.
func hostList(hosts []string) string {
	const shown = 3
	if len(hosts) <= shown {
		return strings.Join(hosts, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(hosts[:shown], ", "), len(hosts)-shown)
}

// valid tells whether there is a certificate that has not expired.
func (c Certificate) valid() bool { return time.Now().Before(c.NotAfter) }
