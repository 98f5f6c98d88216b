package agent

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fairlead-net/fairlead/internal/config"
)

const nginxWorld = `
{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {namespace: demo, name: web}, spec: {ingressClassName: nginx, rules: [
  {host: shop.example.com, http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}}]}}
---
{apiVersion: v1, kind: Service, metadata: {namespace: demo, name: web}, spec: {clusterIP: 10.96.0.1, clusterIPs: [10.96.0.1], ports: [
  {name: http, port: 80}, {name: echo, port: 7}, {name: echo-udp, port: 7, protocol: UDP}]}}
---
{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {namespace: demo, name: web-1, labels: {kubernetes.io/service-name: web}},
  addressType: IPv4, endpoints: [{addresses: [%s], conditions: {ready: true}}], ports: [
  {name: http, port: %d, protocol: TCP}, {name: echo, port: %d, protocol: TCP}, {name: echo-udp, port: %d, protocol: UDP}]}
`

// ownAddress returns one of this machine that endpoints may have.
func ownAddress(t *testing.T) string {
	t.Helper()
	all, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range all {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && n.IP.IsGlobalUnicast() {
			return n.IP.String()
		}
	}
	t.Fatal("this machine has no address but those of loopback; give it one, such as by: ip addr add 192.0.2.1/32 dev lo")
	return ""
}

// echo serves what it is told, over TCP and UDP.
func echo(t *testing.T, at string) (tcp, udp int) {
	t.Helper()
	l, err := net.Listen("tcp", at+":0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(conn, conn) }()
		}
	}()
	p, err := net.ListenPacket("udp", at+":0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	go func() {
		b := make([]byte, 1500)
		for {
			n, from, err := p.ReadFrom(b)
			if err != nil {
				return
			}
			_, _ = p.WriteTo(b[:n], from)
		}
	}()
	return l.Addr().(*net.TCPAddr).Port, p.LocalAddr().(*net.UDPAddr).Port
}

// eventually waits until something holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for start := time.Now(); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Since(start) > 30*time.Second {
			t.Fatal("never: " + what)
		}
	}
}

// echoes tells whether a text comes back.
func echoes(conn net.Conn, text string) bool {
	_ = conn.SetDeadline(time.Now().Add(2 * time.Second))
	b := make([]byte, len(text))
	_, err := io.WriteString(conn, text)
	if err == nil {
		_, err = io.ReadFull(conn, b)
	}
	return err == nil && string(b) == text
}

// dials tells whether what is served at a port of loopback brings a text back.
func dials(network string, port uint16) bool {
	conn, err := net.Dial(network, fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return false
	}
	defer conn.Close()
	return echoes(conn, "hello")
}

// nginxFolder is a gateway that a folder of manifests tells what to serve.
type nginxFolder struct {
	*testing.T
	agent *Agent
	dir   string
	// ports are those of HTTP and HTTPS, streams some for TCP and UDP.
	ports, streams [2]uint16
}

func (f *nginxFolder) write(name, text string) {
	f.Helper()
	// The folder is read at any time, so a file has to be there as a whole.
	temporary := filepath.Join(f.TempDir(), name)
	if err := os.WriteFile(temporary, []byte(text), 0o644); err != nil {
		f.Fatal(err)
	}
	if err := os.Rename(temporary, filepath.Join(f.dir, name)); err != nil {
		f.Fatal(err)
	}
}

func (f *nginxFolder) configMap(name, data string, args ...any) {
	f.Helper()
	f.write(name+".yaml", fmt.Sprintf("{apiVersion: v1, kind: ConfigMap, metadata: {namespace: ingress-nginx, name: %s}, data: {%s}}", name, fmt.Sprintf(data, args...)))
}

// run starts the gateway, and ends it with the test.
func (f *nginxFolder) run() {
	f.Helper()
	c := config.Default()
	c.Gateway.HTTPPort, c.Gateway.HTTPSPort, c.Gateway.Lameduck, c.Gateway.Drain, c.Migration.IngressNginx = f.ports[0], f.ports[1], 0, time.Second, true
	kept := NewKept()
	a, err := New(Options{Config: c, Dir: f.dir, Planes: []string{"gateway"}, HTTP: "127.0.0.1:0", Kept: kept, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		f.Fatal(err)
	}
	f.agent = a
	ctx, cancel := context.WithCancel(f.Context())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	f.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			f.Error(err)
		}
		if err := kept.Close(); err != nil {
			f.Error(err)
		}
	})
}

// dial connects to a port that is served.
func (f *nginxFolder) dial(port uint16) net.Conn {
	f.Helper()
	conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { conn.Close() })
	return conn
}

// newNginxFolder returns one with a Service of HTTP and of two echoes.
func newNginxFolder(t *testing.T) *nginxFolder {
	t.Helper()
	f := &nginxFolder{T: t, dir: t.TempDir(), ports: freePorts(t), streams: freePorts(t)}
	at := ownAddress(t)
	l, err := net.Listen("tcp", at+":0")
	if err != nil {
		t.Fatal(err)
	}
	web := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hello") })}
	go func() { _ = web.Serve(l) }()
	t.Cleanup(func() { web.Close() })
	tcp, udp := echo(t, at)
	f.write("world.yaml", fmt.Sprintf(nginxWorld, at, l.Addr().(*net.TCPAddr).Port, tcp, udp))
	return f
}

// TestNginxConfigMaps runs a gateway by a folder, and changes ingress-nginx's ConfigMaps
// while connections are open: none of them ends, what is said counts, and of what is wrong
// only itself is left out.
func TestNginxConfigMaps(t *testing.T) {
	f := newNginxFolder(t)
	f.configMap("ingress-nginx-controller", "")
	f.configMap("tcp-services", `"%d": "demo/web:echo"`, f.streams[0])
	f.configMap("udp-services", `"%d": "demo/web:7"`, f.streams[0])
	f.run()
	eventually(t, "TCP and UDP are passed on", func() bool { return dials("tcp", f.streams[0]) && dials("udp", f.streams[0]) })

	held, conn := f.dial(f.streams[0]), f.dial(f.ports[0])
	if !echoes(held, "a") {
		t.Fatal("a connection is not passed on")
	}
	answers := bufio.NewReader(conn)
	ask := func(path string) *http.Response {
		t.Helper()
		_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
		fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: shop.example.com\r\n\r\n", path)
		r, err := http.ReadResponse(answers, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, r.Body)
		return r
	}
	if r := ask("/"); r.StatusCode != 200 {
		t.Fatal(r.Status)
	}

	f.configMap("ingress-nginx-controller", `large-client-header-buffers: "4 1k", keep-alive: soon, block-user-agents: curl, block-cidrs: nowhere`)
	f.configMap("tcp-services", `"%d": "demo/web:echo", "%d": "demo/web:80", "no": "demo/web:80"`, f.streams[1], f.ports[0])
	eventually(t, "another port is served, and the first one not", func() bool { return dials("tcp", f.streams[1]) && !dials("tcp", f.streams[0]) })
	for _, again := range []string{"b", "c"} {
		if !echoes(held, again) {
			t.Fatal("a connection ends with the entry that brought it")
		}
	}
	if r := ask("/"); r.StatusCode != 200 {
		t.Errorf("a connection that was open gets %s", r.Status)
	}
	// The other file may be read a moment later.
	eventually(t, "the other settings count", func() bool { return ask("/"+strings.Repeat("a", 2000)).StatusCode == 414 })
	notes := strings.Join(f.agent.Status().Planes[0].Notes, "\n")
	for _, want := range []string{"key keep-alive", "key block-cidrs", `"no" is no port`, "have HTTP at this port"} {
		if !strings.Contains(notes, want) {
			t.Errorf("nothing says %q:\n%s", want, notes)
		}
	}
	if !dials("udp", f.streams[0]) {
		t.Error("UDP is not passed on any more")
	}
}
