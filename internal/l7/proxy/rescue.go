package proxy

import (
	"fmt"
	"io"
	"runtime/debug"
)

// panicked is what a panic said, and where: in another goroutine than the request's.
type panicked struct {
	value any
	stack []byte
}

func (p *panicked) Error() string { return fmt.Sprint(p.value) }

// guard calls f, and makes an error of its panic. It is for goroutines that a request
// starts: who waits for them panics with that error.
func guard(f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &panicked{v, debug.Stack()}
		}
	}()
	return f()
}

// shield calls f, and notes its panic. It is for what the proxy does in the background.
func (p *Proxy) shield(f func()) {
	defer func() {
		if v := recover(); v != nil {
			p.mourn(v)
		}
	}()
	f()
}

// mourn notes a panic that was recovered from. One request, or one endpoint's answer,
// must not end what all others go through. A bug that is met again and again is logged now
// and then.
func (p *Proxy) mourn(value any) {
	p.tally.panics.Add(1)
	now, last := p.clock.now(), p.mourned.Load()
	if last != 0 && now-last < int64(complainAgain) || !p.mourned.CompareAndSwap(last, now) {
		return
	}
	stack := []byte(nil)
	if of, ok := value.(*panicked); ok {
		value, stack = of.value, of.stack
	} else {
		stack = debug.Stack()
	}
	p.config.Log.Error("the proxy has a bug, which ends what meets it, as a connection, and nothing else; please report this", "panic", fmt.Sprint(value), "stack", string(stack))
}

// rescue, deferred, ends the connection after a panic. A client that has been sent nothing
// of an answer is told. The memory of its request is not used again: who knows who still
// holds it.
func (c *conn) rescue() {
	v := recover()
	if v == nil {
		return
	}
	w := c.work
	c.work = nil
	c.proxy.mourn(v)
	if w == nil || w.record.sentHead > 0 {
		_ = c.socket.SetLinger(0) // what was sent may not be whole
		return
	}
	c.proxy.shield(func() {
		c.socket.fd, c.socket.serve = -1, nil // it is not within Each any more
		c.socket.arm(after(c.proxy.clock.now(), c.proxy.settings().WriteTimeout))
		if _, err := io.WriteString(c.in, answerOfBug); err == nil {
			c.lingering()
		}
	})
}

// answerOfBug is what a client gets of a request that the proxy has a bug with.
const answerOfBug = "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

// rescue, deferred, ends a connection of HTTP/2 after a panic, and with it its streams:
// what it knows of them may be wrong.
func (m *mux) rescue() {
	if v := recover(); v != nil {
		m.proxy.mourn(v)
		m.proxy.shield(func() {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.die(errPanic)
		})
	}
}
