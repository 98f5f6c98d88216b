// Package reconcile is the one loop that drives every data plane.
//
// In go desired values, the latest of which counts; out come calls of a
// Plane's Apply, one at a time, repeated with growing pauses until one
// succeeds. The loop knows nothing of what it applies. A plane that fails or
// hangs holds up no other: each has a loop of its own.
package reconcile

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"
)

// Plane makes a part of the world equal to a desired value.
//
// Apply takes the whole value, not a change, and is called with the same value
// again after an error: it must be idempotent. An error that is a PartialError
// says that all the rest was applied. Close lets go of what the process holds;
// what the kernel does on its own goes on.
type Plane[C any] interface {
	Apply(ctx context.Context, want C) error
	Close() error
}

// byTurns is a Plane that may work only at times, such as while its process holds a
// Lease.
//
// Turn waits for that. It returns the context to work in, which ends with ctx and with
// the turn, and done, which must be called when the work is. Apply gets what has been
// offered last when the turn begins: what was there when the waiting began may be
// minutes old, and long undone by whoever had the turn before.
type byTurns interface {
	Turn(ctx context.Context) (turn context.Context, done func(), err error)
}

const (
	firstPause = 200 * time.Millisecond
	lastPause  = 30 * time.Second
	// longApply is when an Apply that has not returned counts as stuck.
	longApply = 30 * time.Second
	// maxLag is how long something may be wanted and not applied before a plane
	// serves no more: twice the syncPeriod of kube-proxy, as its health check has
	// it (pkg/proxy/healthcheck of Kubernetes 1.37).
	maxLag = time.Minute
)

// Loop offers values to one Plane. Make one with New.
type Loop[C any] struct {
	name     string
	plane    Plane[C]
	revision func(C) uint64
	log      *slog.Logger
	mailbox  chan C

	mu     sync.Mutex
	health Health
	// waits is when the first value was offered that Apply was not given yet, and
	// behind the first that was not applied yet; zero if there is none.
	waits, behind time.Time
}

// Health is what is known of a plane.
type Health struct {
	Plane string `json:"plane"`
	// Wanted and Applied are revisions: of the value last offered, and of the
	// one last applied, in full or but for what Problem says.
	Wanted  uint64 `json:"wanted"`
	Applied uint64 `json:"applied"`
	// AppliedAt is when that was, LastApply how long it took.
	AppliedAt time.Time     `json:"appliedAt,omitzero"`
	LastApply time.Duration `json:"lastApply,omitempty"`
	// Applies and Failures count calls of Apply since the start.
	Applies  uint64 `json:"applies"`
	Failures uint64 `json:"failures"`
	// Lag is for how long something newer than what is applied has been wanted.
	Lag time.Duration `json:"lag,omitempty"`
	// Problem says in words what is not applied, and why; empty if all is well.
	Problem string `json:"problem,omitempty"`
	busy    time.Time
}

// Healthy tells whether the plane has applied something and has no problem.
func (h Health) Healthy() bool { return h.Problem == "" && h.Applied > 0 }

// Serves tells whether the plane does its work, though perhaps not all of it: it
// has applied something, and nothing newer has been wanted for over a minute.
func (h Health) Serves() bool { return h.Applied > 0 && h.Lag <= maxLag }

// New returns a loop for a plane; revision tells the revision of a value.
func New[C any](name string, plane Plane[C], revision func(C) uint64, log *slog.Logger) *Loop[C] {
	return &Loop[C]{
		name: name, plane: plane, revision: revision,
		log: log.With("plane", name), mailbox: make(chan C, 1), health: Health{Plane: name},
	}
}

// Offer hands over a value. It never blocks; a value that waits unapplied is
// replaced. Only one goroutine may call Offer.
func (l *Loop[C]) Offer(want C) {
	l.note(func(h *Health) {
		h.Wanted = l.revision(want)
		now := time.Now()
		if l.waits.IsZero() {
			l.waits = now
		}
		if l.behind.IsZero() {
			l.behind = now
		}
		select {
		case <-l.mailbox:
		default:
		}
		l.mailbox <- want // never blocks, as nobody else fills it
	})
}

// Run applies what is offered until ctx ends, then closes the plane.
func (l *Loop[C]) Run(ctx context.Context) error {
	retry := time.NewTimer(0)
	retry.Stop()
	var want C
	pause := firstPause
	for {
		select {
		case <-ctx.Done():
			return l.plane.Close()
		case want = <-l.mailbox:
			pause = firstPause
			l.note(func(*Health) { l.waits = l.taken() })
		case <-retry.C:
		}
		retry.Stop()
		turn, done, err := l.turn(ctx)
		if err == nil {
			want = l.newest(want)
			err = l.apply(turn, want)
			done()
		}
		if err != nil && ctx.Err() == nil {
			// Jitter, so that nodes with the same trouble do not retry together.
			wait := pause/2 + rand.N(pause)
			l.log.Error("apply failed", "revision", l.revision(want), "error", err, "retry_in", wait)
			retry.Reset(wait)
			pause = min(pause*2, lastPause)
		}
	}
}

// turn waits until the plane may work.
func (l *Loop[C]) turn(ctx context.Context) (turn context.Context, done func(), err error) {
	if p, ok := l.plane.(byTurns); ok {
		return p.Turn(ctx)
	}
	return ctx, func() {}, nil
}

// newest returns what was offered after a value, or that.
func (l *Loop[C]) newest(want C) C {
	select {
	case want = <-l.mailbox:
		l.note(func(*Health) { l.waits = l.taken() })
	default:
	}
	return want
}

// taken returns the time that follows in waits when Apply is given a value. One
// that is offered at this very moment may be in the mailbox already.
func (l *Loop[C]) taken() time.Time {
	if len(l.mailbox) > 0 {
		return time.Now()
	}
	return time.Time{}
}

func (l *Loop[C]) apply(ctx context.Context, want C) error {
	start := time.Now()
	l.note(func(h *Health) { h.busy = start })
	err := l.plane.Apply(ctx, want)
	took := time.Since(start)
	l.note(func(h *Health) {
		h.busy, h.LastApply = time.Time{}, took
		h.Applies++
		if err != nil {
			h.Failures++
			h.Problem = err.Error()
			if !IsPartial(err) {
				return
			}
		} else {
			h.Problem = ""
		}
		h.Applied, h.AppliedAt, l.behind = l.revision(want), time.Now(), l.waits
	})
	if err == nil {
		l.log.Debug("applied", "revision", l.revision(want), "took", took)
	}
	return err
}

func (l *Loop[C]) note(change func(*Health)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change(&l.health)
}

// Health returns what is known of the plane now.
func (l *Loop[C]) Health() Health {
	l.mu.Lock()
	defer l.mu.Unlock()
	h := l.health
	if !l.behind.IsZero() {
		h.Lag = time.Since(l.behind)
	}
	if !h.busy.IsZero() && time.Since(h.busy) > longApply {
		h.Problem = "applying for " + time.Since(h.busy).Round(time.Second).String() + " and not done"
	}
	return h
}
