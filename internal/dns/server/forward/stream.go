package forward

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// maxStreams is the number of connections to one server, maxPipelined that of
	// queries that wait on one of them, usualPipelined how many do before another
	// connection is opened.
	maxStreams     = 16
	maxPipelined   = 128
	usualPipelined = 16
)

var (
	errBusy = fmt.Errorf("%d queries wait for it by TCP already", maxStreams*maxPipelined)
	errGone = errors.New("the connection has been closed")
)

// streams are the TCP or TLS connections to one server. They stay open for
// further queries, and carry several at a time (RFC 7766, section 6.2).
type streams struct {
	dial    func(context.Context) (net.Conn, error)
	idle    time.Duration // closes a connection that is not used
	timeout time.Duration // for dialling and writing
	foreign *atomic.Uint64
	reused  func(bool)
	slots   [maxStreams]slot
}

// slot is the place of one connection.
type slot struct {
	// load is the number of queries that were given to it.
	load   atomic.Int32
	mu     sync.Mutex
	stream *stream
}

// stream is one connection, or the attempt to open it.
type stream struct {
	owner *streams
	// ready is closed as soon as conn, or err, is set.
	ready chan struct{}
	conn  net.Conn

	mu      sync.Mutex
	err     error // why it is of no use any more
	pending map[uint16]chan<- []byte
	replies int
}

// exchange sends a packed query with an ID of the connection's own and returns
// the reply to it, packed. The query must not be written meanwhile.
func (s *streams) exchange(ctx context.Context, packed []byte) ([]byte, error) {
	slot := s.choose()
	if slot == nil {
		return nil, errBusy
	}
	defer slot.load.Add(-1)
	var reply []byte
	var err error
	for range 2 {
		stream, fresh := slot.get(s)
		var used bool
		if reply, used, err = stream.exchange(ctx, packed); err == nil {
			s.reused(!fresh)
			return reply, nil
		}
		if fresh || !used || ctx.Err() != nil {
			break
		}
		// A connection that has served before may have been closed by the server
		// in the same moment; that says nothing of the query.
	}
	return nil, err
}

// choose takes a place in the fullest slot with room, so that connections which
// are not needed fall idle, or nil if there is none.
func (s *streams) choose() *slot {
	for _, limit := range []int32{usualPipelined, maxPipelined} {
		for i := range s.slots {
			if s.slots[i].load.Add(1) <= limit {
				return &s.slots[i]
			}
			s.slots[i].load.Add(-1)
		}
	}
	return nil
}

// get returns the slot's connection, a fresh one if there is none that works.
func (slot *slot) get(s *streams) (current *stream, fresh bool) {
	slot.mu.Lock()
	defer slot.mu.Unlock()
	if slot.stream == nil || slot.stream.broken() {
		slot.stream = &stream{owner: s, ready: make(chan struct{}), pending: map[uint16]chan<- []byte{}}
		go slot.stream.run()
		fresh = true
	}
	return slot.stream, fresh
}

func (s *stream) broken() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err != nil
}

// exchange also tells whether the connection has ever served a query.
func (s *stream) exchange(ctx context.Context, packed []byte) (reply []byte, used bool, err error) {
	select {
	case <-s.ready:
	case <-ctx.Done():
		return nil, false, because(ctx, ctx.Err())
	}
	answer := make(chan []byte, 1)
	id, before, err := s.enter(answer)
	if err != nil {
		return nil, before > 0, err
	}
	framed := append(binary.BigEndian.AppendUint16(make([]byte, 0, 2+len(packed)), uint16(len(packed))), packed...)
	binary.BigEndian.PutUint16(framed[2:], id)
	s.conn.SetWriteDeadline(time.Now().Add(s.owner.timeout))
	if _, err := s.conn.Write(framed); err != nil {
		s.fail(err)
		return nil, before > 0, err
	}
	select {
	case reply, ok := <-answer:
		if !ok {
			s.mu.Lock()
			defer s.mu.Unlock()
			return nil, before > 0, s.err
		}
		return reply, true, nil
	case <-ctx.Done():
		s.leave(id, before, errors.Is(ctx.Err(), context.DeadlineExceeded))
		return nil, before > 0, because(ctx, ctx.Err())
	}
}

// enter registers a query under an ID that nobody can guess and no other query
// has, and returns how many replies there were before.
func (s *stream) enter(answer chan<- []byte) (id uint16, replies int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return 0, s.replies, s.err
	}
	for {
		id = uint16(rand.Uint32())
		if _, taken := s.pending[id]; !taken {
			s.pending[id] = answer
			return id, s.replies, nil
		}
	}
}

// leave gives up a query. A connection on which nothing came in all the time
// that a query may take is not used again.
func (s *stream) leave(id uint16, before int, late bool) {
	s.mu.Lock()
	delete(s.pending, id)
	silent := late && s.replies == before
	s.mu.Unlock()
	if silent {
		s.fail(errSlow)
	}
}

// fail closes the connection and tells all that wait.
func (s *stream) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = err
		if s.conn != nil {
			s.conn.Close()
		}
	}
	for id, answer := range s.pending {
		close(answer)
		delete(s.pending, id)
	}
}

// run opens the connection and hands out what arrives until it ends.
func (s *stream) run() {
	ctx, cancel := context.WithTimeout(context.Background(), s.owner.timeout)
	conn, err := s.owner.dial(ctx)
	cancel()
	s.mu.Lock()
	if s.conn = conn; err != nil {
		s.err = err
	} else if s.err != nil {
		conn.Close() // closed while it was dialled
	}
	err = s.err
	s.mu.Unlock()
	close(s.ready)
	if err == nil {
		s.fail(s.read())
	}
}

// read hands out replies and returns why there are no more.
func (s *stream) read() error {
	var header [2]byte
	for foreign := 0; foreign < maxForeign; {
		s.conn.SetReadDeadline(time.Now().Add(s.owner.idle))
		if _, err := io.ReadFull(s.conn, header[:]); err != nil {
			if errors.Is(err, io.EOF) {
				return errGone
			}
			return err
		}
		content := make([]byte, binary.BigEndian.Uint16(header[:]))
		s.conn.SetReadDeadline(time.Now().Add(s.owner.timeout))
		if _, err := io.ReadFull(s.conn, content); err != nil {
			return fmt.Errorf("the connection ended within a reply: %w", err)
		}
		if len(content) < headerSize {
			return fmt.Errorf("a reply has only %d bytes", len(content))
		}
		id := binary.BigEndian.Uint16(content)
		s.mu.Lock()
		answer, ok := s.pending[id]
		delete(s.pending, id)
		if ok {
			s.replies++
		}
		s.mu.Unlock()
		if ok {
			answer <- content // has room for one
			continue
		}
		// The query may have been given up.
		foreign++
		s.owner.foreign.Add(1)
	}
	return errForeign
}

// close ends all connections; queries that wait fail.
func (s *streams) close() {
	for i := range s.slots {
		slot := &s.slots[i]
		slot.mu.Lock()
		if slot.stream != nil {
			slot.stream.fail(errGone)
		}
		slot.mu.Unlock()
	}
}

// open returns the number of connections that work.
func (s *streams) open() int {
	n := 0
	for i := range s.slots {
		slot := &s.slots[i]
		slot.mu.Lock()
		if slot.stream != nil && !slot.stream.broken() {
			n++
		}
		slot.mu.Unlock()
	}
	return n
}
