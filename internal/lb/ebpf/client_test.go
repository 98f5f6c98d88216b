package ebpf

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// request is one thing that the client process, which sits in the served
// cgroup, is to do. Sockets are made on first use and kept by ID.
type request struct {
	Do     string // bind, connect, talk, send, close, storm, calm, bench
	Socket int
	IPv6   bool // socket family; IPv4 addresses are then mapped
	UDP    bool
	MPTCP  bool
	To     netip.AddrPort
	Count  int
}

// answer is what came of it. Errno is 0 for success.
type answer struct {
	Errno unix.Errno
	Text  string
	Peer  netip.AddrPort // getpeername, or the source of the datagram
	Took  time.Duration
	Count int
}

type client struct {
	sockets map[int]int
	storm   chan struct{}
	result  chan answer
}

func clientMain(in io.Reader, out io.Writer) int {
	c := &client{sockets: map[int]int{}}
	requests, answers := json.NewDecoder(in), json.NewEncoder(out)
	for {
		var r request
		if err := requests.Decode(&r); errors.Is(err, io.EOF) {
			return 0
		} else if err != nil {
			fmt.Println(err)
			return 1
		}
		start := time.Now()
		a, err := c.do(r)
		if a.Took == 0 {
			a.Took = time.Since(start)
		}
		if err != nil && !errors.As(err, &a.Errno) {
			a.Text, a.Errno = err.Error(), unix.EINVAL
		}
		if err := answers.Encode(a); err != nil {
			return 1
		}
	}
}

func (c *client) do(r request) (answer, error) {
	switch r.Do {
	case "connect":
		return c.connect(r)
	case "talk":
		text, _, err := exchange(c.sockets[r.Socket], nil)
		return answer{Text: text}, err
	case "send":
		return c.send(r)
	case "bind":
		fd, err := c.socket(r)
		if err == nil {
			err = unix.Bind(fd, sockaddr(r))
		}
		return answer{}, err
	case "close":
		return answer{}, c.close(r.Socket)
	case "storm":
		c.storm, c.result = make(chan struct{}), make(chan answer, 1)
		go storm(r, c.storm, c.result)
		return answer{}, nil
	case "calm":
		close(c.storm)
		return <-c.result, nil
	case "bench":
		return bench(r)
	}
	return answer{}, errors.New("unknown request " + r.Do)
}

// close closes a socket if it is open: one that failed to connect is not.
func (c *client) close(socket int) error {
	fd, ok := c.sockets[socket]
	if !ok {
		return nil
	}
	delete(c.sockets, socket)
	return unix.Close(fd)
}

func (c *client) socket(r request) (int, error) {
	if fd, ok := c.sockets[r.Socket]; ok {
		return fd, nil
	}
	fd, err := open(r)
	if err == nil {
		c.sockets[r.Socket] = fd
	}
	return fd, err
}

func open(r request) (int, error) {
	family, kind := unix.AF_INET, unix.SOCK_STREAM
	if r.IPv6 {
		family = unix.AF_INET6
	}
	if r.UDP {
		kind = unix.SOCK_DGRAM
	}
	protocol := 0
	if r.MPTCP {
		protocol = unix.IPPROTO_MPTCP
	}
	fd, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		return 0, err
	}
	wait := unix.Timeval{Sec: 2}
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wait); err != nil {
		return 0, err
	}
	return fd, unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &wait)
}

func (c *client) connect(r request) (answer, error) {
	fd, err := c.socket(r)
	if err != nil {
		return answer{}, err
	}
	start := time.Now()
	if err := unix.Connect(fd, sockaddr(r)); err != nil {
		took := time.Since(start)
		c.close(r.Socket)
		return answer{Took: took}, err
	}
	peer, err := unix.Getpeername(fd)
	if err != nil {
		return answer{}, err
	}
	text, from, err := exchange(fd, nil)
	if err == nil && r.UDP && from != addrPort(peer) {
		err = fmt.Errorf("connected to %s but got a datagram from %s", addrPort(peer), from)
	}
	return answer{Text: text, Peer: addrPort(peer)}, err
}

func (c *client) send(r request) (answer, error) {
	fd, err := c.socket(r)
	if err != nil {
		return answer{}, err
	}
	text, from, err := exchange(fd, sockaddr(r))
	return answer{Text: text, Peer: from}, err
}

// exchange sends a line and returns what comes back and from where.
func exchange(fd int, to unix.Sockaddr) (string, netip.AddrPort, error) {
	var err error
	if to == nil {
		_, err = unix.Write(fd, []byte("hello\n"))
	} else {
		err = unix.Sendto(fd, []byte("hello\n"), 0, to)
	}
	if err != nil {
		return "", netip.AddrPort{}, err
	}
	buffer := make([]byte, 256)
	n, from, err := unix.Recvfrom(fd, buffer, 0)
	if err != nil {
		return "", netip.AddrPort{}, err
	}
	return string(buffer[:n]), addrPort(from), nil
}

// storm makes one connection after the other until it is told to stop.
func storm(r request, stop <-chan struct{}, result chan<- answer) {
	var total answer
	c := &client{sockets: map[int]int{}}
	for {
		select {
		case <-stop:
			result <- total
			return
		default:
		}
		a, err := c.connect(r)
		if err == nil && a.Peer != r.To {
			err = fmt.Errorf("peer is %s", a.Peer)
		}
		c.close(r.Socket)
		if err != nil && total.Text == "" {
			total.Text = err.Error()
		}
		total.Count++
	}
}

// bench times connect on a UDP socket, where it is nothing but the call, in time
// of the processor: others may be busy on it too.
func bench(r request) (answer, error) {
	fd, err := open(r)
	if err != nil {
		return answer{}, err
	}
	defer unix.Close(fd)
	to := sockaddr(r)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	start, err := processorTime()
	if err != nil {
		return answer{}, err
	}
	for range r.Count {
		if err := unix.Connect(fd, to); err != nil {
			return answer{}, err
		}
	}
	end, err := processorTime()
	return answer{Took: end - start, Count: r.Count}, err
}

// processorTime returns how long this thread has run.
func processorTime() (time.Duration, error) {
	var now unix.Timespec
	err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &now)
	return time.Duration(now.Nano()), err
}

func sockaddr(r request) unix.Sockaddr {
	if r.IPv6 {
		return &unix.SockaddrInet6{Port: int(r.To.Port()), Addr: r.To.Addr().As16()}
	}
	return &unix.SockaddrInet4{Port: int(r.To.Port()), Addr: r.To.Addr().As4()}
}

func addrPort(address unix.Sockaddr) netip.AddrPort {
	switch a := address.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr).Unmap(), uint16(a.Port))
	}
	return netip.AddrPort{}
}

// runner lets the test talk to the client process.
type runner struct {
	mu       sync.Mutex
	requests *json.Encoder
	answers  *json.Decoder
}

func (r *runner) do(what request) (answer, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var a answer
	if err := r.requests.Encode(what); err != nil {
		return a, err
	}
	return a, r.answers.Decode(&a)
}
