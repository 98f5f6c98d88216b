package agent

import (
	"net/netip"
	"slices"
	"time"

	"github.com/fairlead-net/fairlead/internal/announce"
	"github.com/fairlead-net/fairlead/internal/desired"
)

const (
	// steadySession is how long a session must have been up to be told of: one that is
	// lost every second is not worth a request for each Service.
	steadySession = 5 * time.Second
	// startOfSessions is how long after a start peers that are told of stay so without a
	// session: it takes a while to be there again, and routers that restart gracefully
	// keep the routes.
	startOfSessions = time.Minute
)

// recorded is what the API says of a node, as far as the node knows.
type recorded struct {
	started time.Time
	// known is false where have must be read first.
	known bool
	uid   string // of the Node object that owns the objects
	have  map[desired.Announced]desired.Announcement
	// last is the Election that was looked at last; abandoned are objects of others that
	// are not true since.
	last      announce.Election
	abandoned map[announce.Abandoned]bool
	// skip are changes that failed, which are let be until retry.
	skip  map[objectKey]bool
	retry time.Time
	// warned is when it was last said that an address is another machine's too.
	warned map[netip.Addr]time.Time
}

func newRecorded(now time.Time) *recorded {
	return &recorded{started: now, abandoned: map[announce.Abandoned]bool{}, skip: map[objectKey]bool{}, warned: map[netip.Addr]time.Time{}}
}

// objectKey names one object.
type objectKey struct {
	node string
	what desired.Announced
}

// objectChange makes an object say what now does, or deletes it if that is nil.
type objectChange struct {
	objectKey
	now *desired.Announcement
}

// learn takes in what the API says.
func (r *recorded) learn(uid string, list []desired.Announcement) {
	r.known, r.uid, r.have = true, uid, make(map[desired.Announced]desired.Announcement, len(list))
	for _, one := range list {
		r.have[one.Announced] = one
	}
}

// changes returns what is to be done, sorted: first what is new is said, then what is
// not true any more is taken back.
func (r *recorded) changes(now seen, sessions map[string]bool, at time.Time) []objectChange {
	if !at.Before(r.retry) {
		clear(r.skip)
	}
	self := now.table.Node
	want := append(r.layer2(now), r.routes(now, sessions, at)...)
	wanted := make(map[desired.Announced]bool, len(want))
	var puts, deletes []objectChange
	for i := range want {
		one := &want[i]
		wanted[one.Announced] = true
		if had, ok := r.have[one.Announced]; !ok || !slices.Equal(had.Addresses, one.Addresses) || !slices.Equal(had.Through, one.Through) {
			puts = append(puts, objectChange{objectKey{self, one.Announced}, one})
		}
	}
	for what := range r.have {
		if !wanted[what] {
			deletes = append(deletes, objectChange{objectKey: objectKey{self, what}})
		}
	}
	for one := range r.abandoned {
		deletes = append(deletes, objectChange{objectKey: objectKey{one.Node, desired.Announced{Service: one.Service}}})
	}
	slices.SortFunc(deletes, func(a, b objectChange) int { return a.what.Compare(b.what) })
	return slices.DeleteFunc(append(puts, deletes...), func(c objectChange) bool { return r.skip[c.objectKey] })
}

// layer2 returns what the API is to say of layer 2, and notes whose objects are not
// true any more. As long as the node does not know who lives, it leaves everything.
func (r *recorded) layer2(now seen) []desired.Announcement {
	e := now.election
	if !e.Synced || now.live.Nodes[e.Node] == nil {
		return r.had(false)
	}
	for _, one := range e.Abandoned(r.last, now.live) {
		r.abandoned[one] = true
	}
	r.last = e
	for one := range r.abandoned {
		c := now.live.Nodes[one.Node]
		if c != nil && !c.Leaving || !e.Has(e.Node, one.Service) || e.Has(one.Node, one.Service) {
			delete(r.abandoned, one)
		}
	}
	return e.Announcements(now.uplinks)
}

// routes returns what the API is to say of BGP.
func (r *recorded) routes(now seen, sessions map[string]bool, at time.Time) []desired.Announcement {
	want := now.table.Announcements(sessions)
	if at.Sub(r.started) >= startOfSessions {
		return want
	}
	said := map[desired.Announced]int{}
	for i := range want {
		said[want[i].Announced] = i
	}
	for _, had := range r.had(true) {
		i, ok := said[had.Announced]
		if !ok {
			want = append(want, had)
			continue
		}
		all := append(slices.Clone(had.Through), want[i].Through...)
		slices.Sort(all)
		want[i].Through = slices.Compact(all)
	}
	return want
}

func (r *recorded) had(bgp bool) []desired.Announcement {
	var all []desired.Announcement
	for _, one := range r.have {
		if one.BGP == bgp {
			all = append(all, one)
		}
	}
	return all
}

// done takes in that a change was made. It returns the addresses on layer 2 that the
// node has come to announce by it.
func (r *recorded) done(c objectChange, self string) []netip.Addr {
	before := r.have[c.what]
	switch {
	case c.node != self:
		delete(r.abandoned, announce.Abandoned{Service: c.what.Service, Node: c.node})
		return nil
	case c.now == nil:
		delete(r.have, c.what)
		return nil
	}
	r.have[c.what] = *c.now
	return slices.DeleteFunc(slices.Clone(c.now.Addresses), func(a netip.Addr) bool { return slices.Contains(before.Addresses, a) })
}

// counts returns how many objects there are: of layer 2, and of BGP.
func (r *recorded) counts() (count [2]int) {
	for what := range r.have {
		if what.BGP {
			count[1]++
		} else {
			count[0]++
		}
	}
	return count
}

// steady returns the peers with which there has been a session for long enough, and
// when to ask again; zero means that only another change can tell.
func steady(sessions map[string]time.Time, now time.Time) (names map[string]bool, next time.Time) {
	names = map[string]bool{}
	for name, since := range sessions {
		at := since.Add(steadySession)
		switch {
		case !now.Before(at):
			names[name] = true
		default:
			next = sooner(next, at)
		}
	}
	return names, next
}

// sooner returns the first of some times; zero is never.
func sooner(times ...time.Time) time.Time {
	var first time.Time
	for _, t := range times {
		if !t.IsZero() && (first.IsZero() || t.Before(first)) {
			first = t
		}
	}
	return first
}
