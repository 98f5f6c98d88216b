package main

import (
	"errors"
	"io"

	"golang.org/x/sys/unix"
)

// sock is a socket that the loop watches.
type sock interface {
	// ready is called when there is something to read, to write, or to accept. An
	// error ends the run.
	ready(events uint32) error
}

// loop serves many sockets with one thread. The load and the backend have one
// between them: they share a processor, and no switch from one to the other costs
// what the proxies are to be loaded with.
type loop struct {
	epoll  int
	socks  []sock // by descriptor
	events [512]unix.EpollEvent
	// buffer is what a socket is read into, for as long as ready runs.
	buffer []byte
}

// maxSockets is more than 10,000 idle connections need, and, with those of a proxy to
// its backends, less than a process may have by default.
const maxSockets = 1 << 14

func newLoop() (*loop, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	return &loop{epoll: epoll, socks: make([]sock, maxSockets), buffer: make([]byte, 1<<18)}, err
}

func (l *loop) watch(fd int, s sock) error {
	l.socks[fd] = s
	return unix.EpollCtl(l.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)})
}

// writable has ready called as well when there is room to write, or no longer.
func (l *loop) writable(fd int, also bool) error {
	e := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}
	if also {
		e.Events |= unix.EPOLLOUT
	}
	return unix.EpollCtl(l.epoll, unix.EPOLL_CTL_MOD, fd, &e)
}

// close forgets a socket.
func (l *loop) close(fd int) {
	l.socks[fd] = nil
	_ = unix.Close(fd)
}

// turn serves the sockets that are ready, after at most wait milliseconds.
func (l *loop) turn(wait int) error {
	n, err := unix.EpollWait(l.epoll, l.events[:], wait)
	if err != nil {
		if errors.Is(err, unix.EINTR) {
			return nil
		}
		return err
	}
	for _, e := range l.events[:n] {
		if s := l.socks[e.Fd]; s != nil {
			if err := s.ready(e.Events); err != nil {
				return err
			}
		}
	}
	return nil
}

// errNothing says that a socket has nothing to read at the moment. As an error of
// package net it lets crypto/tls go on later where it is now.
var errNothing = nothing{}

type nothing struct{}

func (nothing) Error() string   { return "nothing to read yet" }
func (nothing) Timeout() bool   { return true }
func (nothing) Temporary() bool { return true }

// read reads what there is. At the end it returns io.EOF.
func read(fd int, into []byte) (int, error) {
	n, err := unix.Read(fd, into)
	switch {
	case err == unix.EAGAIN || err == unix.EINTR:
		return 0, errNothing
	case err != nil:
		return 0, err
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}

// write writes all, or says that there was no room: what it is used for is small.
func write(fd int, all []byte) error {
	n, err := unix.Write(fd, all)
	if err == nil && n < len(all) {
		err = io.ErrShortWrite
	}
	return err
}
