package network

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/fairlead-net/fairlead/internal/desired"
)

const (
	// settle is how long changes are gathered before the network is read again: a
	// pod's start alone is a dozen of them.
	settle = 100 * time.Millisecond
	// pause lies between an error and the next attempt.
	pause = time.Second
)

// Watcher follows the network of one network namespace. Make one with New.
type Watcher struct {
	patterns []string
	log      *slog.Logger
	changed  chan struct{}
	// poke asks Run to read again.
	poke chan struct{}
	// subscribe and pause are what tests replace.
	subscribe func(done <-chan struct{}, poke chan<- struct{}) (<-chan error, error)
	pause     time.Duration

	mu            sync.Mutex
	nodeAddresses []netip.Addr
	current       *desired.Network
	notes         []string
	problem       string
}

// New returns a Watcher that has read nothing yet. Uplinks are the names of
// interfaces, or patterns of them as path.Match has it; none means that Run
// finds them.
func New(uplinks []string, log *slog.Logger) *Watcher {
	return &Watcher{
		patterns: slices.Clone(uplinks), log: log.With("component", "network"),
		changed: make(chan struct{}, 1), poke: make(chan struct{}, 1), subscribe: subscribe, pause: pause,
	}
}

// Changed receives a value after Current has changed.
func (w *Watcher) Changed() <-chan struct{} { return w.changed }

// Current returns the network as it was read last, nil before the first time.
// It must not be written, and stays the same pointer until its content changes.
func (w *Watcher) Current() *desired.Network {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.current
}

// SetNodeAddresses tells the addresses of this machine's Node object: where no
// uplinks are configured, the interfaces that carry them are uplinks too.
func (w *Watcher) SetNodeAddresses(addresses []netip.Addr) {
	addresses = distinct(addresses)
	w.mu.Lock()
	same := slices.Equal(w.nodeAddresses, addresses)
	w.nodeAddresses = addresses
	w.mu.Unlock()
	if !same {
		signal(w.poke)
	}
}

// Describe says in words which uplinks there are and why, and what is wrong.
func (w *Watcher) Describe() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	lines := slices.Clone(w.notes)
	if w.current == nil {
		lines = append(lines, "the node's network has not been read yet")
	}
	if w.problem != "" {
		lines = append(lines, w.problem)
	}
	return lines
}

// Run follows the network until ctx ends, through all errors. It watches the
// network namespace of the thread that it is called on: where a process has
// more than one, the calling goroutine must be locked to its thread.
func (w *Watcher) Run(ctx context.Context) error {
	for {
		err := w.follow(ctx)
		if ctx.Err() != nil {
			return nil
		}
		w.log.Error("cannot follow the network, trying again", "error", err, "retry_in", w.pause)
		w.mu.Lock()
		w.problem = "the node's network is not followed, what was read last stays in force: " + err.Error()
		w.mu.Unlock()
		select {
		case <-ctx.Done():
		case <-time.After(w.pause):
		}
	}
}

// follow reads, and reads again after every change, until something fails. It
// subscribes first, so that no change falls in between.
func (w *Watcher) follow(ctx context.Context) error {
	done := make(chan struct{})
	defer close(done)
	ended, err := w.subscribe(done, w.poke)
	if err != nil {
		return err
	}
	for {
		if err := w.update(); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case err := <-ended:
			return err
		case <-w.poke:
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(settle):
		}
		select {
		case <-w.poke: // told before the read that follows
		default:
		}
	}
}

// update reads the network and makes it Current if it differs.
func (w *Watcher) update() error {
	v, err := look()
	for range 3 {
		// A change during the dump; it will not go on forever.
		if !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
		v, err = look()
	}
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	uplinks, notes := v.uplinks(w.patterns, w.nodeAddresses)
	addresses := v.usable()
	if !slices.Equal(notes, w.notes) {
		w.log.Info("uplinks of the node", "notes", notes)
	}
	w.notes, w.problem = notes, ""
	if w.current != nil && slices.Equal(w.current.Addresses, addresses) && slices.Equal(w.current.Uplinks, uplinks) {
		return nil
	}
	w.current = &desired.Network{Addresses: addresses, Uplinks: uplinks}
	signal(w.changed)
	return nil
}

// signal leaves a value in a channel of size one.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func distinct(addresses []netip.Addr) []netip.Addr {
	addresses = slices.Clone(addresses)
	for i, a := range addresses {
		addresses[i] = a.Unmap().WithZone("")
	}
	slices.SortFunc(addresses, netip.Addr.Compare)
	return slices.Clip(slices.Compact(addresses))
}
