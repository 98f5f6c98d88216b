package nft

import (
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/lb"
)

// lineServer answers as serveTCP does, and can end in the ways a program can.
type lineServer struct {
	listener net.Listener
	mu       sync.Mutex
	open     []net.Conn
}

func (w *world) lineServer(ns netns.NsHandle, backend string) *lineServer {
	w.t.Helper()
	s := &lineServer{}
	w.in(ns, func() (err error) {
		s.listener, err = net.Listen("tcp", backend)
		return err
	})
	w.t.Cleanup(func() { s.listener.Close() })
	go serveTCP(s, backend)
	return s
}

// Accept keeps the connection for reset.
func (s *lineServer) Accept() (net.Conn, error) {
	c, err := s.listener.Accept()
	if err == nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.open = append(s.open, c)
	}
	return c, err
}

func (s *lineServer) Close() error   { return s.listener.Close() }
func (s *lineServer) Addr() net.Addr { return s.listener.Addr() }

// reset ends the program: its connections end by RST, and nobody listens.
func (s *lineServer) reset() {
	s.listener.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.open {
		c.(*net.TCPConn).SetLinger(0)
		c.Close()
	}
}

// dialFrom connects from a port of the client's choice. It may fail.
func dialFrom(ns netns.NsHandle, port uint16, to string) (c net.Conn, err error) {
	err = within(ns, func() error {
		d := net.Dialer{Timeout: long, LocalAddr: &net.TCPAddr{Port: int(port)}}
		c, err = d.Dial("tcp", to)
		return err
	})
	return c, err
}

// reaches expects a client's new connections from the same port to come to a backend
// in the end.
func reaches(t *testing.T, ns netns.NsHandle, port uint16, to, backend string) {
	t.Helper()
	eventually(t, func() error {
		c, err := dialFrom(ns, port, to)
		if err != nil {
			return err
		}
		defer c.Close()
		c.(*net.TCPConn).SetLinger(0)
		if a := talk(c, patience); a.backend != backend {
			return fmt.Errorf("answer %+v, want one from %s", a, backend)
		}
		return nil
	})
}

const clientPort = 40000

// stateOf returns what conntrack thinks of the client's connection; 0 is none.
func (o watcher) stateOf(t *testing.T, f lb.Frontend) uint8 {
	t.Helper()
	x, _ := o.flow(t, f, clientPort)
	return x.state
}

// TestReopened lets a backend reset its client's connection before or after it leaves
// the Service. The client's next connection from the same port must reach another
// backend, or be refused if there is none.
func TestReopened(t *testing.T) {
	for _, a := range families() {
		for place, to := range map[lb.Place]string{lb.Pod: at(a.clusterIP, "80"), lb.Outside: at(a.node, "80")} {
			for _, late := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s late=%t", to, late), func(t *testing.T) {
					t.Parallel()
					testReopened(t, a, place, to, late)
				})
			}
		}
	}
}

func testReopened(t *testing.T, a addresses, place lb.Place, to string, late bool) {
	first, second := at(a.pod(2), "8080"), at(a.pod(3), "8080")
	cluster, node := frontendOf(at(a.clusterIP, "80"), desired.TCP), frontendOf(at(a.any, "80"), desired.TCP)
	w := newWorld(t, 3)
	server := w.lineServer(w.pods[2], first)
	w.serve(w.pods[3], desired.TCP, second)
	var looks atomic.Int32
	p, watcher := w.planeWith(func(c *Config) {
		c.Looked = func(six bool, protocol desired.Protocol, _ time.Duration, _ int) {
			if six == a.six && protocol == desired.TCP {
				looks.Add(1)
			}
		}
	}), w.watcher()
	apply := func(backend string) {
		e := &lb.Entry{Choice: choiceOf(backend)}
		w.apply(p, table(map[lb.Frontend]*lb.Entry{cluster: e, node: e}))
	}
	apply(first)
	c, err := dialFrom(w.place(place), clientPort, to)
	if err != nil {
		t.Fatal(err)
	}
	if got := talk(c, long); got.backend != first {
		t.Fatalf("%+v", got)
	}
	if late {
		apply(second)
		if got := talk(c, long); got.backend != first {
			t.Fatalf("an open connection to a backend that left: %+v", got)
		}
		// One look may have begun before the backend left.
		seen := looks.Load()
		eventually(t, func() error {
			if n := looks.Load() - seen; n < 2 {
				return fmt.Errorf("%d looks", n)
			}
			return nil
		})
		server.reset()
	} else {
		server.reset()
		eventually(t, func() error {
			if s := watcher.stateOf(t, cluster); s != tcpClose {
				return fmt.Errorf("state %d", s)
			}
			return nil
		})
		apply(second)
	}
	c.Close()
	reaches(t, w.place(place), clientPort, to, second)
}

// TestUnanswered begins a connection to a backend that does not answer, and leaves: the
// client must reach another one by repeating itself.
func TestUnanswered(t *testing.T) {
	for _, a := range families() {
		t.Run(a.clusterIP, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 3)
			first, second := at(a.pod(2), "8080"), at(a.pod(3), "8080")
			w.serve(w.pods[2], desired.TCP, first)
			w.serve(w.pods[3], desired.TCP, second)
			w.in(w.pods[2], func() error {
				client := netip.MustParseAddr(a.pod(1))
				to := &net.IPNet{IP: client.AsSlice(), Mask: net.CIDRMask(client.BitLen(), client.BitLen())}
				return netlink.RouteAdd(&netlink.Route{Dst: to, Type: unix.RTN_BLACKHOLE})
			})
			f := frontendOf(at(a.clusterIP, "80"), desired.TCP)
			p, watcher := w.plane(), w.watcher()
			w.apply(p, table(map[lb.Frontend]*lb.Entry{f: {Choice: choiceOf(first)}}))
			got := make(chan answer, 1)
			go func() {
				c, err := dialFrom(w.pods[1], clientPort, at(a.clusterIP, "80"))
				if err != nil {
					got <- answer{err: err}
					return
				}
				defer c.Close()
				got <- talk(c, long)
			}()
			eventually(t, func() error {
				if s := watcher.stateOf(t, f); s != tcpSynSent {
					return fmt.Errorf("state %d", s)
				}
				return nil
			})
			w.apply(p, table(map[lb.Frontend]*lb.Entry{f: {Choice: choiceOf(second)}}))
			if got := <-got; got.backend != second {
				t.Errorf("%+v, want an answer from %s", got, second)
			}
		})
	}
}

// TestEndedStays looks at connections that may not be forgotten: those that go on,
// those that one side alone has closed, and those that are over at a backend that stays.
func TestEndedStays(t *testing.T) {
	w := newWorld(t, 3)
	first, second := "10.244.0.2:8080", "10.244.0.3:8080"
	server := w.lineServer(w.pods[2], first)
	w.serve(w.pods[3], desired.TCP, second)
	f, other := frontendOf("10.96.0.1:80", desired.TCP), frontendOf("10.96.0.2:80", desired.TCP)
	p, watcher := w.plane(), w.watcher()
	both := &lb.Entry{Choice: choiceOf(first)}
	w.apply(p, table(map[lb.Frontend]*lb.Entry{f: both, other: both}))
	var conns [3]net.Conn
	for i, to := range []string{"10.96.0.1:80", "10.96.0.1:80", "10.96.0.2:80"} {
		c, err := dialFrom(w.pods[1], uint16(clientPort+i), to)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if got := talk(c, long); got.backend != first {
			t.Fatalf("%+v", got)
		}
		conns[i] = c
	}
	names := w.endSome(server, watcher, f, conns[:])
	w.apply(p, table(map[lb.Frontend]*lb.Entry{f: {Choice: choiceOf(second)}, other: both}))
	p.stop() // the looks that follow are the only ones
	p.watching.Wait()
	for _, later := range []time.Duration{0, synAnswer, endsWithin - time.Second} {
		more, err := p.lookForEnded(time.Now().Add(later))
		if err != nil || !more {
			t.Errorf("after %v: look again %t, %v", later, more, err)
		}
	}
	for i := range conns {
		if got, found := watcher.flow(t, f, uint16(clientPort+i)); !found || string(got.name) != string(names[i].name) {
			t.Errorf("connection %d in state %d was forgotten", i, names[i].state)
		}
	}
	if got := talk(conns[0], long); got.backend != first {
		t.Errorf("%+v", got)
	}
	if more, err := p.lookForEnded(time.Now().Add(endsWithin)); more || err != nil {
		t.Errorf("after %v: look again %t, %v", endsWithin, more, err)
	}
}

// endSome lets the backend say all it has to say to the second of three connections,
// and reset the third. It returns what conntrack knows of them then.
func (w *world) endSome(server *lineServer, o watcher, f lb.Frontend, conns []net.Conn) []flow {
	w.t.Helper()
	server.mu.Lock()
	for _, c := range server.open {
		switch c.RemoteAddr().(*net.TCPAddr).Port {
		case clientPort + 1:
			c.(*net.TCPConn).CloseWrite()
		case clientPort + 2:
			c.(*net.TCPConn).SetLinger(0)
			c.Close()
		}
	}
	server.mu.Unlock()
	known := make([]flow, len(conns))
	for i, want := range []uint8{3, 5, tcpClose} { // ESTABLISHED, CLOSE_WAIT
		eventually(w.t, func() (err error) {
			var found bool
			known[i], found = o.flow(w.t, f, uint16(clientPort+i))
			if !found || known[i].state != want {
				err = fmt.Errorf("connection %d: %t, state %d, want %d", i, found, known[i].state, want)
			}
			return err
		})
	}
	return known
}
