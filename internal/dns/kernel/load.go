package kernel

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"

	"github.com/fairlead-net/fairlead/internal/dns"
)

const needs = "needs Linux 6.6 or later with CONFIG_NET_XGRESS, and CAP_BPF with CAP_NET_ADMIN and CAP_PERFMON, or CAP_SYS_ADMIN"

// Config says what to answer where.
type Config struct {
	// Listen are the addresses and ports at which the server listens; an
	// unspecified one stands for all of the network namespace.
	Listen []netip.AddrPort
	// MaxUDP is what replies advertise as the largest query, in bytes.
	MaxUDP int
	// Names bounds the names that the kernel knows: 131,072. With more of them
	// user space says which ones do not exist.
	Names uint32
	// Recursive reports whether names outside of the cluster are forwarded, which
	// replies tell (RA); nil means that they are not.
	Recursive func() bool
	Log       *slog.Logger
}

// Plane is the program and what it knows. Make one with New, let it answer with
// Start, give it Tables with Apply, and end it with Close.
type Plane struct {
	config  Config
	netlink *netlink.Handle
	// program answers by the interface that a query comes by, peerProgram at the other
	// end of it.
	program, peerProgram *ebpf.Program
	maps                 map[string]*ebpf.Map

	mu sync.Mutex
	// table is what the maps say, missing the entries of it for which there was no
	// room; lists has the numbers of those that names have.
	table   dns.Table
	missing map[string]dns.Entry
	lists   map[string]uint64
	// version and number are the last ones that were given to an entry and a list.
	version uint32
	number  uint64
	zone    packetsZone
	slot    uint32
	closed  bool
	// off says why nothing is answered; nil if it is.
	off error

	listens map[packetsListen]bool
	// links are the interfaces that have a program, refused those that did not take it.
	links   map[int]attached
	refused map[int]*refusal
}

// New loads the program, which answers nothing before Start. Errors say what it
// needs.
func New(config Config) (*Plane, error) {
	if config.Log == nil {
		config.Log = slog.New(slog.DiscardHandler)
	}
	if config.Recursive == nil {
		config.Recursive = func() bool { return false }
	}
	spec, err := loadPackets()
	if err != nil {
		return nil, err
	}
	if config.Names > 0 {
		spec.Maps[packetsMapNames].MaxEntries = config.Names
	}
	collection, err := ebpf.NewCollection(spec)
	if err != nil {
		return nil, fmt.Errorf("loading the program that answers DNS queries (%s): %w", needs, err)
	}
	defer collection.Close()
	handle, err := netlink.NewHandle()
	if err != nil {
		return nil, fmt.Errorf("asking for interfaces: %w", err)
	}
	p := &Plane{
		config: config, netlink: handle, maps: map[string]*ebpf.Map{},
		program: collection.DetachProgram(packetsProgDnsAnswer), peerProgram: collection.DetachProgram(packetsProgDnsAnswerPeer),
		missing: map[string]dns.Entry{}, lists: map[string]uint64{}, off: errors.New("there are no names yet"),
		listens: map[packetsListen]bool{}, links: map[int]attached{}, refused: map[int]*refusal{},
	}
	for name := range spec.Maps {
		p.maps[name] = collection.DetachMap(name)
	}
	return p, p.listen(nil)
}

// Close takes the program off all interfaces and forgets everything.
func (p *Plane) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	var failed []error
	for index, l := range p.links {
		failed = append(failed, l.link.Close())
		delete(p.links, index)
	}
	failed = append(failed, p.program.Close(), p.peerProgram.Close())
	for _, m := range p.maps {
		failed = append(failed, m.Close())
	}
	p.netlink.Close()
	return errors.Join(failed...)
}

// Try runs the program on a frame as if it had come in by an interface, and returns
// the frame that it would send, or nil if it passes. It is for tests.
func (p *Plane) Try(frame []byte) ([]byte, error) {
	out := make([]byte, len(frame)+1024)
	options := &ebpf.RunOptions{Data: frame, DataOut: out}
	verdict, err := p.program.Run(options)
	switch {
	case err != nil:
		return nil, err
	case verdict == redirects:
		return options.DataOut, nil
	case verdict == passes && string(options.DataOut) == string(frame):
		return nil, nil
	}
	return nil, fmt.Errorf("verdict %d, frame %x", int32(verdict), options.DataOut)
}

// Time runs the program on a frame once, and returns how long it took. It is for
// benchmarks.
func (p *Plane) Time(frame []byte) (time.Duration, error) {
	_, took, err := p.program.Benchmark(frame, 1, nil)
	return took, err
}

// Verdicts of programs at tc (linux/pkt_cls.h).
const (
	passes    = 0xffffffff // TC_ACT_UNSPEC
	redirects = 7          // TC_ACT_REDIRECT
)
