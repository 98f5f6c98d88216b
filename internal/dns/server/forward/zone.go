package forward

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	wire "github.com/miekg/dns"
)

// retries is how often one upstream is asked the same: UDP loses packets.
const retries = 3

// zone is a Zone at work.
type zone struct {
	Zone
	limits limits
	shared *shared
	busy   atomic.Int64
	// turn is whose turn it is in RoundRobin.
	turn atomic.Uint32
	// upstreams is replaced, never changed.
	upstreams atomic.Pointer[[]*upstream]

	mu       sync.Mutex
	resolv   fileState
	problems []string
}

func newZone(s *shared, config Zone, l limits) *zone {
	z := &zone{Zone: config, limits: l, shared: s}
	z.upstreams.Store(new([]*upstream))
	z.use(config.Servers)
	z.reread()
	return z
}

// route returns the zone whose upstreams are asked for a name, if any.
func (f *Forwarder) route(name string) *zone {
	for _, z := range f.zones {
		if wire.IsSubDomain(z.Name, name) && !within(name, z.Except) && len(*z.upstreams.Load()) > 0 {
			return z
		}
	}
	return nil
}

// within reports whether a name lies in one of some zones.
func within(name string, zones []string) bool {
	return slices.ContainsFunc(zones, func(zone string) bool { return wire.IsSubDomain(zone, name) })
}

// plan returns the upstreams to ask in order, first those that answered last.
// Unhealthy ones are asked only if no other is left, and not even then if
// queries shall fail fast. The whole list is repeated, for packets get lost.
func (z *zone) plan() []*upstream {
	var healthy, suspects, failing []*upstream
	for _, u := range *z.upstreams.Load() {
		switch {
		case u.own.Load():
		case !u.healthy():
			failing = append(failing, u)
		case u.suspect.Load():
			suspects = append(suspects, u)
		default:
			healthy = append(healthy, u)
		}
	}
	z.order(healthy)
	z.order(suspects)
	list := append(healthy, suspects...)
	if len(list) == 0 && len(failing) > 0 {
		z.shared.metrics.broken.Inc()
		if z.FailFast {
			return nil
		}
		z.order(failing)
		list = failing
	}
	return slices.Repeat(list, retries)
}

// order brings upstreams into the order of the zone's policy.
func (z *zone) order(list []*upstream) {
	if len(list) < 2 {
		return
	}
	switch z.Policy {
	case Random:
		rand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	case RoundRobin:
		first := int(z.turn.Add(1)-1) % len(list)
		copy(list, slices.Concat(list[first:], list[:first]))
	}
}

// fileState tells whether a file was written since.
type fileState struct {
	modified time.Time
	size     int64
	problem  string
}

// reread reads the zone's resolv.conf if it changed and reports whether it did.
// A file that cannot be read, or names no server, leaves the upstreams as they
// are.
func (z *zone) reread() bool {
	if z.ResolvConf == "" {
		return false
	}
	var now fileState
	var text []byte
	info, err := os.Stat(z.ResolvConf)
	if err == nil {
		now.modified, now.size = info.ModTime(), info.Size()
		text, err = os.ReadFile(z.ResolvConf)
	}
	if err != nil {
		now.problem = err.Error()
	}
	z.mu.Lock()
	same := z.resolv == now
	z.resolv = now
	z.mu.Unlock()
	if same {
		return false
	}
	addresses, problems := ParseResolvConf(string(text))
	for i := range problems {
		problems[i] = z.ResolvConf + ": " + problems[i]
	}
	if room := max(0, maxServers-len(z.Servers)); len(addresses) > room {
		problems = append(problems, fmt.Sprintf("%s: names more than the %d servers that are used", z.ResolvConf, room))
		addresses = addresses[:room]
	}
	switch {
	case err != nil:
		problems = []string{"the upstreams of " + z.ResolvConf + " cannot be read: " + err.Error()}
	case len(addresses) == 0:
		problems = append(problems, z.ResolvConf+" names no server")
	default:
		servers := slices.Clone(z.Servers)
		for _, address := range addresses {
			if s, err := z.server(Server{Address: address}); err == nil {
				servers = append(servers, s)
			}
		}
		z.use(servers)
	}
	z.mu.Lock()
	z.problems = problems
	z.mu.Unlock()
	for _, problem := range problems {
		z.shared.log.Warn("upstreams are not as they should be", "problem", problem)
	}
	return true
}

// use makes servers the upstreams; those that stay keep what is known of them.
func (z *zone) use(servers []Server) {
	old := *z.upstreams.Load()
	var next []*upstream
	for _, server := range servers {
		same := func(u *upstream) bool { return u.Server == server }
		if slices.ContainsFunc(next, same) {
			continue
		}
		if i := slices.IndexFunc(old, same); i >= 0 {
			next = append(next, old[i])
			continue
		}
		u := newUpstream(z, server)
		u.own.Store(z.shared.own(server.Address))
		next = append(next, u)
	}
	z.upstreams.Store(&next)
	for _, u := range old {
		if !slices.Contains(next, u) {
			u.streams.close()
		}
	}
}

// describe says in words which servers are asked, and what is wrong with them.
func (z *zone) describe() []string {
	var lines []string
	for _, u := range *z.upstreams.Load() {
		line := "upstream " + u.String() + " "
		if z.Name != "." {
			line += "of " + z.Name + " "
		}
		lines = append(lines, line+u.state())
	}
	z.mu.Lock()
	defer z.mu.Unlock()
	return append(lines, z.problems...)
}
