package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/fairlead-net/fairlead/internal/l7/filter"
)

const (
	// retryFrom is from how many handshakes under way on clients have to show that they
	// have the address they write from (RFC 9000, section 8.1).
	retryFrom = 64
	// maxHandshakes bounds those of one client that has shown it.
	maxHandshakes = 64
	// quicHandshake is for the next packet of a handshake.
	quicHandshake = 5 * time.Second
	// maxUniStreams are those a client may open beside its requests: it needs three
	// (RFC 9114, section 6.2), and may send some that say nothing.
	maxUniStreams = 8
)

var (
	errTooMany = errors.New("too many connections")
	// errUnknown is that a load balancer does not say who the client is: the PROXY protocol
	// has no place in QUIC. Clients go on with TCP.
	errUnknown = errors.New("a load balancer that does not say who its client is")
)

// quicListener accepts connections of QUIC, with HTTP/3 within, at the UDP port of an
// HTTPS listener (RFC 9000 and RFC 9114).
type quicListener struct {
	*listener
	socket    net.PacketConn
	tls       *tls.Config
	transport *quic.Transport
	accepting *quic.Listener
	served    sync.WaitGroup

	mu       sync.Mutex
	sessions map[*session3]struct{}
	ends     bool
	// pending are the handshakes under way, pendingOf those of clients that have shown
	// that they have their address.
	pending   int
	pendingOf map[netip.Addr]int
	number    int
}

// openHTTP3 has HTTP/3 served beside. Without it the listener still does all that clients
// need, so that a port which cannot be opened is only told of.
func (l *listener) openHTTP3(ctx context.Context) {
	q, err := l.openQUIC(ctx)
	if err != nil {
		l.proxy.config.Log.Error("HTTP/3 is not served, but HTTP/2 and HTTP/1.1 are", "listener", l.name, "error", err)
		return
	}
	l.quic = q
	port := orDefault(l.proxy.config.AltSvcPort, l.address().Port())
	l.offer = []addition{{field("Alt-Svc", fmt.Sprintf(`h3=":%d"; ma=%d`, port, altSvcAge)), always}}
}

// altSvcAge is for how many seconds clients remember that there is HTTP/3 (RFC 7838,
// section 3.1).
const altSvcAge = 86400

// openQUIC opens the UDP port of the same number.
func (l *listener) openQUIC(ctx context.Context) (*quicListener, error) {
	address := l.address()
	network := "udp"
	if address.Addr().Is4() {
		network = "udp4"
	}
	socket, err := reusing().ListenPacket(ctx, network, address.String())
	if err != nil {
		return nil, explain(address, err)
	}
	q := &quicListener{listener: l, socket: socket, sessions: map[*session3]struct{}{}, pendingOf: map[netip.Addr]int{}}
	q.transport = &quic.Transport{Conn: socket, VerifySourceAddress: func(net.Addr) bool { return q.doubts() }, ConnContext: q.greet}
	q.tls = http3.ConfigureTLSConfig(l.quicTLS())
	l.proxy.giveTickets(q.tls)
	if q.accepting, err = q.transport.Listen(q.tls, l.proxy.quic()); err != nil {
		_ = socket.Close()
		return nil, fmt.Errorf("cannot serve HTTP/3 at %s: %w", address, err)
	}
	return q, nil
}

// quicTLS is how connections of QUIC are accepted. There are no requests before the end
// of the handshake: they could be somebody else's, sent once more (RFC 8470).
func (l *listener) quicTLS() *tls.Config {
	c := l.tlsConfig()
	c.MinVersion = tls.VersionTLS13
	return c
}

// quic are the bounds of a connection. Clients that wait for a slow answer are kept.
func (p *Proxy) quic() *quic.Config {
	c := p.settings().quic()
	c.GetConfigForClient = func(*quic.ClientInfo) (*quic.Config, error) { return p.settings().quic(), nil }
	return c
}

func (c *Config) quic() *quic.Config {
	return &quic.Config{
		HandshakeIdleTimeout: min(c.HeadTimeout, quicHandshake), MaxIdleTimeout: c.IdleTimeout, KeepAlivePeriod: c.IdleTimeout / 3,
		InitialStreamReceiveWindow: streamWindow, MaxStreamReceiveWindow: 4 * streamWindow,
		InitialConnectionReceiveWindow: sessionWindow, MaxConnectionReceiveWindow: sessionWindow,
		MaxIncomingStreams: int64(c.MaxStreams), MaxIncomingUniStreams: maxUniStreams,
	}
}

// doubts reports whether clients have to show that they have their address.
func (q *quicListener) doubts() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.pending >= retryFrom
}

// greeting is a handshake under way.
type greeting struct {
	q        *quicListener
	client   netip.Addr
	verified bool
	once     sync.Once
}

type greetingKey struct{}

// greet takes in a connection whose handshake begins, or returns an error if there are
// too many. The context ends with the connection.
func (q *quicListener) greet(ctx context.Context, client *quic.ClientInfo) (context.Context, error) {
	p, from := q.proxy, addressOfUDP(client.RemoteAddr).Addr()
	if within(p.settings().ProxyProtocol, from) {
		return nil, errUnknown
	}
	if p.connections.Add(1) > int64(p.settings().MaxConnections) {
		p.connections.Add(-1)
		p.tally.shed.Add(1)
		return nil, errTooMany
	}
	h := &greeting{q: q, client: filter.Client(from), verified: client.AddrVerified}
	q.mu.Lock()
	defer q.mu.Unlock()
	if h.verified && q.pendingOf[h.client] >= maxHandshakes {
		p.connections.Add(-1)
		p.tally.shed.Add(1)
		return nil, errTooMany
	}
	q.pending++
	if h.verified {
		q.pendingOf[h.client]++
	}
	context.AfterFunc(ctx, func() {
		h.end()
		p.connections.Add(-1)
	})
	return context.WithValue(ctx, greetingKey{}, h), nil
}

// end notes that the handshake is over.
func (h *greeting) end() {
	h.once.Do(func() {
		h.q.mu.Lock()
		defer h.q.mu.Unlock()
		h.q.pending--
		if !h.verified {
			return
		}
		if h.q.pendingOf[h.client]--; h.q.pendingOf[h.client] == 0 {
			delete(h.q.pendingOf, h.client)
		}
	})
}

func addressOfUDP(a net.Addr) netip.AddrPort {
	if a, ok := a.(*net.UDPAddr); ok {
		return netip.AddrPortFrom(a.AddrPort().Addr().Unmap(), a.AddrPort().Port())
	}
	return netip.AddrPort{}
}

// serve accepts connections until the listener is drained.
func (q *quicListener) serve() {
	for {
		open, err := q.accepting.Accept(q.proxy.ctx)
		if err != nil {
			if q.mu.Lock(); !q.ends && q.proxy.ctx.Err() == nil {
				q.proxy.config.Log.Error("HTTP/3 is not served any more", "listener", q.name, "error", err)
			}
			q.mu.Unlock()
			return
		}
		if h, ok := open.Context().Value(greetingKey{}).(*greeting); ok {
			h.end()
		}
		s := q.admit(open)
		if s == nil {
			_ = open.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeNoError), "")
			continue
		}
		q.proxy.serving.Go(func() {
			defer q.dismiss(s)
			s.run()
		})
	}
}

// admit takes in a connection, unless the listener drains.
func (q *quicListener) admit(open *quic.Conn) *session3 {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.ends {
		return nil
	}
	// Only now that its address is known for certain.
	of, may := q.proxy.join(addressOfUDP(open.RemoteAddr()).Addr())
	if !may {
		q.proxy.tally.shed.Add(1)
		return nil
	}
	q.number++
	s := &session3{quicListener: q, quic: open}
	s.conn = q.newConn(addressOfUDP(open.RemoteAddr()), q.number)
	s.conn.guest = of
	s.conn.learn(open.ConnectionState().TLS)
	q.meter.shaken(open.ConnectionState().TLS)
	s.server = &http3.Server{
		Handler: s, Logger: q.proxy.config.Log,
		MaxHeaderBytes: 2 * q.proxy.settings().MaxHead, // what exceeds MaxHead is answered as elsewhere
	}
	s.idle = time.AfterFunc(q.proxy.settings().IdleTimeout, func() {
		if s.active.Load() == 0 {
			s.close()
		}
	})
	q.meter.accepted.Add(1)
	q.meter.open.Add(1)
	q.served.Add(1)
	q.sessions[s] = struct{}{}
	return s
}

// newConn returns what exchanges know of a client's connection.
func (q *quicListener) newConn(client netip.AddrPort, number int) *conn {
	c := &conn{listener: q.listener, proxy: q.proxy, shard: number, from: client}
	c.meet(client, q.address().Port())
	return c
}

func (q *quicListener) dismiss(s *session3) {
	defer q.served.Done()
	q.meter.open.Add(-1)
	q.proxy.part(s.conn.guest)
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.sessions, s)
}

// drain accepts no more, tells clients so, and closes the port when all are gone.
func (q *quicListener) drain() {
	q.mu.Lock()
	q.ends = true
	for s := range q.sessions {
		q.proxy.serving.Go(s.drain)
	}
	q.mu.Unlock()
	_ = q.accepting.Close()
	q.proxy.serving.Go(func() {
		q.served.Wait()
		_ = q.transport.Close()
		_ = q.socket.Close()
	})
}
