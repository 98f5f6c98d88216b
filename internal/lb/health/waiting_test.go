package health

import (
	"context"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"

	"github.com/vishvananda/netns"
)

// TestWaiting waits for the port, as when kube-proxy still runs.
func TestWaiting(t *testing.T) {
	newNamespace(t)
	taken, err := net.Listen("tcp", ":10256")
	must(t, err)
	s := &Waiting{
		What: "health", Address: ":10256", Log: quiet(),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }),
	}
	run(t, s)
	eventually(t, func() bool { return len(s.Describe()) == 1 })
	if note := s.Describe()[0]; !strings.HasPrefix(note, "health not served: cannot listen on :10256: another program listens on this port") {
		t.Error(note)
	}
	must(t, taken.Close())
	eventually(t, func() bool { return len(s.Describe()) == 0 })
	if r := ask(t, "127.0.0.1:10256", "GET /healthz"); r.status != http.StatusTeapot {
		t.Errorf("%+v", r)
	}
}

// run starts a server in the test's namespace and waits until it has tried its
// port.
func run(t *testing.T, s *Waiting) {
	t.Helper()
	network, err := netns.Get()
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if err := netns.Set(network); err != nil {
			done <- err
			return
		}
		done <- s.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		must(t, <-done)
		network.Close()
		refused(t, "127.0.0.1:10256")
	})
	eventually(t, func() bool {
		if len(s.Describe()) > 0 {
			return true
		}
		conn, err := net.Dial("tcp", "127.0.0.1:10256")
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
}
