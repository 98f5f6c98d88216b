package proxy

import (
	"runtime"
	"sync"
	"time"

	"github.com/fairlead-net/fairlead/internal/l7/http2"
)

const (
	// maxOut is how much may wait to be written to a connection of HTTP/2 before those
	// who add to it wait too. One that reads waits only at maxOwed: some peers take nothing
	// while they are not read from.
	maxOut, maxOwed = 128 << 10, 1 << 20
	// keptOut is how large the buffers are that a connection keeps while it is used.
	keptOut = 256 << 10
	// outPiece is what has to be taken within the time for writing: at about the least
	// rate of HTTP/1.1 then.
	outPiece = 32 << 10
)

// mux is a connection of HTTP/2 with a client or an endpoint. Goroutines of its
// streams add to what is to be written; whoever finds nobody writing writes for all.
type mux struct {
	proxy  *Proxy
	socket *socket
	write  func([]byte) (int, error)

	mu sync.Mutex
	h2 *http2.Conn
	// changed is signalled when something has been written.
	changed sync.Cond
	writing bool
	// until is when what is being written has to be taken.
	until int64
	// spare is a buffer for the next output.
	spare []byte
	// dead is set when the connection is of no use any more; over is closed then.
	dead bool
	over chan struct{}
}

func (m *mux) begin(p *Proxy, s *socket, write func([]byte) (int, error), h2 *http2.Conn) {
	m.proxy, m.socket, m.write, m.h2 = p, s, write, h2
	m.changed.L, m.over = &m.mu, make(chan struct{})
}

// locked calls f with the lock held, which a panic does not leave so: the clock would wait
// for it. A panic ends the connection, as what is known of its streams may be wrong, and
// goes on.
func (m *mux) locked(f func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	well := false
	defer func() {
		if !well {
			m.proxy.shield(func() { m.die(errPanic) })
		}
	}()
	f()
	well = true
}

// unlocked calls f without the lock, which is held before and after.
func (m *mux) unlocked(f func()) {
	m.mu.Unlock()
	defer m.mu.Lock()
	f()
}

// wait waits, without the lock, until a stream has something or the connection is of no
// use any more.
func (m *mux) wait(something <-chan struct{}) {
	m.unlocked(func() {
		select {
		case <-something:
		case <-m.over:
		}
	})
}

// flush writes what is to be written, unless somebody is at it. The lock is held, but
// not while writing.
func (m *mux) flush() {
	if m.writing || m.dead {
		return
	}
	m.writing = true
	if m.h2.Active() > 1 && len(m.h2.Out) < outPiece {
		// Other streams may be about to add something, which then costs no call.
		m.mu.Unlock()
		runtime.Gosched()
		m.mu.Lock()
	}
	for len(m.h2.Out) > 0 && !m.dead {
		out := m.h2.Out
		m.h2.Out = m.spare[:0]
		for rest := out; len(rest) > 0 && !m.dead; {
			rest = m.writePiece(rest)
		}
		if m.spare = out[:0]; cap(out) > keptOut {
			m.spare = nil
		}
		m.changed.Broadcast()
	}
	m.writing = false
	m.changed.Broadcast()
}

// flushLater has what is to be written be written by somebody else: one who reads must
// not wait for the peer to take something, which may be waiting to be read from. The
// lock is held.
func (m *mux) flushLater() {
	if len(m.h2.Out) > 0 && !m.writing && !m.dead {
		go func() {
			defer m.rescue()
			m.mu.Lock()
			defer m.mu.Unlock()
			m.flush()
		}()
	}
}

// writePiece writes a part of something, and returns the rest. The lock is held, but
// not while writing.
func (m *mux) writePiece(b []byte) (rest []byte) {
	piece := b[:min(len(b), outPiece)]
	m.until = after(m.proxy.clock.now(), m.proxy.settings().WriteTimeout)
	var err error
	m.unlocked(func() { _, err = m.write(piece) })
	if m.until = 0; err != nil {
		m.die(err)
	}
	return b[len(piece):]
}

// die ends the connection and its streams. The lock is held. Whatever is wrong with what is
// known of the streams, those who wait look again.
func (m *mux) die(err error) {
	if !m.dead {
		m.dead = true
		close(m.over)
		m.changed.Broadcast()
		// The reader may be within its read, which holds up Close.
		go m.socket.TCPConn.Close()
		_ = m.h2.Fail(err)
	}
}

// throttle waits until so little is to be written. The lock is held.
func (m *mux) throttle(least int) {
	for len(m.h2.Out) > least && !m.dead {
		if m.writing {
			m.changed.Wait()
		} else {
			m.flush()
		}
	}
}

// send sends a part of a body, however long that takes within the time for each part
// of it, and at the pace that is asked of who takes it, if it is not nil. It reports
// whether all was sent. The lock is held.
func (m *mux) send(s *http2.Stream, b []byte, end bool, timeout time.Duration, p *pace) bool {
	for {
		m.throttle(maxOut)
		n := m.h2.SendData(s, b, end)
		if b = b[n:]; s.Err != nil || m.dead {
			return false
		}
		if p != nil {
			p.add(n, 0)
		}
		if len(b) == 0 {
			return true
		}
		m.flush()
		now, patience := m.proxy.clock.now(), timeout
		if p != nil {
			patience = p.patience(timeout, m.proxy.settings().MinRate)
		}
		s.RoomierBy = after(now, patience)
		m.wait(s.Roomier)
		then := m.proxy.clock.now()
		if p != nil {
			p.add(0, then-now)
		}
		late := then >= s.RoomierBy
		if s.RoomierBy = 0; late && m.h2.Room(s) == 0 {
			m.h2.Cancel(s, http2.Cancel)
			return false
		}
	}
}

// watch is called every tick. It reports whether there is nothing to keep the
// connection for. The lock is held.
func (m *mux) watch(now int64) {
	m.h2.Relax(relaxation)
	m.h2.Expire(now)
	if m.until != 0 && m.until <= now {
		m.die(errSlow)
	}
}

// relaxation is what a connection is forgiven every tick.
const relaxation = 5
