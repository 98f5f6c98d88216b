package loopback

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fairlead-net/fairlead/internal/lb"
)

const (
	// maxConnections of one port may be open at once; more wait to be accepted.
	maxConnections = 1024
	// dialTime is how long an endpoint may take to accept, tries is how many of
	// them are asked.
	dialTime = 5 * time.Second
	tries    = 3
)

// port is one listener with the connections that came by it.
type port struct {
	listener net.Listener
	entry    atomic.Pointer[lb.Entry]
	log      *slog.Logger

	mu sync.Mutex
	// last is the backend that the node's programs stay with, and since when
	// nobody has asked, for Services with affinity.
	last   netip.AddrPort
	lastAt time.Time
}

// newPort serves until close is called.
func newPort(listener net.Listener, entry *lb.Entry, log *slog.Logger) *port {
	p := &port{listener: listener, log: log.With("address", listener.Addr().String())}
	p.entry.Store(entry)
	go p.serve()
	return p
}

func (p *port) close() { _ = p.listener.Close() }

func (p *port) serve() {
	places := make(chan struct{}, maxConnections)
	for {
		places <- struct{}{}
		client, err := p.listener.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			// The process has too many files open, say: it passes.
			p.log.Warn("a connection could not be accepted", "error", err)
			time.Sleep(100 * time.Millisecond)
			<-places
		default:
			go func() {
				defer func() { <-places }()
				p.forward(client)
			}()
		}
	}
}

// forward passes bytes both ways until both sides have ended.
func (p *port) forward(client net.Conn) {
	defer client.Close()
	backend, err := p.dial()
	if err != nil {
		p.log.Debug("no endpoint accepts", "error", err)
		return
	}
	defer backend.Close()
	var both sync.WaitGroup
	both.Go(func() { pass(backend, client) })
	both.Go(func() { pass(client, backend) })
	both.Wait()
}

// pass copies until from ends, and tells to. An error ends the other direction
// too.
func pass(to, from net.Conn) {
	if _, err := io.Copy(to, from); err != nil {
		to.Close()
		from.Close()
		return
	}
	if half, ok := to.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite() // the other side has gone: its end is seen when reading
	}
}

// dial connects to a backend; to another one if that does not accept.
func (p *port) dial() (net.Conn, error) {
	entry := p.entry.Load()
	backends := slices.Clone(entry.For(lb.Host).Backends)
	rand.Shuffle(len(backends), func(i, j int) { backends[i], backends[j] = backends[j], backends[i] })
	if i := slices.Index(backends, p.remembered(entry)); i > 0 {
		backends[0], backends[i] = backends[i], backends[0]
	}
	dialer := net.Dialer{Timeout: dialTime}
	err := errors.New("the Service has no endpoint")
	for _, backend := range backends[:min(tries, len(backends))] {
		var conn net.Conn
		if conn, err = dialer.DialContext(context.Background(), "tcp", backend.String()); err == nil {
			p.remember(backend)
			return conn, nil
		}
	}
	return nil, err
}

// remembered is the backend that affinity asks for, if any.
func (p *port) remembered(entry *lb.Entry) netip.AddrPort {
	p.mu.Lock()
	defer p.mu.Unlock()
	if time.Since(p.lastAt) > entry.Affinity {
		return netip.AddrPort{}
	}
	return p.last
}

func (p *port) remember(backend netip.AddrPort) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last, p.lastAt = backend, time.Now()
}
