package uplink

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/fairlead-net/fairlead/internal/lb"
	"github.com/fairlead-net/fairlead/internal/lb/pin"
	"github.com/fairlead-net/fairlead/internal/pmap"
)

// Plane keeps the programs on the node's uplinks equal to the last applied
// Table. Its methods are safe for concurrent use.
type Plane struct {
	config   Config
	log      *slog.Logger
	folder   string // of the maps, below config.Directory
	lock     *os.File
	maps     pin.Maps
	pages    *pages
	programs map[string]*ebpf.Program
	netlink  *netlink.Handle
	ports    PortRange
	noPorts  error // why there are none
	// otherSize is how many flows are kept, if not as many as configured.
	otherSize uint32
	noXDP     string // why there is no program for it
	passings  passings
	stop      context.CancelFunc
	stopped   sync.WaitGroup

	mu         sync.Mutex
	closed     bool
	withoutTCX bool
	attached   map[string]int // index of each uplink that has the programs
	tidied     bool
	// foreign is true while links run programs over other maps, which serve
	// until these maps hold everything.
	foreign bool
	// applied is the last Table that Apply was given. The kernel says the same,
	// except for the pending frontends.
	applied lb.Table
	pending map[lb.Frontend]struct{}
	known   map[lb.Frontend]known
	left    map[lb.Frontend]string   // frontends left to nftables, and why
	waiting map[lb.Frontend]struct{} // those of them that found no room
	freed   bool                     // there may be room since the last write began
	leaked  error                    // what the last write could not free
	targets targets
	members map[packetsMember]bool // found at the start, and not named yet
	next    uint64                 // number of the next list
	nodes   map[packetsAddress]uint32
	uplinks []uplink
	sources map[uint32]packetsUplink
	peers   peers
	short   map[string]int    // index of each uplink that has the short cut
	refused map[string]string // uplinks whose driver does not take the short cut, and why
	barred  map[string]bar    // uplinks that refused the programs
	routes  map[place]string  // what is wrong with the way to a place; empty if nothing
}

// New loads the programs and opens or creates the pinned maps. It attaches
// nothing and writes no Service; the first Apply does. Only one Plane can have a
// directory at a time. The Plane belongs to the network namespace of New.
func New(config Config) (_ *Plane, err error) {
	config, err = config.withDefaults()
	if err != nil {
		return nil, err
	}
	p := &Plane{
		config: config, log: config.Logger, withoutTCX: config.WithoutTCX, attached: map[string]int{},
		pending: map[lb.Frontend]struct{}{}, known: map[lb.Frontend]known{}, left: map[lb.Frontend]string{}, waiting: map[lb.Frontend]struct{}{},
		routes: map[place]string{}, short: map[string]int{}, refused: map[string]string{}, barred: map[string]bar{},
	}
	defer func() {
		if err != nil {
			p.release()
		}
	}()
	if p.lock, err = lockDirectory(config.Directory); err != nil {
		return nil, err
	}
	if p.netlink, err = netlink.NewHandle(unix.NETLINK_ROUTE); err != nil {
		return nil, fmt.Errorf("opening a netlink socket: %w", err)
	}
	ephemeral, err := kernelPorts()
	if err != nil {
		return nil, err
	}
	p.ports, p.noPorts = sourcePorts(ephemeral, config.NodePorts)
	spec, err := specs(config, p.ports)
	if err != nil {
		return nil, err
	}
	if err := p.open(spec); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	p.stop = cancel
	p.stopped.Go(func() { p.watch(ctx) })
	return p, nil
}

// open opens the maps, takes over what they hold, and loads the programs.
func (p *Plane) open(spec *ebpf.CollectionSpec) (err error) {
	links := filepath.Join(p.config.Directory, linksName)
	if err := os.MkdirAll(links, 0o700); err != nil {
		return fmt.Errorf("creating %s: %w", links, err)
	}
	before := pin.Folders(p.config.Directory)
	p.keepSizes(spec, before)
	if p.maps, p.folder, err = layout(mapSpecs(spec)).Open(p.config.Directory); err != nil {
		return err
	}
	p.passings.in = p.maps[packetsMapPassings]
	p.foreign = len(before) > 1 || len(before) == 1 && before[0] != p.folder
	p.pages, err = openPages(filepath.Join(p.config.Directory, p.folder), p.maps[packetsMapPages], spec.Maps[packetsMapPages].InnerMap)
	if err != nil {
		return err
	}
	if p.programs, p.noXDP, err = loadPrograms(spec, p.maps, p.config.XDP); err != nil {
		return err
	}
	return p.adopt()
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

// watch does what time demands: routes may have changed, and flows have ended.
func (p *Plane) watch(ctx context.Context) {
	for ticker := time.NewTicker(p.config.Recheck); ; {
		select {
		case <-ctx.Done():
			ticker.Stop()
			return
		case <-ticker.C:
		}
		if err := p.sweep(ctx); err != nil {
			p.log.Error("flows that have ended are not forgotten", "error", err)
		}
		if err := p.recheck(ctx); err != nil && !errors.Is(err, os.ErrClosed) {
			p.log.Error("routes to other nodes not checked", "error", err)
		}
	}
}

// Apply makes the kernel serve want. A frontend that cannot be written is left
// to nftables and reported, the others are written; calling again retries. What
// finds no room, and an uplink that refuses the programs, are no errors, as
// nftables serves there: Describe tells.
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
	for change := range pmap.Diff(p.applied.Entries, want.Entries) {
		p.pending[change.Key] = struct{}{}
	}
	all := p.applied.Options.DirectReturn != want.Options.DirectReturn || p.applied.Peers != want.Peers ||
		!slices.Equal(p.applied.NodeAddresses, want.NodeAddresses)
	if p.applied.Peers != want.Peers || p.applied.Node != want.Node {
		p.peers = peersOf(want)
	}
	p.applied = want
	if all {
		p.allPending()
	}
	return p.converge(ctx, false)
}

// converge brings the kernel to the applied Table, as far as it can. On demand
// it asks for routes again, and tries again what was refused or did not fit.
func (p *Plane) converge(ctx context.Context, again bool) error {
	before := p.uplinks
	if err := p.findUplinks(again); err != nil {
		return err
	}
	if again {
		maps.Copy(p.pending, p.waiting)
	}
	if again || !slices.Equal(before, p.uplinks) {
		p.checkRoutes()
	}
	written := errors.Join(p.writeUplinks(), p.writeNodes(), p.write(ctx))
	if ctx.Err() != nil || p.foreign && (!p.applied.Synced || written != nil) {
		return written
	}
	attached := p.attachAll(again)
	if p.dropBarred() {
		p.checkRoutes()
		written = errors.Join(written, p.write(ctx))
	}
	// Now it is known which uplinks have the short cut.
	return errors.Join(written, attached, p.writeUplinks(), p.tidy())
}

// recheck asks for the routes again.
func (p *Plane) recheck(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.closed:
		return os.ErrClosed
	case len(p.uplinks) == 0 && p.applied.Entries.Len() == 0:
		return nil
	}
	return p.converge(ctx, true)
}

// tidy removes what earlier processes left, once this Plane serves a full Table:
// what nothing names, and maps of other layouts.
func (p *Plane) tidy() error {
	if p.tidied || !p.applied.Synced {
		return nil
	}
	if err := p.sweepLists(); err != nil {
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
	p.tidied, p.foreign = true, false
	return nil
}

// Close lets go of maps and programs. What is pinned keeps working.
func (p *Plane) Close() error {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil
	}
	p.closed = true
	p.mu.Unlock()
	p.release()
	return nil
}

func (p *Plane) release() {
	if p.stop != nil {
		p.stop()
		p.stopped.Wait()
	}
	if p.pages != nil {
		p.pages.close()
	}
	p.passings.close()
	p.maps.Close()
	for _, program := range p.programs {
		program.Close()
	}
	if p.netlink != nil {
		p.netlink.Close()
	}
	if p.lock != nil {
		_ = p.lock.Close()
	}
}
