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

// TestNginxConfigMaps runs a gateway by a folder, and changes ingress-nginx's ConfigMaps
// while connections are open: none of them ends, what is said counts, and of what is wrong
// only itself is left out.
func TestNginxConfigMaps(t *testing.T) {
	at := ownAddress(t)
	l, err := net.Listen("tcp", at+":0")
	if err != nil {
		t.Fatal(err)
	}
	web := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hello") })}
	go func() { _ = web.Serve(l) }()
	t.Cleanup(func() { web.Close() })
	tcp, udp := echo(t, at)
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		// The folder is read at any time, so a file has to be there as a whole.
		temporary := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(temporary, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(temporary, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	configMap := func(name, data string) {
		t.Helper()
		write(name+".yaml", fmt.Sprintf("{apiVersion: v1, kind: ConfigMap, metadata: {namespace: ingress-nginx, name: %s}, data: {%s}}", name, data))
	}
	ports, streams := freePorts(t), freePorts(t)
	write("world.yaml", fmt.Sprintf(nginxWorld, at, l.Addr().(*net.TCPAddr).Port, tcp, udp))
	configMap("ingress-nginx-controller", "")
	configMap("tcp-services", fmt.Sprintf(`"%d": "demo/web:echo"`, streams[0]))
	configMap("udp-services", fmt.Sprintf(`"%d": "demo/web:7"`, streams[0]))

	c := config.Default()
	c.Gateway.HTTPPort, c.Gateway.HTTPSPort, c.Gateway.Lameduck, c.Gateway.Drain, c.Migration.IngressNginx = ports[0], ports[1], 0, time.Second, true
	kept := NewKept()
	a, err := New(Options{Config: c, Dir: dir, Planes: []string{"gateway"}, HTTP: "127.0.0.1:0", Kept: kept, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := kept.Close(); err != nil {
			t.Error(err)
		}
	}()
	eventually(t, "TCP and UDP are passed on", func() bool { return dials("tcp", streams[0]) && dials("udp", streams[0]) })

	held, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", streams[0]))
	if err != nil || !echoes(held, "a") {
		t.Fatal(err)
	}
	defer held.Close()
	conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", ports[0]))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
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

	configMap("ingress-nginx-controller", `large-client-header-buffers: "4 1k", keep-alive: soon, block-user-agents: curl, block-cidrs: nowhere`)
	configMap("tcp-services", fmt.Sprintf(`"%d": "demo/web:echo", "%d": "demo/web:80", "no": "demo/web:80"`, streams[1], ports[0]))
	eventually(t, "another port is served, and the first one not", func() bool { return dials("tcp", streams[1]) && !dials("tcp", streams[0]) })
	for _, again := range []string{"b", "c"} {
		if !echoes(held, again) {
			t.Fatal("a connection ends with the entry that brought it")
		}
	}
	if r := ask("/"); r.StatusCode != 200 {
		t.Errorf("a connection that was open gets %s", r.Status)
	}
	notes := strings.Join(a.Status().Planes[0].Notes, "\n")
	for _, want := range []string{"key keep-alive", "key block-cidrs", `"no" is no port`, "have HTTP at this port"} {
		if !strings.Contains(notes, want) {
			t.Errorf("nothing says %q:\n%s", want, notes)
		}
	}
	if r := ask("/" + strings.Repeat("a", 2000)); r.StatusCode != 414 {
		t.Errorf("a line of 2000 bytes gets %s", r.Status)
	}
	if !dials("udp", streams[0]) {
		t.Error("UDP is not passed on any more")
	}
}
