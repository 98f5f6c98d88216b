package bfd

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"
)

// Peer is a router with what a session needs.
type Peer struct {
	// Address is the router's, with a zone if it is link-local. Source is this end's;
	// not valid means as the route says.
	Address, Source netip.Addr
	// MultiHop lets the router be more than one hop away (RFC 5883).
	MultiHop bool
	// Receive is how often packets can be taken in at most, Transmit how often they
	// are to be sent; whole microseconds. Multiplier, at least 2, is how many may be
	// missing.
	Receive, Transmit time.Duration
	Multiplier        uint8
	// Passive leaves the first packet to the router.
	Passive bool
}

// Session is what is known of a session.
type Session struct {
	Peer  Peer
	State State
	// Since is when the session went up, or was last lost, or asked for.
	Since time.Time
	// Why says why the session is not up.
	Why string
	// Administrative tells that the router has ended it on purpose, which is no fault
	// of the way to it (RFC 5882, section 3.2).
	Administrative bool
	// Detection is how long the router may be silent.
	Detection time.Duration
	Counters  Counters
}

// Counters are of one session since it was first asked for.
type Counters struct {
	Sent, Received, Ups, Downs uint64
	// Unsent packets could not be sent.
	Unsent uint64
}

// Config is what a Plane is made with.
type Config struct{ Log *slog.Logger }

// Plane holds one session with each router of the last Apply. Make one with New. Its
// methods are safe for concurrent use.
type Plane struct {
	log           *slog.Logger
	wake, changed chan struct{}
	stop          context.CancelFunc
	stopped       sync.WaitGroup

	mu       sync.Mutex
	closed   bool
	entries  map[string]*entry
	numbers  map[uint32]*entry // by this end's discriminator
	ears     map[kind]*listener
	problems map[kind]error
	buffer   []byte
	dropped  uint64
}

// entry is a session with the socket that it sends by.
type entry struct {
	*session
	name     string
	conn     *net.UDPConn
	index    int // of the interface that a link-local address is at, 0 if not known
	problem  error
	counters Counters
	told     State
}

// New returns a Plane without sessions. It opens sockets when there are some, in the
// network namespace of the process.
func New(config Config) *Plane {
	ctx, cancel := context.WithCancel(context.Background())
	p := &Plane{
		log: config.Log.With("component", "bfd"), wake: make(chan struct{}, 1), changed: make(chan struct{}, 1), stop: cancel,
		entries: map[string]*entry{}, numbers: map[uint32]*entry{}, ears: map[kind]*listener{}, problems: map[kind]error{},
	}
	p.stopped.Go(func() { p.run(ctx) })
	return p
}

// Changed receives a value after the state of a session has changed.
func (p *Plane) Changed() <-chan struct{} { return p.changed }

// Dropped returns how many packets were of no session, or not as they must be.
func (p *Plane) Dropped() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.dropped
}

// Sessions returns all sessions by name.
func (p *Plane) Sessions() map[string]Session {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make(map[string]Session, len(p.entries))
	for name, e := range p.entries {
		s := Session{
			Peer: e.peer, State: e.state, Since: e.since, Why: e.why, Detection: e.detection(), Counters: e.counters,
			Administrative: e.state == Down && e.remoteState == AdminDown,
		}
		s.Counters.Ups, s.Counters.Downs = e.ups, e.downs
		if err := errors.Join(p.problems[e.kind()], e.problem); err != nil && e.state != Up {
			s.Why = err.Error()
		}
		all[name] = s
	}
	return all
}

func (e *entry) kind() kind { return kind{e.peer.MultiHop, e.peer.Address.Is6()} }

// Apply makes the sessions those with these peers, by name. New times do not
// interrupt a session, all else makes a new one. Those that are not wanted any more
// are ended in a way that the router does not take for a fault. The error is that of
// a closed Plane; what keeps a session from coming up its Why says.
func (p *Plane) Apply(peers map[string]Peer) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return os.ErrClosed
	}
	now := time.Now()
	for name, e := range p.entries {
		if want, ok := peers[name]; !ok || want.place() != e.peer.place() {
			p.end(e)
		}
	}
	for name, want := range peers {
		if e := p.entries[name]; e != nil {
			if e.peer != want {
				e.configure(now, want)
			}
			continue
		}
		e := &entry{name: name, session: newSession(now, want, p.number(), rand.Float64)}
		e.told = e.state
		p.entries[name], p.numbers[e.local] = e, e
	}
	p.attend()
	signal(p.wake)
	return nil
}

// place is what makes a Peer another one.
func (p Peer) place() Peer {
	return Peer{Address: p.Address, Source: p.Source, MultiHop: p.MultiHop, Passive: p.Passive}
}

// number draws a discriminator that nobody can guess.
func (p *Plane) number() uint32 {
	for {
		if n := rand.Uint32(); n != 0 && p.numbers[n] == nil {
			return n
		}
	}
}

// end says farewell, more than once as packets get lost.
func (p *Plane) end(e *entry) {
	delete(p.entries, e.name)
	delete(p.numbers, e.local)
	for range 3 {
		p.send(e, e.farewell())
	}
	if e.conn != nil {
		_ = e.conn.Close()
	}
}

// attend opens the sockets that the sessions need, and closes the others.
func (p *Plane) attend() {
	needed := map[kind]bool{}
	for _, e := range p.entries {
		needed[e.kind()] = true
	}
	for k, l := range p.ears {
		if !needed[k] {
			l.close()
			delete(p.ears, k)
		}
	}
	maps.DeleteFunc(p.problems, func(k kind, _ error) bool { return !needed[k] })
	for k := range needed {
		if p.ears[k] != nil {
			continue
		}
		l, err := listen(k)
		if err != nil {
			if p.problems[k] == nil {
				p.log.Error("no BFD session can come up", "error", err)
				signal(p.changed)
			}
			p.problems[k] = err
			continue
		}
		delete(p.problems, k)
		p.ears[k] = l
		p.stopped.Go(func() { p.read(l) })
	}
}

// Close ends all sessions in a way that the routers do not take for a fault.
func (p *Plane) Close() error {
	p.mu.Lock()
	if !p.closed {
		p.closed = true
		for _, e := range p.entries {
			p.end(e)
		}
		p.attend()
	}
	p.mu.Unlock()
	p.stop()
	p.stopped.Wait()
	return nil
}

// signal leaves a value in a channel of size one.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
