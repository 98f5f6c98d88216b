package agent

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/kube"
	"github.com/fairlead-net/fairlead/internal/reconcile"
)

// leadership is one plane's part in a Lease that all replicas want: its work is
// done by whoever has it, and never by two at once.
type leadership struct {
	// turn holds the Lease's context while this replica has the Lease and the plane
	// does nothing.
	turn chan context.Context
	// held is locked for each time that the Lease is held: the plane may still be at
	// work for the last one when it is won again.
	held    sync.Mutex
	leading atomic.Bool
}

func newLeadership() *leadership { return &leadership{turn: make(chan context.Context, 1)} }

// lead lets the plane work until ctx ends, as the Lease then is somebody else's.
func (l *leadership) lead(ctx context.Context) {
	l.held.Lock()
	defer l.held.Unlock()
	l.leading.Store(true)
	l.turn <- ctx
	<-ctx.Done()
	<-l.turn
	l.leading.Store(false)
}

// Turn waits for the Lease. The context it returns ends with ctx and with the
// Lease; done must be called when the work is. A loop of package reconcile calls it
// before Apply.
func (l *leadership) Turn(ctx context.Context) (leased context.Context, done func(), err error) {
	select {
	case lease := <-l.turn:
		leased, cancel := context.WithCancel(ctx)
		stop := context.AfterFunc(lease, cancel)
		if lease.Err() != nil {
			cancel() // AfterFunc takes a moment
		}
		return leased, func() { stop(); cancel(); l.turn <- lease }, nil
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
}

// describe tells which replica this is.
func (l *leadership) describe(work string) string {
	if l.leading.Load() {
		return "holds the lease and " + work
	}
	return "stands by for the lease"
}

// standby makes a replica that only waits for the Lease healthy.
func (l *leadership) standby(health func() reconcile.Health) func() reconcile.Health {
	return func() reconcile.Health {
		h := health()
		if !l.leading.Load() {
			h.Applied, h.Problem = h.Wanted, ""
		}
		return h
	}
}

// elect has planes of this process work while it holds the Lease.
func (a *Agent) elect(client *kube.Client) {
	if len(a.leaderships) == 0 {
		return
	}
	lease := desired.Name{Namespace: a.options.Config.Status.LeaseNamespace, Name: "fairlead-controller"}
	a.services = append(a.services, func(ctx context.Context) error {
		return client.Lead(ctx, lease, a.options.Identity, a.log, func(ctx context.Context) {
			for _, l := range a.leaderships {
				go l.lead(ctx)
			}
		})
	})
}
