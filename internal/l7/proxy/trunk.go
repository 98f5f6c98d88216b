package proxy

import (
	"errors"
	"sync"

	"golang.org/x/sync/singleflight"

	"github.com/fairlead-net/fairlead/internal/l7/http2"
)

const (
	// maxTrunks bounds the connections of HTTP/2 to an endpoint.
	maxTrunks = 64
	// trunkWindow is how much of an answer is held before the client takes it.
	trunkWindow = 128 << 10
)

// errBusy is that an endpoint takes no more requests at the moment.
var errBusy = errors.New("the endpoint takes no more requests")

// errShared is that a connection could not be made which several requests have waited for:
// one of them has the error without this.
var errShared = errors.New("the connection was for several requests")

// trunk is a connection of HTTP/2 to an endpoint, which carries many requests.
type trunk struct {
	mux
	up *upstream
	// idle is since when there is no request; 0 while there is one. The lock guards it.
	idle int64
}

// trunks are those to one endpoint that are alike.
type trunks struct {
	mu  sync.Mutex
	all []*trunk
	// closed is set once no more are wanted.
	closed bool
	// dialing makes those that find all of them full wait for the same new one.
	dialing singleflight.Group
}

// open begins a request on a trunk that has room for it; nil if none has.
func (l *trunks) open(toHEAD bool) (*trunk, *http2.Stream) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := 0; i < len(l.all); i++ {
		t := l.all[i]
		var (
			usable bool
			s      *http2.Stream
		)
		t.locked(func() {
			if usable = !t.dead && t.h2.Usable(); usable {
				if s = t.h2.Open(toHEAD); s != nil {
					t.idle = 0
				}
			}
		})
		if s != nil {
			return t, s
		}
		if !usable { // what is under way on it goes on
			l.all = append(l.all[:i], l.all[i+1:]...)
			i--
		}
	}
	return nil, nil
}

// add takes in a new trunk, and reports whether it is wanted.
func (l *trunks) add(t *trunk) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || len(l.all) >= maxTrunks {
		return false
	}
	l.all = append(l.all, t)
	return true
}

// close ends trunks when nothing is under way on them, and lets no new ones come.
func (l *trunks) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	for _, t := range l.all {
		t.locked(func() {
			t.h2.Draining = true
			if t.h2.Active() == 0 {
				t.die(errIdle)
			}
		})
	}
	l.all = nil
}

// empty reports whether there is none that can be used.
func (l *trunks) empty() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, t := range l.all {
		t.mu.Lock()
		dead := t.dead
		t.mu.Unlock()
		if !dead {
			return false
		}
	}
	return true
}

// open begins a request to an endpoint, on a new connection if need be.
func (x *exchange) open(e *endpoint, secure *securePool, from *pool) (*trunk, *http2.Stream, error) {
	for range maxTrunks + 1 {
		if t, s := from.trunks.open(x.toHEAD); s != nil {
			return t, s, nil
		}
		own := false
		_, err, _ := from.trunks.dialing.Do("", func() (any, error) {
			own = true
			up, err := x.dial(e, secure)
			if err == nil {
				err = x.proxy.lay(up, &from.trunks)
			}
			return nil, err
		})
		if err != nil {
			if !own {
				err = errors.Join(errShared, err)
			}
			return nil, nil, err
		}
	}
	return nil, nil, errBusy
}

// lay begins to use a new connection as a trunk.
func (p *Proxy) lay(up *upstream, among *trunks) error {
	t := &trunk{up: up, idle: p.clock.now()}
	if up.secured != nil {
		if up.secured.ConnectionState().NegotiatedProtocol == "http/1.1" {
			_ = up.Close()
			return errors.Join(errConnect, errHandshake)
		}
		if err := up.secured.tunnel(); err != nil { // reading and writing are two goroutines' from now on
			_ = up.Close()
			return errors.Join(errConnect, err)
		}
	}
	t.begin(p, up.socket, up.wait, http2.NewClient(http2.Limits{
		Head: p.settings().MaxHead, Fields: p.settings().MaxFields, StreamWindow: trunkWindow,
	}))
	if !among.add(t) {
		_ = up.Close()
		return errBusy
	}
	up.arm(0)
	up.watch(t.watch)
	p.laid.Go(t.run)
	return nil
}

// run reads what the endpoint sends until the connection ends.
func (t *trunk) run() {
	defer func() { _ = t.up.Close() }()
	defer t.rescue()
	bulk := t.proxy.bulks.Get().(*[bulkSize]byte)
	defer t.proxy.bulks.Put(bulk)
	end := 0
	for alive := true; alive; {
		n, err := t.up.Read(bulk[end:])
		end, alive = t.feed(bulk, end, n, err)
	}
}

// feed handles the frames in the buffer, to which n bytes have come, or the error of
// reading. It returns how much is left there, and whether to go on.
func (t *trunk) feed(bulk *[bulkSize]byte, end, n int, err error) (left int, alive bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err == nil {
		end += n
		n, err = t.h2.Feed(bulk[:end])
		end = copy(bulk[:], bulk[n:end])
	}
	if t.flushLater(); err != nil {
		t.die(err)
	}
	t.throttle(maxOwed)
	return end, !t.dead
}

// watch is called every tick. It ends the connection if nobody needs it.
func (t *trunk) watch(now int64) {
	defer t.rescue()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mux.watch(now)
	if t.up.old(now) {
		t.h2.Draining = true // what its name leads to may have changed
	}
	if t.h2.Active() > 0 || t.dead {
		return
	}
	if t.h2.Draining || t.idle != 0 && now-t.idle > int64(t.proxy.settings().UpstreamIdleTimeout) {
		t.die(errIdle)
	}
}

// release ends a request on the trunk.
func (t *trunk) release(s *http2.Stream) {
	t.locked(func() {
		t.h2.Release(s)
		t.flush()
		if t.h2.Active() == 0 {
			if t.idle = t.proxy.clock.now(); t.h2.Draining {
				t.die(errIdle)
			}
		}
	})
}
