package agent

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fairlead-net/fairlead/internal/config"
	"github.com/fairlead-net/fairlead/internal/kube"
	"github.com/fairlead-net/fairlead/internal/liveness"
	"github.com/fairlead-net/fairlead/internal/network"
)

// eventServer is an API server that knows every Service and takes Events.
type eventServer struct {
	mu     sync.Mutex
	bodies []string
	gone   bool // Services are not found
}

func (s *eventServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	switch {
	case r.Method == http.MethodPost:
		body, _ := io.ReadAll(r.Body)
		s.bodies = append(s.bodies, string(body))
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, `{"kind": "Event", "apiVersion": "v1"}`)
	case s.gone:
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, `{"kind": "Status", "apiVersion": "v1", "code": 404, "reason": "NotFound", "message": "no such object"}`)
	default:
		_, _ = io.WriteString(w, `{"kind": "Service", "apiVersion": "v1", "metadata": {"uid": "u"}}`)
	}
}

// codes returns, sorted, which of these codes came in, as often as they did.
func (s *eventServer) codes(known ...string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []string
	for _, body := range s.bodies {
		for _, code := range known {
			if strings.Contains(body, code) {
				all = append(all, code)
			}
		}
	}
	slices.Sort(all)
	return all
}

// clientOf returns a client of the API server at url.
func clientOf(t *testing.T, url string) *kube.Client {
	t.Helper()
	file := filepath.Join(t.TempDir(), "kubeconfig")
	content := `{"apiVersion": "v1", "kind": "Config", "current-context": "test",
		"clusters": [{"name": "test", "cluster": {"server": "` + url + `"}}],
		"contexts": [{"name": "test", "context": {"cluster": "test", "user": ""}}]}`
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	client, err := kube.NewClient(kube.Access{Kubeconfig: file})
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func eventServerClient(t *testing.T) (*eventServer, *kube.Client) {
	t.Helper()
	s := &eventServer{}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	return s, clientOf(t, server.URL)
}

// bare is a process without planes and without a cluster.
func bare(t *testing.T, o Options) *Agent {
	t.Helper()
	o.Log, o.Config, o.Version, o.Kept = slog.New(slog.DiscardHandler), config.Default(), "v1.2.3", NewKept()
	a := &Agent{
		options: o, log: o.Log, registry: prometheus.NewRegistry(),
		objects:  kube.NewWatcher(clientOf(t, "http://127.0.0.1:1"), o.Node, kube.Reads{}, o.Log),
		network:  network.New(nil, o.Log),
		liveness: liveness.NewServer(filepath.Join(t.TempDir(), "node.sock"), nil, o.Log),
	}
	a.registerMetrics()
	return a
}

// freeAddress returns where nothing listens over UDP or TCP, at a loopback address that
// other tests' connections do not come from.
func freeAddress(t *testing.T) netip.AddrPort {
	t.Helper()
	for range 100 {
		udp, err := net.ListenPacket("udp", "127.0.0.77:0")
		if err != nil {
			t.Fatal(err)
		}
		defer udp.Close()
		if tcp, err := net.Listen("tcp", udp.LocalAddr().String()); err == nil {
			tcp.Close()
			return udp.LocalAddr().(*net.UDPAddr).AddrPort()
		}
	}
	t.Fatal("no port is free over UDP and TCP")
	return netip.AddrPort{}
}

// inTurn applies a value as a loop of package reconcile does: when the Lease is held.
func inTurn[C any, P interface {
	Turn(ctx context.Context) (context.Context, func(), error)
	Apply(ctx context.Context, want C) error
}](ctx context.Context, plane P, want C) error {
	turn, done, err := plane.Turn(ctx)
	if err != nil {
		return err
	}
	defer done()
	return plane.Apply(turn, want)
}
