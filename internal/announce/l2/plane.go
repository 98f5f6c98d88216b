package l2

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/fairlead-net/fairlead/internal/announce"
	"github.com/fairlead-net/fairlead/internal/desired"
)

// Config is what a Plane is made with.
type Config struct {
	Log *slog.Logger
}

// Plane keeps what this machine says on its networks equal to the last applied
// Election. Make one with New. Its methods are safe for concurrent use.
type Plane struct {
	log     *slog.Logger
	netlink *netlink.Handle
	shared  *shared
	look    func(*netlink.Handle) (view, error) // tests replace it
	stop    context.CancelFunc
	stopped sync.WaitGroup
	watched atomic.Pointer[watched]

	mu      sync.Mutex
	closed  bool
	uplinks []string
	// mine are the addresses that this node owns, and the interfaces of each; none
	// means all uplinks.
	mine map[netip.Addr][]string
	// all are those of the Election, with their counters.
	all   map[netip.Addr]*counters
	ports map[int]*port // by index
	// Of the last look at the interfaces: what keeps addresses from being announced,
	// and what could not be done.
	notes   []string
	problem error
}

// New returns a Plane that answers for nothing yet. It needs CAP_NET_RAW, and
// CAP_NET_ADMIN for a larger receive buffer. The Plane belongs to the network
// namespace of the thread that calls New.
func New(config Config) (*Plane, error) {
	where, err := currentNamespace()
	if err != nil {
		return nil, err
	}
	handle, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		where.close()
		return nil, fmt.Errorf("open a netlink socket: %w", err)
	}
	p := &Plane{
		log: config.Log.With("component", "l2"), netlink: handle, look: look, ports: map[int]*port{},
		all: map[netip.Addr]*counters{}, mine: map[netip.Addr][]string{},
	}
	say := func(c *claim, question bool) bool { return c.port.say(c, question) }
	p.shared = &shared{namespace: where, herald: newHerald(p.log, say)}
	p.shared.own.Store(&map[hardware]bool{})
	p.watched.Store(&watched{})
	ctx, cancel := context.WithCancel(context.Background())
	p.stop = cancel
	p.stopped.Go(func() { p.shared.herald.run(ctx) })
	p.stopped.Go(func() { p.watch(ctx) })
	return p, nil
}

// Changed receives a value after Conflicts has changed.
func (p *Plane) Changed() <-chan struct{} { return p.shared.herald.changed }

// Conflicts returns the addresses that another machine claims as well, sorted by
// address and interface.
func (p *Plane) Conflicts() []Conflict { return p.shared.herald.conflicts() }

// Apply makes this machine answer for the addresses that the node owns, and for
// no others; what it gains it announces. An Election that is not synced gains
// nothing, as a node that is not read yet may be the owner, and loses only what
// it says another node owns. The error names each interface where something
// failed; what is possible is done nevertheless, and calling again retries.
func (p *Plane) Apply(ctx context.Context, want announce.Election) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return os.ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	p.mine = owned(want, p.mine)
	all := make(map[netip.Addr]*counters, len(want.Addresses))
	for _, e := range want.Addresses {
		all[e.Address] = p.all[e.Address]
	}
	for a := range p.mine {
		all[a] = p.all[a]
	}
	for a := range all {
		if all[a] == nil {
			all[a] = &counters{}
		}
	}
	p.all = all
	// First of all, and whatever becomes of the rest.
	for _, port := range p.ports {
		port.retain(func(a netip.Addr) bool { _, ok := p.mine[a]; return ok })
	}
	return p.converge()
}

// owned returns the addresses of this node, and their interfaces.
func owned(want announce.Election, before map[netip.Addr][]string) map[netip.Addr][]string {
	mine := map[netip.Addr][]string{}
	if !want.Synced {
		mine = maps.Clone(before)
	}
	for _, e := range want.Addresses {
		_, had := before[e.Address]
		switch isMine := e.Owner != "" && e.Owner == want.Node; {
		case !isMine:
			delete(mine, e.Address)
		case want.Synced || had:
			mine[e.Address] = e.Interfaces
		}
	}
	return mine
}

// ApplyNetwork tells which interfaces are the uplinks: those where addresses are
// announced whose advertisement names none. Nil says that it is not known yet.
func (p *Plane) ApplyNetwork(ctx context.Context, n *desired.Network) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return os.ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	p.uplinks = nil
	if n != nil {
		p.uplinks = slices.Clone(n.Uplinks)
	}
	return p.converge()
}

// converge brings every interface to what is wanted.
func (p *Plane) converge() error {
	p.problem = p.update()
	return p.problem
}

func (p *Plane) update() error {
	if len(p.mine) == 0 && len(p.ports) == 0 && len(p.all) == 0 {
		p.notes = nil
		return nil
	}
	v, err := p.look(p.netlink)
	if err != nil {
		return err
	}
	p.shared.own.Store(&v.own)
	wanted := p.place(v)
	byIndex := map[int]link{}
	for _, l := range v.links {
		byIndex[l.index] = l
	}
	for index, port := range p.ports {
		l, exists := byIndex[index]
		switch {
		case !exists || len(wanted[index]) == 0 || l.name != port.name || l.mac != port.mac:
			p.log.Info("answers no more at an interface", "interface", port.name, "mac", port.mac.String())
			port.close()
			delete(p.ports, index)
		default:
			port.update(l)
		}
	}
	var problems []error
	for _, l := range v.links {
		if len(wanted[l.index]) == 0 {
			continue
		}
		if p.ports[l.index] == nil {
			p.log.Info("answers at an interface", "interface", l.name, "mac", l.mac.String())
			p.ports[l.index] = newPort(p.shared, l)
		}
		problems = append(problems, p.ports[l.index].set(wanted[l.index]))
	}
	return errors.Join(problems...)
}

// place returns which addresses belong to which interface, and notes what has no
// place.
func (p *Plane) place(v view) map[int]map[netip.Addr]*counters {
	p.notes = p.describeLocal(v)
	names := slices.Clone(p.uplinks)
	// Many addresses, few different lists of interfaces.
	lists, addresses := map[string][]string{}, map[string][]netip.Addr{}
	for a, list := range p.mine {
		key := strings.Join(list, "\n")
		lists[key], addresses[key] = list, append(addresses[key], a)
		if len(addresses[key]) == 1 {
			names = append(names, list...)
		}
	}
	wanted, indexes := map[int]map[netip.Addr]*counters{}, map[int]bool{}
	for key, list := range lists {
		links := p.choose(v, list, addresses[key])
		for _, l := range links {
			if wanted[l.index] == nil {
				wanted[l.index], indexes[l.index] = map[netip.Addr]*counters{}, true
			}
			for _, a := range addresses[key] {
				wanted[l.index][a] = p.all[a]
			}
		}
	}
	p.watched.Store(&watched{names: names, indexes: indexes})
	slices.Sort(p.notes)
	p.notes = slices.Compact(p.notes)
	return wanted
}

// Close stops answering. Nothing is said to that end: the next owner announces.
func (p *Plane) Close() error {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil
	}
	p.closed = true
	p.mu.Unlock()
	p.stop()
	p.stopped.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	for index, port := range p.ports {
		port.close()
		delete(p.ports, index)
	}
	p.netlink.Close()
	p.shared.namespace.close()
	return nil
}
