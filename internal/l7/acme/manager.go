package acme

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/l7"
)

// Options are what a Manager needs.
type Options struct {
	Config Config
	Store  Store
	// Peers returns the replicas of the gateway, which are asked whether they answer a
	// challenge before the authority is told to ask them; nil: nobody is asked.
	Peers func() []Peer
	// ProbeFor is how long a replica may take to answer; 0: 20 seconds.
	ProbeFor time.Duration
	// Report is told what there is to say, each time it changes; it must not block.
	Report func(Report)
	Log    *slog.Logger
}

// Report is what a Manager has to say. That of a replica that does not lead is empty.
type Report struct {
	Reasons      []desired.Reason
	Certificates []Certificate
}

// Manager orders the certificates that Tables want. Make one with New, give it Tables
// with Offer, and have it Run while this replica leads. It is a prometheus.Collector.
type Manager struct {
	options Options
	table   atomic.Pointer[l7.Table]
	wake    chan struct{}
	metrics *metrics
	running sync.Mutex

	mu sync.Mutex
	// stale are Secrets to be read again.
	stale map[l7.CertificateID]bool

	// issue and advise ask the authority.
	issue  func(ctx context.Context, want Want, held Held) (time.Duration, error)
	advise func(ctx context.Context, ask []advised) map[l7.CertificateID]advised
}

// New returns a Manager that does nothing yet. Errors say which option is wrong.
func New(o Options) (*Manager, error) {
	c := o.Config
	switch {
	case o.Store == nil || o.Log == nil:
		return nil, errors.New("acme: there is no Store or no Log")
	case c.Namespace == "" || c.OrdersPerHour < 1:
		return nil, errors.New("acme: Namespace is empty or OrdersPerHour is not above 0")
	case c.Challenge != HTTP01 && c.Challenge != TLSALPN01 && c.Challenge != DNS01:
		return nil, errors.New("acme: Challenge is none of http-01, tls-alpn-01 and dns-01")
	case c.Challenge == DNS01 && c.Webhook.URL == "":
		return nil, errors.New("acme: Challenge dns-01 needs a Webhook")
	}
	if o.Peers == nil {
		o.Peers = func() []Peer { return nil }
	}
	if o.Report == nil {
		o.Report = func(Report) {}
	}
	if o.ProbeFor == 0 {
		o.ProbeFor = 20 * time.Second
	}
	client := newHTTPClient(c)
	i := &issuer{
		config: c, store: o.Store, http: client, log: o.Log, peers: o.Peers, probeFor: o.ProbeFor,
		accounts: &accounts{config: c, store: o.Store},
		board:    &board{store: o.Store, name: desired.Name{Namespace: c.Namespace, Name: AnswersSecret}},
		webhook:  &webhook{Webhook: c.Webhook, namespace: c.Namespace, store: o.Store, client: client},
	}
	return &Manager{options: o, wake: make(chan struct{}, 1), metrics: newMetrics(), stale: map[l7.CertificateID]bool{}, issue: i.issue, advise: i.advise}, nil
}

// Offer makes this Table the one that certificates are ordered for.
func (m *Manager) Offer(t *l7.Table) {
	before := m.table.Swap(t)
	if before == nil || before.Synced != t.Synced || !before.SameIngresses(t) {
		m.poke()
	}
}

// Changed tells that Secrets of certificates are no longer what a Store returned
// before. Without it that is noticed after ten minutes.
func (m *Manager) Changed(names ...desired.Name) {
	m.mu.Lock()
	for _, name := range names {
		m.stale[l7.CertificateID(name)] = true
	}
	m.mu.Unlock()
	m.poke()
}

func (m *Manager) poke() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// settleFor is how long changes are let come together before they are looked at.
const settleFor = time.Second

// Run orders what is due until ctx ends, which it must when another replica leads. It
// returns when no order is at work any more.
func (m *Manager) Run(ctx context.Context) error {
	m.running.Lock()
	defer m.running.Unlock()
	r := &run{
		Manager: m, held: map[l7.CertificateID]heldAs{}, ledgers: map[string]Ledger{}, busy: map[l7.CertificateID]bool{},
		unseen: map[l7.CertificateID]put{}, made: map[l7.CertificateID]time.Time{}, advice: map[l7.CertificateID]advised{},
		results: make(chan result, maxOrders), advices: make(chan map[l7.CertificateID]advised, 1),
	}
	defer m.report(Report{})
	defer r.workers.Wait()
	for {
		timer := time.NewTimer(r.look(ctx))
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-m.wake:
			if sleep(ctx, settleFor) == nil {
				r.drain(ctx)
			}
		case done := <-r.results:
			r.settle(ctx, done)
		case advice := <-r.advices:
			r.asking = false
			for id, a := range advice {
				r.advice[id] = a
			}
		case <-timer.C:
		}
		timer.Stop()
	}
}

// drain takes what came meanwhile, so that it is looked at once.
func (r *run) drain(ctx context.Context) {
	for {
		select {
		case <-r.wake:
		case done := <-r.results:
			r.settle(ctx, done)
		default:
			return
		}
	}
}

func (m *Manager) report(report Report) {
	m.metrics.certificates.Store(&report.Certificates)
	m.options.Report(report)
}
