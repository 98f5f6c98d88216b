package agent

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/fairlead-net/fairlead/internal/announce"
	"github.com/fairlead-net/fairlead/internal/announce/l2"
	"github.com/fairlead-net/fairlead/internal/announce/probe"
	"github.com/fairlead-net/fairlead/internal/config"
	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/ipam"
	"github.com/fairlead-net/fairlead/internal/kube"
	"github.com/fairlead-net/fairlead/internal/reconcile"
)

// handover is how long a node that stops goes on answering ARP and NDP after it
// has told the others, who take its addresses over meanwhile.
const handover = 300 * time.Millisecond

// AnnounceOptions are the administrator's choices.
func AnnounceOptions(c config.Config) announce.Options {
	return announce.Options{
		NodeService: LBOptions(c).NodeService, Default: c.LoadBalancer.Default,
		Classes: append(slices.Clone(c.LoadBalancer.Classes), ipam.Class), Routes: announce.ExtraRoutes(c.LoadBalancer.BGP),
	}
}

// newAnnounce wires the announcement of addresses. On layer 2 probes say which nodes
// live, and from that follows whose each address is; routers are told by BGP.
func (a *Agent) newAnnounce(client *kube.Client) ([]pipeline, error) {
	c := a.options.Config.LoadBalancer.Probes
	probes, err := probe.New(probe.Config{
		Log: a.log, Node: a.options.Node, Port: c.Port, Key: keyOf(c.KeyFile), Interval: c.Interval, Misses: c.Misses,
	})
	if err != nil {
		return nil, err
	}
	answers, err := l2.New(l2.Config{Log: a.log})
	if err != nil {
		return nil, errors.Join(err, probes.Close())
	}
	events := kube.NewEventWriter(client, a.log)
	a.services = append(a.services, func(ctx context.Context) error {
		<-ctx.Done()
		events.Close()
		return nil
	})
	peers, sessions := a.newBGP(events)
	statuses := a.newAnnounceStatus(client, events, answers, peers.established)
	peers.changes = statuses.wake
	l := &layer2{
		Plane: answers, probes: probes, network: a.network.Current, tables: make(chan announce.Table, 1),
		handing: newHanding(a.passers, a.log), elected: statuses.elected,
	}
	probing := reconcile.New("announce-probe", probes, func(t announce.Table) uint64 { return t.Revision }, a.log)
	l.loop = reconcile.New[announce.Election]("announce-l2", l, func(e announce.Election) uint64 { return e.Revision }, a.log)
	options := AnnounceOptions(a.options.Config)
	var last announce.Table
	offer := func(s *desired.State) {
		last, _ = announce.Compile(s, last, options)
		probing.Offer(last)
		l.offer(last)
		peers.loop.Offer(last)
		statuses.offer(last, s.Node)
	}
	a.services = append(a.services, l.elect)
	a.announces = l.announces
	a.registry.MustRegister(&layer2Metrics{l})
	serves := func() bool { return a.serves == nil || a.serves() }
	probed, offering := onceServed(serves, pipeline{
		offer: offer, run: outliving(probing.Run, probes.Leave), health: probing.Health, notes: func() []string {
			if !serves() {
				return []string{"announces nothing until nftables has been written once: see lb-nft"}
			}
			return probes.Describe()
		},
	})
	a.services = append(a.services, offering)
	return []pipeline{
		onceKnown(probed),
		{offer: func(*desired.State) {}, run: outliving(l.loop.Run, func() {}), health: l.loop.Health, notes: func() []string {
			return slices.Concat(answers.Describe(), l.handing.describe(), statuses.Describe())
		}},
		sessions,
	}, nil
}

// servesPoll is how often a node that has just started looks whether it serves.
const servesPoll = 20 * time.Millisecond

// onceServed keeps States from a pipeline until serves says that this node's kernel
// has what packets from outside need: others send them where an address is announced.
// The pipeline gets its States from the function that it returns beside it.
func onceServed(serves func() bool, p pipeline) (pipeline, func(context.Context) error) {
	states := make(chan *desired.State, 1)
	offer := p.offer
	p.offer = func(s *desired.State) {
		select {
		case <-states:
		default:
		}
		states <- s
	}
	return p, func(ctx context.Context) error {
		poll := time.NewTicker(servesPoll)
		defer poll.Stop()
		var waits *desired.State
		for {
			select {
			case <-ctx.Done():
				return nil
			case waits = <-states:
			case <-poll.C:
			}
			if waits == nil || !serves() {
				continue
			}
			poll.Stop()
			offer(waits)
			waits = nil
		}
	}
}

// outliving runs something for as long as a handover takes after ctx has ended and
// leave was called.
func outliving(run func(context.Context) error, leave func()) func(context.Context) error {
	return func(ctx context.Context) error {
		inner, cancel := context.WithCancel(context.WithoutCancel(ctx))
		stop := context.AfterFunc(ctx, func() {
			leave()
			time.AfterFunc(handover, cancel)
		})
		defer stop()
		defer cancel()
		return run(inner)
	}
}

// keyOf returns a function that reads the key by which nodes believe each other.
func keyOf(file string) func() []byte {
	return func() []byte {
		content, err := os.ReadFile(file)
		if err != nil {
			return nil // the plane says that there is none
		}
		return bytes.TrimSpace(content)
	}
}

// layer2 is the plane that answers for the addresses of this node, which follow
// from what is to be announced and from who lives.
type layer2 struct {
	*l2.Plane
	probes  *probe.Plane
	network func() *desired.Network
	loop    *reconcile.Loop[announce.Election]
	// tables is a mailbox of one.
	tables  chan announce.Table
	handing *handing
	// elected is told of each Election, and must not block.
	elected func(announce.Election, announce.Live)

	mu   sync.Mutex
	mine map[netip.Addr]Announced
}

// Announced is an address that a node announces by ARP and NDP. It names no
// Service: whoever can reach a node may ask.
type Announced struct {
	Address netip.Addr `json:"address"`
	Since   time.Time  `json:"since"`
	// Why this node and no other.
	Why string `json:"why"`
	// Interfaces are those that an advertisement names; none means all uplinks.
	Interfaces []string `json:"interfaces,omitempty"`
	// Conflict is another machine that claims the address.
	Conflict string `json:"conflict,omitempty"`
}

// Apply tells the plane of the uplinks too: they are part of the State, so another
// Election comes when they change.
func (l *layer2) Apply(ctx context.Context, want announce.Election) error {
	err := errors.Join(l.ApplyNetwork(ctx, l.network()), l.Plane.Apply(ctx, want))
	l.mu.Lock()
	defer l.mu.Unlock()
	now := map[netip.Addr]Announced{}
	for _, e := range want.Addresses {
		if e.Owner != want.Node || e.Owner == "" {
			continue
		}
		since := time.Now()
		if had, ok := l.mine[e.Address]; ok {
			since = had.Since
		}
		now[e.Address] = Announced{Address: e.Address, Since: since, Why: e.Why, Interfaces: e.Interfaces}
	}
	l.mine = now
	return err
}

// announces returns what this node announces now, sorted by address.
func (l *layer2) announces() []Announced {
	conflicts := map[netip.Addr]string{}
	for _, c := range l.Conflicts() {
		conflicts[c.Address] = fmt.Sprintf("%s at interface %s claims it too, since %s", c.MAC, c.Interface, c.Since.Format(time.RFC3339))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	all := slices.SortedFunc(maps.Values(l.mine), func(a, b Announced) int { return a.Address.Compare(b.Address) })
	for i := range all {
		all[i].Conflict = conflicts[all[i].Address]
	}
	return all
}

func (l *layer2) offer(t announce.Table) {
	select {
	case <-l.tables:
	default:
	}
	l.tables <- t
}

// elect chooses owners anew whenever there is another Table, or a node came or
// went.
func (l *layer2) elect(ctx context.Context) error {
	var table announce.Table
	for {
		select {
		case <-ctx.Done():
			return nil
		case table = <-l.tables:
		case <-l.probes.Changed():
		case <-l.handing.timer.C:
			l.handing.again()
			continue
		}
		if table.Synced {
			live := l.probes.Live()
			e := announce.Elect(table, live)
			l.handing.follow(table, live, e)
			l.loop.Offer(e)
			l.elected(e, live)
		}
	}
}
