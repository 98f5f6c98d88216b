package proxy

import (
	"encoding/hex"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/fairlead-net/fairlead/internal/l7"
	"github.com/fairlead-net/fairlead/internal/l7/filter"
)

// balance is what the Route says of how endpoints are chosen; nil: nothing.
func (x *exchange) balance() *filter.Balance {
	if x.route.Filters == nil {
		return nil
	}
	return x.route.Filters.Balance
}

// algorithm is how an endpoint of a backend is chosen where no key decides: as the Route
// says, else as the Service does.
func (x *exchange) algorithm(b *backend) filter.Algorithm {
	if how := x.balance(); how != nil && how.How != 0 {
		return how.How
	}
	return x.proxy.algorithm(b)
}

// algorithm is how an endpoint of a backend is chosen where no Route says how.
func (p *Proxy) algorithm(b *backend) filter.Algorithm {
	if b.balance.How != 0 {
		return b.balance.How
	}
	return p.settings().Balancing.algorithm()
}

// choose returns the endpoint for the request, another one after one has failed; nil
// if there is none.
func (x *exchange) choose(b *backend, failed *endpoint) *endpoint {
	if len(b.endpoints) == 0 {
		return nil
	}
	how, algorithm := x.balance(), x.algorithm(b)
	switch {
	case how == nil:
	case how.Session != nil:
		return x.session(how.Session, b, failed)
	case how.HashBy.String() != "":
		if key, ok := x.key(&how.HashBy); ok {
			return preferred(b.usable.Load().endpoints, key, how.Subset, failed)
		}
	}
	if s := b.usable.Load(); s.keys != nil && algorithm.ByKey() {
		if key, ok := x.key(&b.balance.HashBy); ok {
			return s.byKey(key, failed)
		}
	}
	return b.choose(algorithm, failed, x.at)
}

// key returns what a Template says of the request, as a number, and whether it says
// something; the empty one means the client's address.
func (x *exchange) key(by *filter.Template) (uint64, bool) {
	if by.String() == "" {
		address := x.hop.Client(&x.request).As16()
		return xxhash.Sum64(address[:]), true
	}
	var space [128]byte
	key := by.Append(space[:0], x.value)
	return xxhash.Sum64(key), len(key) > 0
}

// preferred returns the endpoint that a key prefers, or one at random of so many that
// it prefers, but not the one that failed if there is another.
func preferred(all []*endpoint, key uint64, among int, failed *endpoint) *endpoint {
	const most = 16
	var (
		best   [most]*endpoint
		scores [most]uint64
	)
	n, limit := 0, min(max(among, 1), most)
	for _, e := range all {
		score := filter.Score(key, e.hash)
		if e == failed && len(all) > 1 || n == limit && score <= scores[n-1] {
			continue
		}
		at := n
		if n < limit {
			n++
		} else {
			at--
		}
		for ; at > 0 && scores[at-1] < score; at-- {
			best[at], scores[at] = best[at-1], scores[at-1]
		}
		best[at], scores[at] = e, score
	}
	return best[rand.IntN(n)]
}

// decay is after what time an earlier latency counts for 1/e.
const decay = 10 * time.Second

// observe takes note of how long an answer took (a moving average whose weights fall
// exponentially with time, as in Finagle's balancer, which ingress-nginx follows).
// With peak, one that took longer than the average becomes it at once (Finagle's
// peak EWMA).
func (e *endpoint) observe(took, now int64, peak bool) {
	before, last := e.latency(), e.observed.Swap(now)
	weight := math.Exp(-float64(max(now-last, 0)) / float64(decay))
	if peak && float64(took) > before {
		weight = 0
	}
	e.average.Store(math.Float64bits(before*weight + float64(took)*(1-weight)))
}

// latency is the average of how long answers took; 0 if there were none.
func (e *endpoint) latency() float64 { return math.Float64frombits(e.average.Load()) }

// observed has an endpoint answer, and takes note of how long that took where it
// matters. An endpoint that fails at once is no fast one.
func (x *exchange) observed(b *backend, e *endpoint) error {
	how := x.algorithm(b)
	if how != filter.EWMA && how != filter.PeakEWMA {
		return x.try(e)
	}
	begin := x.tick()
	err := x.try(e)
	took := x.tick() - begin
	if err != nil {
		took = max(took, int64(time.Second))
	}
	e.observe(took, x.at, how == filter.PeakEWMA)
	return err
}

// session returns the endpoint that the client's cookie says, or gives it a cookie that
// says one.
func (x *exchange) session(s *filter.Session, b *backend, failed *endpoint) *endpoint {
	key, _ := x.sessionKey(s)
	if key != "" && failed == nil {
		failed = b.unwell(key, s.Persistent)
	}
	if key != "" && !(failed != nil && s.ChangeOnFailure) {
		if s.Persistent {
			for _, e := range b.all { // one that drains keeps its clients
				if e != failed && e.token() == key {
					return e
				}
			}
			if failed != nil {
				return b.choose(filter.RoundRobin, failed, x.at)
			}
		} else {
			return preferred(b.usable.Load().endpoints, xxhash.Sum64String(key), 1, failed)
		}
	}
	e := b.choose(filter.RoundRobin, failed, x.at)
	if key = e.token(); !s.Persistent {
		key, e = b.newKey(failed)
	}
	if failed == nil || s.ChangeOnFailure || x.stuck {
		x.stick(s, key)
	}
	return e
}

// unwell returns the endpoint that a client's cookie says if that gets no requests at the
// moment, which is as if it had failed; else nil.
func (b *backend) unwell(key string, persistent bool) *endpoint {
	now := b.usable.Load()
	if len(now.whole) == len(now.endpoints) && !persistent {
		return nil
	}
	if !persistent {
		if e := preferred(now.whole, xxhash.Sum64String(key), 1, nil); !e.usable() {
			return e
		}
		return nil
	}
	for _, e := range b.all {
		if !e.usable() && e.token() == key && !slices.Contains(now.endpoints, e) { // as where none is usable
			return e
		}
	}
	return nil
}

// newKey returns a random key for a session and the endpoint that it prefers, whatever
// may be wrong with others.
func (b *backend) newKey(failed *endpoint) (string, *endpoint) {
	now := b.usable.Load()
	all := len(now.whole) == len(now.endpoints)
	for tries := 0; ; tries++ {
		key := strconv.FormatUint(rand.Uint64(), 36)
		if e := preferred(now.whole, xxhash.Sum64String(key), 1, nil); e != failed && (all || e.usable()) || tries == 64 {
			return key, e
		}
	}
}

// sessionKey returns what the client's cookie says: which endpoint, and which backend.
func (x *exchange) sessionKey(s *filter.Session) (key, backend string) {
	value := ""
	for i := range x.request.Fields {
		if f := &x.request.Fields[i]; string(f.Lower) == "cookie" && value == "" {
			value = cookie(text(f.Value), s.Name)
		}
	}
	key, backend, _ = strings.Cut(value, "|")
	return key, backend
}

// stick gives the client a cookie with the answer, in place of one that another try has
// given it.
func (x *exchange) stick(s *filter.Session, key string) {
	value := key + "|" + nameOf(x.backend)
	set := s.Cookie(value, x.hop.Scheme(&x.request) == "https", text(x.request.Get("user-agent")), time.Now())
	if x.stuck {
		x.added = x.added[:len(x.added)-1]
	}
	x.stuck = true
	x.add("Set-Cookie", set, always)
}

// nameOf stands for a backend in cookies.
func nameOf(id l7.BackendID) string { return hexOf(xxhash.Sum64String(id.String())) }

// token stands for an endpoint in cookies, whose address it does not show.
func (e *endpoint) token() string { return hexOf(filter.Score(e.hash, 1)) }

func hexOf(n uint64) string {
	var b [8]byte
	for i := range b {
		b[i] = byte(n >> (8 * i))
	}
	return hex.EncodeToString(b[:])
}

// pick returns the backend for the request: the one that the client's session is at, else
// one by weight; nil if there is none.
func (x *exchange) pick() *backend {
	if how := x.balance(); how != nil && how.Session != nil {
		x.backend = x.state.draw(x.route)
		if !how.Session.AnyBackend && len(x.route.Backends) > 1 {
			if _, name := x.sessionKey(how.Session); name != "" {
				for _, w := range x.route.Backends {
					if w.Weight > 0 && nameOf(w.Backend) == name {
						x.backend = w.Backend
					}
				}
			}
		}
		b, _ := x.state.backends.Get(x.backend)
		return b
	}
	return x.state.pick(x.route)
}
