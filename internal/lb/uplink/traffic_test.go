package uplink

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/vishvananda/netns"

	"github.com/fairlead-net/fairlead/internal/desired"
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
			for in := bufio.NewReader(connection); ; {
				line, err := in.ReadString('\n')
				if err != nil {
					return
				}
				fmt.Fprintf(connection, "%s %s %s\n", strings.TrimSpace(line), name, connection.RemoteAddr())
			}
		}()
	}
}

func serveUDP(socket net.PacketConn, name string) {
	buffer := make([]byte, 1<<16)
	for {
		n, from, err := socket.ReadFrom(buffer)
		if err != nil {
			return
		}
		question := strings.TrimSpace(string(buffer[:n]))
		fmt.Fprintf(packetWriter{socket, from}, "%s %s %s\n", question, name, from)
	}
}

type packetWriter struct {
	net.PacketConn
	to net.Addr
}

func (p packetWriter) Write(data []byte) (int, error) { return p.WriteTo(data, p.to) }

// patience is how long a client waits for what must come, and briefly for what
// must not.
const (
	patient = 10 * time.Second
	briefly = 300 * time.Millisecond
)

// dial connects from a namespace, from a port if it is not 0.
func (w *world) dial(ns netns.NsHandle, protocol desired.Protocol, port int, to string, wait time.Duration) (net.Conn, error) {
	w.t.Helper()
	var c net.Conn
	err := within(ns, func() (err error) {
		dialer := net.Dialer{Timeout: wait}
		network := "udp"
		dialer.LocalAddr = &net.UDPAddr{Port: port}
		if protocol == desired.TCP {
			network = "tcp"
			dialer.LocalAddr = &net.TCPAddr{Port: port}
		}
		c, err = dialer.Dial(network, to)
		return err
	})
	if err == nil {
		w.t.Cleanup(func() { c.Close() })
	}
	return c, err
}

// connect dials from the client and fails the test if that fails.
func (w *world) open(protocol desired.Protocol, to string) net.Conn {
	w.t.Helper()
	c, err := w.dial(w.client, protocol, 0, to, patient)
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// answer is what a client got: a backend, and the address that it saw.
type answer struct {
	backend string
	seen    netip.AddrPort
}

// talk sends a line of so many bytes more than it needs and returns the answer
// to it, and not one to an earlier line. UDP is sent again until it is answered.
func talk(c net.Conn, more int, wait time.Duration) (answer, error) {
	question := rand.Text() + string(bytes.Repeat([]byte("x"), more))
	deadline := time.Now().Add(wait)
	buffer := make([]byte, 1<<17)
	_, udp := c.(*net.UDPConn)
	var got []byte
	for sent := false; ; sent = true {
		if !sent || udp {
			if _, err := fmt.Fprintln(c, question); err != nil {
				return answer{}, err
			}
		}
		step := deadline
		if soon := time.Now().Add(200 * time.Millisecond); udp && soon.Before(deadline) {
			step = soon
		}
		c.SetReadDeadline(step)
		n, err := c.Read(buffer)
		if errors.Is(err, os.ErrDeadlineExceeded) && time.Now().Before(deadline) {
			continue
		}
		if err != nil {
			return answer{}, err
		}
		if udp {
			got = got[:0]
		}
		got = append(got, buffer[:n]...)
		for line := range strings.Lines(string(got)) {
			if words := strings.Fields(line); len(words) == 3 && words[0] == question && strings.HasSuffix(line, "\n") {
				return answer{backend: words[1], seen: netip.MustParseAddrPort(words[2])}, nil
			}
		}
	}
}

// must is talk where an answer is due.
func (w *world) must(c net.Conn) answer {
	w.t.Helper()
	a, err := talk(c, 0, patient)
	if err != nil {
		w.t.Fatal(err)
	}
	return a
}

// bulk sends and receives some megabytes at once, and compares.
func (w *world) bulk(ns netns.NsHandle, backend, to string) {
	w.t.Helper()
	w.in(ns, func() error {
		listener, err := net.Listen("tcp", backend)
		if err != nil {
			return err
		}
		w.t.Cleanup(func() { listener.Close() })
		go func() {
			for {
				c, err := listener.Accept()
				if err != nil {
					return
				}
				go func() {
					io.Copy(c, c)
					c.Close()
				}()
			}
		}()
		return nil
	})
	data := make([]byte, 8<<20)
	rand.Read(data)
	c := w.open(desired.TCP, to).(*net.TCPConn)
	c.SetDeadline(time.Now().Add(3 * patient))
	sent := make(chan error, 1)
	go func() {
		_, err := c.Write(data)
		sent <- errors.Join(err, c.CloseWrite())
	}()
	got, err := io.ReadAll(c)
	if err := errors.Join(err, <-sent); err != nil {
		w.t.Fatalf("after %d bytes: %v", len(got), err)
	}
	if !bytes.Equal(got, data) {
		w.t.Fatalf("%d bytes came back, and they differ from the %d sent", len(got), len(data))
	}
}
