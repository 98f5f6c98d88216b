package agent

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fairlead-net/fairlead/internal/config"
)

const kubeadmCorefile = `.:53 {
    errors
    health {
       lameduck 7s
    }
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa {
       pods insecure
       fallthrough in-addr.arpa ip6.arpa
       ttl 17
    }
    prometheus :9153
    forward . 192.0.2.53 {
       max_concurrent 1000
    }
    cache 30 {
       disable success cluster.local
       disable denial cluster.local
    }
    loop
    reload
    loadbalance
    import custom/*.override
}
import custom/*.server
`

func writeCorefile(t *testing.T, files map[string]string) config.Config {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c := config.Default()
	c.DNS.Corefile = filepath.Join(dir, "Corefile")
	c.DNS.Upstreams = []netip.AddrPort{netip.MustParseAddrPort("198.51.100.1:53")}
	return c
}

// TestFollow: what a Corefile says counts instead of fairlead.yaml's fields, together
// with the files that it imports.
func TestFollow(t *testing.T) {
	c := writeCorefile(t, map[string]string{
		"Corefile":            kubeadmCorefile,
		"custom/old.override": "rewrite name old.example.org new.default.svc.cluster.local\ndebug\n",
		"custom/stub.server":  "corp.example:53 {\n  forward . 10.1.2.3\n}\n",
	})
	f, err := follow(c)
	if err != nil || !f.inForce() {
		t.Fatal(f.inForce(), err)
	}
	d := f.config.DNS
	if d.TTL != 17 || d.Lameduck.Seconds() != 7 || d.Service != "kube-system/kube-dns" || d.Corefile != c.DNS.Corefile || len(d.Listen) != 1 {
		t.Errorf("%+v", d)
	}
	zones := map[string]string{}
	for _, z := range forwarding(d).Zones {
		for _, s := range z.Servers {
			zones[z.Name] = s.String()
		}
	}
	if zones["."] != "192.0.2.53:53" || zones["corp.example."] != "10.1.2.3:53" || len(zones) != 2 {
		t.Errorf("%v", zones)
	}
	if len(f.blocks) != 2 || f.blocks[0].Rules.Empty() || f.blocks[0].WithoutCluster || !f.blocks[1].WithoutCluster {
		t.Errorf("%+v", f.blocks)
	}
	if len(f.problems) != 1 || !strings.Contains(f.problems[0], "old.override:2: not supported: debug: ") {
		t.Errorf("%q", f.problems)
	}
	again, _ := follow(c)
	if again.read != f.read || f.read == "" {
		t.Error("the same files read as others")
	}
	if err := os.WriteFile(filepath.Join(filepath.Dir(c.DNS.Corefile), "custom", "old.override"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if again, _ = follow(c); again.read == f.read {
		t.Error("an imported file changed unnoticed")
	}
}

// TestFollowNothing: no Corefile, no change.
func TestFollowNothing(t *testing.T) {
	c := config.Default()
	for _, name := range []string{"", "/nowhere/Corefile"} {
		c.DNS.Corefile = name
		if f, err := follow(c); err != nil || f.read != "" || f.config.DNS.TTL != c.DNS.TTL || len(f.blocks) > 0 {
			t.Errorf("%q: %+v, %v", name, f, err)
		}
	}
}

// TestFollowMistakes: what cannot be followed leaves the configuration as it was, and
// is named with its line. Rights that the chart has not given are not used.
func TestFollowMistakes(t *testing.T) {
	for text, want := range map[string]string{
		".:53 {\n kubernetes cluster.local\n forwrad . 192.0.2.1\n}":    `Corefile:3: CoreDNS has no directive "forwrad"; did you mean "forward"?`,
		".:53 {\n forward . tls://192.0.2.1 {\n tls /nowhere/ca\n }\n}": "forward: zone \".\": upstream tls://192.0.2.1:853: ",
		".:53 {\n view x {\n }\n}":                                      `Corefile:2: view x: what depends on this directive cannot be told`,
		".:53 {\n":                                                      `Corefile:1: "{" is never closed`,
		".:53 {\n rewrite ttl a.org soon\n}":                            `Corefile:2: rewrite ttl: "soon" is neither`,
		".:53 {\n kubernetes cluster_local\n}":                          `what it says is not possible here: clusterDomain: "cluster_local" is not a DNS name`,
	} {
		c := writeCorefile(t, map[string]string{"Corefile": text})
		f, err := follow(c)
		if err == nil || !strings.Contains(err.Error(), want) || len(f.config.DNS.Upstreams) != 1 || f.read == "" || f.inForce() {
			t.Errorf("%s\n%v, want %s", text, err, want)
		}
	}
	f, err := follow(writeCorefile(t, map[string]string{"Corefile": ".:53 {\n kubernetes cluster.local clusterset.local {\n pods verified\n multicluster clusterset.local\n }\n}"}))
	if err != nil || f.config.DNS.Pods != "insecure" || len(f.config.DNS.MulticlusterZones) > 0 || len(f.problems) != 2 {
		t.Errorf("%+v %q %v", f.config.DNS, f.problems, err)
	}
}

// TestEndpoints: health, readiness and metrics are served where a Corefile wants them,
// too, once each.
func TestEndpoints(t *testing.T) {
	at := "127.0.0.1:" + freePort(t)
	c := writeCorefile(t, map[string]string{"Corefile": ".:53 {\n health " + at + "\n ready " + at + "\n prometheus localhost:9153\n forward . 192.0.2.1\n}\na.example:53 {\n prometheus :9253\n forward . 192.0.2.1\n}\nb.example:53 {\n prometheus :9253\n forward . 192.0.2.1\n}"})
	f, err := follow(c)
	if err != nil || len(f.endpoints) != 4 || len(f.problems) != 0 {
		t.Fatalf("%v %q %v", f.endpoints, f.problems, err)
	}
	a := &Agent{corefile: f, options: Options{Config: f.config, HTTP: ":9153"}, log: slog.New(slog.DiscardHandler)}
	say := func(text string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, text) })
	}
	a.serveElsewhere(map[string]http.Handler{"/health": say("well"), "/ready": say("ready"), "/metrics": say("many")})
	if len(a.services) != 2 {
		t.Fatalf("%d addresses, want 2", len(a.services))
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = a.services[0](ctx) })
	defer running.Wait()
	defer cancel()
	for path, want := range map[string]string{"/health": "well", "/ready": "ready"} {
		got := ""
		for deadline := time.Now().Add(10 * time.Second); got == "" && time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
			if reply, err := http.Get("http://" + at + path); err == nil {
				content, _ := io.ReadAll(reply.Body)
				reply.Body.Close()
				got = string(content)
			}
		}
		if got != want {
			t.Errorf("%s: %q", path, got)
		}
	}
}

// TestEndpointsTogether: an endpoint that a Corefile wants where another one is served is
// served there, too.
func TestEndpointsTogether(t *testing.T) {
	c := writeCorefile(t, map[string]string{"Corefile": ".:53 {\n health :9153\n ready :8080\n prometheus :8080\n forward . 192.0.2.1\n}\na.example:53 {\n health 127.0.0.1:9153\n prometheus 127.0.0.1:8080\n forward . 192.0.2.1\n}"})
	f, err := follow(c)
	if err != nil || len(f.endpoints) != 5 {
		t.Fatalf("%v %v", f.endpoints, err)
	}
	a := &Agent{corefile: f, options: Options{Config: f.config, HTTP: ":9153"}, log: slog.New(slog.DiscardHandler)}
	say := func(text string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, text) })
	}
	a.serve(dnsHealth, "GET /health", say("usual"))
	a.serve(dnsReady, "GET /ready", say("usual"))
	a.serveElsewhere(map[string]http.Handler{"/health": say("well"), "/ready": say("ready"), "/metrics": say("many")})
	if len(a.services) != 2 || len(a.proxyPorts) != 0 {
		t.Errorf("%d servers, of which %d wait for their ports", len(a.services), len(a.proxyPorts))
	}
	get := func(mux http.Handler, path string) string {
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		return w.Body.String()
	}
	for path, want := range map[string]string{"/health": "usual", "/ready": "ready", "/metrics": "many"} {
		if got := get(a.muxes[0], path); got != want {
			t.Errorf(":8080%s: %q", path, got)
		}
	}
	if got := get(a.own(), "/health"); got != "well" {
		t.Errorf(":9153/health: %q", got)
	}
}

// freePort returns a port that nobody listens at.
func freePort(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	return port
}
