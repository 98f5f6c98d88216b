package proxy

import (
	"errors"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestIgnoreNew holds that a listener which is about to close lets nobody in any more who
// would be reset then, that it sends nobody away, and that what is connected goes on.
func TestIgnoreNew(t *testing.T) {
	p := start(t, Config{}, tableFor(serveHTTP(t, func(http.ResponseWriter, *http.Request) {})), toBackend())
	l := p.listeners["web"]
	kept, err := net.Dial("tcp", l.address().String())
	if err != nil {
		t.Fatal(err)
	}
	defer kept.Close()
	if err := ignoreNew(l.listener); err != nil {
		t.Fatal(err)
	}
	conn, err := net.DialTimeout("tcp", l.address().String(), 300*time.Millisecond)
	if err == nil {
		conn.Close()
		t.Error("connected")
	} else if timeout, ok := errors.AsType[net.Error](err); !ok || !timeout.Timeout() {
		// Not timedOut: which of two timers ends a dial decides between two errors.
		t.Errorf("sent away: %v", err)
	}
	kept.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := kept.Write([]byte("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	buffer := make([]byte, 1000)
	if n, err := kept.Read(buffer); !strings.HasPrefix(string(buffer[:n]), "HTTP/1.1 200") {
		t.Errorf("%q, error %v", buffer[:n], err)
	}
}
