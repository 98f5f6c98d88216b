package ebpf

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/vishvananda/netns"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/lb/pin"
)

// releaser ends UDP sockets that are connected to a backend which left its
// Service. The kernel shows a program the sockets of one network namespace at a
// time, so each is entered in turn; that takes CAP_SYS_ADMIN.
type releaser struct {
	directory string // of network namespaces
	iterator  *link.Iter
	wake      chan struct{}
	done      chan struct{}
	cancel    context.CancelFunc
	// report is told what came of each round.
	report func(error)
}

// newReleaser starts one, or says why it cannot.
func newReleaser(spec *ebpf.CollectionSpec, over pin.Maps, directory string, report func(error)) (*releaser, error) {
	program, err := loadProgram(spec, socketProgRelease, over)
	if err != nil {
		return nil, fmt.Errorf("loading program %s (needs Linux 6.5): %w", socketProgRelease, err)
	}
	defer program.Close()
	iterator, err := link.AttachIter(link.IterOptions{Program: program})
	if err != nil {
		return nil, fmt.Errorf("making an iterator of program %s: %w", socketProgRelease, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &releaser{directory: directory, iterator: iterator, wake: make(chan struct{}, 1), done: make(chan struct{}), cancel: cancel, report: report}
	go r.run(ctx)
	return r, nil
}

// afterwards is when each round is repeated: a connect call that had chosen its
// backend, but had not told its socket yet, is seen by then.
const afterwards = time.Second

// release asks for a round; it does not wait for it.
func (r *releaser) release() {
	if r == nil {
		return
	}
	select {
	case r.wake <- struct{}{}:
	default: // one is waiting to begin, and will see what there is to see
	}
}

func (r *releaser) close() {
	if r == nil {
		return
	}
	r.cancel()
	<-r.done
	_ = r.iterator.Close()
}

func (r *releaser) run(ctx context.Context) {
	defer close(r.done)
	var again <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.wake:
			again = time.After(afterwards)
		case <-again:
		}
		failed := make(chan error)
		go func() {
			runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
			failed <- r.everywhere()
		}()
		r.report(<-failed)
	}
}

// everywhere visits the network namespaces of this thread and of all pods. The
// thread is of no use for anything else afterwards.
func (r *releaser) everywhere() error {
	if err := r.here(); err != nil {
		return err
	}
	entries, err := os.ReadDir(r.directory)
	if err != nil {
		return fmt.Errorf("listing the network namespaces of pods: %w", err)
	}
	var failed []error
	for _, entry := range entries {
		if err := r.within(filepath.Join(r.directory, entry.Name())); err != nil {
			failed = append(failed, err)
		}
	}
	if len(failed) > maxReported {
		failed = append(failed[:maxReported], fmt.Errorf("and %d more", len(failed)-maxReported))
	}
	return errors.Join(failed...)
}

func (r *releaser) within(path string) error {
	namespace, err := netns.GetFromPath(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil // its pod has ended
	}
	if err != nil {
		return fmt.Errorf("opening network namespace %s: %w", path, err)
	}
	defer func() { _ = namespace.Close() }()
	if err := netns.Set(namespace); err != nil {
		if !isNamespace(path) {
			return nil
		}
		return fmt.Errorf("entering network namespace %s (needs CAP_SYS_ADMIN): %w", path, err)
	}
	return r.here()
}

// isNamespace tells a namespace from the empty file that it is mounted on, which
// stays for a moment when a pod begins or ends.
func isNamespace(path string) bool { return isFileSystem(path, nsfsMagic) }

// nsfsMagic is NSFS_MAGIC of linux/magic.h.
const nsfsMagic = 0x6e736673

// here runs the program over the sockets of the thread's network namespace.
func (r *releaser) here() error {
	sockets, err := r.iterator.Open()
	if err != nil {
		return fmt.Errorf("iterating over UDP sockets: %w", err)
	}
	defer func() { _ = sockets.Close() }()
	if _, err := io.Copy(io.Discard, sockets); err != nil {
		return fmt.Errorf("iterating over UDP sockets: %w", err)
	}
	return nil
}

// loses tells whether sockets may be connected to a backend that a change takes
// from a frontend.
func (c change) loses(have known) bool {
	switch {
	case c.frontend.Protocol != desired.UDP || have.list == 0:
		return false
	case c.entry == nil || have.entry == nil || leaves(c.entry):
		return true
	}
	return slices.ContainsFunc(have.entry.Backends, func(b netip.AddrPort) bool { return !slices.Contains(c.entry.Backends, b) })
}
