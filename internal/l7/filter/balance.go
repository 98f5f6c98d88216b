package filter

import (
	"strconv"
	"strings"
	"time"
)

// Balance says how an endpoint of a backend is chosen. In the zero Balance it is as the
// engine does by itself.
type Balance struct {
	How Algorithm
	// Session keeps a client at an endpoint by a cookie. It goes before HashBy.
	Session *Session
	// HashBy keeps requests of which it says the same at an endpoint, or at one of
	// Subset; the empty Template: it does not, nor does it where it says nothing.
	HashBy Template
	Subset int
}

// Algorithm is how an endpoint is chosen where nothing keeps a request at one.
type Algorithm uint8

// The algorithms; the zero one is the engine's choice.
const (
	RoundRobin   Algorithm = iota + 1
	EWMA                   // of two at random, the one that has answered sooner of late
	LeastRequest           // of two at random, the one with fewer requests under way
	Random                 // any
	PeakEWMA               // of two at random, the one that will answer sooner, if what is under way is counted
	RingHash               // by a key, on a ring of points (Karger et al., 1997)
	Maglev                 // by a key, in a table (Eisenbud et al., 2016)
	algorithms
)

// String returns the name that annotations have for it; empty for the zero one.
func (a Algorithm) String() string {
	return [...]string{"", "round-robin", "ewma", "least-request", "random", "peak-ewma", "ring-hash", "maglev"}[a]
}

// ParseAlgorithm returns the algorithm of a name; false if there is none.
func ParseAlgorithm(name string) (Algorithm, bool) {
	for a := RoundRobin; a < algorithms; a++ {
		if a.String() == name {
			return a, true
		}
	}
	return 0, false
}

// ByKey tells whether requests of one key go to one endpoint.
func (a Algorithm) ByKey() bool { return a == RingHash || a == Maglev }

// Session is a cookie that keeps a client at an endpoint.
type Session struct {
	Name string
	// Path and Domain are the cookie's; an empty Path is /, an empty Domain is the host.
	Path, Domain, SameSite string
	// LaxForOld: SameSite is left out for clients that misread None.
	LaxForOld bool
	// Expires and MaxAge are how long the cookie lasts; 0: as long as the client runs.
	Expires, MaxAge time.Duration
	// Secure says whether the cookie is for HTTPS only; Unset: if it is set by HTTPS.
	Secure      Choice
	Partitioned bool
	// Persistent keeps a client at its endpoint as long as that is there; else a share of
	// clients moves when endpoints are added.
	Persistent bool
	// ChangeOnFailure gives a client another endpoint for good if its own fails.
	ChangeOnFailure bool
	// AnyBackend: the backends' weights decide about every request; else a client stays
	// with the backend that it got first.
	AnyBackend bool
}

// Choice is yes, no, or neither.
type Choice uint8

// The choices.
const (
	Unset Choice = iota
	Yes
	No
)

// Cookie returns the value of Set-Cookie for a session. Secure is whether the request
// came by HTTPS, agent its User-Agent.
func (s *Session) Cookie(value string, secure bool, agent string, now time.Time) string {
	b := append(append([]byte(s.Name), '='), value...)
	attribute := func(name, value string) {
		if value != "" {
			b = append(append(append(b, "; "...), name...), value...)
		}
	}
	if s.Expires > 0 {
		attribute("Expires=", now.Add(s.Expires).UTC().Format("Mon, 02-Jan-06 15:04:05 GMT"))
	}
	if s.MaxAge > 0 {
		attribute("Max-Age=", strconv.FormatInt(int64(s.MaxAge/time.Second), 10))
	}
	attribute("Domain=", s.Domain)
	path := s.Path
	if path == "" {
		path = "/"
	}
	attribute("Path=", path)
	if s.Secure == Yes || s.Secure == Unset && secure {
		attribute("", "Secure")
	}
	attribute("", "HttpOnly")
	if !(s.SameSite == "None" && s.LaxForOld && misreadsNone(agent)) {
		attribute("SameSite=", s.SameSite)
	}
	if s.Partitioned {
		attribute("", "Partitioned")
	}
	return string(b)
}

// misreadsNone tells browsers that take SameSite=None for Strict, or drop the cookie:
// those that ingress-nginx knows.
func misreadsNone(agent string) bool {
	for _, old := range []string{"Chrome/4", "Chrome/5", "Chrome/6", "CPU iPhone OS 12", "iPad; CPU OS 12"} {
		if strings.Contains(agent, old) {
			return true
		}
	}
	return strings.Contains(agent, "Macintosh; Intel Mac OS X 10_14") && strings.Contains(agent, "Safari") && !strings.Contains(agent, "Chrome")
}

// Score is how much a key prefers an endpoint, of which the hash is given. The key
// belongs to the endpoint with the highest score (rendezvous hashing; Thaler and
// Ravishankar, 1998): if one comes or goes, only keys that are or were its own move.
func Score(key, endpoint uint64) uint64 {
	x := key ^ endpoint*0x9e3779b97f4a7c15
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}
