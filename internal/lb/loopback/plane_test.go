package loopback

import (
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/lb"
)

// backend is a server that says its name, then repeats what it is told until
// the client ends its side.
func backend(t *testing.T, name string) netip.AddrPort {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				fmt.Fprint(conn, name)
				_, _ = io.Copy(conn, conn)
			}()
		}
	}()
	return listener.Addr().(*net.TCPAddr).AddrPort()
}

// freePort is one that nobody listens at.
func freePort(t *testing.T) uint16 {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).AddrPort().Port()
}

func table(number uint16, affinity time.Duration, backends ...netip.AddrPort) lb.Table {
	t := lb.Table{Synced: true}
	for _, address := range []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()} {
		for _, protocol := range []desired.Protocol{desired.TCP, desired.UDP} {
			t.Entries = t.Entries.Set(lb.Frontend{Address: address, Port: number, Protocol: protocol}, &lb.Entry{
				Service: desired.Name{Namespace: "demo", Name: "shop"}, Kind: lb.NodePort, Affinity: affinity, Choice: lb.Choice{Backends: backends},
			})
		}
	}
	return t
}

func newPlane(t *testing.T) *Plane {
	t.Helper()
	p := New(slog.New(slog.DiscardHandler))
	t.Cleanup(func() { p.Close() })
	return p
}

func apply(t *testing.T, p *Plane, want lb.Table) {
	t.Helper()
	if err := p.Apply(t.Context(), want); err != nil {
		t.Fatal(err)
	}
}

// ask sends a text and returns all that comes back.
func ask(t *testing.T, address, text string) string {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	out, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func at(host string, number uint16) string { return net.JoinHostPort(host, fmt.Sprint(number)) }

func refused(t *testing.T, address string) {
	t.Helper()
	if conn, err := net.Dial("tcp", address); err == nil {
		conn.Close()
		t.Errorf("%s accepts, want a refusal", address)
	}
}

func TestServe(t *testing.T) {
	p, number := newPlane(t), freePort(t)
	apply(t, p, table(number, 0, backend(t, "one ")))
	long := strings.Repeat("0123456789", 100_000)
	for _, host := range []string{"127.0.0.1", "::1"} {
		if got := ask(t, at(host, number), long); got != "one "+long {
			t.Errorf("%s: %d bytes came back, want %d", host, len(got), len(long)+4)
		}
	}
}

func TestChoice(t *testing.T) {
	p, number := newPlane(t), freePort(t)
	one, two := backend(t, "one"), backend(t, "two")
	apply(t, p, table(number, 0, one, two))
	seen := map[string]bool{}
	for range 100 {
		seen[ask(t, at("127.0.0.1", number), "")] = true
	}
	if len(seen) != 2 {
		t.Errorf("of two endpoints, %v were asked", seen)
	}
	apply(t, p, table(number, time.Hour, one, two))
	first := ask(t, at("127.0.0.1", number), "")
	for range 30 {
		if got := ask(t, at("127.0.0.1", number), ""); got != first {
			t.Fatalf("with affinity, %s answers after %s", got, first)
		}
	}
	// The endpoint that is remembered goes.
	left := map[string]netip.AddrPort{"one": two, "two": one}[first]
	apply(t, p, table(number, time.Hour, left))
	if got := ask(t, at("127.0.0.1", number), ""); got == first {
		t.Errorf("%s answers, which is no endpoint any more", got)
	}
}

func TestDeadEndpoint(t *testing.T) {
	p, number := newPlane(t), freePort(t)
	dead := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), freePort(t))
	apply(t, p, table(number, 0, dead, backend(t, "alive")))
	for range 20 {
		if got := ask(t, at("127.0.0.1", number), ""); got != "alive" {
			t.Fatalf("got %q, want the endpoint that accepts", got)
		}
	}
}

func TestNoEndpoints(t *testing.T) {
	p, number := newPlane(t), freePort(t)
	one := backend(t, "one")
	apply(t, p, table(number, 0))
	refused(t, at("127.0.0.1", number))
	apply(t, p, table(number, 0, one))
	conn, err := net.Dial("tcp", at("127.0.0.1", number))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.ReadFull(conn, make([]byte, 3)); err != nil {
		t.Fatal(err)
	}
	apply(t, p, lb.Table{Synced: true})
	refused(t, at("127.0.0.1", number))
	// What is open stays open.
	if _, err := conn.Write([]byte("still")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, make([]byte, 5)); err != nil {
		t.Errorf("an open connection broke when the Service went: %v", err)
	}
}

// A port that another program has is named, and taken once it is free.
func TestTakenPort(t *testing.T) {
	p := newPlane(t)
	other, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	number := other.Addr().(*net.TCPAddr).AddrPort().Port()
	want := table(number, 0, backend(t, "one"))
	apply(t, p, want)
	if lines := p.Describe(); len(lines) != 2 || !strings.Contains(lines[1], "Service demo/shop, as another program listens there") {
		t.Errorf("described as %q", lines)
	}
	if got := ask(t, at("::1", number), ""); got != "one" {
		t.Errorf("the other family got %q", got)
	}
	other.Close()
	apply(t, p, want)
	if got := ask(t, at("127.0.0.1", number), ""); got != "one" || len(p.Describe()) != 1 {
		t.Errorf("once the port is free: %q, %q", got, p.Describe())
	}
}

func TestUnsynced(t *testing.T) {
	p, number := newPlane(t), freePort(t)
	want := table(number, 0, backend(t, "one"))
	want.Synced = false
	apply(t, p, want)
	refused(t, at("127.0.0.1", number))
}
