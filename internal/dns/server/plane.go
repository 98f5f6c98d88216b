package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead-net/fairlead/internal/dns"
	"github.com/fairlead-net/fairlead/internal/dns/server/forward"
)

// Plane is a DNS server. Make one with New, bind its sockets with Start, give
// it Tables with Apply, and end it with Close.
type Plane struct {
	config  Config
	live    atomic.Pointer[live]
	cookies *cookies
	// certificate is that of DNS over TLS, nil if that is off.
	certificate *keyPair
	// waiting is the number of queries that wait for an upstream.
	waiting atomic.Int64
	// lines are about queries; host is the name of this machine.
	lines *logLines
	host  string
	fast  fastPath
	// answer is dns.Table.Answer.
	answer func(dns.Table, dns.Question) dns.Answer
	// top counts names; nil if that is off.
	top *top
	// tallies holds one per UDP socket, and one for all of TCP at the end.
	tallies []*tally

	// ctx ends the work in the background and queries to upstreams.
	ctx    context.Context
	cancel context.CancelFunc
	// readers, pending and background are the goroutines to wait for: those that
	// read sockets, those that wait for upstreams, and the rest.
	readers, pending, background sync.WaitGroup

	// changing is held while live changes. If watches is set, Run of the Forwarder watched
	// is under way, and unwatch ends it.
	// Each of tapping ends the Run of a stream.
	changing sync.Mutex
	watches  bool
	watched  *forward.Forwarder
	unwatch  context.CancelFunc
	tapping  map[*tapStream]context.CancelFunc

	started, closing atomic.Bool
	close            sync.Once
	udp              []*udpSocket
	tcp              []*tcpListener
	https            []*httpsServer
}

// New returns a server that does nothing yet. Errors say which field of the
// Config to correct.
func New(config Config) (*Plane, error) {
	config, err := config.complete()
	if err != nil {
		return nil, err
	}
	p := &Plane{config: config, answer: dns.Table.Answer, cookies: newCookies(), lines: newLogLines(config.Log)}
	if p.host, err = os.Hostname(); err != nil {
		p.host = "localhost" // as CoreDNS
	}
	p.live.Store(&live{Settings: new(Settings)}) // which forward.New asks for the server's addresses
	if config.CountNames {
		p.top = newTop(func() *dns.Table { return &p.live.Load().table }, time.Now())
	}
	config.Forward.Own, config.Forward.Tap, config.Forward.Log = p.own, p.tapAttempt, config.Log
	forwarder, err := forward.New(config.Forward)
	if err != nil {
		return nil, err
	}
	p.live.Store(&live{Settings: newSettings(config, forwarder, p)})
	if len(config.TLS.Listen)+len(config.HTTPS.Listen) > 0 {
		p.certificate = newKeyPair(config.TLS, config.Log)
	}
	for range len(config.Listen)*config.Sockets + 1 {
		p.tallies = append(p.tallies, new(tally))
	}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	if config.Registry == nil {
		return p, nil
	}
	if config.KernelFastPath {
		err = config.Registry.Register(newKernelMetrics(&p.fast))
	}
	return p, errors.Join(err, config.Registry.Register(newMetrics(p)), config.Registry.Register(forwarder.Metrics()))
}

// Start binds every socket and begins to answer. Errors name the address and
// what to do; nothing is left bound then, and Start can be called again. It must
// not run at the same time as Close.
func (p *Plane) Start(ctx context.Context) error {
	if p.started.Swap(true) {
		return errors.New("the DNS server has been started already")
	}
	if err := p.bindAll(ctx); err != nil {
		p.release()
		p.udp, p.tcp, p.https = nil, nil, nil
		p.started.Store(false)
		return err
	}
	for _, s := range p.udp {
		p.readers.Go(s.serve)
	}
	for _, l := range p.tcp {
		p.readers.Go(l.serve)
	}
	for _, h := range p.https {
		p.readers.Go(h.serve)
	}
	p.startSettings()
	p.background.Go(func() { p.cookies.run(p.ctx) })
	p.background.Go(func() { p.lines.run(p.ctx) })
	if p.certificate != nil {
		p.background.Go(func() { p.certificate.run(p.ctx) })
	}
	p.startKernel()
	p.config.Log.Info("DNS server is listening", "addresses", p.Addresses())
	return nil
}

// bindAll opens all sockets and listeners.
func (p *Plane) bindAll(ctx context.Context) error {
	for i, address := range p.config.Listen {
		if err := p.bind(ctx, address, p.tallies[i*p.config.Sockets:]); err != nil {
			return err
		}
	}
	for _, address := range p.config.TLS.Listen {
		listener, err := listenTCP(ctx, address)
		if err != nil {
			return explainBind("TLS", address, err)
		}
		p.tcp = append(p.tcp, newTCPListener(p, listener, p.certificate.config(overTLS)))
	}
	return p.listenHTTPS(ctx)
}

// bind opens the UDP sockets and the TCP listener of one address.
func (p *Plane) bind(ctx context.Context, address netip.AddrPort, tallies []*tally) error {
	for i := range p.config.Sockets {
		conn, err := listenUDP(ctx, address)
		if errors.Is(err, unix.EAFNOSUPPORT) && address.Addr() == netip.IPv6Unspecified() {
			p.config.Log.Warn("the kernel has no IPv6, listening on IPv4 only", "address", address)
			address = netip.AddrPortFrom(netip.IPv4Unspecified(), address.Port())
			conn, err = listenUDP(ctx, address)
		}
		if err != nil {
			return explainBind("UDP", address, err)
		}
		// Port 0 asks for any, which the other sockets must then share.
		address = conn.LocalAddr().(*net.UDPAddr).AddrPort()
		socket, err := newUDPSocket(p, conn, tallies[i])
		if err != nil {
			conn.Close()
			return explainBind("UDP", address, err)
		}
		p.udp = append(p.udp, socket)
	}
	listener, err := listenTCP(ctx, address)
	if err != nil {
		return explainBind("TCP", address, err)
	}
	p.tcp = append(p.tcp, newTCPListener(p, listener, nil))
	return nil
}

// Addresses returns where the server listens over UDP and TCP, one per
// configured address.
func (p *Plane) Addresses() []netip.AddrPort {
	var list []netip.AddrPort
	for _, l := range p.tcp[:min(len(p.tcp), len(p.config.Listen))] {
		list = append(list, l.listener.Addr().(*net.TCPAddr).AddrPort())
	}
	return list
}

// Close withdraws readiness, goes on answering for Config.Lameduck, then
// answers what has arrived and waits for what upstreams still owe, which their
// timeout bounds. It returns when every socket is closed.
func (p *Plane) Close() error {
	p.close.Do(func() {
		p.closing.Store(true)
		if p.started.Load() {
			lameduck := p.live.Load().lameduck
			p.config.Log.Info("DNS server is closing", "lameduck", lameduck)
			time.Sleep(lameduck)
		}
		p.closeKernel()
		for _, s := range p.udp {
			s.drain()
		}
		for _, l := range p.tcp {
			l.drain()
		}
		for _, h := range p.https {
			h.drain()
		}
		p.readers.Wait()
		p.pending.Wait()
		for _, f := range p.live.Load().failures {
			f.flush()
		}
		p.stopAll()
		p.background.Wait()
		p.release()
	})
	return nil
}

func (p *Plane) release() {
	for _, s := range p.udp {
		s.conn.Close()
	}
	for _, l := range p.tcp {
		l.listener.Close()
	}
	for _, h := range p.https {
		h.listener.Close()
	}
}

// own reports whether an address leads to this server: one it listens on, or
// one of its Service.
func (p *Plane) own(address netip.AddrPort) bool {
	if address.Port() == defaultPort && slices.Contains(p.live.Load().table.ServerAddresses(), address.Addr()) {
		return true
	}
	for _, listen := range p.config.Listen {
		if listen.Port() != address.Port() {
			continue
		}
		if listen.Addr() == address.Addr() || listen.Addr().IsUnspecified() && isLocal(address.Addr()) {
			return true
		}
	}
	return false
}

// isLocal reports whether an address is one of this machine, as far as the
// network namespace of the process goes.
func isLocal(address netip.Addr) bool {
	if address.IsLoopback() {
		return true
	}
	local, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	for _, a := range local {
		if prefix, err := netip.ParsePrefix(a.String()); err == nil && prefix.Addr() == address.WithZone("") {
			return true
		}
	}
	return false
}

// Describe says in words what the server does and what is wrong with it.
func (p *Plane) Describe() []string {
	now := p.live.Load()
	table := &now.table
	services, addresses := table.Len()
	var lines []string
	if table.Config().Domain != "" {
		lines = append(lines, fmt.Sprintf("answers for %s from revision %d: %d Services, %d addresses", table.Config().Domain, table.Revision, services, addresses))
	}
	if ready, reasons := p.Ready(); !ready {
		lines = append(lines, reasons...)
	}
	for _, address := range p.config.Listen {
		lines = append(lines, fmt.Sprintf("listens on %s with %d UDP sockets and TCP", address, p.config.Sockets))
	}
	for _, address := range p.config.TLS.Listen {
		lines = append(lines, fmt.Sprintf("listens on %s for DNS over TLS", address))
	}
	for _, address := range p.config.HTTPS.Listen {
		lines = append(lines, fmt.Sprintf("listens on %s for DNS over HTTPS", address))
	}
	if p.certificate != nil {
		lines = append(lines, p.certificate.describe()...)
	}
	return append(append(lines, p.fast.describe()...), now.forwarder.Describe()...)
}
