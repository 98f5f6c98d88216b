package observe

import "sync"

// maxTriggers bounds what a Tracker keeps.
const maxTriggers = 10_000

// Tracker keeps Triggers until a plane has applied the State that holds their
// change. The zero Tracker is ready; it is safe for concurrent use.
//
// Changes of a first, full list must not be noted: they happened before the
// process could have applied them.
type Tracker struct {
	mu      sync.Mutex
	pending []noted
	kept    int // Triggers in pending
	dropped uint64
}

type noted struct {
	revision uint64
	triggers []Trigger
}

// Note keeps the triggers of the changes that a State of this revision holds and
// its predecessor does not. It must be called before a plane can have the State,
// and with rising revisions. Beyond a limit triggers are dropped, the new ones:
// those that wait longest say most about the time it takes.
func (t *Tracker) Note(revision uint64, triggers []Trigger) {
	t.mu.Lock()
	defer t.mu.Unlock()
	room := min(len(triggers), maxTriggers-t.kept)
	t.dropped += uint64(len(triggers) - room)
	if room == 0 {
		return
	}
	t.pending = append(t.pending, noted{revision, append([]Trigger(nil), triggers[:room]...)})
	t.kept += room
}

// Applied returns, once, the triggers of all changes that a State of this
// revision holds, the earliest noted first.
func (t *Tracker) Applied(revision uint64) []Trigger {
	t.mu.Lock()
	defer t.mu.Unlock()
	var done []Trigger
	for len(t.pending) > 0 && t.pending[0].revision <= revision {
		done = append(done, t.pending[0].triggers...)
		t.pending[0] = noted{} // lets go of the triggers before the list is made anew
		t.pending = t.pending[1:]
	}
	t.kept -= len(done)
	return done
}

// Dropped returns how many triggers were not kept, for there were too many.
func (t *Tracker) Dropped() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.dropped
}
