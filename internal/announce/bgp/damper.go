package bgp

import "time"

const (
	// stable is how long a session must have lasted for its end not to count as a
	// failure of the router.
	stable = time.Minute
	// patience is how many failures in a row are without consequence, as a router that
	// restarts may cause some.
	patience = 2
	// The time between attempts doubles from the shortest to the longest.
	shortestHold = 5 * time.Second
	longestHold  = 2 * time.Minute
	// bfdHold is how long there is no session, at least, after BFD has lost the router.
	bfdHold = time.Second
	// crowdHold is how long a router is left alone that sends too many routes.
	crowdHold = 5 * time.Minute
)

// damper makes attempts rarer as long as they fail.
type damper struct{ failures int }

// failed notes failures, the last of a session that was up for so long, and returns
// how long to wait before the next attempt; 0 leaves it to GoBGP.
func (d *damper) failed(count int, lived time.Duration) time.Duration {
	if lived >= stable {
		d.failures = 0
	}
	d.failures = min(d.failures+count, 1000)
	if d.failures <= patience {
		return 0
	}
	return min(shortestHold<<min(d.failures-patience-1, 10), longestHold)
}
