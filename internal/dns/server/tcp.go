package server

import (
	"bufio"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// A listener that closes resets connections that nobody has accepted yet. So it
// waits until none has come for lastLook, at most lastLooks times.
const (
	lastLook  = 2 * time.Millisecond
	lastLooks = 50
)

// firstWait is how long a server that is closing waits for the first query of a
// connection: its client has only just made it.
const firstWait = time.Second

// tcpListener accepts connections on one address.
type tcpListener struct {
	plane    *Plane
	listener *net.TCPListener
	// secure is how connections are encrypted, nil if they are not.
	secure   *tls.Config
	tally    *tally
	draining atomic.Bool

	mu    sync.Mutex
	conns map[*tcpConn]bool
	// clients counts the connections of each client address.
	clients map[netip.Addr]int
	// hots holds a few of *hot with their buffers, for connections to share.
	hots sync.Pool
}

// hotBuffer is a hot and memory for one reply.
type hotBuffer struct {
	*hot
	reply []byte
}

func newTCPListener(p *Plane, listener *net.TCPListener, secure *tls.Config) *tcpListener {
	l := &tcpListener{
		plane: p, listener: listener, secure: secure, tally: p.tallies[len(p.tallies)-1],
		conns: map[*tcpConn]bool{}, clients: map[netip.Addr]int{},
	}
	l.hots.New = func() any { return &hotBuffer{hot: newHot(p, l.tally)} }
	return l
}

// serve accepts connections until the listener is drained.
func (l *tcpListener) serve() {
	rest, accepted := lastLooks, 0
	for {
		conn, err := l.listener.AcceptTCP()
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
			// Out of file descriptors, most likely: some will be freed.
			time.Sleep(errorPause)
			continue
		}
		accepted++
		c := l.admit(conn)
		if c == nil {
			l.tally.shed.Add(1)
			conn.Close()
			continue
		}
		l.plane.readers.Go(func() {
			defer l.dismiss(c)
			c.serve()
		})
	}
}

// admit takes in a connection, or returns nil if there are too many.
func (l *tcpListener) admit(conn *net.TCPConn) *tcpConn {
	remote := conn.RemoteAddr().(*net.TCPAddr).AddrPort()
	client := remote.Addr().Unmap()
	l.mu.Lock()
	defer l.mu.Unlock()
	limits := &l.plane.config
	if len(l.conns) >= limits.MaxConnections || l.clients[client] >= limits.MaxClientConnections {
		return nil
	}
	c := &tcpConn{listener: l, conn: conn, client: client, port: remote.Port(), server: unmapped(conn.LocalAddr()), slots: make(chan struct{}, limits.MaxPipelined)}
	if l.secure != nil {
		c.conn = tls.Server(conn, l.secure)
	}
	l.conns[c] = true
	l.clients[client]++
	return c
}

func (l *tcpListener) dismiss(c *tcpConn) {
	c.conn.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, c)
	if l.clients[c.client]--; l.clients[c.client] == 0 {
		delete(l.clients, c.client)
	}
}

// drain makes serve accept what has arrived and then return, and every
// connection end once its queries that have arrived are answered.
func (l *tcpListener) drain() {
	l.listener.SetDeadline(time.Now())
	l.mu.Lock()
	defer l.mu.Unlock()
	l.draining.Store(true)
	for c := range l.conns {
		c.conn.SetReadDeadline(time.Now().Add(c.patience()))
	}
}

// tcpConn is one connection. Replies to queries that an upstream has to answer
// may overtake each other (RFC 7766, section 6.2.1.1).
type tcpConn struct {
	listener *tcpListener
	conn     net.Conn
	client   netip.Addr
	port     uint16
	server   netip.AddrPort
	// slots bounds the queries that wait for an upstream.
	slots chan struct{}
	// write guards writing to conn.
	write sync.Mutex
	// asked is set once a query has come, broken once a reply could not be written.
	asked, broken atomic.Bool
}

// patience is how long the next query may take while the listener drains.
func (c *tcpConn) patience() time.Duration {
	if c.asked.Load() {
		return quiet
	}
	return firstWait
}

// serve reads and answers queries until the client or time ends it, then waits
// for the replies that are still due.
func (c *tcpConn) serve() {
	var waiting sync.WaitGroup
	defer waiting.Wait()
	p := c.listener.plane
	if secure, ok := c.conn.(*tls.Conn); ok {
		secure.SetDeadline(time.Now().Add(p.config.IOTimeout))
		if err := secure.HandshakeContext(p.ctx); err != nil {
			c.listener.tally.ignored.Add(1)
			return
		}
	}
	reader := bufio.NewReaderSize(c.conn, maxQuery)
	var packet []byte
	for !c.broken.Load() {
		var ok bool
		if packet, ok = c.read(reader, packet); !ok {
			return
		}
		from := client{address: c.client, now: time.Now(), port: c.port, server: c.server}
		if c.answer(packet, from) {
			continue
		}
		reply, later := p.handle(packet, c.listener.tally, overTCP, from)
		if later != nil {
			var ok bool
			if reply, ok = later.reserve(); !ok {
				later = nil
			}
		}
		if later == nil {
			c.send(reply)
			continue
		}
		c.slots <- struct{}{}
		waiting.Go(func() {
			defer later.free()
			c.send(later.forward(p.ctx))
			<-c.slots
		})
	}
}

// answer replies to a usual query, or returns false.
func (c *tcpConn) answer(packet []byte, from client) bool {
	h := c.listener.hots.Get().(*hotBuffer)
	defer c.listener.hots.Put(h)
	reply, ok := h.hot.answer(packet, h.reply, overTCP, from)
	if !ok {
		return false
	}
	h.reply = reply[:0]
	c.send(reply)
	h.tally.took(1, time.Since(from.now))
	return true
}

// read returns the next query, in the given buffer if it is large enough.
func (c *tcpConn) read(reader *bufio.Reader, buffer []byte) ([]byte, bool) {
	limits := &c.listener.plane.config
	c.deadline(limits.IdleTimeout)
	var length [2]byte
	if _, err := io.ReadFull(reader, length[:]); err != nil {
		return nil, false
	}
	size := int(binary.BigEndian.Uint16(length[:]))
	if size > maxQuery {
		// No query is that large, and skipping it would mean to read it.
		c.listener.tally.ignored.Add(1)
		return nil, false
	}
	if size > cap(buffer) {
		buffer = make([]byte, size)
	}
	buffer = buffer[:size]
	c.deadline(limits.IOTimeout)
	_, err := io.ReadFull(reader, buffer)
	c.asked.Store(true)
	return buffer, err == nil
}

// deadline bounds the next read; while draining only what has arrived is read.
func (c *tcpConn) deadline(after time.Duration) {
	c.conn.SetReadDeadline(time.Now().Add(after))
	if c.listener.draining.Load() {
		c.conn.SetReadDeadline(time.Now().Add(c.patience()))
	}
}

// send writes a reply with its length in front, in one piece.
func (c *tcpConn) send(reply []byte) {
	if reply == nil {
		return
	}
	framed := append(binary.BigEndian.AppendUint16(make([]byte, 0, 2+len(reply)), uint16(len(reply))), reply...)
	c.write.Lock()
	defer c.write.Unlock()
	if c.broken.Load() {
		return
	}
	c.conn.SetWriteDeadline(time.Now().Add(c.listener.plane.config.IOTimeout))
	if _, err := c.conn.Write(framed); err != nil {
		c.broken.Store(true)
		c.conn.Close()
	}
	c.listener.plane.top.note(reply, 1, time.Now())
}
