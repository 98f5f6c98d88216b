package proxy

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"testing"
	"time"
)

// TestDrainTimeout holds that Close ends requests that take longer than it may wait,
// whether they are answered within a read of the client's connection or not.
func TestDrainTimeout(t *testing.T) {
	for name, request := range map[string]string{
		"at once": "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
		"body":    "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhal",
	} {
		begun := make(chan bool, 1)
		up := serveRaw(t, func(conn net.Conn) {
			r := bufio.NewReader(conn)
			if _, err := http.ReadRequest(r); err == nil {
				begun <- true
				io.Copy(io.Discard, r) // and never an answer
			}
		})
		p := start(t, Config{DrainTimeout: 50 * time.Millisecond}, tableFor(up), toBackend())
		conn, err := net.Dial("tcp", p.Addresses("web")[0].String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		io.WriteString(conn, request)
		<-begun
		closed := make(chan error, 1)
		go func() { closed <- p.Close() }()
		select {
		case err := <-closed:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("%s: Close does not return", name)
		}
	}
}
