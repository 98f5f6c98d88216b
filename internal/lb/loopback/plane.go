// Package loopback serves NodePorts at the node's loopback addresses where no
// eBPF program does it in sockets: the kernel routes no loopback address out of
// the node, whatever nftables says, so a process must pass the bytes on.
//
// In go Tables; out come listeners at 127.0.0.1 and ::1 that forward TCP
// connections to the endpoints that lb.Lookup names for the node's own programs.
// It serves no UDP, listens at no other address, and never decides which
// endpoints a Service has. (KEP-6032 is the same idea.)
package loopback

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/lb"
	"github.com/fairlead-net/fairlead/internal/pmap"
)

// Plane serves NodePorts on loopback. Make one with New.
type Plane struct {
	log *slog.Logger

	mu      sync.Mutex
	applied lb.Table
	open    map[netip.AddrPort]*port
	// failed holds the frontends that cannot be served, and why.
	failed map[lb.Frontend]error
	closed bool
}

// New returns a Plane that listens nowhere yet.
func New(log *slog.Logger) *Plane {
	return &Plane{log: log.With("component", "loopback"), open: map[netip.AddrPort]*port{}, failed: map[lb.Frontend]error{}}
}

// Apply serves the NodePorts of want that have endpoints, and no others: at a
// port without any, nobody listens, so that the kernel refuses. Nothing is
// served before want is synced. A port that another program has is no error, as
// that program may be meant; Describe names it, and the next Apply tries again.
func (p *Plane) Apply(ctx context.Context, want lb.Table) error {
	if !want.Synced {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return errors.New("NodePorts on loopback are served no more")
	}
	for change := range pmap.Diff(p.applied.Entries, want.Entries) {
		p.settle(ctx, change.Key, change.New)
	}
	for f := range maps.Clone(p.failed) {
		entry, _ := want.Entries.Get(f)
		p.settle(ctx, f, entry)
	}
	p.applied = want
	return nil
}

// settle serves one frontend by its entry, which is nil for one that is gone.
func (p *Plane) settle(ctx context.Context, f lb.Frontend, entry *lb.Entry) {
	if !f.IsNodePort() || f.Protocol != desired.TCP {
		return
	}
	_, known := p.failed[f]
	delete(p.failed, f)
	at := netip.AddrPortFrom(loopbackOf(f.Address), f.Port)
	open := p.open[at]
	if entry == nil || len(entry.For(lb.Host).Backends) == 0 {
		if open != nil {
			open.close()
			delete(p.open, at)
		}
		return
	}
	if open != nil {
		open.entry.Store(entry)
		return
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", at.String())
	if err != nil {
		p.failed[f] = explain(at, entry, err)
		if !known { // it is tried with every change
			p.log.Warn("NodePort is not served on loopback", "address", at, "error", err)
		}
		return
	}
	p.open[at] = newPort(listener, entry, p.log)
}

func loopbackOf(unspecified netip.Addr) netip.Addr {
	if unspecified.Is4() {
		return netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	return netip.IPv6Loopback()
}

func explain(at netip.AddrPort, entry *lb.Entry, err error) error {
	if errors.Is(err, unix.EADDRINUSE) {
		return fmt.Errorf("%s is not served for Service %s, as another program listens there: stop it, or give the Service another NodePort", at, entry.Service)
	}
	return fmt.Errorf("%s is not served for Service %s: %w", at, entry.Service, err)
}

// Close stops listening. Connections that are open go on as long as the process.
func (p *Plane) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for at, open := range p.open {
		open.close()
		delete(p.open, at)
	}
	return nil
}

// Describe says in words what is served, and what is not and why.
func (p *Plane) Describe() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	lines := []string{fmt.Sprintf("serves %d NodePorts on loopback by passing bytes on, TCP only", len(p.open))}
	for _, f := range slices.SortedFunc(maps.Keys(p.failed), lb.Frontend.Compare) {
		lines = append(lines, p.failed[f].Error())
	}
	return lines
}
