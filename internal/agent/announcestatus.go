package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fairlead-net/fairlead/internal/announce"
	"github.com/fairlead-net/fairlead/internal/announce/l2"
	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/kube"
)

const (
	// Changes are waited for, so that what comes together is written together: batchPause
	// after the first, one object each objectPause.
	batchPause  = time.Second
	objectPause = 100 * time.Millisecond
	// confirmPause is when the objects are read once more after a start: a node that took
	// over meanwhile may have deleted some after the first time.
	confirmPause = 30 * time.Second
	// Failures are tried again after retryFirst, then after twice that, up to retryLast.
	retryFirst = time.Second
	retryLast  = 5 * time.Minute
	// warnPause lies at least between two Events about who else claims an address.
	warnPause = 10 * time.Minute
	// mostFailures in one go are enough to know that all the rest would fail.
	mostFailures = 3
)

// announcementStore are the objects of this node in the API.
type announcementStore interface {
	List(ctx context.Context, uid string) ([]desired.Announcement, error)
	Put(ctx context.Context, uid string, before, now desired.Announcement) error
	Delete(ctx context.Context, node string, what desired.Announced) error
}

// announceStatus says in the API what this node announces: by ServiceL2Status and
// ServiceBGPStatus objects, and by Events. It does so at its leisure: nothing waits
// for it, and what has changed back meanwhile is not written at all.
type announceStatus struct {
	node  string
	log   *slog.Logger
	store announcementStore
	// deleteAll deletes the objects of another node.
	deleteAll func(ctx context.Context, node string) error
	// tell makes a Reason an Event, a warning or not.
	tell func(ctx context.Context, what desired.Reason, warning bool) error
	// sessions are the names of the BGPPeers with which there is a session, and since
	// when; nil where BGP is not spoken.
	sessions func() map[string]time.Time
	// conflicts are the addresses of this node that others claim.
	conflicts   func() []l2.Conflict
	conflicting <-chan struct{} // has a value after they have changed
	woken       chan struct{}   // of size one

	mu       sync.Mutex
	seen     seen
	departed departed
	// reread is when the objects are to be read again; zero means that there is no need.
	reread  time.Time
	count   [2]int // of the objects that were written: of layer 2, and of BGP
	problem string

	*recorded // that of run
}

// newAnnounceStatus has what this node announces told in the API. sessions returns the
// BGPPeers with which there is a session, and since when; after a change of it wake is
// to be called.
func (a *Agent) newAnnounceStatus(client *kube.Client, events *kube.EventWriter, answers *l2.Plane, sessions func() map[string]time.Time) *announceStatus {
	store := kube.NewAnnouncements(client, a.options.Config.LoadBalancer.Namespace, a.options.Node)
	s := &announceStatus{
		node: a.options.Node, log: a.log.With("component", "announce-status"), store: store, deleteAll: store.DeleteAll,
		sessions: sessions, conflicts: answers.Conflicts, conflicting: answers.Changed(), woken: make(chan struct{}, 1),
		tell: events.Tell,
	}
	a.services = append(a.services, s.run)
	return s
}

// seen is what follows from the cluster and from who lives.
type seen struct {
	version  uint64
	about    desired.NodeObject
	uplinks  []string
	table    announce.Table
	election announce.Election
	live     announce.Live
}

// change wakes the loop, for which nobody waits.
func (s *announceStatus) change(edit func(*seen)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	edit(&s.seen)
	s.seen.version++
	s.wake()
}

// wake has the loop look again at sessions and conflicts.
func (s *announceStatus) wake() {
	select {
	case s.woken <- struct{}{}:
	default:
	}
}

// offer hands over what there is to announce, and what is known of the node.
func (s *announceStatus) offer(t announce.Table, n desired.Node) {
	s.change(func(now *seen) {
		now.table, now.uplinks, now.about = t, nil, desired.NodeObject{}
		if n.Network != nil {
			now.uplinks = n.Network.Uplinks
		}
		if n.About != nil {
			now.about = *n.About
		}
	})
}

// elected hands over who announces what on layer 2.
func (s *announceStatus) elected(e announce.Election, live announce.Live) {
	s.change(func(now *seen) {
		now.election, now.live = e, live
		if s.departed.note(live, time.Now()) {
			s.reread = time.Now().Add(mourned)
		}
	})
}

// run writes until ctx ends.
func (s *announceStatus) run(ctx context.Context) error {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	s.recorded = newRecorded(time.Now())
	pause := retryFirst
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.woken:
		case <-s.conflicting:
		case <-timer.C:
		}
		if !sleep(ctx, batchPause) {
			return nil
		}
		next, err := s.turn(ctx)
		s.note(err)
		switch {
		case err != nil && ctx.Err() == nil:
			wait := pause/2 + rand.N(pause) // nodes with the same trouble do not retry together
			s.log.Error("what is announced is not written into the API", "error", err, "retry_in", wait)
			pause = min(2*pause, retryLast)
			next = sooner(next, s.again(time.Now().Add(wait)))
			if !s.known && !sleep(ctx, wait) {
				return nil
			}
		case len(s.skip) == 0:
			pause = retryFirst
		}
		timer.Reset(time.Hour)
		if !next.IsZero() {
			timer.Reset(max(time.Until(next), 0))
		}
	}
}

// again has what failed tried again, after another look at what there is.
func (s *announceStatus) again(at time.Time) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.retry, s.reread = at, sooner(s.reread, at)
	return at
}

// turn writes all that differs. It returns when to look again though nothing changes;
// zero means never. An object that cannot be written does not keep the others from it.
func (s *announceStatus) turn(ctx context.Context) (time.Time, error) {
	var failed []error
	for ctx.Err() == nil {
		now, ready := s.current()
		if !ready {
			return time.Time{}, nil
		}
		if err := s.read(ctx, now.about.UID); err != nil {
			s.known = false
			return time.Time{}, err
		}
		peers, _ := steady(s.sessions(), time.Now())
		todo := s.changes(now, peers, time.Now())
		if len(todo) == 0 {
			break
		}
		for _, c := range todo {
			if err := s.do(ctx, now.about.UID, c); err != nil {
				s.skip[c.objectKey], s.retry = true, time.Now().Add(retryLast)
				if failed = append(failed, err); len(failed) == mostFailures {
					s.known = false
					return time.Time{}, errors.Join(failed...)
				}
			}
			if !sleep(ctx, objectPause) || s.superseded(now) {
				break
			}
		}
	}
	s.warn(ctx)
	next, err := s.bury(ctx)
	return next, errors.Join(append(failed, err)...)
}

// current returns what is to be told, if enough is known.
func (s *announceStatus) current() (seen, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen, s.seen.table.Synced && s.seen.about.UID != ""
}

func (s *announceStatus) superseded(now seen) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen.version != now.version
}

// read learns what the API says if that is not known, or may not be so any more.
func (s *announceStatus) read(ctx context.Context, uid string) error {
	s.mu.Lock()
	due := !s.reread.IsZero() && !time.Now().Before(s.reread)
	s.mu.Unlock()
	if s.known && s.uid == uid && !due {
		return nil
	}
	list, err := s.store.List(ctx, uid)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.uid == "":
		s.reread = time.Now().Add(confirmPause)
	case due:
		s.reread = time.Time{}
	}
	s.learn(uid, list)
	return nil
}

// do makes one change.
func (s *announceStatus) do(ctx context.Context, uid string, c objectChange) error {
	var err error
	if c.now == nil {
		err = s.store.Delete(ctx, c.node, c.what)
	} else {
		err = s.store.Put(ctx, uid, s.have[c.what], *c.now)
	}
	if err != nil {
		return err
	}
	if gained := s.done(c, s.node); len(gained) > 0 {
		s.event(ctx, c.what.Service, false, "nodeAssigned", fmt.Sprintf("announcing from node %q with protocol %q: %s", s.node, "layer2", joined(gained)))
	}
	return nil
}

// event is a courtesy: one that cannot be written is not tried again.
func (s *announceStatus) event(ctx context.Context, service desired.Name, warning bool, code, message string) {
	ref := desired.Ref{Kind: "Service", Namespace: service.Namespace, Name: service.Name}
	if err := s.tell(ctx, desired.Reason{Object: ref, Code: code, Message: message}, warning); err != nil {
		s.log.Debug("no Event", "service", service.String(), "code", code, "error", err)
	}
}

// warn tells the owners of addresses that other machines claim.
func (s *announceStatus) warn(ctx context.Context) {
	now, _ := s.current()
	for _, c := range s.conflicts() {
		last, ok := s.warned[c.Address]
		if ok && (!c.Since.After(last) || time.Since(last) < warnPause) {
			continue
		}
		i := slices.IndexFunc(now.election.Addresses, func(e announce.Elected) bool { return e.Address == c.Address })
		if i < 0 {
			continue
		}
		s.warned[c.Address] = time.Now()
		for _, service := range now.election.Addresses[i].Services {
			s.event(ctx, service, true, "AddressConflict", c.String())
			if !sleep(ctx, objectPause) {
				return
			}
		}
	}
	for address, last := range s.warned {
		if time.Since(last) > forgotten {
			delete(s.warned, address)
		}
	}
}

// bury deletes the objects of nodes that are gone. It returns when to look again.
func (s *announceStatus) bury(ctx context.Context) (time.Time, error) {
	s.mu.Lock()
	names, next := s.departed.due(s.node, len(s.seen.table.Nodes), time.Now())
	next = sooner(next, s.reread)
	s.mu.Unlock()
	_, steadied := steady(s.sessions(), time.Now())
	next = sooner(next, steadied)
	if grown := s.started.Add(startOfSessions); time.Now().Before(grown) {
		next = sooner(next, grown)
	}
	var failed []error
	for _, name := range names {
		if err := s.deleteAll(ctx, name); err != nil {
			failed = append(failed, err)
			continue
		}
		s.log.Info("deleted what the API said of the announcements of a node that is gone", "node", name)
		s.mu.Lock()
		s.departed.bury(name)
		s.mu.Unlock()
	}
	return next, errors.Join(failed...)
}

func (s *announceStatus) note(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.problem, s.count = "", s.counts()
	if err != nil {
		s.problem = err.Error()
	}
}

// Describe says in words what the API says.
func (s *announceStatus) Describe() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	lines := []string{fmt.Sprintf("tells of its announcements by %d ServiceL2Status and %d ServiceBGPStatus objects", s.count[0], s.count[1])}
	if s.problem != "" {
		lines = append(lines, strings.Split("these are not up to date, which keeps nothing from working: "+s.problem, "\n")...)
	}
	return lines
}

// sleep returns false if ctx ended.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
