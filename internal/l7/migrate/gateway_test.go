package migrate

import (
	"fmt"
	"strings"
	"testing"

	gateway "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead-net/fairlead/internal/desired"
)

// TestManyHosts: a Gateway has up to 64 listeners, ListenerSets the others, and each
// HTTPRoute names the one that has the listener of its host.
func TestManyHosts(t *testing.T) {
	var manifests strings.Builder
	for n := range 150 {
		fmt.Fprintf(&manifests, `---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {namespace: shop, name: i%03d}
spec:
  ingressClassName: nginx
  tls: [{hosts: [h%03d.example.com], secretName: s%d}]
  rules:
  - host: h%03d.example.com
    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}
`, n, n, n%20, n)
	}
	in := input(t, manifests.String())
	all := in.Gateways(Target{GatewayClass: "fairlead", Namespace: "gateways"})
	listeners, routes := map[string]map[gateway.SectionName]bool{}, 0
	for _, d := range all {
		name := d.Object.GetName()
		switch o := d.Object.(type) {
		case *gateway.Gateway:
			listeners[name] = map[gateway.SectionName]bool{}
			for _, l := range o.Spec.Listeners {
				listeners[name][l.Name] = true
			}
		case *gateway.ListenerSet:
			listeners[name] = map[gateway.SectionName]bool{}
			for _, l := range o.Spec.Listeners {
				listeners[name][l.Name] = true
			}
		case *gateway.HTTPRoute:
			for _, ref := range o.Spec.ParentRefs {
				if routes++; !listeners[string(ref.Name)][*ref.SectionName] {
					t.Errorf("%s: there is no listener %s at %s", d.Name(), *ref.SectionName, ref.Name)
				}
			}
		}
	}
	if len(listeners["nginx"]) != 64 || len(listeners["nginx-2"]) != 64 || len(listeners["nginx-3"]) != 23 || routes != 300 {
		t.Errorf("%d, %d, %d listeners, %d parents", len(listeners["nginx"]), len(listeners["nginx-2"]), len(listeners["nginx-3"]), routes)
	}
	accepted(t, written(t, in))
}

// TestManyPaths: an HTTPRoute has up to 16 rules.
func TestManyPaths(t *testing.T) {
	var manifests strings.Builder
	manifests.WriteString("{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {namespace: shop, name: i}, spec: {ingressClassName: nginx, rules: [{host: a.example.com, http: {paths: [")
	for n := range 40 {
		fmt.Fprintf(&manifests, "{path: /p%d, pathType: Prefix, backend: {service: {name: s%d, port: {number: 80}}}}, ", n, n)
	}
	manifests.WriteString("]}}]}}")
	in := input(t, manifests.String())
	routes := 0
	for _, d := range in.Gateways(Target{GatewayClass: "fairlead", Namespace: "gateways"}) {
		if _, ok := d.Object.(*gateway.HTTPRoute); ok {
			routes++
		}
	}
	if routes != 3 {
		t.Errorf("%d routes", routes)
	}
	accepted(t, written(t, in))
}

// TestArguments holds how command lines are read.
func TestArguments(t *testing.T) {
	c := Controller{Owner: desired.Ref{Namespace: "in"}, Args: []string{
		"/nginx-ingress-controller", "--configmap=$(POD_NAMESPACE)/c", "--enable-ssl-passthrough", "--default-ssl-certificate", "shop/tls", "--v", "2", "-x", "--",
	}}
	var got []string
	for _, a := range c.arguments() {
		got = append(got, a.name+"="+a.value)
	}
	if want := "configmap=in/c enable-ssl-passthrough= default-ssl-certificate=shop/tls v=2"; strings.Join(got, " ") != want {
		t.Errorf("%q, want %q", got, want)
	}
	if id, ok := DefaultCertificate([]Controller{c}); !ok || id.String() != "shop/tls" {
		t.Errorf("%v %t", id, ok)
	}
	if flag := ConfigMaps([]Controller{c})[desired.Name{Namespace: "in", Name: "c"}]; flag != "configmap" {
		t.Errorf("%q", flag)
	}
}
