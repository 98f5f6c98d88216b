package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// work is what a client is to do, and for how long; a server answers with the
// CPU time it has used so far.
type work struct {
	Do  string // connect, requests, connections, bulk, or packets
	To  string
	For time.Duration
	// Frames tells what packets to send.
	Frames frames
}

// worked is how often it was done and what it took; of bulk, Count is bytes.
type worked struct {
	Count     int64
	Wall, CPU time.Duration
}

const (
	requestSize = 128
	replySize   = 1024
	bulkSize    = 128 << 10
)

// serve answers requests of this process's parent.
func serve(do func(work) (worked, error)) error {
	requests, answers := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	for {
		var r work
		if err := requests.Decode(&r); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		a, err := do(r)
		if err != nil {
			return fmt.Errorf("%s to %s: %w", r.Do, r.To, err)
		}
		if err := answers.Encode(a); err != nil {
			return err
		}
	}
}

// serverMain takes one connection after the other: it answers a request, and
// swallows what is more than one.
func serverMain([]string) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrInet4{Port: serverPort}), unix.Listen(fd, 1024)); err != nil {
		return err
	}
	failed := make(chan error, 1)
	go func() { failed <- accept(fd) }()
	go func() { failed <- serve(func(work) (worked, error) { return worked{CPU: cpuTime()}, nil }) }()
	return <-failed
}

func accept(fd int) error {
	buffer, reply := make([]byte, bulkSize), make([]byte, replySize)
	for {
		c, _, err := unix.Accept(fd)
		if err != nil {
			return err
		}
		for {
			n, err := unix.Read(c, buffer)
			if err == unix.EINTR {
				continue
			}
			if n <= 0 {
				break // its client is done with it
			}
			if buffer[0] == 'r' {
				_, _ = unix.Write(c, reply)
			}
		}
		_ = unix.Close(c)
	}
}

func clientMain([]string) error {
	return serve(func(r work) (worked, error) {
		if r.Do == "packets" {
			return send(r.Frames)
		}
		to, err := netip.ParseAddrPort(r.To)
		if err != nil {
			return worked{}, err
		}
		once, stop, err := starter(r.Do, &unix.SockaddrInet4{Addr: to.Addr().As4(), Port: int(to.Port())})
		if err != nil {
			return worked{}, err
		}
		defer stop()
		var a worked
		start, cpu := time.Now(), cpuTime()
		for time.Since(start) < r.For {
			// The clock is looked at only so often.
			for range 16 {
				n, err := once()
				if err != nil {
					return a, err
				}
				a.Count += int64(n)
			}
		}
		a.Wall, a.CPU = time.Since(start), cpuTime()-cpu
		return a, nil
	})
}

// starter returns a function that does one piece of the work, and one that ends
// it.
func starter(do string, to *unix.SockaddrInet4) (once func() (int, error), stop func(), err error) {
	if do == "connections" {
		return func() (int, error) { return connection(to) }, func() {}, nil
	}
	kind := unix.SOCK_STREAM
	if do == "connect" {
		kind = unix.SOCK_DGRAM
	}
	fd, err := unix.Socket(unix.AF_INET, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	stop = func() { _ = unix.Close(fd) }
	if do == "connect" {
		return func() (int, error) { return 1, unix.Connect(fd, to) }, stop, nil
	}
	if err := errors.Join(connect(fd, to), unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)); err != nil {
		stop()
		return nil, nil, err
	}
	if do == "bulk" {
		data := make([]byte, bulkSize)
		return func() (int, error) { return retried(func() (int, error) { return unix.Write(fd, data) }) }, stop, nil
	}
	return func() (int, error) { return 1, request(fd) }, stop, nil
}

// connection opens a connection, sends a request on it and resets it, which
// leaves no port behind that waits.
func connection(to *unix.SockaddrInet4) (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	defer func() { _ = unix.Close(fd) }()
	err = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	if err = errors.Join(err, connect(fd, to)); err != nil {
		return 0, err
	}
	return 1, request(fd)
}

// connect goes on where a signal of Go's scheduler interrupted it.
func connect(fd int, to *unix.SockaddrInet4) error {
	_, err := retried(func() (int, error) {
		err := unix.Connect(fd, to)
		if err == unix.EISCONN {
			err = nil
		}
		return 0, err
	})
	return err
}

func request(fd int) error {
	var buffer [replySize]byte
	buffer[0] = 'r'
	if _, err := retried(func() (int, error) { return unix.Write(fd, buffer[:requestSize]) }); err != nil {
		return err
	}
	for left := replySize; left > 0; {
		n, err := retried(func() (int, error) { return unix.Read(fd, buffer[:]) })
		if err != nil {
			return err
		}
		if n == 0 {
			return io.ErrUnexpectedEOF
		}
		left -= n
	}
	return nil
}

func retried(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}
