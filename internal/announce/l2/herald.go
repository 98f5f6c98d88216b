package l2

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// announceEvery paces all that is said without being asked: at most 1,000
	// announcements and questions a second, of which announceBurst may go at once.
	// An announcement by ARP is two frames.
	announceEvery = time.Millisecond
	announceBurst = 100
	// defendInterval lies between two announcements against another machine's (RFC
	// 5227, section 2.4 and DEFEND_INTERVAL).
	defendInterval = 10 * time.Second
	// silences is how many questions in a row must stay unanswered until another
	// machine's claim is over.
	silences = 2
	// unasked is how long after another machine was heard it stays a rival though it cannot
	// be asked. An interface that is new has no address to ask from for some two seconds,
	// until it is known to be its own (RFC 4862, section 5.4).
	unasked = 10 * time.Second
	// At most conflictBurst lines are logged about conflicts at once, and one more
	// each conflictEvery: others decide how many there are.
	conflictEvery = 10 * time.Second
	conflictBurst = 20
)

// claim is an address that this node has at one interface. All but the first
// group belongs to the herald.
type claim struct {
	address  netip.Addr
	port     *port
	counters *counters

	lost bool
	// round counts how often its announcements have begun.
	round               int
	rival               *rival // nil without
	defended            time.Time
	defending, reported bool
}

// rival is another machine that claims the same address at the same interface:
// the last one heard, should there be several.
type rival struct {
	hardware hardware
	since    time.Time
	// heard and probed are when it spoke last, and when it was asked last, or
	// was to be asked: asked says which.
	heard, probed time.Time
	asked         bool
	silent        int
	next          step // when to ask again, once it has answered
}

// Conflict is another machine that claims an address which this node owns.
// Clients may reach it instead of the Service.
type Conflict struct {
	Address   netip.Addr
	MAC       net.HardwareAddr // of the other machine
	Interface string           // of this node
	Since     time.Time
}

// counters are those of one address, at all interfaces.
type counters struct{ requests, responses, gratuitous atomic.Uint64 }

// speaker says something about a claim: an announcement, or the question whether
// another machine has it. False means that the interface has no address to ask from.
type speaker func(c *claim, question bool) bool

// herald says what is to be said without being asked.
//
// When another machine claims an address, then either it will give way, or this
// node will, or nobody does. So the node waits a second, announces its claim once
// if it still has it, and from then on only asks: that changes no cache, so two
// nodes that both mean to be the owner do not make the clients' caches flap,
// and the one that gained the address last has them, as it announces for four
// seconds. When the other has fallen silent, the node announces once more, so
// that the last word is the owner's.
type herald struct {
	log  *slog.Logger
	say  speaker
	wake chan struct{} // of size one, like changed
	// changed is told when the list of conflicts has changed.
	changed chan struct{}

	mu       sync.Mutex
	schedule schedule
	budget   bucket
	logging  bucket
	unlogged int
	rivals   map[*claim]bool // claims with a rival
}

func newHerald(log *slog.Logger, say speaker) *herald {
	return &herald{
		log: log, say: say, wake: make(chan struct{}, 1), changed: make(chan struct{}, 1), rivals: map[*claim]bool{},
		budget:  bucket{every: announceEvery, most: announceBurst},
		logging: bucket{every: conflictEvery, most: conflictBurst},
	}
}

// gain announces claims, also such as were announced before.
func (h *herald) gain(claims []*claim) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	for _, c := range claims {
		c.round++
		h.schedule.push(stepFirst, now, c)
	}
	signal(h.wake)
}

// lose ends claims: nothing is said about them from the return on.
func (h *herald) lose(claims []*claim) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, c := range claims {
		c.lost = true
		if delete(h.rivals, c); c.reported {
			signal(h.changed)
		}
	}
}

// heard takes note that another machine has claimed an address: loudly, so that
// everybody has heard it, or as an answer.
func (h *herald) heard(c *claim, from hardware, loud bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if c.lost {
		return
	}
	now := time.Now()
	if c.rival == nil {
		c.rival = &rival{since: now, next: stepProbe}
		h.rivals[c] = true
		h.schedule.push(stepProbe, now, c)
		signal(h.wake)
	}
	c.rival.hardware, c.rival.heard = from, now
	if loud && !c.defending && (c.defended.IsZero() || now.Sub(c.defended) >= defendInterval) {
		c.defending = true
		h.schedule.push(stepDefend, now, c)
		signal(h.wake)
	}
}

// run says what is due, until ctx ends.
func (h *herald) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-h.wake:
		case <-timer.C:
		}
		if wait := h.turn(time.Now()); wait >= 0 {
			timer.Reset(wait)
		}
	}
}

// turn says what is due and paid for, and returns how long there is nothing; a
// negative time means until woken. It speaks under the lock, so that nothing is
// said of a lost claim.
func (h *herald) turn(now time.Time) time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		// Nothing due costs nothing.
		before := h.budget
		if wait := h.budget.take(now); wait > 0 {
			return wait
		}
		j, what, wait := h.schedule.pop(now)
		if j.claim == nil {
			h.budget = before
			return wait
		}
		h.perform(j.claim, what, now)
	}
}

func (h *herald) perform(c *claim, what step, now time.Time) {
	switch {
	case what < stepLast:
		h.announce(c)
		h.schedule.push(what+1, now, c)
	case what == stepLast:
		h.announce(c)
		h.schedule.push(stepVerify, now, c)
	case what == stepDefend:
		c.defending = false
		if c.rival != nil {
			c.defended = now
			h.announce(c)
		}
	case what == stepVerify:
		h.say(c, true)
	case what <= stepRarely:
		h.report(c, true)
		h.probe(c, now)
	default:
		h.judge(c, now)
	}
}

func (h *herald) announce(c *claim) {
	c.counters.gratuitous.Add(1)
	h.say(c, false)
}

// probe asks the rival.
func (h *herald) probe(c *claim, now time.Time) {
	c.rival.probed, c.rival.asked = now, h.say(c, true)
	h.schedule.push(stepJudge, now, c)
}

// judge looks whether the rival has answered, or said anything else since it was
// asked. One that is silent is asked again, and then is a rival no more.
func (h *herald) judge(c *claim, now time.Time) {
	r := c.rival
	if !r.heard.Before(r.probed) {
		r.silent = 0
		h.schedule.push(r.next, now, c)
		r.next = min(r.next+1, stepRarely)
		return
	}
	if !r.asked && now.Sub(r.heard) < unasked {
		h.probe(c, now) // who was not asked is not silent
		return
	}
	if r.silent++; r.silent < silences {
		h.probe(c, now)
		return
	}
	h.report(c, false)
	c.rival = nil
	delete(h.rivals, c)
	c.round++
	h.announce(c)
	h.schedule.push(stepLast, now, c)
}

// report logs that a conflict has begun or ended, once each.
func (h *herald) report(c *claim, begun bool) {
	if c.reported == begun {
		return
	}
	c.reported = begun
	signal(h.changed)
	if h.logging.take(time.Now()) > 0 {
		h.unlogged++
		return
	}
	attributes := []any{"address", c.address, "interface", c.port.name, "mac", c.rival.hardware.String(), "not_logged_before", h.unlogged}
	h.unlogged = 0
	if begun {
		h.log.Warn("another machine claims the address of a Service", attributes...)
	} else {
		h.log.Info("no other machine claims the address of a Service any more", attributes...)
	}
}

// conflicts returns those that have lasted a second, by address and interface.
func (h *herald) conflicts() []Conflict {
	h.mu.Lock()
	defer h.mu.Unlock()
	var list []Conflict
	for c := range h.rivals {
		if c.reported {
			list = append(list, Conflict{
				Address: c.address, MAC: slices.Clone(c.rival.hardware[:]), Interface: c.port.name, Since: c.rival.since,
			})
		}
	}
	slices.SortFunc(list, func(a, b Conflict) int {
		if n := a.Address.Compare(b.Address); n != 0 {
			return n
		}
		return strings.Compare(a.Interface, b.Interface)
	})
	return list
}

// signal leaves a value in a channel of size one.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
