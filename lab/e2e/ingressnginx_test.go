//go:build e2e

package e2e

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// legacyValues are what a cluster that had ingress-nginx sets for what its Ingresses and
// ConfigMaps ask for.
var legacyValues = []string{
	"config.gateway.modSecurity=true=false", "config.gateway.tlsPassthrough=true=false",
	"gateway.tcp.9000=demo/shop:http=null", "gateway.udp.9053=kube-system/kube-dns:dns=null",
}

// legacy is what such a cluster has: the controller's ConfigMap, an Ingress with rules of
// ModSecurity, and one that passes TLS through to a server with a certificate of its own,
// the API server.
const legacy = `
apiVersion: v1
kind: Namespace
metadata: {name: ingress-nginx}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: ingress-nginx-controller, namespace: ingress-nginx}
data: {proxy-body-size: 1k}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: e2e-legacy
  namespace: demo
  annotations:
    nginx.ingress.kubernetes.io/enable-modsecurity: "true"
    nginx.ingress.kubernetes.io/modsecurity-snippet: |
      SecRuleEngine On
      SecRule ARGS:q "@contains /etc/passwd" "id:1,phase:1,deny,status:403"
spec:
  ingressClassName: nginx
  tls: [{hosts: [legacy.example.test], secretName: e2e-legacy}]
  rules:
  - host: legacy.example.test
    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: shop, port: {name: http}}}}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: e2e-passed
  namespace: default
  annotations: {nginx.ingress.kubernetes.io/ssl-passthrough: "true"}
spec:
  ingressClassName: nginx
  rules:
  - host: kubernetes.default.svc
    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: kubernetes, port: {name: https}}}}]}
---
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {name: nginx}
spec: {controller: k8s.io/ingress-nginx}
`

// testIngressNginx serves what such a cluster has.
func testIngressNginx(t *testing.T, addresses []string) {
	ca := tlsSecret(t, "e2e-legacy", "legacy.example.test")
	apply(t, legacy)
	clusterCA := filepath.Join(t.TempDir(), "ca.crt")
	data, err := base64.StdEncoding.DecodeString(kubectl(t, "config", "view", "--raw", "-o", "jsonpath={.clusters[0].cluster.certificate-authority-data}"))
	must(t, "", err)
	must(t, "", os.WriteFile(clusterCA, data, 0o644))
	out, err := run(t, nil, filepath.Join(lab(t).Root, "hack", "packages.sh"), "dig:bind9-dnsutils")
	must(t, out, err)
	body := []string{"--cacert", ca, "--data-binary", strings.Repeat("x", 2000)}
	shop := kubectl(t, "get", "service", "-n", "demo", "shop", "-o", "jsonpath={.spec.clusterIP}")
	for _, address := range addresses {
		for _, c := range []struct {
			what, url, want string
			more            []string
		}{
			{"a request that no rule finds", "https://legacy.example.test/?q=shoes", "200 2", []string{"--cacert", ca}},
			{"one that a rule refuses", "https://legacy.example.test/?q=/etc/passwd", "403 2", []string{"--cacert", ca}},
			{"a body that the ConfigMap says is too large", "https://legacy.example.test/", "413 2", body},
			{"TLS that is passed through to the API server", "https://kubernetes.default.svc/livez", "200 2", []string{"--cacert", clusterCA}},
		} {
			eventually(t, 20*time.Second, func() error {
				if got := visit(t, address, c.url, c.more...); got != c.want {
					return errorf("%s, %s by %s: %s, want %s", c.what, c.url, address, got, c.want)
				}
				return nil
			})
		}
		eventually(t, 20*time.Second, func() error {
			out, err := fromClient(t, curl(hostPort(address, 9000))...)
			if err != nil || out != "200" {
				return errorf("a port of TCP, the shop by %s: %v %s", address, err, out)
			}
			return nil
		})
		eventually(t, 20*time.Second, func() error {
			out, err := fromClient(t, "dig", "+short", "+tries=1", "+time=2", "@"+address, "-p", "9053", "shop.demo.svc.cluster.local")
			if err != nil || out != shop {
				return errorf("a port of UDP, the cluster's DNS by %s: %v %s", address, err, out)
			}
			return nil
		})
	}
	// The ConfigMap counts as soon as it changes.
	kubectl(t, "patch", "configmap", "-n", "ingress-nginx", "ingress-nginx-controller", "--type", "merge", "-p", `{"data": {"proxy-body-size": "1m"}}`)
	eventually(t, 20*time.Second, func() error {
		if got := visit(t, addresses[0], "https://legacy.example.test/", body...); got == "413 2" {
			return errorf("a body that the ConfigMap allows now: %s", got)
		}
		return nil
	})
	testResumption(t, addresses[0])
}

// testResumption has a client that has been at one replica take up its TLS session at the
// other one.
func testResumption(t *testing.T, address string) {
	t.Helper()
	here, elsewhere, at := replicas(t, address)
	session, port := filepath.Join(t.TempDir(), "session"), gatewayPort(t, "https")
	for _, version := range []string{"tls1_2", "tls1_3"} {
		ask := func(node, flag string) string {
			t.Helper()
			// TLS 1.3 brings the ticket with the answer.
			out, err := fromClient(t, "sh", "-c", fmt.Sprintf(`printf 'GET / HTTP/1.1\r\nHost: legacy.example.test\r\nConnection: close\r\n\r\n' |
				timeout 10 openssl s_client -connect %s -servername legacy.example.test -%s -ign_eof %s %s`, hostPort(at[node], port), version, flag, session))
			return must(t, out, err)
		}
		if out := ask(here.node, "-sess_out"); !strings.Contains(out, "New, TLSv1.") {
			t.Errorf("%s, a session that begins: %s", version, out)
		}
		if out := ask(elsewhere.node, "-sess_in"); !strings.Contains(out, "Reused, TLSv1.") || !strings.Contains(out, "HTTP/1.1 200") {
			t.Errorf("%s, the session at the other replica: %s", version, out)
		}
	}
}
