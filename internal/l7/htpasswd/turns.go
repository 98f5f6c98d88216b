package htpasswd

import (
	"context"
	"slices"
	"sync"
	"time"
)

// turns say whose hash is computed next. Of the owners that wait, it is that of the one
// with the fewest under way, then of the one for whom less time has been spent: fair
// queueing by time (Demers, Keshav and Shenker, "Analysis and Simulation of a Fair
// Queueing Algorithm", 1989). So an owner whose hashes are slow, or many, has no more of
// the processors than others that want some too, and waits behind himself only.
type turns struct {
	atOnce, waiting int
	now             func() time.Time

	mu   sync.Mutex
	busy int
	// spent is what the owner whose turn it was last had had by then: who has not waited for
	// a while begins there, and cannot save up turns.
	spent time.Duration
	of    map[string]*owner
}

// owner is one that has hashes under way or waiting, or has had more than others.
type owner struct {
	spent    time.Duration
	underWay int
	queue    []chan struct{}
}

func newTurns(atOnce, waiting int, now func() time.Time) *turns {
	return &turns{atOnce: atOnce, waiting: waiting, now: now, of: map[string]*owner{}}
}

// enter waits for a turn as long as ctx lasts, and returns what ends it, or false if it has
// not come.
func (t *turns) enter(ctx context.Context, name string) (leave func(), ok bool) {
	t.mu.Lock()
	one := t.of[name]
	if one == nil {
		one = &owner{spent: t.spent}
		t.of[name] = one
	}
	// Where there is a place, one may come before its turn: then nobody waits.
	if len(one.queue) >= t.waiting && t.busy >= t.atOnce {
		t.mu.Unlock()
		return nil, false
	}
	mine := make(chan struct{})
	one.spent = max(one.spent, t.spent)
	one.queue = append(one.queue, mine)
	t.next()
	t.mu.Unlock()
	select {
	case <-mine:
		begin := t.now()
		return func() { t.end(name, t.now().Sub(begin)) }, true
	case <-ctx.Done():
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if at := slices.Index(one.queue, mine); at >= 0 {
		one.queue = slices.Delete(one.queue, at, at+1)
		t.forget(name)
		return nil, false
	}
	// The turn has come meanwhile, and somebody else can have it.
	one.underWay--
	t.busy--
	t.next()
	t.forget(name)
	return nil, false
}

// end gives a place back that was used for so long.
func (t *turns) end(name string, took time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	one := t.of[name]
	one.spent += took
	one.underWay--
	t.busy--
	t.next()
	t.forget(name)
}

// next gives free places to those who wait.
func (t *turns) next() {
	for t.busy < t.atOnce {
		first, whose := (*owner)(nil), ""
		for name, one := range t.of {
			if len(one.queue) == 0 {
				continue
			}
			if first == nil || one.underWay < first.underWay || one.underWay == first.underWay && (one.spent < first.spent || one.spent == first.spent && name < whose) {
				first, whose = one, name
			}
		}
		if first == nil {
			return
		}
		t.spent = max(t.spent, first.spent)
		t.busy++
		first.underWay++
		close(first.queue[0])
		first.queue = slices.Delete(first.queue, 0, 1)
	}
}

// forget drops an owner who is as if he had never come, and others who are by now.
func (t *turns) forget(name string) {
	if one := t.of[name]; one != nil && one.idle() && one.spent <= t.spent {
		delete(t.of, name)
	}
	looks := 2 // each time, so that what is left is seldom many
	for other, one := range t.of {
		if looks--; looks < 0 {
			break
		}
		if one.idle() && one.spent <= t.spent {
			delete(t.of, other)
		}
	}
}

func (o *owner) idle() bool { return o.underWay == 0 && len(o.queue) == 0 }
