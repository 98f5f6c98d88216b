//go:build e2e

package e2e

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"html"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// guarded publishes the shop to those who have a password and a ticket, the latter by
// the word of another server, with a canary that a header asks for. At /look a page asks
// for it as a browser does.
const guarded = `
apiVersion: v1
kind: Secret
metadata: {name: e2e-guests, namespace: demo}
stringData: {auth: "guest:{PLAIN}let me in"}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: e2e-guarded
  namespace: demo
  annotations:
    nginx.ingress.kubernetes.io/auth-type: basic
    nginx.ingress.kubernetes.io/auth-secret: e2e-guests
    nginx.ingress.kubernetes.io/auth-url: http://e2e-told.demo.svc.cluster.local/auth
spec:
  ingressClassName: fairlead
  tls: [{hosts: [guarded.example.test], secretName: e2e-guarded}]
  rules:
  - host: guarded.example.test
    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: shop, port: {name: http}}}}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: e2e-guarded-canary
  namespace: demo
  annotations: {nginx.ingress.kubernetes.io/canary: "true", nginx.ingress.kubernetes.io/canary-by-header: X-Canary}
spec:
  ingressClassName: fairlead
  rules:
  - host: guarded.example.test
    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: catalogue, port: {name: http}}}}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: e2e-look, namespace: demo}
spec:
  ingressClassName: fairlead
  rules:
  - host: guarded.example.test
    http: {paths: [{path: /look, pathType: Exact, backend: {service: {name: e2e-told, port: {name: tcp}}}}]}
`

const toldService = `{apiVersion: v1, kind: Service, metadata: {name: e2e-told, namespace: demo}, spec: {
  ports: [{name: tcp, port: 80, targetPort: 8090}, {name: udp, port: 80, protocol: UDP, targetPort: 8090}]}}`

// browser is a headless Chromium outside the cluster.
type browser struct {
	address string // of every host
	spki    string // the one certificate that is trusted, by its key
	dir     string
	flags   []string
}

// tellByService has a pod tell what load --serve tells, as Service e2e-told.
func tellByService(t *testing.T) {
	t.Helper()
	server := probes(t)[1]
	server.install(t)
	server.tell(t)
	apply(t, toldService)
	ip := kubectl(t, "get", "pod", "-n", server.namespace, server.name, "-o", "jsonpath={.status.podIP}")
	apply(t, fmt.Sprintf(toldSlice, "IPv4", "ipv4", ip, server.node))
}

// newBrowser installs it.
func newBrowser(t *testing.T, address, certificate string, flags ...string) browser {
	t.Helper()
	const program = "chromium-headless-shell"
	out, err := run(t, nil, filepath.Join(lab(t).Root, "hack", "packages.sh"), program+":"+program)
	must(t, out, err)
	content, err := os.ReadFile(certificate)
	must(t, "", err)
	block, _ := pem.Decode(content)
	parsed, err := x509.ParseCertificate(block.Bytes)
	must(t, "", err)
	sum := sha256.Sum256(parsed.RawSubjectPublicKeyInfo)
	return browser{address, base64.StdEncoding.EncodeToString(sum[:]), t.TempDir(), append([]string{program}, flags...)}
}

// open returns what a URL is when it has been loaded, as HTML.
func (b browser) open(t *testing.T, address string) string {
	t.Helper()
	command := append(b.flags,
		// Root has no sandbox. Nothing but what is asked for is to be loaded.
		"--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking", "--disable-component-update", "--no-first-run",
		"--user-data-dir="+b.dir, "--host-resolver-rules=MAP * "+b.address, "--ignore-certificate-errors-spki-list="+b.spki, "--timeout=20000", "--dump-dom", address)
	out, err := fromClient(t, append([]string{"timeout", "60"}, command...)...)
	return must(t, out, err)
}

// seen is what the page at /look writes down.
type seen struct {
	Page      string   // the protocol by which the page itself came
	Protocols []string // those of the requests
	Seen      []struct {
		Path, By, Text string
		Status         int
	}
}

// look has the page ask for paths, each with fields of a header.
func (b browser) look(t *testing.T, host string, asks ...map[string]any) (found seen) {
	t.Helper()
	text, err := json.Marshal(asks)
	must(t, "", err)
	page := b.open(t, "https://"+host+"/look#"+url.PathEscape(string(text)))
	_, rest, _ := strings.Cut(page, `<pre id="seen">`)
	written, _, _ := strings.Cut(rest, "</pre>")
	decoder := json.NewDecoder(bytes.NewBufferString(html.UnescapeString(written)))
	if err := decoder.Decode(&found); err != nil {
		t.Fatalf("%v: what the browser has seen is not in the page:\n%s", err, page)
	}
	return found
}

// testBrowser opens the shop, published with TLS, a canary and authentication, in a
// browser by each version of HTTP.
func testBrowser(t *testing.T, addresses []string) {
	certificate := tlsSecret(t, "e2e-guarded", "guarded.example.test")
	tellByService(t)
	apply(t, guarded)
	eventually(t, 30*time.Second, func() error {
		const want = "200 2"
		if got := visit(t, addresses[0], "https://guarded.example.test/?ticket=e2e", "--cacert", certificate, "-u", "guest:let me in"); got != want {
			return errorf("the shop: %s, want %s", got, want)
		}
		return nil
	})
	password := map[string]string{"Authorization": "Basic " + base64.StdEncoding.EncodeToString([]byte("guest:let me in"))}
	wrong := map[string]string{"Authorization": "Basic " + base64.StdEncoding.EncodeToString([]byte("guest:let us in"))}
	canary := map[string]string{"Authorization": password["Authorization"], "X-Canary": "always"}
	asks := []asked{
		{"the shop", "/?ticket=e2e", password, 200, "front "},
		{"without a password", "/?ticket=e2e", nil, 401, ""},
		{"with a wrong one", "/?ticket=e2e", wrong, 401, ""},
		{"without a ticket", "/", password, 401, ""},
		{"the canary", "/items?ticket=e2e", canary, 200, "catalogue "},
		{"the canary without a ticket", "/items", canary, 401, ""},
	}
	for _, p := range []struct {
		protocol string
		flags    []string
	}{
		{"http/1.1", []string{"--disable-quic", "--disable-http2"}},
		{"h2", []string{"--disable-quic"}},
		{"h3", []string{"--enable-quic", "--origin-to-force-quic-on=guarded.example.test:443"}},
	} {
		t.Run(strings.ReplaceAll(p.protocol, "/", ""), func(t *testing.T) {
			testProtocol(t, newBrowser(t, addresses[0], certificate, p.flags...), p.protocol, asks)
		})
	}
}

// asked is what a page asks for, and what it is to get: a status, by a Service.
type asked struct {
	what, path string
	header     map[string]string
	status     int
	by         string
}

// testProtocol has a browser open the shop and ask, all by one version of HTTP.
func testProtocol(t *testing.T, b browser, protocol string, asks []asked) {
	t.Helper()
	var list []map[string]any
	for _, a := range asks {
		list = append(list, map[string]any{"path": a.path, "headers": a.header})
	}
	page := b.open(t, "https://guest:let%20me%20in@guarded.example.test/?ticket=e2e")
	if !strings.Contains(page, "The chandler's shop") || !strings.Contains(page, "brass fairlead: 32.50") {
		t.Errorf("the shop's page:\n%s", page)
	}
	got := b.look(t, "guarded.example.test", list...)
	if got.Page != protocol || len(got.Seen) != len(asks) {
		t.Fatalf("want %d answers by %s: %+v", len(asks), protocol, got)
	}
	for _, used := range got.Protocols {
		if used != protocol {
			t.Errorf("a request went by %q, want %s", used, protocol)
		}
	}
	if len(got.Protocols) == 0 {
		t.Error("no request is known to the browser")
	}
	for i, a := range asks {
		if s := got.Seen[i]; s.Status != a.status || !strings.HasPrefix(s.By, a.by) || a.by == "" && s.By != "" {
			t.Errorf("%s: %+v, want %d by %q", a.what, s, a.status, a.by)
		}
	}
}
