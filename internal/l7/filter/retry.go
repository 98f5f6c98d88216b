package filter

import (
	"slices"
	"time"
)

// MaxTries bounds how many endpoints a request is sent to.
const MaxTries = 16

// Retry says when another endpoint is asked. A request of which an endpoint may have
// got a part is sent again only if that can do no harm, unless Always is set; never
// once the client has got a part of an answer.
type Retry struct {
	// Off: no other endpoint is asked.
	Off bool
	// Statuses are answers after which another one is asked.
	Statuses []int
	// Always: also requests that may have an effect each time (POST, PATCH).
	Always bool
	// Tries is to how many a request is sent; 0: the engine's number. Within is how long
	// others are asked; 0: any time.
	Tries  int
	Within time.Duration
}

// After reports whether another endpoint is asked after a status.
func (r *Retry) After(status int) bool {
	return r != nil && !r.Off && slices.Contains(r.Statuses, status)
}

func (r *Retry) say(s *said) {
	switch {
	case r == nil:
	case r.Off:
		s.add("asks no other endpoint")
	default:
		s.add("asks another endpoint after %v, up to %d, within %s, those not idempotent %t", r.Statuses, r.Tries, r.Within, r.Always)
	}
}
