package main

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// client1 is a connection of the load that asks by HTTP/1.1, once at a time.
type client1 struct {
	*load
	*stream
	request []byte
	// due is when the request that is under way was to be sent; zero if none is.
	due time.Time
	// held is a header that has not come whole; body is what is missing of a body
	// whose header has.
	held []byte
	body int
}

// request1 is the same at every proxy, with what clients usually say.
func request1(host, path string) []byte {
	return fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: l7bench\r\nAccept: */*\r\nAccept-Language: en\r\n\r\n", path, host)
}

func (c *client1) ask(due time.Time) bool {
	c.due = due
	return true
}

func (c *client1) flush() error { return c.send(c.request) }

func (c *client1) ready(uint32) error {
	if c.tls == nil {
		return c.readPlain()
	}
	if err := c.fill(c.buffer[:len(c.buffer)/2]); err != nil {
		return c.broken(err)
	}
	for {
		n, err := c.take(c.buffer[len(c.buffer)/2:])
		if err != nil {
			return c.broken(err)
		}
		if err := c.got(c.buffer[len(c.buffer)/2:][:n]); err != nil {
			return err
		}
	}
}

func (c *client1) readPlain() error {
	if c.body > 0 {
		// What remains of a body the kernel throws away (tcp(7), MSG_TRUNC): to copy it
		// would cost the load as much as it costs the proxies.
		n, _, failure := unix.Syscall6(unix.SYS_RECVFROM, uintptr(c.fd), 0, uintptr(c.body), unix.MSG_TRUNC, 0, 0)
		switch {
		case failure == unix.EAGAIN:
			return nil
		case failure != 0:
			return c.broken(failure)
		case n == 0:
			return c.broken(errors.New("it ends within a body"))
		}
		return c.gotBody(int(n))
	}
	n, err := read(c.fd, c.buffer)
	if err != nil {
		return c.broken(err)
	}
	return c.got(c.buffer[:n])
}

// broken is what it means that nothing can be read, which is no error if there is
// nothing yet.
func (c *client1) broken(err error) error {
	if errors.Is(err, errNothing) {
		return nil
	}
	return fmt.Errorf("a connection to the proxy: %w", err)
}

// got takes a part of a response.
func (c *client1) got(in []byte) error {
	if c.body > 0 {
		return c.gotBody(len(in))
	}
	if c.due.IsZero() {
		return fmt.Errorf("the proxy says without being asked: %q", in[:min(len(in), 200)])
	}
	if len(c.held) > 0 {
		in = append(c.held, in...)
	}
	header, body, err := head(in)
	if err != nil {
		return err
	}
	if header == 0 {
		c.held = append(c.held[:0:0], in...)
		return nil
	}
	c.held = nil
	if body != c.size {
		return fmt.Errorf("a body of %d bytes instead of %d: %q", body, c.size, in[:min(len(in), 300)])
	}
	c.body = body
	return c.gotBody(len(in) - header)
}

func (c *client1) gotBody(n int) error {
	if c.body -= n; c.body < 0 {
		return fmt.Errorf("%d bytes follow a response", -c.body)
	}
	if c.body == 0 {
		due := c.due
		c.due = time.Time{}
		c.answered(c, due)
	}
	return nil
}

// head reads the header of a response: how long it is, 0 if it is not whole, and how
// long the body is.
func head(in []byte) (header, body int, err error) {
	if !bytes.HasPrefix(in, []byte("HTTP/1.1 200")) && len(in) > 12 {
		return 0, 0, fmt.Errorf("the proxy answers %q", in[:min(len(in), 300)])
	}
	header = bytes.Index(in, []byte("\r\n\r\n")) + 4
	if header < 4 {
		return 0, 0, nil
	}
	const length = "content-length:"
	for rest := in[:header-4]; len(rest) > 0; {
		line := rest
		if end := bytes.IndexByte(rest, '\n'); end >= 0 {
			line, rest = rest[:end], rest[end+1:]
		} else {
			rest = nil
		}
		if len(line) > len(length) && line[len(length)-1] == ':' && bytes.EqualFold(line[:len(length)], []byte(length)) {
			body, err = strconv.Atoi(strings.TrimSpace(string(line[len(length):])))
			return header, body, err
		}
	}
	return 0, 0, fmt.Errorf("a response without its length: %q", in[:header])
}
