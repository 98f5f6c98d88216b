package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead-net/fairlead/internal/l7"
)

// A listener that closes resets connections that nobody has accepted yet. So it takes no
// more that begin, and waits until none has come for lastLook, at most lastLooks times.
const (
	lastLook  = 10 * time.Millisecond
	lastLooks = 20
	// errorPause is how long no connection is accepted after an error.
	errorPause = 10 * time.Millisecond
	// patience is how long an idle connection may still bring a request while its
	// listener drains: its client may have just sent it.
	patience = time.Second
)

// listener accepts connections at one port.
type listener struct {
	listening
	listener *net.TCPListener
	// drained is since when it drains.
	drained atomic.Int64
	tls     *tls.Config
	count   int
	// quic serves HTTP/3, which offer tells clients that do not speak it; nil: it is not
	// served.
	quic  *quicListener
	offer []addition

	mu    sync.Mutex
	conns map[*conn]struct{}
}

// reusing opens ports with SO_REUSEPORT, which lets the next version of the program
// listen before this one ends.
func reusing() *net.ListenConfig {
	c := &net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var failure error
		if err := raw.Control(func(fd uintptr) {
			failure = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
		}); err != nil {
			return err
		}
		return failure
	}}
	c.SetMultipathTCP(false) // its sockets have no filters: ignoreNew
	return c
}

// newListener opens the port of a Listener.
func (p *Proxy) newListener(ctx context.Context, name string, spec *l7.Listener) (*listener, error) {
	config := reusing()
	address := netip.AddrPortFrom(p.config.Address, spec.Port)
	network := "tcp"
	if address.Addr().Is4() {
		network = "tcp4"
	}
	open, err := config.Listen(ctx, network, address.String())
	if errors.Is(err, unix.EAFNOSUPPORT) && address.Addr() == netip.IPv6Unspecified() {
		address = netip.AddrPortFrom(netip.IPv4Unspecified(), spec.Port)
		open, err = config.Listen(ctx, "tcp4", address.String())
	}
	if err != nil {
		return nil, explain(address, err)
	}
	l := &listener{listener: open.(*net.TCPListener), conns: map[*conn]struct{}{}}
	l.set(p, name, spec)
	if spec.Protocol == l7.HTTPS {
		l.tls = l.tlsConfig()
		p.giveTickets(l.tls)
	}
	if l.tls != nil && p.config.HTTP3 {
		l.openHTTP3(ctx)
	}
	p.config.Log.Info("proxy is listening", "listener", name, "address", l.address(), "http3", l.quic != nil)
	return l, nil
}

// explain adds to an error of binding what to do about it.
func explain(address netip.AddrPort, err error) error {
	advice := "the port cannot be used here"
	switch {
	case errors.Is(err, unix.EADDRINUSE):
		advice = "another program serves this port here; stop it, or use another port"
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		advice = "ports below 1024 need the capability NET_BIND_SERVICE; grant it, or use a higher port"
	case errors.Is(err, unix.EADDRNOTAVAIL):
		advice = "no interface has this address; use one that exists"
	}
	return fmt.Errorf("cannot listen on %s: %s: %w", address, advice, err)
}

func (l *listener) address() netip.AddrPort {
	return l.listener.Addr().(*net.TCPAddr).AddrPort()
}

// serve accepts connections until the listener is drained.
func (l *listener) serve() {
	rest, accepted := lastLooks, 0
	for {
		open, err := l.listener.AcceptTCP()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case errors.Is(err, os.ErrDeadlineExceeded):
			// One more look, for a deadline that has passed hides what waits.
			if rest--; rest == 0 || rest < lastLooks-1 && accepted == 0 {
				l.listener.Close()
				return
			}
			accepted = 0
			l.listener.SetDeadline(time.Now().Add(lastLook))
			continue
		case err != nil:
			time.Sleep(errorPause) // out of file descriptors, most likely
			continue
		}
		accepted++
		c := l.admit(open)
		if c == nil {
			l.proxy.tally.shed.Add(1)
			open.Close()
			continue
		}
		l.proxy.serving.Go(func() {
			defer l.dismiss(c)
			c.run()
		})
	}
}

// admit takes in a connection, or returns nil if there are too many.
func (l *listener) admit(open *net.TCPConn) *conn {
	p := l.proxy
	if p.connections.Add(1) > int64(p.settings().MaxConnections) {
		p.connections.Add(-1)
		return nil
	}
	from, of := peerOf(open), (*guest)(nil)
	if !l.vouches(from.Addr()) { // else it says first who the client is
		var may bool
		if of, may = p.join(from.Addr()); !may {
			p.connections.Add(-1)
			return nil
		}
	}
	s, err := newSocket(open, p.clock)
	if err != nil {
		p.part(of)
		p.connections.Add(-1)
		return nil
	}
	l.count++
	l.meter.accepted.Add(1)
	l.meter.open.Add(1)
	c := newConn(l, s, l.count)
	c.guest = of
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conns[c] = struct{}{}
	return c
}

func (l *listener) dismiss(c *conn) {
	_ = c.socket.Close()
	l.proxy.part(c.guest)
	l.proxy.connections.Add(-1)
	l.meter.open.Add(-1)
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, c)
}

// drain makes serve accept what has arrived and then return, every answer the last
// one of its connection, and idle connections end.
func (l *listener) drain() {
	now := l.proxy.clock.now()
	l.drained.Store(now)
	l.draining.Store(true)
	if l.quic != nil {
		l.quic.drain()
	}
	if err := ignoreNew(l.listener); err != nil {
		l.proxy.config.Log.Debug("connections that begin now may be reset", "listener", l.name, "error", err)
	}
	l.listener.SetDeadline(time.Now())
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.conns {
		if c.idle.Load() {
			c.socket.arm(after(now, patience))
		}
	}
}
