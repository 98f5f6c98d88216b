package proxy

import (
	"fmt"
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

// mourn notes a panic that was recovered from. One request, or one endpoint's answer,
// must not end what all others go through.
func (p *Proxy) mourn(value any) {
	p.tally.panics.Add(1)
	stack := []byte(nil)
	if of, ok := value.(*panicked); ok {
		value, stack = of.value, of.stack
	} else {
		stack = debug.Stack()
	}
	p.config.Log.Error("the proxy has a bug, which one connection met: that connection is closed; please report this", "panic", fmt.Sprint(value), "stack", string(stack))
}

// rescue, deferred, ends the connection after a panic. The memory of its request is not
// used again: who knows who still holds it.
func (c *conn) rescue() {
	v := recover()
	if v == nil {
		return
	}
	c.work = nil
	c.proxy.mourn(v)
	_ = c.socket.SetLinger(0) // what was sent may not be whole
}

// rescue, deferred, ends a connection of HTTP/2 after a panic, and with it its streams:
// what it knows of them may be wrong.
func (m *mux) rescue() {
	if v := recover(); v != nil {
		m.proxy.mourn(v)
		err := guard(func() error {
			m.locked(func() { m.die(errPanic) })
			return nil
		})
		if err != nil { // what is known of the streams is that wrong
			_ = m.socket.TCPConn.Close()
		}
	}
}
