package l7

import (
	"fmt"
	"strings"
	"time"

	"github.com/fairlead-net/fairlead/internal/l7/filter"
)

// Balance is what a Service says of how its endpoints get requests, and when not.
type Balance struct {
	// How an endpoint is chosen where a Route does not say; 0: as the engine does by itself.
	How filter.Algorithm
	// HashBy is the key of algorithms that have one; the empty Template: the client's
	// address.
	HashBy filter.Template
	// SlowStart is how long an endpoint that comes new, or comes back, gets fewer requests
	// than others, from a tenth of its share on; 0: not at all.
	SlowStart time.Duration
	Zones     Zones
	Ejection  Ejection
	Limits    Limits
	Retries   RetryBudget
	// Check says how endpoints are asked whether they are well; the zero value: they are
	// not.
	Check HealthCheck
}

// Zones says which endpoints are near the gateway.
type Zones uint8

// The choices.
const (
	// ByHints: those that EndpointSlices hint for its node, else for its zone, as Services
	// do (KEP-3015, KEP-2433).
	ByHints Zones = iota
	// OwnZone: those of its zone.
	OwnZone
	// AnyZone: all.
	AnyZone
)

// Ejection says when an endpoint gets no requests for a while because of how it answered
// those it got (Envoy's outlier detection). Numbers are of failures in a row; 0: never.
type Ejection struct {
	// Connect counts connections that could not be made, Gateway also those that broke and
	// answers of 502, 503 and 504, Server also all others from 500 on.
	Connect, Gateway, Server int
	// Time is how long an endpoint is out for the first time; with each further time as
	// much longer, up to MaxTime.
	Time, MaxTime time.Duration
	// Percent is how many of the endpoints may be out at once. One always may, unless it
	// is the only one.
	Percent int
}

// Limits bound what one gateway has under way with a backend; 0: nothing.
type Limits struct {
	// Requests is how many are under way, Pending how many wait for that, Connections how
	// many connections there are. A request of HTTP/1.1 needs one.
	Requests, Pending, Connections int
}

// RetryBudget bounds requests that are sent once more after an endpoint has got them:
// Percent of those under way, but Least in any case.
type RetryBudget struct{ Percent, Least int }

// CheckProtocol is that of a HealthCheck; the zero one: there is none.
type CheckProtocol uint8

// The protocols of health checks.
const (
	CheckTCP   CheckProtocol = iota + 1 // a connection can be made
	CheckHTTP                           // an answer from 200 to 399
	CheckHTTPS                          // the same in TLS, with whatever certificate
)

// HealthCheck says how an endpoint is asked whether it is well.
type HealthCheck struct {
	Protocol CheckProtocol
	// Path and Host are of the request; an empty Host is the endpoint's address.
	Path, Host string
	// Interval is from one check to the next, Timeout for one.
	Interval, Timeout time.Duration
	// Unhealthy checks in a row that fail, and Healthy ones that do not, change what the
	// endpoint is taken for.
	Unhealthy, Healthy int
}

// DefaultBalance is that of a Service which says nothing.
func DefaultBalance() Balance {
	return Balance{
		Ejection: Ejection{Connect: 5, Time: 10 * time.Second, MaxTime: 5 * time.Minute, Percent: 50},
		Retries:  RetryBudget{Percent: 20, Least: 100},
	}
}

// String says in words what differs from DefaultBalance; nothing if nothing does.
func (b *Balance) String() string {
	if b == nil {
		return ""
	}
	var said []string
	say := func(is bool, format string, args ...any) {
		if is {
			said = append(said, fmt.Sprintf(format, args...))
		}
	}
	usual := DefaultBalance()
	say(b.How != 0, "chosen by %s", b.How)
	say(b.HashBy.String() != "", "by key %s", b.HashBy)
	say(b.SlowStart > 0, "new ones get their share after %s", b.SlowStart)
	say(b.Zones == OwnZone, "those of the gateway's zone first")
	say(b.Zones == AnyZone, "of any zone")
	if e := b.Ejection; e != usual.Ejection {
		say(true, "out for %s after failures in a row: %d to connect, %d of the gateway, %d of any kind (0: never)", e.Time, e.Connect, e.Gateway, e.Server)
	}
	say(b.Limits.Requests > 0, "at most %d requests", b.Limits.Requests)
	say(b.Limits.Pending > 0, "%d may wait", b.Limits.Pending)
	say(b.Limits.Connections > 0, "at most %d connections", b.Limits.Connections)
	if r := b.Retries; r != usual.Retries {
		say(true, "retries are at most %d %% of requests, or %d", r.Percent, r.Least)
	}
	say(b.Check.Protocol != 0, "checked every %s", b.Check.Interval)
	return strings.Join(said, ", ")
}
