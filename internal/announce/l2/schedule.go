package l2

import "time"

// step is something that is to be said about a claim. Of several that are due the
// lowest goes first, so that what was gained last does not wait for what is only
// repeated.
type step int

const (
	stepFirst  step = 0 // of the announcements of an address that was gained
	stepLast   step = 5
	stepDefend step = 6 // an announcement against another machine's
	stepVerify step = 7 // ask whether another machine has the address too
	stepProbe  step = 8 // the same while it is known to be so, ever more rarely
	stepRarely step = 11
	stepJudge  step = 12 // whether that was answered
	stepsEnd   step = 13
)

// stepDelay is how long after it was put into the schedule each step is due.
//
// An address is announced six times, at 0, 0.1, 0.5, 1, 2 and 4 seconds after it
// was gained: RFC 5227, section 2.3, has two announcements, but nobody says that
// they arrived, and a switch may be slow to let an interface speak. At 5 seconds
// the previous owner must have noticed, so another answer then is a conflict.
//
// A claim is defended after a second: usually the other is the new owner, and
// this node is about to learn of it.
func stepDelay(s step) time.Duration {
	return [stepsEnd]time.Duration{
		0, 100 * time.Millisecond, 400 * time.Millisecond, 500 * time.Millisecond, time.Second, 2 * time.Second,
		time.Second,
		time.Second,
		time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second,
		time.Second,
	}[s]
}

// schedule is what is to be said when. As every step has its own delay, each
// queue is sorted by nature.
type schedule [stepsEnd][]job

type job struct {
	due   time.Time
	claim *claim
	round int // the claim's when this was scheduled
}

func (s *schedule) push(what step, now time.Time, c *claim) {
	s[what] = append(s[what], job{due: now.Add(stepDelay(what)), claim: c, round: c.round})
}

// pop takes what goes next of what is due, or says how long nothing is; a
// negative time means that nothing is scheduled. Jobs whose claim is lost, or
// whose announcements have begun anew, are forgotten.
func (s *schedule) pop(now time.Time) (job, step, time.Duration) {
	wait := time.Duration(-1)
	for what := range s {
		queue := s[what]
		for len(queue) > 0 && queue[0].isVoid(step(what)) {
			queue = queue[1:]
		}
		if len(queue) == 0 {
			s[what] = nil
			continue
		}
		s[what] = queue
		left := queue[0].due.Sub(now)
		if left <= 0 {
			s[what] = queue[1:]
			return queue[0], step(what), 0
		}
		if wait < 0 || left < wait {
			wait = left
		}
	}
	return job{}, 0, wait
}

func (j job) isVoid(what step) bool {
	repeats := what <= stepLast || what == stepVerify
	return j.claim.lost || repeats && j.round != j.claim.round
}

// bucket is a budget that fills with time.
type bucket struct {
	every time.Duration // one more
	most  int
	// full is when the budget is whole again.
	full time.Time
}

// take takes one, or returns how long there is none.
func (b *bucket) take(now time.Time) time.Duration {
	if b.full.Before(now) {
		b.full = now
	}
	if wait := b.full.Add(b.every).Sub(now) - time.Duration(b.most)*b.every; wait > 0 {
		return wait
	}
	b.full = b.full.Add(b.every)
	return 0
}
