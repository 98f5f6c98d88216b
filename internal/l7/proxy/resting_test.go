package proxy

import (
	"crypto/tls"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
)

// TestNoAllocationsResting holds that a connection which rests has as small a stack as
// there is for what waits: there are many more of these than of requests. It grows by the
// frames of all functions that a connection is within while it waits, so what any of these
// needs for a moment belongs into one of its own.
func TestNoAllocationsResting(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector has frames of its own")
	}
	const connections = 200
	up := serveRaw(t, quick(answer1K))
	for name, c := range map[string]struct {
		proxy *Proxy
		over  func(net.Conn) net.Conn
		most  uint64
	}{
		"plain": {start(t, Config{}, tableFor(up), toBackend()), func(conn net.Conn) net.Conn { return conn }, 5 << 10},
		// One frame of crypto/tls is so large that they need the next size.
		"TLS": {startTLS(t, up), func(conn net.Conn) net.Conn { return tls.Client(conn, &tls.Config{InsecureSkipVerify: true}) }, 9 << 10},
	} {
		stacks := func() uint64 {
			for range 5 { // each at most halves a stack
				runtime.GC()
			}
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			return m.StackInuse
		}
		before := stacks()
		for range connections {
			conn := c.over(dialWeb(t, c.proxy))
			if _, err := io.WriteString(conn, request1K); err != nil {
				t.Fatal(err)
			}
			got := make([]byte, len(answer1K))
			if _, err := io.ReadFull(conn, got); err != nil || !strings.HasPrefix(string(got), "HTTP/1.1 200") {
				t.Fatal(err, string(got))
			}
		}
		if each := (stacks() - before) / connections; each > c.most {
			t.Errorf("%s: %d bytes of stack for each connection, want at most %d", name, each, c.most)
		}
	}
}
