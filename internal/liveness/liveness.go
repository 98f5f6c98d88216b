// Package liveness tells a node's process at once when another Fairlead process
// on the same node ends.
//
// A process holds a connection to the node's unix socket and names the
// addresses at which it serves. In goes the end of that connection, which the
// kernel reports within milliseconds however the process died; out comes the
// set of addresses that are served by nobody. The kubelet and the EndpointSlice
// controller say the same one to three seconds later, and then count: what is
// known here is forgotten after Memory. The package never says that an address
// is alive.
package liveness

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// Memory is how long an address stays dead without further news.
	Memory = 30 * time.Second
	// retry is how often a process tries to reach the node's socket.
	retry = 200 * time.Millisecond
	// The most that one peer may claim, and the most peers at a time.
	maxClaim = 4096 // bytes
	maxPeers = 64
)

// claim is what a process says when it connects, as one line of JSON.
type claim struct {
	Addresses []netip.Addr `json:"addresses"`
}

// Server is the node's side.
type Server struct {
	path    string
	users   []uint32
	log     *slog.Logger
	changed chan struct{}
	slots   chan struct{}

	mu   sync.Mutex
	live map[netip.Addr]int
	dead map[netip.Addr]time.Time
}

// NewServer returns a server for a socket at path that believes processes of
// these users.
func NewServer(path string, users []uint32, log *slog.Logger) *Server {
	return &Server{
		path: path, users: users, log: log.With("component", "liveness"), changed: make(chan struct{}, 1), slots: make(chan struct{}, maxPeers),
		live: map[netip.Addr]int{}, dead: map[netip.Addr]time.Time{},
	}
}

// Changed receives a value after Dead has changed.
func (s *Server) Changed() <-chan struct{} { return s.changed }

// Dead returns the addresses that a process served that has ended.
func (s *Server) Dead() map[netip.Addr]bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	dead := make(map[netip.Addr]bool, len(s.dead))
	for address := range s.dead {
		dead[address] = true
	}
	return dead
}

// Run serves until ctx ends.
func (s *Server) Run(ctx context.Context) error {
	if err := os.MkdirAll(filepath.Dir(s.path), 0o755); err != nil {
		return fmt.Errorf("folder of the node's socket: %w", err)
	}
	// A process that was killed leaves its socket behind.
	if err := os.Remove(s.path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("old socket of the node: %w", err)
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "unix", s.path)
	if err != nil {
		return fmt.Errorf("node's socket: %w", err)
	}
	// Who may speak is decided by the peer's user, not by the file's mode.
	if err := os.Chmod(s.path, 0o666); err != nil {
		return errors.Join(err, listener.Close())
	}
	defer context.AfterFunc(ctx, func() { _ = listener.Close() })()
	for {
		conn, err := listener.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("node's socket: %w", err)
		}
		go s.serve(ctx, conn.(*net.UnixConn))
	}
}

func (s *Server) serve(ctx context.Context, conn *net.UnixConn) {
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	default:
		s.log.Warn("too many processes at the node's socket", "most", maxPeers)
		return
	}
	user, err := peer(conn)
	if err != nil || !slices.Contains(s.users, user) {
		s.log.Warn("a stranger at the node's socket", "user", user, "error", err)
		return
	}
	c, err := read(conn)
	if err != nil {
		s.log.Warn("a process at the node's socket makes no sense", "error", err)
		return
	}
	s.alive(c.Addresses)
	// Nothing more is said; the read ends with the process.
	_, _ = io.Copy(io.Discard, io.LimitReader(conn, maxClaim))
	if ctx.Err() == nil {
		s.log.Info("a process on this node ended", "addresses", c.Addresses)
		s.ended(c.Addresses)
	}
}

func read(conn *net.UnixConn) (claim, error) {
	var c claim
	if err := conn.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return c, err
	}
	line, err := bufio.NewReader(io.LimitReader(conn, maxClaim)).ReadBytes('\n')
	if err != nil {
		return c, err
	}
	if err := json.Unmarshal(line, &c); err != nil {
		return c, err
	}
	return c, conn.SetReadDeadline(time.Time{})
}

// peer returns the user of the process at the other end.
func peer(conn *net.UnixConn) (uint32, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, err
	}
	var credentials *unix.Ucred
	var failed error
	err = raw.Control(func(fd uintptr) {
		credentials, failed = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err = errors.Join(err, failed); err != nil {
		return 0, err
	}
	return credentials.Uid, nil
}

func (s *Server) alive(addresses []netip.Addr) {
	s.change(func() {
		for _, address := range addresses {
			s.live[address]++
			delete(s.dead, address)
		}
	})
}

func (s *Server) ended(addresses []netip.Addr) {
	s.change(func() {
		for _, address := range addresses {
			if s.live[address]--; s.live[address] <= 0 {
				delete(s.live, address)
				s.dead[address] = time.Now()
			}
		}
	})
	time.AfterFunc(Memory, func() {
		s.change(func() {
			maps.DeleteFunc(s.dead, func(_ netip.Addr, since time.Time) bool { return time.Since(since) >= Memory })
		})
	})
}

func (s *Server) change(f func()) {
	s.mu.Lock()
	f()
	s.mu.Unlock()
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// Hold keeps a connection to the socket at path until ctx ends, as a sign that
// this process serves the addresses. A node without such a socket is fine.
func Hold(ctx context.Context, path string, addresses []netip.Addr, log *slog.Logger) error {
	line, err := json.Marshal(claim{Addresses: addresses})
	if err != nil {
		return err
	}
	for ctx.Err() == nil {
		if err := hold(ctx, path, append(line, '\n')); err != nil {
			log.Debug("no connection to the node's socket", "error", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(retry):
		}
	}
	return nil
}

func hold(ctx context.Context, path string, line []byte) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", path)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	if _, err := conn.Write(line); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, conn)
	return err
}
