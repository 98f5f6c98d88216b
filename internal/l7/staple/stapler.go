package staple

import (
	"context"
	"crypto/tls"
	"log/slog"
	"sync"
	"time"
)

// Options are what a Stapler needs.
type Options struct {
	// Private also asks responders on private addresses, as those of a company's own
	// authority are; loopback too.
	Private bool
	// Changed is called when Certificates would return others; it must not block.
	Changed func()
	Log     *slog.Logger
}

// Stapler keeps responses for certificates. Make one with New, tell it what is served
// with Offer, have it Run, and serve what Certificates returns.
type Stapler struct {
	options Options
	wake    chan struct{}
	// fetch asks one responder.
	fetch func(ctx context.Context, c *tls.Certificate) (answer, error)

	mu    sync.Mutex
	all   Certificates
	jobs  []job
	known map[digest]entry
}

// New returns a Stapler that knows no certificates.
func New(o Options) *Stapler {
	client := newClient(o.Private)
	return &Stapler{options: o, wake: make(chan struct{}, 1), known: map[digest]entry{}, fetch: func(ctx context.Context, c *tls.Certificate) (answer, error) {
		return fetch(ctx, client, c)
	}}
}

// Offer says which certificates are served from now on. If they are more than 10,000,
// none gets a response.
func (s *Stapler) Offer(all Certificates) {
	jobs := jobsOf(all)
	if len(jobs) > maxCertificates {
		s.options.Log.Warn("there are too many certificates to staple responses to", "certificates", len(jobs), "most", maxCertificates)
		jobs = nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	known := make(map[digest]entry, len(jobs))
	for _, j := range jobs {
		if e, ok := s.known[j.digest]; ok {
			known[j.digest] = e
		}
	}
	s.all, s.jobs, s.known = all, jobs, known
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Certificates returns the offered ones with the responses that are good now. It waits
// for nothing.
func (s *Stapler) Certificates() Certificates {
	s.mu.Lock()
	defer s.mu.Unlock()
	return staple(s.all, s.jobs, s.known, time.Now())
}

// maxFetches is how many responders are asked at a time.
const maxFetches = 8

type fetched struct {
	job    job
	answer answer
	err    error
}

// Run asks responders until ctx ends.
func (s *Stapler) Run(ctx context.Context) error {
	var workers sync.WaitGroup
	defer workers.Wait()
	results, busy := make(chan fetched, maxFetches), map[string]bool{}
	for {
		s.mu.Lock()
		jobs, next := due(s.jobs, s.known, busy, time.Now())
		s.mu.Unlock()
		for _, j := range jobs[:min(len(jobs), maxFetches-len(busy))] {
			busy[j.id.Namespace] = true
			workers.Go(func() {
				a, err := s.fetch(ctx, j.certificate)
				results <- fetched{j, a, err}
			})
		}
		wait := time.Hour
		if !next.IsZero() {
			wait = max(time.Until(next), time.Second)
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-s.wake:
		case <-timer.C:
			s.options.Changed() // something may have expired
		case done := <-results:
			delete(busy, done.job.id.Namespace)
			s.settle(ctx, done)
		}
		timer.Stop()
	}
}

// settle takes in what a responder said.
func (s *Stapler) settle(ctx context.Context, done fetched) {
	if ctx.Err() != nil {
		return
	}
	s.mu.Lock()
	before := s.known[done.job.digest]
	after := before.after(done.answer, done.err, time.Now())
	s.known[done.job.digest] = after // one that is gone since goes with the next Offer
	s.mu.Unlock()
	if done.err != nil && before.problem != after.problem {
		s.options.Log.Warn("there is no response of OCSP to staple", "secret", done.job.id, "problem", done.err)
	}
	if string(before.response) != string(after.response) {
		s.options.Changed()
	}
}
