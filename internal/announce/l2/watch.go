package l2

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
)

const (
	// settle is how long changes are gathered before the interfaces are looked at.
	settle = 50 * time.Millisecond
	// recheck is how often they are looked at without a change: what failed is
	// retried, and nothing that the kernel did not tell stays unnoticed.
	recheck = 30 * time.Second
)

// watch looks at the interfaces again when they change.
func (p *Plane) watch(ctx context.Context) {
	for {
		err := p.follow(ctx)
		if ctx.Err() != nil {
			return
		}
		p.log.Error("cannot follow the interfaces, trying again", "error", err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(10 * pause):
		}
	}
}

// follow returns the first error, after which everything must be looked at again:
// the kernel may have lost news for want of memory.
func (p *Plane) follow(ctx context.Context) error {
	done, poke, failed := make(chan struct{}), make(chan struct{}, 1), make(chan error, 1)
	defer close(done)
	if err := p.shared.namespace.do(func() error { return p.subscribe(done, poke, failed) }); err != nil {
		return err
	}
	ticker := time.NewTicker(recheck)
	defer ticker.Stop()
	settled := time.After(0)
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-failed:
			return err
		case <-poke:
			if settled == nil {
				settled = time.After(settle)
			}
		case <-settled:
			settled = nil
			p.again()
		case <-ticker.C:
			p.again()
		}
	}
}

// watched is what changes matter of. The other interfaces are many: each pod has
// one.
type watched struct {
	names   []string // of interfaces, or patterns
	indexes map[int]bool
}

// subscribe asks for news of interfaces, and of their link-local addresses, which
// become usable some time after the interface.
func (p *Plane) subscribe(done <-chan struct{}, poke chan<- struct{}, failed chan error) error {
	tell := func(err error) {
		select {
		case failed <- err:
		default:
		}
	}
	links := make(chan netlink.LinkUpdate)
	if err := netlink.LinkSubscribeWithOptions(links, done, netlink.LinkSubscribeOptions{ErrorCallback: tell}); err != nil {
		return fmt.Errorf("subscribe to interfaces: %w", err)
	}
	go relay(links, poke, tell, func(u netlink.LinkUpdate) bool {
		w := p.watched.Load()
		return w.indexes[u.Attrs().Index] || slices.ContainsFunc(w.names, func(n string) bool { return matches(n, u.Attrs().Name) })
	})
	addresses := make(chan netlink.AddrUpdate)
	if err := netlink.AddrSubscribeWithOptions(addresses, done, netlink.AddrSubscribeOptions{ErrorCallback: tell}); err != nil {
		return fmt.Errorf("subscribe to addresses: %w", err)
	}
	go relay(addresses, poke, tell, func(u netlink.AddrUpdate) bool {
		return u.LinkAddress.IP.IsLinkLocalUnicast() && p.watched.Load().indexes[u.LinkIndex]
	})
	return nil
}

// relay pokes for every update that matters, and reads all: what is left in the
// channel would hold up the goroutine that fills it.
func relay[T any](updates <-chan T, poke chan<- struct{}, tell func(error), matters func(T) bool) {
	for u := range updates {
		if matters(u) {
			signal(poke)
		}
	}
	tell(errors.New("the kernel ended a subscription"))
}

func (p *Plane) again() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	before := p.problem
	if err := p.converge(); err != nil && (before == nil || before.Error() != err.Error()) {
		p.log.Error("cannot announce everywhere", "error", err)
	}
}
