package liveness

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var address = netip.MustParseAddr("10.244.1.5")

func serve(t *testing.T, users ...uint32) *Server {
	t.Helper()
	s := NewServer(filepath.Join(t.TempDir(), "node.sock"), users, slog.New(slog.DiscardHandler))
	go func() {
		if err := s.Run(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	for range 200 {
		if info, err := os.Stat(s.path); err == nil && info.Mode().Perm() == 0o666 {
			return s
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("no socket")
	return nil
}

// await waits for Dead to hold the address, or not to.
func await(t *testing.T, s *Server, want bool) {
	t.Helper()
	for range 500 {
		if s.Dead()[address] == want {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("dead = %v, want %t", s.Dead(), want)
}

func (s *Server) isLive() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.live[address] > 0
}

// TestEndIsSeen ends a process's connection, starts another, and expects the
// address to be dead in between.
func TestEndIsSeen(t *testing.T) {
	s := serve(t, uint32(os.Getuid()))
	for range 2 {
		ctx, end := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- Hold(ctx, s.path, []netip.Addr{address}, slog.New(slog.DiscardHandler)) }()
		for !s.isLive() {
			time.Sleep(10 * time.Millisecond)
		}
		await(t, s, false)
		end()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		await(t, s, true)
	}
}

// TestStrangers expects that other users are not believed.
func TestStrangers(t *testing.T) {
	s := serve(t, uint32(os.Getuid())+1)
	conn, err := net.Dial("unix", s.path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, _ = conn.Write([]byte(`{"addresses":["10.244.1.5"]}` + "\n")) // the server may hang up first
	if n, err := conn.Read(make([]byte, 1)); err == nil {
		t.Fatalf("read %d bytes, want a closed connection", n)
	}
	if s.isLive() || s.Dead()[address] {
		t.Error("a stranger was believed")
	}
}

// TestNonsense expects that what a peer sends never harms.
func TestNonsense(t *testing.T) {
	s := serve(t, uint32(os.Getuid()))
	for _, text := range []string{"\n", "{}\n", "[1]\n", `{"addresses":["x"]}` + "\n", strings.Repeat("x", 10*maxClaim)} {
		conn, err := net.Dial("unix", s.path)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = conn.Write([]byte(text)) // the server may hang up first
		_ = conn.Close()
	}
	if len(s.Dead()) > 0 {
		t.Errorf("dead: %v", s.Dead())
	}
}
