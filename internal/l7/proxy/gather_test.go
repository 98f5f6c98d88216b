package proxy

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestGathered sends answers that begin in one buffer and go on in others to a client that
// takes them in small pieces, so that the kernel stops in the middle of each part.
func TestGathered(t *testing.T) {
	for _, size := range []int{bufferSize - 300, bufferSize, bufferSize + 1, bulkSize, bulkSize + bufferSize, spliceFrom - 1} {
		body := make([]byte, size)
		for i := range body {
			body[i] = byte(i * 7 / 3)
		}
		pieces := size/3 + 1
		backend := serveHTTP(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(size))
			step := size
			if r.URL.Path == "/pieces" {
				step = pieces
			}
			for at := 0; at < size; at += step {
				w.Write(body[at:min(at+step, size)])
				w.(http.Flusher).Flush()
			}
		})
		p := start(t, Config{}, tableFor(backend), toBackend())
		for _, path := range []string{"/", "/pieces"} {
			dialer := net.Dialer{Timeout: 5 * time.Second, Control: smallReceiveBuffer}
			conn, err := dialer.Dial("tcp", p.listeners["web"].address().String())
			if err != nil {
				t.Fatal(err)
			}
			conn.SetDeadline(time.Now().Add(20 * time.Second))
			fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", path)
			answer, err := io.ReadAll(conn)
			conn.Close()
			if _, got, _ := bytes.Cut(answer, []byte("\r\n\r\n")); err != nil || !bytes.Equal(got, body) {
				t.Errorf("%d bytes at %s: %d came, error %v", size, path, len(got), err)
			}
		}
	}
}

func smallReceiveBuffer(_, _ string, c syscall.RawConn) error {
	var failed error
	if err := c.Control(func(fd uintptr) { failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, 4096) }); err != nil {
		return err
	}
	return failed
}
