package proxy

import (
	"io"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
)

// TestNoAllocationsResting holds that a usual request is served within 4 KB of stack, which
// its connection keeps when it rests, until a collection of garbage takes a half of it: of
// these there are many more than requests. What a function needs for a moment while deeper
// ones are called, as for a handshake, belongs into one of its own.
func TestNoAllocationsResting(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector has frames of its own")
	}
	const connections, most = 200, 5 << 10
	p := start(t, Config{}, tableFor(serveRaw(t, quick(answer1K))), toBackend())
	stacks := func() uint64 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.StackInuse
	}
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	runtime.GC()
	before := stacks()
	for range connections {
		conn := dialWeb(t, p)
		if _, err := io.WriteString(conn, request1K); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(answer1K))
		if _, err := io.ReadFull(conn, got); err != nil || !strings.HasPrefix(string(got), "HTTP/1.1 200") {
			t.Fatal(err, string(got))
		}
	}
	if each := (stacks() - before) / connections; each > most {
		t.Errorf("%d bytes of stack for each connection, want at most %d", each, most)
	}
}
