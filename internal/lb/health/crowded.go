package health

import (
	"container/list"
	"net"
	"sync"
)

// crowded is a listener that keeps at most maxConnections. When one more comes,
// the oldest goes: a probe takes milliseconds, so that is one that only holds
// its place, and nobody can keep the others out.
type crowded struct {
	net.Listener

	mu   sync.Mutex
	kept list.List // of *place, the oldest first
}

// place is a connection that is one of maxConnections.
type place struct {
	net.Conn
	in      *crowded
	element *list.Element
}

// Accept implements net.Listener.
func (c *crowded) Accept() (net.Conn, error) {
	conn, err := c.Listener.Accept()
	if err != nil {
		return nil, err
	}
	p := &place{Conn: conn, in: c}
	c.mu.Lock()
	var oldest *place
	if c.kept.Len() >= maxConnections {
		oldest = c.kept.Front().Value.(*place)
		c.kept.Remove(oldest.element)
	}
	p.element = c.kept.PushBack(p)
	c.mu.Unlock()
	if oldest != nil {
		oldest.Conn.Close()
	}
	return p, nil
}

// Close implements net.Conn.
func (p *place) Close() error {
	p.in.mu.Lock()
	p.in.kept.Remove(p.element) // does nothing if it is not in the list any more
	p.in.mu.Unlock()
	return p.Conn.Close()
}
