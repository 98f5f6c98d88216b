//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// ingresses publish the shop: by TLS alone, with a canary that a header asks for, and at
// a path that only the client machine may see. One is wrong.
const ingresses = `
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: e2e-shop, namespace: demo}
spec:
  ingressClassName: fairlead
  tls: [{hosts: [shop.example.test], secretName: e2e-ingress}]
  rules:
  - host: shop.example.test
    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: shop, port: {name: http}}}}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: e2e-canary
  namespace: demo
  annotations: {nginx.ingress.kubernetes.io/canary: "true", nginx.ingress.kubernetes.io/canary-by-header: X-Canary}
spec:
  ingressClassName: fairlead
  rules:
  - host: shop.example.test
    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: catalogue, port: {name: http}}}}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: e2e-plain
  namespace: demo
  annotations: {nginx.ingress.kubernetes.io/whitelist-source-range: "172.30.0.200/32,fd00:30::200/128"}
spec:
  ingressClassName: nginx
  rules:
  - host: plain.example.test
    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: shop, port: {number: 80}}}}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: e2e-wrong, namespace: demo}
spec:
  ingressClassName: fairlead
  rules:
  - host: wrong.example.test
    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: no-such-shop, port: {number: 80}}}}]}
---
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {name: nginx}
spec: {controller: k8s.io/ingress-nginx}
`

// gateways turns the gateways on until the test ends, and returns their addresses, IPv4
// first. Each of more is a value of the chart, as KEY=VALUE=DEFAULT.
func gateways(t *testing.T, more ...string) []string {
	t.Helper()
	apply(t, pool)
	set, reset := []string{"gateway.enabled=true"}, []string{"gateway.enabled=false"}
	for _, value := range append(more, "config.migration.ingressNginx=true=false", "config.gateway.drain=20s=4m") {
		f := strings.SplitN(value, "=", 3)
		set, reset = append(set, f[0]+"="+f[1]), append(reset, f[0]+"="+f[2])
	}
	upgrade(t, set...)
	t.Cleanup(func() { upgrade(t, reset...) })
	kubectl(t, "rollout", "status", "-n", "fairlead-system", "deployment/fairlead-gateway", "--timeout", "120s")
	var found []string
	eventually(t, 30*time.Second, func() error {
		out, err := tryKubectl(t, "get", "service", "-n", "fairlead-system", "fairlead-gateway", "-o", "jsonpath={.status.loadBalancer.ingress[*].ip}")
		if found = strings.Fields(out); err != nil || len(found) != 2 {
			return errorf("the gateway has the addresses %q: %v", out, err)
		}
		return nil
	})
	if strings.Contains(found[0], ":") {
		found[0], found[1] = found[1], found[0]
	}
	return found
}

// tlsSecret makes a Secret with a certificate for a host, and returns the file by which
// clients know it.
func tlsSecret(t *testing.T, name, host string) string {
	t.Helper()
	dir := t.TempDir()
	key, file := dir+"/tls.key", dir+"/tls.crt"
	out, err := run(t, nil, "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
		"-keyout", key, "-out", file, "-subj", "/CN="+host, "-addext", "subjectAltName=DNS:"+host)
	must(t, out, err)
	l := lab(t)
	out, err = run(t, nil, l.Bin("kubectl"), "--kubeconfig", l.Kubeconfig(), "create", "secret", "tls", name, "-n", "demo",
		"--cert", file, "--key", key, "--dry-run=client", "-o", "yaml")
	apply(t, must(t, out, err))
	return file
}

// visit asks a gateway for a URL of a host, and returns the status and the version of
// HTTP.
func visit(t *testing.T, address, url string, more ...string) string {
	t.Helper()
	host, _, _ := strings.Cut(strings.SplitN(url, "://", 2)[1], "/")
	args := []string{"curl", "-sS", "--max-time", "5", "-o", "/dev/null", "-w", "%{http_code} %{http_version}"}
	for _, port := range []string{"80", "443"} {
		at := address
		if strings.Contains(at, ":") {
			at = "[" + at + "]"
		}
		args = append(args, "--resolve", host+":"+port+":"+at)
	}
	out, err := fromClient(t, append(append(args, more...), url)...)
	if err != nil {
		return fmt.Sprintf("%v %s", err, out)
	}
	return out
}

// TestGateways has gateways serve Ingresses; to turn them on and off takes a minute, so
// that happens once.
func TestGateways(t *testing.T) {
	addresses := gateways(t, append(legacyValues, "config.gateway.http3=true=false")...)
	for _, test := range []struct {
		name string
		run  func(*testing.T, []string)
	}{
		{"ingress", testIngress}, {"ingress-nginx", testIngressNginx}, {"browser", testBrowser}, {"hostile", testHostileTenant}, {"propagation", testPropagation}, {"load", testUnderLoad},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, addresses) })
	}
}

// testIngress publishes the shop by Ingresses as users have them, and opens it from
// outside.
func testIngress(t *testing.T, addresses []string) {
	ca := tlsSecret(t, "e2e-ingress", "shop.example.test")
	apply(t, ingresses)
	eventually(t, 30*time.Second, func() error {
		out, err := tryKubectl(t, "get", "ingress", "-n", "demo", "e2e-shop", "-o", "jsonpath={.status.loadBalancer.ingress[*].ip}")
		if len(strings.Fields(out)) != 2 || err != nil {
			return errorf("the status of the Ingress says %q, want %q: %v", out, addresses, err)
		}
		return nil
	})
	for _, address := range addresses {
		for _, c := range []struct {
			what, url, want string
			more            []string
		}{
			{"HTTP is redirected", "http://shop.example.test/", "308 1.1", nil},
			{"HTTPS, HTTP/2", "https://shop.example.test/", "200 2", []string{"--cacert", ca}},
			{"HTTPS, HTTP/1.1", "https://shop.example.test/", "200 1.1", []string{"--cacert", ca, "--http1.1"}},
			{"the shop has no /items", "https://shop.example.test/items", "404 2", []string{"--cacert", ca}},
			{"the canary has", "https://shop.example.test/items", "200 2", []string{"--cacert", ca, "-H", "X-Canary: always"}},
			{"a client that is let in, by its own address", "http://plain.example.test/", "200 1.1", nil},
			{"a Service that does not exist", "http://wrong.example.test/", "503 1.1", nil},
			{"a host that nobody has", "http://other.example.test/", "404 1.1", nil},
		} {
			eventually(t, 20*time.Second, func() error {
				if got := visit(t, address, c.url, c.more...); got != c.want {
					return errorf("%s, %s by %s: %s, want %s", c.what, c.url, address, got, c.want)
				}
				return nil
			})
		}
	}
	eventually(t, 20*time.Second, func() error {
		out, err := tryKubectl(t, "get", "events", "-n", "demo", "--field-selector", "involvedObject.kind=Ingress,involvedObject.name=e2e-wrong", "-o", "jsonpath={.items[*].message}")
		if err != nil || !strings.Contains(out, "no-such-shop") {
			return errorf("the wrong Ingress has the Events %q: %v", out, err)
		}
		return nil
	})
	// From a node itself the client's address is another one.
	node := nodes(t)[1]
	if out, err := fromNode(t, node.name, "curl", "-sS", "--max-time", "5", "-o", "/dev/null", "-w", "%{http_code}",
		"--resolve", "plain.example.test:80:"+addresses[0], "http://plain.example.test/"); err != nil || out != "403" {
		t.Errorf("a client that is not let in: %v %s", err, out)
	}
	out, err := fairlead(t, "explain", "request", "GET", "https://shop.example.test/items", "-H", "X-Canary: always")
	if must(t, out, err); !strings.Contains(out, "e2e-canary") {
		t.Errorf("explain request does not name the canary:\n%s", out)
	}
}
