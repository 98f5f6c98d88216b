package proxy

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/kube"
	"github.com/fairlead-net/fairlead/internal/l7"
	"github.com/fairlead-net/fairlead/internal/l7/filter"
	"github.com/fairlead-net/fairlead/internal/pmap"
)

// canary is in all that only the victim, or nobody, may read.
const canary = "canary-of-the-victim"

// victims are the objects of a tenant beside whom another one does what he can. He is the
// older one at each of his hosts.
const victims = `
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {name: nginx}
spec: {controller: k8s.io/ingress-nginx}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {namespace: victim, name: plain, creationTimestamp: 2026-01-01T00:00:00Z}
spec:
  ingressClassName: nginx
  rules:
  - host: plain.victim.example
    http:
      paths:
      - {path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}
      - {path: /admin, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {namespace: victim, name: secure, creationTimestamp: 2026-01-01T00:00:00Z}
spec:
  ingressClassName: nginx
  tls: [{hosts: [secure.victim.example], secretName: cert}]
  rules:
  - host: secure.victim.example
    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  namespace: victim
  name: members
  creationTimestamp: 2026-01-01T00:00:00Z
  annotations:
    nginx.ingress.kubernetes.io/auth-type: basic
    nginx.ingress.kubernetes.io/auth-secret: users
    nginx.ingress.kubernetes.io/custom-headers: victim/fields
spec:
  ingressClassName: nginx
  rules:
  - host: members.victim.example
    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  namespace: victim
  name: decided
  creationTimestamp: 2026-01-01T00:00:00Z
  annotations:
    nginx.ingress.kubernetes.io/auth-url: http://decider.victim.example:%[2]d/
    nginx.ingress.kubernetes.io/auth-cache-key: $http_x_token
    nginx.ingress.kubernetes.io/auth-cache-duration: 200 1h
spec:
  ingressClassName: nginx
  rules:
  - host: decided.victim.example
    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}
---
apiVersion: v1
kind: Service
metadata: {namespace: victim, name: web}
spec: {clusterIP: 10.96.0.1, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {namespace: victim, name: web-1, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
endpoints: [{addresses: [10.1.0.1], conditions: {ready: true}}]
ports: [{port: %[1]d}]
`

// evil is an Ingress of the other tenant, evil, with one path and annotations, whose
// names are given without prefix.
func evil(name, host, path, kind string, annotations map[string]string) string {
	meta := map[string]any{"namespace": "evil", "name": name, "creationTimestamp": "2026-02-01T00:00:00Z"}
	all := map[string]string{}
	for key, value := range annotations {
		all["nginx.ingress.kubernetes.io/"+key] = value
	}
	meta["annotations"] = all
	rule := map[string]any{"http": map[string]any{"paths": []any{map[string]any{
		"path": path, "pathType": kind, "backend": map[string]any{"service": map[string]any{"name": "web", "port": map[string]any{"number": 80}}},
	}}}}
	if host != "" {
		rule["host"] = host
	}
	text, _ := json.Marshal(map[string]any{"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": meta, "spec": map[string]any{
		"ingressClassName": "nginx", "rules": []any{rule},
	}})
	return "\n---\n" + string(text) + "\n"
}

// evilService is what his Ingresses lead to: an address, or a name.
func evilService(at netip.AddrPort, name string) string {
	if name != "" {
		return fmt.Sprintf("\n---\n{apiVersion: v1, kind: Service, metadata: {namespace: evil, name: web}, spec: {type: ExternalName, externalName: %q}}\n", name)
	}
	address := at.Addr()
	if address == netip.MustParseAddr("127.0.0.1") {
		address = netip.MustParseAddr("10.1.0.2") // see here
	}
	return fmt.Sprintf(`
---
{apiVersion: v1, kind: Service, metadata: {namespace: evil, name: web}, spec: {clusterIP: 10.96.0.2, ports: [{port: 80, targetPort: 8080}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {namespace: evil, name: web-1, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
endpoints: [{addresses: [%s], conditions: {ready: true}}]
ports: [{port: %d}]
`, address, at.Port())
}

// tenants are a proxy with the two of them.
type tenants struct {
	*Proxy
	t *testing.T
	// ports are those of the listeners.
	ports map[string]uint16
	// up is what the evil one's Services lead to if nothing else is said; internal is what
	// nobody may reach.
	up, internal netip.AddrPort
	// reached counts requests to internal, questions those to the victim's decider.
	reached, questions *atomic.Int64
	reasons            []desired.Reason
}

// secrets are the objects with data that there are.
func secrets() map[string]map[string][]byte {
	return map[string]map[string][]byte{
		"victim/users":  {"auth": []byte("anna:{PLAIN}" + canary + "\nbert:$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n"), "ca.crt": []byte(canary)},
		"victim/fields": {"X-Fields": []byte("fields of the victim")},
		"evil/users":    {"auth": []byte("eve:$2y$08$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n")},
	}
}

// startTenants serves the victim's objects and those of the evil one.
func startTenants(t *testing.T, config Config, objects func(w *tenants) string) *tenants {
	t.Helper()
	w := &tenants{t: t, ports: map[string]uint16{"http": freePort(t), "https": freePort(t)}, reached: new(atomic.Int64), questions: new(atomic.Int64)}
	victim := serveHTTP(t, func(rw http.ResponseWriter, r *http.Request) {
		fmt.Fprint(rw, "victim ", r.Host, r.URL.Path)
	})
	w.up = serveHTTP(t, func(rw http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		fmt.Fprint(rw, "evil ", r.URL.Path)
	})
	w.internal = serveHTTP(t, func(rw http.ResponseWriter, _ *http.Request) {
		w.reached.Add(1)
		fmt.Fprint(rw, canary)
	})
	decider := serveAt(t, "127.0.0.77", func(http.ResponseWriter, *http.Request) { w.questions.Add(1) })
	m, err := kube.ParseManifests([]byte(fmt.Sprintf(victims, victim.Port(), decider.Port()) + objects(w)))
	if err != nil {
		t.Fatal(err)
	}
	state, _ := desired.Build(m.Objects, desired.Node{}, nil)
	table, reasons := l7.Compile(state, l7.Table{}, l7.Config{IngressNginx: true})
	w.reasons = reasons
	for _, l := range table.Listeners {
		l.Port = w.ports[l.Name]
	}
	table.Backends = here(table.Backends)
	config.Address = netip.MustParseAddr("127.0.0.77")
	config.DrainTimeout = 100 * time.Millisecond
	// A name may lead to this address only: what stands for a Service of the cluster.
	config.AllowedRanges = append(config.AllowedRanges, netip.MustParsePrefix("127.0.0.77/32"))
	config.DeniedRanges = append(config.DeniedRanges, netip.MustParsePrefix("192.0.2.0/24"))
	p, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	w.Proxy = p
	p.own.list = func() ([]net.Addr, error) {
		return []net.Addr{&net.IPNet{IP: net.IPv4(198, 51, 100, 7), Mask: net.CIDRMask(24, 32)}}, nil
	}
	p.resolver = resolving(t, map[string][]string{
		"decider.victim.example.": {"127.0.0.77"}, "loop.evil.example.": {"127.0.0.77"}, "lo.evil.example.": {"127.0.0.1", "::1"}, "localhost.": {"127.0.0.1"},
		"meta.evil.example.": {"169.254.169.254"}, "own.evil.example.": {"198.51.100.7"}, "node.evil.example.": {"192.0.2.1"}, "link.evil.example.": {"fe80::1"},
		"mapped.evil.example.": {"::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::"}, "any.evil.example.": {"0.0.0.0", "::"},
	})
	if err := errors.Join(p.Apply(context.Background(), table), p.Start(context.Background())); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	w.data(table)
	return w
}

// here has all endpoints at loopback, where those of no object may be.
func here(all pmap.Map[l7.BackendID, *l7.Backend]) pmap.Map[l7.BackendID, *l7.Backend] {
	edit := all.Edit()
	for id, b := range all.All() {
		moved := *b
		moved.Endpoints = nil
		for _, e := range b.Endpoints {
			e.Address = netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), e.Address.Port())
			moved.Endpoints = append(moved.Endpoints, e)
		}
		edit.Set(id, &moved)
	}
	return edit.Map()
}

// freePort returns a port where nobody listens.
func freePort(t *testing.T) uint16 {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	// It stays bound, and shared, without listening: else another test that runs at the
	// same time gets the port as well, and the connections of one go to the other's proxy.
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
		t.Fatal(err)
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 77}}); err != nil {
		t.Fatal(err)
	}
	at, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return uint16(at.(*unix.SockaddrInet4).Port)
}

// serveAt runs a server of net/http at an address.
func serveAt(t *testing.T, address string, handler http.HandlerFunc) netip.AddrPort {
	l, err := net.Listen("tcp", address+":0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: handler}
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
	return l.Addr().(*net.TCPAddr).AddrPort()
}

// data gives the proxy what the objects hold that the Table names, as the gateway does.
func (w *tenants) data(table l7.Table) {
	contents, certificates := Contents{}, Certificates{}
	for r := range table.References.All() {
		if data := secrets()[r.Namespace+"/"+r.Name]; data != nil {
			if content, _ := filter.Read(r, data); content != nil {
				contents[r] = content
			}
		}
	}
	for _, l := range table.Listeners {
		for _, id := range l.Certificates.All() {
			certificates[id] = issue(w.t, id.Namespace+".example", nil, false)
		}
	}
	w.SetContents(contents)
	w.SetCertificates(certificates)
}

// at is where a listener is.
func (w *tenants) at(name string) string { return fmt.Sprint("127.0.0.77:", w.ports[name]) }

// get asks for a path of a host, by HTTP, or by HTTPS and HTTP/2, from an address of loopback,
// with fields "NAME: VALUE". It returns the status, 0 if there is no answer, and all that the
// answer says.
func (w *tenants) get(from, protocol, host, path string, fields ...string) (int, string) {
	transport := &http.Transport{DisableCompression: true, ForceAttemptHTTP2: protocol == "h2", TLSClientConfig: &tls.Config{InsecureSkipVerify: true, ServerName: host}}
	defer transport.CloseIdleConnections()
	transport.DialContext = (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}).DialContext
	target := "http://" + w.at("http")
	if protocol != "http" {
		target = "https://" + w.at("https")
	}
	request, err := http.NewRequest("GET", target+path, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	request.Host = host
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		request.Header.Add(name, value)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	response, err := transport.RoundTrip(request.WithContext(ctx))
	if err != nil {
		return 0, err.Error()
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	said := fmt.Sprint(response.Header, string(body), err)
	if response.TLS != nil {
		said += response.TLS.PeerCertificates[0].Subject.CommonName
	}
	return response.StatusCode, said
}

// unharmed holds that each request of the victim's clients is answered, by him.
func (w *tenants) unharmed(when string) {
	w.t.Helper()
	for _, c := range []struct{ protocol, host, path, field string }{
		{"http", "plain.victim.example", "/", ""}, {"http", "plain.victim.example", "/admin/x", ""}, {"http", "plain.victim.example", "/login", ""},
		{"https", "secure.victim.example", "/", ""}, {"h2", "secure.victim.example", "/", ""},
		{"http", "members.victim.example", "/", basicOf("anna", canary)}, {"http", "decided.victim.example", "/", "X-Token: anna"},
	} {
		var fields []string
		if c.field != "" {
			fields = append(fields, c.field)
		}
		status, said := w.get("127.0.0.1", c.protocol, c.host, c.path, fields...)
		if status != 200 || !strings.Contains(said, "victim "+c.host+c.path) || c.protocol != "http" && !strings.Contains(said, "victim.example,O=") && !strings.HasSuffix(said, "victim.example") {
			w.t.Errorf("%s: %s %s%s: %d %.300s", when, c.protocol, c.host, c.path, status, said)
		}
	}
	if status, _ := w.get("127.0.0.1", "http", "members.victim.example", "/", basicOf("eve", "secret")); status != 401 {
		w.t.Errorf("%s: a stranger gets %d of the members", when, status)
	}
	for _, password := range []string{"wrong", fmt.Sprint(when)} {
		if status, said := w.get("127.0.0.1", "http", "members.victim.example", "/", basicOf("bert", password)); status != 401 {
			w.t.Errorf("%s: a member with a wrong password gets %d %s", when, status, said)
		}
	}
	if n := w.reached.Load(); n > 0 {
		w.t.Errorf("%s: what nobody may reach has got %d requests", when, n)
	}
	if n := w.questions.Load(); n > 1 {
		w.t.Errorf("%s: the decision of the victim's server is forgotten: %d questions", when, n)
	}
}
