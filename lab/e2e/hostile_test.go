//go:build e2e

package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// victim is what a tenant must not get at: the shop, and a password.
const victim = `
apiVersion: v1
kind: Secret
metadata: {name: e2e-prey, namespace: demo}
stringData: {auth: "guest:{PLAIN}e2e-must-stay-secret"}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: e2e-prey, namespace: demo}
spec:
  ingressClassName: fairlead
  tls: [{hosts: [prey.example.test], secretName: e2e-prey-tls}]
  rules:
  - host: prey.example.test
    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: shop, port: {name: http}}}}]}
`

// tenant has all rights in a namespace of his own, and takes what he can.
const tenant = `
apiVersion: v1
kind: Namespace
metadata: {name: e2e-tenant}
---
apiVersion: v1
kind: Service
metadata: {name: trap, namespace: e2e-tenant}
spec: {ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: metadata, namespace: e2e-tenant}
spec: {type: ExternalName, externalName: "169.254.169.254", ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: itself, namespace: e2e-tenant}
spec: {type: ExternalName, externalName: localhost, ports: [{port: 9153}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: steal, namespace: e2e-tenant}
spec:
  ingressClassName: fairlead
  tls: [{hosts: [prey.example.test, "*.example.test"], secretName: fake}]
  rules:
  - host: prey.example.test
    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: trap, port: {number: 80}}}}, {path: /checkout, pathType: ImplementationSpecific, backend: {service: {name: trap, port: {number: 80}}}}]}
  - host: "*.example.test"
    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: trap, port: {number: 80}}}}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: everything
  namespace: e2e-tenant
  annotations: {nginx.ingress.kubernetes.io/use-regex: "true", nginx.ingress.kubernetes.io/rewrite-target: /stolen, nginx.ingress.kubernetes.io/app-root: /stolen, nginx.ingress.kubernetes.io/server-alias: prey.example.test}
spec:
  ingressClassName: fairlead
  rules:
  - host: prey.example.test
    http: {paths: [{path: "/.*", pathType: ImplementationSpecific, backend: {service: {name: trap, port: {number: 80}}}}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: canary
  namespace: e2e-tenant
  annotations: {nginx.ingress.kubernetes.io/canary: "true", nginx.ingress.kubernetes.io/canary-weight: "100"}
spec:
  ingressClassName: fairlead
  rules:
  - host: prey.example.test
    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: trap, port: {number: 80}}}}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: reads
  namespace: e2e-tenant
  annotations: {nginx.ingress.kubernetes.io/auth-type: basic, nginx.ingress.kubernetes.io/auth-secret: demo/e2e-prey}
spec:
  ingressClassName: fairlead
  rules:
  - host: reads.tenant.test
    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: trap, port: {number: 80}}}}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: runs
  namespace: e2e-tenant
  annotations:
    nginx.ingress.kubernetes.io/configuration-snippet: "content_by_lua_block { ngx.say(io.open('/var/run/secrets/kubernetes.io/serviceaccount/token'):read()) }"
spec:
  ingressClassName: fairlead
  rules:
  - host: runs.tenant.test
    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: trap, port: {number: 80}}}}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: asks
  namespace: e2e-tenant
  annotations: {nginx.ingress.kubernetes.io/auth-url: "http://127.0.0.1:9153/metrics"}
spec:
  ingressClassName: fairlead
  rules:
  - host: asks.tenant.test
    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: trap, port: {number: 80}}}}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: inside, namespace: e2e-tenant}
spec:
  ingressClassName: fairlead
  rules:
  - host: inside.tenant.test
    http:
      paths:
      - {path: /metrics, pathType: Prefix, backend: {service: {name: itself, port: {number: 9153}}}}
      - {path: /, pathType: Prefix, backend: {service: {name: metadata, port: {number: 80}}}}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: bomb
  namespace: e2e-tenant
  annotations: {nginx.ingress.kubernetes.io/use-regex: "true"}
spec:
  ingressClassName: fairlead
  rules:
  - host: bomb.tenant.test
    http:
      paths:
      - {path: "/(a+)+$", pathType: ImplementationSpecific, backend: {service: {name: trap, port: {number: 80}}}}
      - {path: "/(a|a?)+b", pathType: ImplementationSpecific, backend: {service: {name: trap, port: {number: 80}}}}
      - {path: "/(((a{1,30}){1,30}){1,30}){1,30}", pathType: ImplementationSpecific, backend: {service: {name: trap, port: {number: 80}}}}
      - {path: "/.*(a?b?){60}x", pathType: ImplementationSpecific, backend: {service: {name: trap, port: {number: 80}}}}
      - {path: "/.*(a?b?){200}x", pathType: ImplementationSpecific, backend: {service: {name: trap, port: {number: 80}}}}
`

// attackReport is what the hostile program prints.
type attackReport struct {
	Sent, Status, Closed int
	GoAway               string
}

// testHostileTenant has a tenant try what he can by objects and by packets. The shop goes
// on answering all the while, and he reads nothing.
func testHostileTenant(t *testing.T, addresses []string) {
	certificate := tlsSecret(t, "e2e-prey-tls", "prey.example.test")
	apply(t, victim)
	shop := func() error {
		for _, path := range []string{"", "checkout"} {
			if got := visit(t, addresses[0], "https://prey.example.test/"+path, "--cacert", certificate); got != "200 2" {
				return errorf("the shop at /%s: %s, want 200 2", path, got)
			}
		}
		return nil
	}
	eventually(t, 30*time.Second, shop)
	time.Sleep(time.Second) // what comes now is younger, by the clock of objects
	program := buildLoad(t)
	watch := loadFromClient(t, program, "--connect", hostPort(addresses[0], 443), "--tls", "--host", "prey.example.test", "--rate", "50", "--hold", "20", "--duration", "40s")
	apply(t, tenant)
	fakeSecret(t)
	said := map[string]string{"steal": "PathTaken", "reads": "ReferenceForbidden", "runs": "SnippetUnsupported", "bomb": "ExpressionsTooMany"}
	eventually(t, 20*time.Second, func() error {
		for name, want := range said {
			out, err := tryKubectl(t, "get", "events", "-n", "e2e-tenant", "--field-selector", "involvedObject.kind=Ingress,involvedObject.name="+name, "-o", "jsonpath={range .items[*]}{.reason} {.message}{end}")
			if err != nil || !strings.Contains(out, want) {
				return errorf("Ingress %s has the Events %q, want %s: %v", name, out, want, err)
			}
		}
		return nil
	})
	if err := shop(); err != nil {
		t.Error(err)
	}
	readsNothing(t, addresses[0])
	attacks(t, addresses[0], program)
	if err := shop(); err != nil {
		t.Error(err)
	}
	watch().check(t, "the shop meanwhile", 40*50/2)
}

// fakeSecret is a certificate of the tenant for a host that is not his.
func fakeSecret(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	out, err := run(t, nil, "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
		"-keyout", dir+"/tls.key", "-out", dir+"/tls.crt", "-subj", "/CN=prey.example.test", "-addext", "subjectAltName=DNS:prey.example.test")
	must(t, out, err)
	kubectl(t, "create", "secret", "tls", "fake", "-n", "e2e-tenant", "--cert", dir+"/tls.crt", "--key", dir+"/tls.key")
}

// readsNothing asks for what the tenant publishes.
func readsNothing(t *testing.T, address string) {
	t.Helper()
	for url, want := range map[string]string{
		"http://reads.tenant.test/": "503", "http://runs.tenant.test/": "503", "http://asks.tenant.test/": "500",
		"http://inside.tenant.test/metrics": "502", "http://inside.tenant.test/": "503",
	} {
		host, _, _ := strings.Cut(strings.TrimPrefix(url, "http://"), "/")
		out, err := fromClient(t, "curl", "-sS", "--max-time", "10", "-u", "guest:e2e-must-stay-secret", "-w", "\n%{http_code}", "--resolve", host+":80:"+address, url)
		at := strings.LastIndex(out, "\n") + 1
		if body, status := out[:at], out[at:]; err != nil || status != want || strings.Contains(body, "fairlead_") {
			t.Errorf("%s: %v, want %s: %s", url, err, want, out)
		}
	}
	said := kubectl(t, "get", "events,ingresses", "-n", "e2e-tenant", "-o", "yaml")
	if strings.Contains(said, "e2e-must-stay-secret") {
		t.Errorf("what the tenant sees has a secret of another:\n%s", said)
	}
}

// attacks sends what a server must bear, all within half a minute.
func attacks(t *testing.T, address, load string) {
	t.Helper()
	program := filepath.Join(t.TempDir(), "hostile")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-ldflags", "-s -w", "-o", program, "./cmd/hostile")
	cmd.Dir, cmd.Env = lab(t).Source(), append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	must(t, string(out), err)
	attack := func(way string, more ...string) func() attackReport {
		return started[attackReport](t, func() (string, error) {
			return fromClient(t, append([]string{program, "--connect", hostPort(address, 80), "--host", "prey.example.test", "--way", way}, more...)...)
		})
	}
	slow := attack("slow", "--count", "50", "--duration", "15s")
	// Each of these paths is as long as they may be.
	bomb := loadFromClient(t, load, "--connect", hostPort(address, 80), "--host", "bomb.tenant.test", "--path", "/"+strings.Repeat("a", 7000), "--rate", "50", "--duration", "8s")
	if r := attack("header")(); r.Status != 431 && r.Status != 0 || r.Closed != 1 {
		t.Errorf("a header of 1 MB: %+v, want 431 and the end of the connection", r)
	}
	for way, reasons := range map[string]string{"reset": "ENHANCE_YOUR_CALM", "continuation": "ENHANCE_YOUR_CALM"} {
		r := attack(way, "--count", "200000", "--duration", "20s")()
		t.Logf("%s: %+v", way, r)
		if r.Closed != 1 || r.GoAway != reasons {
			t.Errorf("%s: %+v, want the end of the connection by %s", way, r, reasons)
		}
	}
	b := bomb()
	t.Logf("bomb: %d requests, the slowest of those that are well took %d ms: %v", b.Attempts, b.SlowestMillis, b.Errors[:min(1, len(b.Errors))])
	s := slow()
	t.Logf("slow: %+v", s)
	if s.Sent != 50 {
		t.Errorf("slow: %+v, want 50 connections", s)
	}
	restarts, err := tryKubectl(t, "get", "pods", "-n", "fairlead-system", "-l", gatewayLabel, "-o", "jsonpath={.items[*].status.containerStatuses[*].restartCount}")
	if err != nil || strings.Trim(restarts, "0 ") != "" {
		t.Errorf("gateways have begun anew, so many times each: %s %v", restarts, err)
	}
}
