package probe

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fairlead-net/fairlead/internal/announce"
)

// Config is what a Plane is made with.
type Config struct {
	Log  *slog.Logger
	Node string // this node
	// Port is the UDP port of all nodes.
	Port uint16
	// Key returns the key that the nodes share; an empty one means that there is
	// none, and then nobody is alive. It is asked once a second, so it must return at
	// once. The key before stays good for five minutes.
	Key func() []byte
	// Interval is the time between two packets to a node, and Misses how many of them
	// may remain without an answer until it counts as dead.
	Interval time.Duration
	Misses   int
}

// Plane probes the other nodes. Make one with New. Its methods are safe for
// concurrent use.
type Plane struct {
	config   Config
	log      *slog.Logger
	counters counters
	live     atomic.Pointer[announce.Live]
	changed  chan struct{}
	wake     chan struct{}
	stop     context.CancelFunc
	running  sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	machine *machine
	keys    keys
	keyRead time.Time
	table   announce.Table
	sockets map[netip.Addr]*socket
	buffer  []byte
	// due is when the loop means to be awake, by a clock that no suspension stops.
	due time.Duration
	// unsent is why the last packet was not sent that was not.
	unsent error
}

// New returns a Plane that knows of no other node yet.
func New(config Config) (*Plane, error) {
	switch {
	case config.Node == "" || len(config.Node) > maxName:
		return nil, fmt.Errorf("node name %q is empty or longer than %d bytes", config.Node, maxName)
	case config.Port == 0 || config.Key == nil:
		return nil, errors.New("a port and a key are needed to probe other nodes")
	case config.Interval < time.Millisecond || config.Interval > maxInterval || config.Misses < 2:
		return nil, fmt.Errorf("probes cannot be sent every %s, of which %d may be missed: the interval must be 1ms to %s, and 2 the least that may be missed", config.Interval, config.Misses, maxInterval)
	}
	log := config.Log.With("component", "probe")
	p := &Plane{
		config: config, log: log, changed: make(chan struct{}, 1), wake: make(chan struct{}, 1),
		machine: newMachine(config.Node, config.Interval, config.Misses, time.Now(), log),
		sockets: map[netip.Addr]*socket{}, buffer: make([]byte, 0, maxPacket),
	}
	p.live.Store(&announce.Live{})
	ctx, cancel := context.WithCancel(context.Background())
	p.stop = cancel
	p.running.Go(func() { p.run(ctx) })
	return p, nil
}

// Live returns who is alive. Of a Plane that was closed nobody is.
func (p *Plane) Live() announce.Live { return *p.live.Load() }

// Changed receives a value after Live has changed.
func (p *Plane) Changed() <-chan struct{} { return p.changed }

// Leave makes this node say from now on that it is about to go, so that others
// take its addresses over while it still announces them.
func (p *Plane) Leave() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.machine.leave(time.Now())
	p.publish()
	signal(p.wake)
}

// Apply probes the nodes of a Table and tells them what this node offers. It
// listens at this node's addresses there, in the network namespace of the thread
// that calls Apply for the first time with them. A Table that is not synced changes
// nothing. The error says where it cannot listen; what is possible is done
// nevertheless, and calling again retries.
func (p *Plane) Apply(ctx context.Context, want announce.Table) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return os.ErrClosed
	}
	if err := ctx.Err(); err != nil || !want.Synced {
		return err
	}
	p.table = want
	err := p.listen(own(want, p.config.Node))
	p.converge(time.Now())
	signal(p.wake)
	return err
}

// own returns the addresses of this node.
func own(t announce.Table, node string) []netip.Addr {
	i, found := slices.BinarySearchFunc(t.Nodes, node, func(n announce.Node, name string) int { return strings.Compare(n.Name, name) })
	if !found {
		return nil
	}
	return t.Nodes[i].Addresses
}

// listen opens and closes sockets until they are those of the addresses. A node
// that is not known to the others keeps those that it has.
func (p *Plane) listen(addresses []netip.Addr) error {
	if len(addresses) == 0 {
		return nil
	}
	var failed []error
	for _, a := range addresses {
		if p.sockets[a] != nil {
			continue
		}
		s, err := listen(netip.AddrPortFrom(a, p.config.Port))
		if err != nil {
			failed = append(failed, fmt.Errorf("cannot listen for probes of other nodes: %w", err))
			continue
		}
		p.sockets[a] = s
		p.running.Go(func() { p.read(s) })
	}
	for a, s := range p.sockets {
		if !slices.Contains(addresses, a) {
			s.close()
			delete(p.sockets, a)
		}
	}
	return errors.Join(failed...)
}

// converge makes the machine work for the Table, the key and the sockets.
func (p *Plane) converge(now time.Time) {
	var targets []target
	for _, n := range p.table.Nodes {
		if n.Name != p.config.Node {
			targets = append(targets, target{n.Name, p.reach(n)})
		}
	}
	expected := p.keys.current != nil && len(p.sockets) > 0 && len(own(p.table, p.config.Node)) > 0
	p.machine.apply(now, targets, expected, packOffers(p.table.OfferHashes()))
	p.publish()
}

// reach returns where a node is probed: at the first of its addresses that is of a
// family which this node listens in, as both ends then come to the same family.
func (p *Plane) reach(n announce.Node) netip.AddrPort {
	for _, a := range n.Addresses {
		for mine := range p.sockets {
			if mine.Is4() == a.Is4() {
				return netip.AddrPortFrom(a, p.config.Port)
			}
		}
	}
	return netip.AddrPort{}
}

// publish tells of what has changed.
func (p *Plane) publish() {
	if !p.machine.changed || p.closed {
		return
	}
	p.machine.changed = false
	live := p.machine.live()
	p.live.Store(&live)
	signal(p.changed)
}

// signal leaves a value in a channel of size one.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Close tells the other nodes that this one offers nothing any more, and lets go
// of the sockets.
func (p *Plane) Close() error {
	p.stop()
	p.mu.Lock()
	if !p.closed {
		p.farewell(time.Now())
		p.closed = true
		p.live.Store(&announce.Live{})
		signal(p.changed)
	}
	for _, s := range p.sockets {
		s.close()
	}
	p.mu.Unlock()
	p.running.Wait()
	return nil
}

// Describe says in words who is alive, and what keeps this node or others from
// being so.
func (p *Plane) Describe() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	m, now := p.machine, time.Now()
	silent := m.silent()
	lines := []string{fmt.Sprintf("probes %d nodes every %s, of which %d are alive; one that does not answer for %s counts as dead",
		len(m.order), m.pace().Round(time.Millisecond), len(m.order)-len(silent), (time.Duration(m.misses) * m.pace()).Round(time.Millisecond))}
	switch {
	case p.keys.current == nil:
		lines = append(lines, "no address is announced by ARP or NDP: there is no key to sign probes with (loadBalancer.probes.keyFile)")
	case len(own(p.table, p.config.Node)) == 0:
		lines = append(lines, "this node announces nothing by ARP or NDP yet: the others do not know of it, as the Service of the nodes (lb.nodeService) has no endpoint on it")
	case len(p.sockets) == 0:
		lines = append(lines, "this node announces nothing by ARP or NDP: it cannot listen for probes")
	case !m.joined:
		lines = append(lines, "this node announces nothing by ARP or NDP yet: it waits for the others to answer")
	case m.leaving:
		lines = append(lines, "this node is leaving")
	}
	if p.unsent != nil {
		lines = append(lines, fmt.Sprintf("the last probe that could not be sent: %v", p.unsent))
	}
	const most = 5
	for i, s := range silent {
		if i == most {
			lines = append(lines, fmt.Sprintf("%d more nodes do not answer", len(silent)-most))
			break
		}
		lines = append(lines, "node "+s.name+" "+m.why(now, s))
	}
	return lines
}
