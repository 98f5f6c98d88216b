package nft

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/lb"
	"github.com/fairlead-net/fairlead/internal/reconcile"
)

// DefaultTable is the name of the table unless configured.
const DefaultTable = "fairlead"

// Config says where. The zero value works.
type Config struct {
	// Table is the name of the table, of family inet, that the Plane owns.
	Table  string
	Logger *slog.Logger
	// Watch is how often the Plane looks whether others removed its rules; zero
	// means every second.
	Watch time.Duration
	// MasqueradePorts are the first and the last source port that masquerading may
	// choose, so that others may have ports of their own; zero means any port.
	MasqueradePorts [2]uint16
	// Looked, if set, is told of every look at the UDP or TCP connections that
	// conntrack knows of one family: how long it took and how many were forgotten.
	// It is called from several goroutines.
	Looked func(six bool, protocol desired.Protocol, took time.Duration, forgotten int)
	// Liberal says that net.netfilter.nf_conntrack_tcp_be_liberal is going to be 1,
	// whatever it is now.
	Liberal bool
}

// Plane keeps the kernel's nftables equal to the last applied Table. Its methods
// are safe for concurrent use. It works in the network namespace in which New
// was called.
type Plane struct {
	config      Config
	log         *slog.Logger
	layout      *layout
	dropInvalid bool
	stop        context.CancelFunc
	watching    sync.WaitGroup
	handover    *handover
	ended       *ended

	mu     sync.Mutex
	closed bool
	socket *socket
	have   *state
	// written is false until the table in the kernel is ours and whole.
	written bool
	// distrust is set if the table in the kernel must not be adopted.
	distrust bool
	table    kernelTable
	// generation is the last one at which the table was known to be whole.
	generation uint32
	want       lb.Table
	// refused are frontends that the kernel would not take in a table made anew.
	refused map[lb.Frontend]bool
	// restored counts how often others had removed the rules.
	restored int
	pending  stale
	spoil    func(*element) // see transaction

	// described and dropped are what Describe and InvalidDropped said last.
	described atomic.Pointer[[]string]
	dropped   atomic.Uint64
}

// New opens the kernel's nftables. It changes nothing; the first Apply does.
func New(config Config) (*Plane, error) {
	if config.Table == "" {
		config.Table = DefaultTable
	}
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	if config.Watch == 0 {
		config.Watch = time.Second
	}
	if ports := config.MasqueradePorts; ports != [2]uint16{} && (ports[0] == 0 || ports[0] > ports[1]) {
		return nil, fmt.Errorf("%d to %d is no range of ports to masquerade with", ports[0], ports[1])
	}
	s, err := openSocket()
	if err != nil {
		return nil, err
	}
	if _, err := s.generation(); err != nil {
		s.close()
		return nil, fmt.Errorf("the kernel has no nftables (module nf_tables), or CAP_NET_ADMIN is missing: %w", err)
	}
	h, err := newHandover(config.Table)
	if err != nil {
		s.close()
		return nil, err
	}
	e, err := newEnded()
	if err != nil {
		s.close()
		h.close()
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	p := &Plane{
		handover: h, ended: e, config: config, log: config.Logger, layout: newLayout(config.Table), dropInvalid: !config.Liberal && !liberal(),
		stop: stop, socket: s, have: emptyState(), refused: map[lb.Frontend]bool{},
		pending: noneStale(),
	}
	p.layout.masqueradePorts = config.MasqueradePorts
	p.watching.Go(func() { p.watch(ctx) })
	p.watching.Go(func() { p.forgetEnded(ctx) })
	return p, nil
}

// liberal tells whether conntrack takes packets outside of a TCP connection's
// window as part of it, so that none counts as invalid.
func liberal() bool {
	content, err := os.ReadFile("/proc/sys/net/netfilter/nf_conntrack_tcp_be_liberal")
	return err == nil && strings.TrimSpace(string(content)) == "1"
}

// Apply makes the kernel serve want, in one step that packets see whole or not
// at all. A frontend that cannot be written is reported, by a
// reconcile.PartialError if the others are written; calling again retries.
func (p *Plane) Apply(ctx context.Context, want lb.Table) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return os.ErrClosed
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if !want.Synced {
		if p.table == (kernelTable{}) {
			// What an earlier process wrote may be more than this Table has.
			if _, exists, err := p.socket.getTable(p.config.Table); exists || err != nil {
				return err
			}
		}
		want = p.have.union(want)
	}
	p.want = want
	return p.sync(ctx)
}

// sync brings the kernel to what is wanted.
func (p *Plane) sync(ctx context.Context) error {
	err := p.write(ctx, p.want)
	// Rules do not depend on what conntrack remembers.
	return reconcile.Join(err, reconcile.Partial(p.forget()))
}

// Close lets go of the kernel's nftables. The rules stay and work.
func (p *Plane) Close() error {
	p.stop()
	p.watching.Wait()
	p.handover.close()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil
	}
	p.closed = true
	p.ended.socket.close()
	p.socket.close()
	return nil
}
