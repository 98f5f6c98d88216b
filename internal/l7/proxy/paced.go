package proxy

import (
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead-net/fairlead/internal/l7/filter"
)

// pace makes the answer's body come no faster than it may.
func (x *exchange) pace(limits *filter.Limits) {
	if limits.Rate > 0 {
		x.paced = true
		x.client = &paced{downstream: x.client, exchange: x, rate: limits.Rate, free: limits.After}
	}
}

// paced is a downstream that gets so many octets a second.
type paced struct {
	downstream
	exchange *exchange
	rate     int64
	// free is how many octets are still to be sent at once; sent how many were since begin.
	free, sent, begin int64
	// doubted is set once the client has closed its side of the connection.
	doubted bool
}

// data implements downstream.
func (p *paced) data(b []byte, how part) bool {
	piece := max(p.rate/8, 512)
	for int64(len(b)) > p.free && len(b) > 0 {
		n := min(int64(len(b)), max(piece, p.free))
		switch p.wait() {
		case clientGone:
			return false
		case clientSilent:
			// It may still want the answer. If it does not, it resets the connection for this.
			n, p.doubted = 1, true
		}
		if !p.downstream.data(b[:n], partOf(how == last && n == int64(len(b)))) {
			return false
		}
		p.sent += n - p.free
		p.free = 0
		if b = b[n:]; len(b) == 0 {
			return true
		}
	}
	p.free -= int64(len(b))
	return p.downstream.data(b, how)
}

// presence is what is known of a client that waits.
type presence uint8

const (
	clientWaits  presence = iota
	clientSilent          // it has closed its side of a connection of HTTP/1.1
	clientGone
)

// wait waits until more may be sent, or until the client goes.
func (p *paced) wait() presence {
	clock := p.exchange.proxy.clock
	now := clock.now()
	if p.begin == 0 {
		p.begin = now
	}
	due := p.begin + p.sent*int64(time.Second)/p.rate
	if due <= now {
		return clientWaits
	}
	if x := p.exchange; x.inbound == nil {
		return x.socket.attend(due, p.doubted, nil)
	}
	if !p.exchange.inbound.attend(time.Duration(due-now), p.exchange.proxy.ctx.Done()) {
		return clientGone
	}
	return clientWaits
}

// attend waits for so long, and returns false as soon as the client does not want the
// answer any more, or stop is closed.
func (d *interest) attend(wait time.Duration, stop <-chan struct{}) bool {
	left, end := d.departure()
	defer end()
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-left:
	case <-stop:
	}
	return false
}

// attend waits until a time and returns before that once the connection has broken, or,
// unless that is known, once the peer has closed its side. It reads nothing, and can be
// called within serve. Nobody may write in the meantime. Once ended is set, if it is not nil,
// to let the time for writing be over ends the wait.
func (s *socket) attend(until int64, known bool, ended *atomic.Bool) presence {
	look := int16(unix.POLLRDHUP)
	if known {
		look = 0 // what is always looked for: POLLERR and POLLHUP
	}
	s.arm(0)
	defer func() { _ = s.TCPConn.SetWriteDeadline(time.Time{}) }()
	for found := int16(0); ; {
		if s.TCPConn.SetWriteDeadline(s.clock.at(until)) != nil {
			return clientGone
		}
		if ended != nil && ended.Load() {
			return clientWaits
		}
		// The poller tells writers of everything that happens to a connection.
		err := s.raw.Write(func(fd uintptr) bool {
			one := []unix.PollFd{{Fd: int32(fd), Events: look}}
			_, _ = unix.Poll(one, 0)
			found = one[0].Revents
			return found != 0
		})
		switch {
		case found&(unix.POLLERR|unix.POLLHUP|unix.POLLNVAL) != 0:
			return clientGone
		case found != 0:
			return clientSilent
		case !timedOut(err):
			return clientGone
		case s.clock.now() >= until:
			return clientWaits
		}
		// A poke of the clock that came late has ended the wait.
	}
}
