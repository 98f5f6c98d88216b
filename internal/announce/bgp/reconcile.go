package bgp

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/osrg/gobgp/v4/api"

	"github.com/fairlead-net/fairlead/internal/announce/bgp/bfd"
	"github.com/fairlead-net/fairlead/internal/desired"
)

const (
	// refresh is how often the node's own addresses are looked at.
	refresh = 30 * time.Second
	// retry lies between attempts at what failed.
	retry = 2 * time.Second
	// verify is when to look whether GoBGP did what it was asked for.
	verify = 500 * time.Millisecond
)

// entry is a router with what there is of a session.
type entry struct {
	want    wanted
	session neighbor // what GoBGP has, if installed
	// down tells that GoBGP is asked to make no session for now.
	installed, down bool
	paths           []path // sorted by prefix
	around          surroundings
	looked          time.Time
	// problem says why no session can be made now, untold what the router is not told.
	problem, untold string
	settled         settled
	damper          damper
	heldUntil       time.Time
	verifyAt        time.Time
	bfdDowns        uint64 // of the present session of BFD
	watched         watched
	as              uint32 // what the router said, where any is taken
	peeking         bool
	peekAfter       time.Time
	tally           tally
}

// settled is what paths were made of. It is comparable, routes apart.
type settled struct {
	session  neighbor
	around   surroundings
	extended bool
}

// reconcile makes what there is what is wanted, as far as it can be done now.
func (p *Plane) reconcile(now time.Time) error {
	want := p.target(now)
	errs := []error{p.serve(want)}
	keep := map[desired.Name]bool{}
	for _, w := range want.peers {
		keep[w.Name] = true
		e := p.entries[w.Name]
		if e == nil {
			e = &entry{}
			p.entries[w.Name] = e
		}
		if !slices.EqualFunc(e.want.routes, w.routes, told.equal) {
			e.settled = settled{}
		}
		e.want = w
	}
	for name, e := range p.entries {
		if !keep[name] {
			errs = append(errs, p.uninstall(e))
			delete(p.entries, name)
		}
	}
	p.explore()
	sessions := p.bfd.Sessions()
	watched := map[string]bfd.Peer{}
	for _, w := range want.peers {
		e := p.entries[w.Name]
		p.judge(now, e, sessions)
		if err := p.converge(now, e); err != nil {
			errs = append(errs, fmt.Errorf("BGPPeer %s: %w", w.Name, err))
		}
		if peer, ok := p.watch(e); ok {
			watched[w.Name.String()] = peer
		}
	}
	errs = append(errs, p.bfd.Apply(watched))
	p.failed = errors.Join(errs...)
	return p.failed
}

// serve has GoBGP running if there is a session to make, with the router ID that is
// wanted. Another router ID needs all sessions anew.
func (p *Plane) serve(want plan) error {
	needed := false
	for _, w := range want.peers {
		needed = needed || w.refused == ""
	}
	id := want.routerID
	if !id.IsValid() {
		id = p.config.RouterID
	}
	var err error
	if p.server != nil && needed && id != p.routerID {
		err = p.unserve()
	}
	if p.server == nil && needed {
		s, failed := startServer(id, p.journal, p.log)
		if err = errors.Join(err, failed); failed == nil {
			p.server, p.routerID = s, id
		}
	}
	return err
}

// unserve stops GoBGP.
func (p *Plane) unserve() error {
	if p.server == nil {
		return nil
	}
	p.count()
	err := p.server.stop()
	for _, e := range p.entries {
		if e.installed {
			p.journal.close(e.session.key())
		}
		e.tally.renew()
		e.installed, e.down, e.paths, e.settled = false, false, nil, settled{}
	}
	p.server = nil
	return err
}

// converge makes the session with one router, and what it is told.
func (p *Plane) converge(now time.Time, e *entry) error {
	if e.want.refused != "" || p.server == nil {
		return p.uninstall(e)
	}
	n, known := p.locate(now, e)
	if !known {
		if e.installed { // it may go on
			return p.hold(now, e)
		}
		return nil
	}
	e.problem = ""
	if e.installed && n.key() != e.session.key() {
		e.forgive()
		if err := p.uninstall(e); err != nil {
			return err
		}
	}
	if e.installed && n != e.session {
		p.count()
		if err := p.server.update(n); err != nil {
			return errors.Join(err, p.uninstall(e))
		}
		if n.timers(e.session) != e.session { // GoBGP begins anew
			e.tally.renew()
			e.down = false
			e.forgive()
			p.journal.forgive(n.key())
		}
		e.session = n
	}
	if err := p.tell(e, n); err != nil {
		return err
	}
	return p.hold(now, e)
}

// forgive forgets what went wrong with another configuration, so that one that has
// been corrected counts at once.
func (e *entry) forgive() {
	e.damper, e.heldUntil, e.peekAfter = damper{}, time.Time{}, time.Time{}
}

// tell makes the paths of a session what they are to be.
func (p *Plane) tell(e *entry, n neighbor) error {
	record := p.journal.get(n.key())
	extended := n.unnumbered()
	if record.seen {
		extended = record.extended
	}
	now := settled{n, e.around, extended}
	if e.installed && e.settled == now {
		return nil
	}
	paths, untold := n.paths(e.want.routes, e.around, extended)
	if !e.installed {
		if err := p.server.add(n, paths); err != nil {
			return err
		}
		e.session, e.installed, e.down = n, true, false
	} else {
		changed, gone := differ(e.paths, paths)
		// The new ones first: they may be shorter prefixes of what goes.
		if err := errors.Join(p.server.announce(n, changed), p.server.withdraw(n, gone)); err != nil {
			e.settled = settled{}
			return err
		}
	}
	e.paths, e.untold, e.settled = paths, untold, now
	return nil
}

// uninstall ends a session.
func (p *Plane) uninstall(e *entry) error {
	if !e.installed || p.server == nil {
		return nil
	}
	p.count()
	e.tally.renew()
	e.installed, e.down, e.paths, e.settled = false, false, nil, settled{}
	return p.server.remove(e.session)
}

// hold keeps GoBGP from making a session for a time, or lets it.
func (p *Plane) hold(now time.Time, e *entry) error {
	wanted := now.Before(e.heldUntil)
	if wanted == e.down && (e.verifyAt.IsZero() || now.Before(e.verifyAt)) {
		return nil
	}
	if wanted == e.down {
		e.verifyAt = time.Time{}
		peers, err := p.server.look()
		state := peers[e.session.key()].GetState().GetAdminState()
		if err != nil || (state != api.PeerState_ADMIN_STATE_UP) == wanted {
			return err
		}
	}
	p.count()
	e.down, e.verifyAt = wanted, now.Add(verify)
	return p.server.hold(e.session, wanted)
}

// next is when there is something to do without anything happening.
func (p *Plane) next(now time.Time) time.Time {
	next := now.Add(refresh)
	if p.failed != nil {
		next = now.Add(retry)
	}
	earlier := func(at time.Time) {
		if at.After(now) && at.Before(next) {
			next = at
		}
	}
	if p.unavailable != "" {
		earlier(p.leaveAt)
	}
	for _, e := range p.entries {
		earlier(e.heldUntil)
		earlier(e.verifyAt)
		if e.problem != "" {
			earlier(now.Add(retry))
		}
	}
	return next
}
