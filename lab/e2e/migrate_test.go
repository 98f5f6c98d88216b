//go:build e2e

package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// nginxCluster is what a cluster with ingress-nginx has: the controller, its ConfigMap, and
// one Ingress that moves as it is, one that differs and one that is refused. No pod runs.
const nginxCluster = `
apiVersion: v1
kind: Namespace
metadata: {name: e2e-nginx}
---
apiVersion: networking.k8s.io/v1
kind: IngressClass
metadata: {name: e2e-nginx}
spec: {controller: k8s.io/ingress-nginx}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: ingress-nginx-controller, namespace: e2e-nginx}
spec:
  replicas: 0
  selector: {matchLabels: {app: ingress-nginx}}
  template:
    metadata: {labels: {app: ingress-nginx}}
    spec:
      containers:
      - name: controller
        image: registry.k8s.io/ingress-nginx/controller:v1.15.0
        args: [/nginx-ingress-controller, --configmap=$(POD_NAMESPACE)/settings, --default-ssl-certificate=e2e-nginx/wildcard, --annotations-prefix=example.com]
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, namespace: e2e-nginx}
data: {proxy-body-size: 8m, enable-modsecurity: "true"}
---
apiVersion: v1
kind: Service
metadata: {name: app, namespace: e2e-nginx}
spec: {ports: [{port: 80}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: same, namespace: e2e-nginx, annotations: {nginx.ingress.kubernetes.io/proxy-read-timeout: "20"}}
spec:
  ingressClassName: e2e-nginx
  rules: [{host: same.example.test, http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: app, port: {number: 80}}}}]}}]
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: differs, namespace: e2e-nginx, annotations: {nginx.ingress.kubernetes.io/limit-rps: "20"}}
spec:
  ingressClassName: e2e-nginx
  rules: [{host: differs.example.test, http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: app, port: {number: 80}}}}]}}]
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: refused, namespace: e2e-nginx, annotations: {nginx.ingress.kubernetes.io/auth-type: digest, nginx.ingress.kubernetes.io/auth-secret: users}}
spec:
  ingressClassName: e2e-nginx
  rules: [{host: refused.example.test, http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: app, port: {number: 80}}}}]}}]
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: other, namespace: e2e-nginx}
spec:
  ingressClassName: example-of-another
  rules: [{host: other.example.test, http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: app, port: {number: 80}}}}]}}]
`

// migration is a report of fairlead migrate ingress-nginx.
type migration struct {
	Summary   struct{ Ingresses, Same, Differ, Refused, SettingsRefused int }
	Ingresses []struct {
		Name, Verdict string
		Annotations   []finding
	}
	Others   []any
	Settings []struct {
		Object   struct{ Kind, Namespace, Name string }
		Findings []finding
	}
	Always []string
}

type finding struct{ What, Value, Verdict, Text string }

// TestMigrate has a report made of what a live cluster has, and expects it to be that of
// the same objects in a folder, and to change nothing.
func TestMigrate(t *testing.T) {
	apply(t, nginxCluster)
	read := func(args ...string) (m migration) {
		t.Helper()
		args = append([]string{"migrate", "ingress-nginx", "-o", "json"}, args...)
		var out string
		var err error
		if len(args) > 4 {
			out, err = run(t, nil, lab(t).Bin("fairlead"), args...)
		} else {
			out, err = fairlead(t, args...)
		}
		report, said, _ := strings.Cut(out, "\n}\n")
		if err == nil || !strings.Contains(said, "would not be served as they are written") {
			t.Fatalf("%v, want that something is refused:\n%s", err, out)
		}
		if err := json.Unmarshal([]byte(report+"\n}"), &m); err != nil {
			t.Fatalf("%v in\n%s", err, out)
		}
		return m
	}
	before := kubectl(t, "get", "ingress,configmap,deployment", "-n", "e2e-nginx", "-o", "yaml")
	live := read()
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "all.yaml"), []byte(nginxCluster), 0o644); err != nil {
		t.Fatal(err)
	}
	if saved := read("-f", folder); !reflect.DeepEqual(live, saved) {
		t.Errorf("the cluster:\n%+v\nthe same as manifests:\n%+v", live, saved)
	}
	if s := live.Summary; s.Ingresses != 3 || s.Same != 1 || s.Differ != 1 || s.Refused != 1 || len(live.Others) != 1 {
		t.Errorf("%+v and %d others, want one of each kind", s, len(live.Others))
	}
	found := map[string]string{}
	for _, o := range live.Settings {
		for _, f := range o.Findings {
			found[o.Object.Kind+" "+f.What] = f.Verdict
		}
	}
	for what, want := range map[string]string{
		"Deployment --default-ssl-certificate": "differs", "Deployment --annotations-prefix": "refused", "ConfigMap enable-modsecurity": "refused", "ConfigMap proxy-body-size": "same",
	} {
		if found[what] != want {
			t.Errorf("%s: %q, want %s; all: %v", what, found[what], want, found)
		}
	}
	if after := kubectl(t, "get", "ingress,configmap,deployment", "-n", "e2e-nginx", "-o", "yaml"); after != before {
		t.Errorf("the report has changed something:\n%s\nbefore:\n%s", after, before)
	}
}
