package agent

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/fairlead-net/fairlead/internal/announce"
	"github.com/fairlead-net/fairlead/internal/announce/bgp"
	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/kube"
	"github.com/fairlead-net/fairlead/internal/reconcile"
)

// newBGP wires the sessions with routers. How they are is told by Events.
func (a *Agent) newBGP(events *kube.EventWriter) (*routers, pipeline) {
	r := &routers{log: a.log, node: a.options.Node, opened: make(chan struct{}, 1)}
	r.loop = reconcile.New[announce.Table]("announce-bgp", r, func(t announce.Table) uint64 { return t.Revision }, a.log)
	a.peers = r.announced
	a.registry.MustRegister(&bgpMetrics{r})
	a.services = append(a.services, func(ctx context.Context) error {
		r.watch(ctx, &sessionTeller{node: r.node, log: a.log, event: events.Tell})
		return nil
	})
	return r, pipeline{offer: func(*desired.State) {}, run: r.loop.Run, health: r.loop.Health, notes: r.describe}
}

// routers is the plane that tells routers where addresses are. Sessions need the
// address of the node, so they begin when it is known.
type routers struct {
	log  *slog.Logger
	node string
	loop *reconcile.Loop[announce.Table]
	// opened holds a value after there is a plane.
	opened chan struct{}
	// changes is called after sessions may have changed, and must not block.
	changes func()

	mu     sync.Mutex
	plane  *bgp.Plane // nil before there is a router to connect to
	closed bool
	last   announce.Table
}

// Apply hands the Table over if it differs in what routers are told.
func (r *routers) Apply(ctx context.Context, want announce.Table) error {
	plane, err := r.open(want)
	if plane == nil {
		return err
	}
	if err := plane.Apply(ctx, want); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last = want
	return nil
}

// open returns the plane if it has something to do.
func (r *routers) open(want announce.Table) (*bgp.Plane, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.closed:
		return nil, os.ErrClosed
	case !want.Synced, r.last.Synced && want.SameRoutes(&r.last):
		return nil, nil
	case r.plane != nil:
		return r.plane, nil
	case len(want.Peers) == 0:
		return nil, nil
	}
	i := slices.IndexFunc(want.Nodes, func(n announce.Node) bool { return n.Name == want.Node })
	if i < 0 {
		return nil, errors.New("no session is made yet, since the address of this node is not known: its process is not among the endpoints of Service fairlead-node")
	}
	config := bgp.Config{Log: r.log, NodeName: r.node}
	if four := slices.IndexFunc(want.Nodes[i].Addresses, netip.Addr.Is4); four >= 0 {
		config.RouterID = want.Nodes[i].Addresses[four]
	}
	var err error
	if r.plane, err = bgp.New(config); err == nil {
		r.opened <- struct{}{}
	}
	return r.plane, err
}

// current returns the plane, or nil before there is one.
func (r *routers) current() *bgp.Plane {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.plane
}

// watch has users told whenever a session changes, until ctx ends.
func (r *routers) watch(ctx context.Context, teller *sessionTeller) {
	select {
	case <-ctx.Done():
		return
	case <-r.opened:
	}
	plane := r.current()
	again := time.NewTimer(0)
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-plane.Changed():
		case <-again.C:
		}
		r.changes()
		now := time.Now()
		if at := teller.tell(ctx, now, plane.Peers()); !at.IsZero() {
			again.Reset(at.Sub(now))
		}
	}
}

// Close ends the sessions so that routers which restart gracefully keep the routes:
// the kernel forwards on, and another process is likely to follow.
func (r *routers) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	if r.plane == nil {
		return nil
	}
	return r.plane.Close()
}

// announced returns how the sessions with routers are, and what these are told.
func (r *routers) announced() ([]Session, []AnnouncedRoute) {
	r.mu.Lock()
	plane, table := r.plane, r.last
	r.mu.Unlock()
	if plane == nil {
		return nil, nil
	}
	sessions := plane.Peers()
	return sessionsOf(sessions), routesOf(table, sessions)
}

// established returns the names of the BGPPeers with which there is a session, and
// since when.
func (r *routers) established() map[string]time.Time {
	plane := r.current()
	if plane == nil {
		return nil
	}
	all := map[string]time.Time{}
	for _, s := range plane.Peers() {
		if s.Established() {
			all[s.Name.Name] = s.Since
		}
	}
	return all
}

func (r *routers) describe() []string {
	if plane := r.current(); plane != nil {
		return plane.Describe()
	}
	return nil
}
