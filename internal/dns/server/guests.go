package server

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"
)

// guests counts connections, in all and of each client.
type guests struct {
	most, mostOfClient int

	mu      sync.Mutex
	all     int
	clients map[netip.Addr]int
}

func newGuests(most, mostOfClient int) *guests {
	return &guests{most: most, mostOfClient: mostOfClient, clients: map[netip.Addr]int{}}
}

// enter reports whether one more connection of a client is welcome, and counts it then.
func (g *guests) enter(client netip.Addr) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.all >= g.most || g.clients[client] >= g.mostOfClient {
		return false
	}
	g.all++
	g.clients[client]++
	return true
}

func (g *guests) leave(client netip.Addr) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.all--
	if g.clients[client]--; g.clients[client] == 0 {
		delete(g.clients, client)
	}
}

// guestListener closes connections that are too many. After its deadline it accepts those
// that have arrived, as a tcpListener does, and is closed then.
type guestListener struct {
	*net.TCPListener
	guests *guests
	tally  *tally
	// rest is how many looks are left, accepted how many connections the last one found.
	rest, accepted int
}

// Accept implements net.Listener.
func (l *guestListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.AcceptTCP()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			if l.rest--; l.rest == 0 || l.rest < lastLooks-1 && l.accepted == 0 {
				l.Close()
				return nil, net.ErrClosed
			}
			l.accepted = 0
			l.SetDeadline(time.Now().Add(lastLook))
			continue
		}
		if errors.Is(err, net.ErrClosed) {
			return nil, err
		}
		if err != nil {
			// Out of file descriptors, most likely: some will be freed.
			time.Sleep(errorPause)
			continue
		}
		l.accepted++
		client := unmapped(conn.RemoteAddr()).Addr()
		if l.guests.enter(client) {
			return &guest{TCPConn: conn, leave: sync.OnceFunc(func() { l.guests.leave(client) })}, nil
		}
		l.tally.shed.Add(1)
		conn.Close()
	}
}

// guest is a connection that is counted until it is closed.
type guest struct {
	*net.TCPConn
	leave func()
}

// Close implements net.Conn.
func (g *guest) Close() error {
	defer g.leave()
	return g.TCPConn.Close()
}
