package ebpf

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"

	"github.com/fairlead-net/fairlead/internal/lb"
	"github.com/fairlead-net/fairlead/internal/lb/pin"
	"github.com/fairlead-net/fairlead/internal/pmap"
	"github.com/fairlead-net/fairlead/internal/reconcile"
)

// Plane keeps the kernel's Services equal to the last applied Table. Its
// methods are safe for concurrent use.
type Plane struct {
	config   Config
	log      *slog.Logger
	folder   string // of the maps, below config.Directory
	lock     *os.File
	maps     pin.Maps
	programs map[string]*ebpf.Program
	links    *links
	notes    []string
	releaser *releaser              // nil where the kernel cannot do it
	released atomic.Pointer[string] // what went wrong last

	mu       sync.Mutex
	closed   bool
	attached bool
	tidied   bool
	// foreign is true while links run programs over other maps, which serve
	// until these maps hold everything.
	foreign bool
	retried bool // an Apply failed to fill the maps while others serve
	// applied is the last Table that Apply was given. The kernel says the same,
	// except for the pending frontends.
	applied pmap.Map[lb.Frontend, *lb.Entry]
	pending map[lb.Frontend]struct{}
	known   map[lb.Frontend]known
	// addresses are those of the node that the kernel knows.
	addresses map[socketAddress]bool
	// next is the number of the next list.
	next uint64
	// sweep is true while the maps may hold lists that no frontend names.
	sweep bool
	// step is called after each step of writing; tests stop there.
	step func(step string) error

	described atomic.Pointer[[]string] // what Describe said last
}

// known is what the kernel holds for a frontend. The entry is nil if its list
// turned out not to be whole.
type known struct {
	list  uint64
	entry *lb.Entry
}

// New loads the programs and opens or creates the pinned maps. It changes
// nothing that is attached and writes no Service; the first Apply does. Only
// one Plane can have a directory at a time.
func New(config Config) (_ *Plane, err error) {
	config, err = config.withDefaults()
	if err != nil {
		return nil, err
	}
	p := &Plane{config: config, log: config.Logger, pending: map[lb.Frontend]struct{}{}}
	defer func() {
		if err != nil {
			p.release()
		}
	}()
	if p.lock, err = lockDirectory(config.Directory); err != nil {
		return nil, err
	}
	spec, err := specs(config.sizes(), config.Netns)
	if err != nil {
		return nil, err
	}
	if p.maps, p.folder, err = layout(mapSpecs(spec)).Open(config.Directory); err != nil {
		return nil, err
	}
	if p.programs, p.notes, err = loadPrograms(spec, p.maps); err != nil {
		return nil, err
	}
	p.startReleaser(spec)
	if p.links, err = openLinks(config.Directory, config.Cgroup); err != nil {
		return nil, err
	}
	if p.foreign, err = p.servesOthers(); err != nil {
		return nil, err
	}
	return p, p.adopt()
}

func (p *Plane) startReleaser(spec *ebpf.CollectionSpec) {
	const without = "a UDP socket that is connected to an endpoint which is gone stays so until its program closes it"
	r, err := newReleaser(spec, p.maps, p.config.NetnsDirectory, func(err error) {
		problem := ""
		if err != nil {
			problem = without + ": " + err.Error()
			p.log.Error("UDP sockets not released", "error", err)
		}
		p.released.Store(&problem)
	})
	if err != nil {
		p.notes = append(p.notes, without+": "+err.Error())
		return
	}
	p.releaser = r
	p.notes = append(p.notes, "UDP sockets connected to an endpoint that is gone are ended, in all network namespaces below "+p.config.NetnsDirectory)
}

// lockDirectory keeps two processes from writing the same maps. The lock ends
// with the process.
func lockDirectory(directory string) (*os.File, error) {
	file, err := os.Open(directory)
	if err != nil {
		return nil, fmt.Errorf("opening the directory of pinned maps: %w", err)
	}
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("another process has %s locked: stop it, or wait until it has ended: %w", directory, err)
	}
	return file, nil
}

// Apply makes the kernel serve want. A Service that cannot be written is
// reported and stays as it was, the others are written; calling again retries.
// The error is a reconcile.PartialError if it concerns but Services that find no
// room, or what earlier processes left.
func (p *Plane) Apply(ctx context.Context, want lb.Table) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return os.ErrClosed
	}
	if len(p.pending) == 0 {
		// A map that once was large takes long to walk, even when it is empty.
		p.pending = map[lb.Frontend]struct{}{}
	}
	for change := range pmap.Diff(p.applied, want.Entries) {
		p.pending[change.Key] = struct{}{}
	}
	p.applied = want.Entries
	written := reconcile.Join(p.writeAddresses(want), p.write(ctx, want))
	if ctx.Err() != nil || p.foreign && !p.mayTakeOver(want, written) {
		return written
	}
	if err := p.attach(); err != nil {
		return errors.Join(written, err)
	}
	return reconcile.Join(written, reconcile.Partial(p.tidy(want)))
}

// mayTakeOver tells whether these maps hold enough to replace those of another
// layout. What could not be written gets a second chance first; after that the
// others come first, which would not follow changes any longer.
func (p *Plane) mayTakeOver(want lb.Table, written error) bool {
	if !want.Synced {
		return false
	}
	retried := p.retried
	p.retried = true
	return written == nil || retried
}

// attach puts the programs into every link.
func (p *Plane) attach() error {
	if p.attached {
		return nil
	}
	for _, h := range hooks {
		program := p.programs[h.name]
		if program == nil {
			continue
		}
		if err := p.links.set(h, program); err != nil {
			return err
		}
		if err := p.done("attach"); err != nil {
			return err
		}
	}
	if err := p.noteServing(); err != nil {
		return err
	}
	if err := p.done("serving"); err != nil {
		return err
	}
	p.attached, p.foreign = true, false
	p.log.Info("socket load balancing attached", "cgroup", p.config.Cgroup, "frontends", len(p.known))
	return nil
}

// tidy removes what earlier processes left: lists that nothing names, and,
// once this Plane serves a full Table, links and maps of other layouts.
func (p *Plane) tidy(want lb.Table) error {
	if p.sweep {
		if err := p.sweepLists(); err != nil {
			return err
		}
		p.sweep = false
	}
	if p.tidied || !want.Synced {
		return nil
	}
	if err := p.links.prune(p.programs); err != nil {
		return err
	}
	for _, folder := range pin.Folders(p.config.Directory) {
		if folder == p.folder {
			continue
		}
		if err := os.RemoveAll(filepath.Join(p.config.Directory, folder)); err != nil {
			return fmt.Errorf("unpinning maps of another layout: %w", err)
		}
		p.log.Info("replaced maps of another layout", "old", folder, "new", p.folder)
	}
	p.tidied = true
	return nil
}

func (p *Plane) done(step string) error {
	if p.step == nil {
		return nil
	}
	return p.step(step)
}

// Dump returns what the kernel's maps say, without the Services' names.
func (p *Plane) Dump() (map[lb.Frontend]*lb.Entry, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, os.ErrClosed
	}
	return (&Reader{maps: p.maps}).Dump()
}

// Lookup returns what the kernel's maps say about one frontend, and whether
// they have it.
func (p *Plane) Lookup(f lb.Frontend) (*lb.Entry, bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, false, os.ErrClosed
	}
	return (&Reader{maps: p.maps}).Lookup(f)
}

// Close lets go of maps and programs. What is pinned keeps working.
func (p *Plane) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil
	}
	p.closed = true
	p.release()
	return nil
}

func (p *Plane) release() {
	p.releaser.close()
	p.maps.Close()
	closePrograms(p.programs)
	if p.links != nil {
		_ = p.links.cgroup.Close()
	}
	if p.lock != nil {
		_ = p.lock.Close()
	}
}
