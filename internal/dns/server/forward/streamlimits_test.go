package forward

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// streaming returns a Forwarder with one upstream that is asked by TCP.
func streaming(t *testing.T) (*Forwarder, *upstream) {
	t.Helper()
	f := forwarder(t, Config{Zones: []Zone{{Name: ".", TCP: true, Servers: []Server{{Address: netip.MustParseAddrPort("192.0.2.1:53")}}}}})
	t.Cleanup(f.stop)
	return f, f.all()[0]
}

// TestChoose: connections are filled one after the other, first as far as is usual, then as
// far as is possible.
func TestChoose(t *testing.T) {
	s := new(streams)
	loads := func() (all []int32) {
		for i := range s.slots {
			all = append(all, s.slots[i].load.Load())
		}
		return all
	}
	for n := range maxStreams * maxPipelined {
		slot := n / usualPipelined
		if n >= maxStreams*usualPipelined {
			slot = (n - maxStreams*usualPipelined) / (maxPipelined - usualPipelined)
		}
		if got := s.choose(); got != &s.slots[slot] {
			t.Fatalf("query %d is not given to connection %d: %v", n, slot, loads())
		}
	}
	if s.choose() != nil {
		t.Errorf("one query too many: %v", loads())
	}
	s.slots[3].load.Add(-1)
	if s.choose() != &s.slots[3] {
		t.Errorf("the place that is free is not taken: %v", loads())
	}
}

// TestGivenUp: a query that gets no reply leaves nothing behind, and a connection on
// which others do is used further.
func TestGivenUp(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f, u := streaming(t)
		dialled := pipe(f, func(c net.Conn) {
			for m := read(c); m != nil; m = read(c) {
				if !strings.HasPrefix(m.Question[0].Name, "mute") {
					c.Write(framed(reply(m, 60, "192.0.2.1")))
				}
			}
		})
		failed := make(chan error)
		go func() { _, err := u.exchange(t.Context(), a("mute.")); failed <- err }()
		time.Sleep(time.Second)
		for _, name := range []string{"a.", "b."} {
			if _, err := u.exchange(t.Context(), a(name)); err != nil {
				t.Error(err)
			}
			if name == "a." && <-failed == nil {
				t.Error("a reply to what has none")
			}
		}
		synctest.Wait()
		stream := u.streams.slots[0].stream
		if dialled.Load() != 1 || len(stream.pending) != 0 || u.streams.slots[0].load.Load() != 0 {
			t.Errorf("%d connections, %d queries still wait", dialled.Load(), len(stream.pending))
		}
		u.streams.close()
	})
}

// TestClosedMeanwhile: a query on a connection that has served, and is closed in the moment
// in which it is sent, is sent by another one; where none has served, it has failed.
func TestClosedMeanwhile(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f, u := streaming(t)
		dialled := pipe(f, func(c net.Conn) {
			c.Write(framed(reply(read(c), 60, "192.0.2.1")))
			read(c)
			c.Close()
		})
		for i := range 4 {
			if _, err := u.exchange(t.Context(), a("a.")); err != nil || dialled.Load() != int32(i+1) {
				t.Errorf("query %d: %v, %d connections", i, err, dialled.Load())
			}
		}
		u.streams.close()
	})
	bubble(t, func(t *testing.T) {
		f, u := streaming(t)
		dialled := pipe(f, func(c net.Conn) {
			read(c)
			read(c)
			c.Close()
		})
		failed := make(chan error)
		for range 2 {
			go func() { _, err := u.exchange(t.Context(), a("a.")); failed <- err }()
			time.Sleep(100 * time.Millisecond)
		}
		for range 2 {
			if err := <-failed; !errors.Is(err, errGone) {
				t.Error(err)
			}
		}
		if dialled.Load() != 1 {
			t.Errorf("%d connections", dialled.Load())
		}
		u.streams.close()
	})
}

// TestDeafServers: servers that do not take a connection, or what is sent by it, cost the
// time of a query, and the next query begins anew.
func TestDeafServers(t *testing.T) {
	for name, deaf := range map[string]func(context.Context) (net.Conn, error){
		"takes no connection": func(ctx context.Context) (net.Conn, error) { <-ctx.Done(); return nil, ctx.Err() },
		"reads nothing":       func(context.Context) (net.Conn, error) { client, _ := net.Pipe(); return client, nil },
	} {
		bubble(t, func(t *testing.T) {
			f, u := streaming(t)
			dialled := 0
			f.dial = func(ctx context.Context, _, _ string) (net.Conn, error) { dialled++; return deaf(ctx) }
			for i := range 3 {
				started := time.Now()
				if _, err := u.exchange(t.Context(), a("a.")); err == nil || time.Since(started) != 2*time.Second {
					t.Errorf("%s: %v after %s", name, err, time.Since(started))
				}
				if synctest.Wait(); dialled != i+1 {
					t.Errorf("%s: %d connections after %d queries", name, dialled, i+1)
				}
			}
			u.streams.close()
		})
	}
}
