package nft

import (
	"bufio"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/vishvananda/netns"
)

// serve answers each line or datagram with itself, the name of the backend and
// the client's address, until the test ends or stop is called.
func (w *world) serve(ns netns.NsHandle, protocol desired.Protocol, backend string) (stop func()) {
	w.t.Helper()
	var closer io.Closer
	w.in(ns, func() error {
		if protocol == desired.TCP {
			listener, err := net.Listen("tcp", backend)
			if err != nil {
				return err
			}
			closer = listener
			go serveTCP(listener, backend)
			return nil
		}
		socket, err := net.ListenPacket("udp", backend)
		if err != nil {
			return err
		}
		closer = socket
		go serveUDP(socket, backend)
		return nil
	})
	w.t.Cleanup(func() { closer.Close() })
	return func() { closer.Close() }
}

func serveTCP(listener net.Listener, name string) {
	for {
		connection, err := listener.Accept()
		if err != nil {
			return
		}
		go func() {
			defer connection.Close()
			for lines := bufio.NewScanner(connection); lines.Scan(); {
				fmt.Fprintf(connection, "%s %s %s\n", lines.Text(), name, connection.RemoteAddr())
			}
		}()
	}
}

func serveUDP(socket net.PacketConn, name string) {
	buffer := make([]byte, 256)
	for {
		n, from, err := socket.ReadFrom(buffer)
		if err != nil {
			return
		}
		fmt.Fprintf(packetWriter{socket, from}, "%s %s %s\n", strings.TrimSpace(string(buffer[:n])), name, from)
	}
}

type packetWriter struct {
	net.PacketConn
	to net.Addr
}

func (p packetWriter) Write(data []byte) (int, error) { return p.WriteTo(data, p.to) }

// answer is what a client got: a backend and the address that it saw, or an error.
type answer struct {
	backend string
	seen    netip.AddrPort
	err     error
}

func (a answer) refused() bool { return errors.Is(a.err, syscall.ECONNREFUSED) || a.stopped() }

// silent tells that nothing came back.
func (a answer) silent() bool { return errors.Is(a.err, os.ErrDeadlineExceeded) || a.stopped() }

// stopped tells that the packet did not leave: a program on the node itself is
// told so by a socket for UDP.
func (a answer) stopped() bool { return errors.Is(a.err, syscall.EPERM) }

// patience is how long a client waits for what must not come. It is longer where
// an answer is due, so that a slow machine fails no test.
const patience = 300 * time.Millisecond

// dial connects from a namespace and leaves the connection open.
func (w *world) dial(ns netns.NsHandle, protocol desired.Protocol, to string, wait time.Duration) (net.Conn, error) {
	w.t.Helper()
	var c net.Conn
	err := within(ns, func() (err error) {
		network := "tcp"
		if protocol == desired.UDP {
			network = "udp"
		}
		c, err = (&net.Dialer{Timeout: wait}).Dial(network, to)
		var timeout net.Error
		if errors.As(err, &timeout) && timeout.Timeout() {
			err = os.ErrDeadlineExceeded
		}
		return err
	})
	if err == nil {
		w.t.Cleanup(func() { c.Close() })
	}
	return c, err
}

// talk sends a line and returns the answer to it, and not one to an earlier line.
func talk(c net.Conn, wait time.Duration) answer {
	c.SetDeadline(time.Now().Add(wait))
	question := rand.Text()
	if _, err := fmt.Fprintln(c, question); err != nil {
		return answer{err: err}
	}
	for lines := bufio.NewReader(c); ; {
		line, err := lines.ReadString('\n')
		if err != nil {
			return answer{err: err}
		}
		if words := strings.Fields(line); len(words) == 3 && words[0] == question {
			return answer{backend: words[1], seen: netip.MustParseAddrPort(words[2])}
		}
	}
}

// ask makes one connection and one exchange.
func (w *world) ask(ns netns.NsHandle, protocol desired.Protocol, to string, wait time.Duration) answer {
	w.t.Helper()
	c, err := w.dial(ns, protocol, to, wait)
	if err != nil {
		return answer{err: err}
	}
	defer c.Close()
	return talk(c, wait)
}
