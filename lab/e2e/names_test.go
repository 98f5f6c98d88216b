//go:build e2e

package e2e

import (
	"strings"
	"testing"
	"time"
)

// TestOnlyFairlead makes sure that what works here works because of Fairlead.
func TestOnlyFairlead(t *testing.T) {
	out := kubectl(t, "get", "pods,daemonsets,deployments", "-A", "-o", "name")
	for _, other := range []string{"kube-proxy", "coredns", "istio", "metallb", "cilium"} {
		if strings.Contains(out, other) {
			t.Errorf("%s runs in the lab:\n%s", other, out)
		}
	}
	eventually(t, 2*time.Minute, func() error { return ready(t) })
	out, err := fairlead(t, "status")
	t.Logf("fairlead status:\n%s", must(t, out, err))
}

// TestNames asks by name from a pod on every node, over both families.
func TestNames(t *testing.T) {
	for _, p := range probes(t) {
		t.Run(p.node, func(t *testing.T) {
			for _, family := range []string{"-4", "-6"} {
				out, err := p.exec(t, "curl", "-sS", family, "--max-time", "10", "-o", "/dev/null", "-w", "%{http_code} %{remote_ip}", "http://shop.demo.svc.cluster.local")
				if must(t, out, err); !strings.HasPrefix(out, "200 ") {
					t.Errorf("curl %s: %s", family, out)
				}
			}
			out, err := p.exec(t, "curl", "-sS", "--max-time", "10", "-o", "/dev/null", "-w", "%{http_code}", "http://shop")
			if must(t, out, err) != "200" {
				t.Errorf("by short name: %s", out)
			}
		})
	}
}

// TestRecords looks up every kind of record from one pod.
func TestRecords(t *testing.T) {
	p := probes(t)[0]
	dig := func(args ...string) string {
		t.Helper()
		out, err := p.exec(t, append([]string{"dig", "+short", "+tries=2", "+time=3"}, args...)...)
		return must(t, out, err)
	}
	address := dig("shop.demo.svc.cluster.local", "A")
	if clusterIP := kubectl(t, "get", "service", "-n", "demo", "shop", "-o", "jsonpath={.spec.clusterIP}"); address != clusterIP {
		t.Errorf("A: %s, want the ClusterIP %s", address, clusterIP)
	}
	for _, c := range []struct {
		name string
		args []string
		want string
	}{
		{"TCP", []string{"+tcp", "shop.demo.svc.cluster.local", "A"}, address},
		{"AAAA", []string{"shop.demo.svc.cluster.local", "AAAA"}, "fd00:96:"},
		{"SRV", []string{"_http._tcp.shop.demo.svc.cluster.local", "SRV"}, " 80 shop.demo.svc.cluster.local."},
		{"PTR", []string{"-x", address}, "shop.demo.svc.cluster.local."},
		{"headless", []string{"warehouse.demo.svc.cluster.local", "A"}, "10.244."},
		{"pod of a StatefulSet", []string{"warehouse-0.warehouse.demo.svc.cluster.local", "A"}, "10.244."},
		{"upstream", []string{"example.test", "A"}, "."},
	} {
		if out := dig(c.args...); !strings.Contains(out, c.want) {
			t.Errorf("%s: dig %s answers %q, want %q in it", c.name, strings.Join(c.args, " "), out, c.want)
		}
	}
	status := func(args ...string) string {
		out, err := p.exec(t, append([]string{"dig", "+tries=2", "+time=3"}, args...)...)
		return must(t, out, err)
	}
	if out := status("nobody.demo.svc.cluster.local", "A"); !strings.Contains(out, "status: NXDOMAIN") {
		t.Errorf("a name that does not exist:\n%s", out)
	}
	if out := status("shop.demo.svc.cluster.local", "MX"); !strings.Contains(out, "status: NOERROR") || !strings.Contains(out, "ANSWER: 0") {
		t.Errorf("a type that does not exist:\n%s", out)
	}
}

// TestExternalName follows an alias out of the cluster.
func TestExternalName(t *testing.T) {
	apply(t, `{apiVersion: v1, kind: Service, metadata: {name: e2e-alias, namespace: demo}, spec: {type: ExternalName, externalName: example.test}}`)
	p := probes(t)[0]
	eventually(t, 10*time.Second, func() error {
		out, err := p.exec(t, "dig", "+short", "+tries=1", "+time=2", "e2e-alias.demo.svc.cluster.local", "A")
		if err == nil && (!strings.Contains(out, "example.test.") || len(strings.Fields(out)) < 2) {
			return errorf("dig answers %q, want the alias and an address", out)
		}
		return err
	})
}

// TestNoEndpoints wants a refusal at once, not silence.
func TestNoEndpoints(t *testing.T) {
	apply(t, `{apiVersion: v1, kind: Service, metadata: {name: e2e-empty, namespace: demo}, spec: {selector: {app: nobody}, ipFamilyPolicy: PreferDualStack, ports: [{port: 80}]}}`)
	p := probes(t)[1]
	eventually(t, 10*time.Second, func() error {
		for _, family := range []string{"-4", "-6"} {
			out, err := p.exec(t, "curl", "-sS", family, "--max-time", "5", "http://e2e-empty.demo.svc.cluster.local")
			if err == nil || !strings.Contains(out, "onnection refused") && !strings.Contains(out, "Couldn't connect") && !strings.Contains(out, "Failed to connect") {
				return errorf("curl %s: %v %s, want a refusal", family, err, out)
			}
		}
		return nil
	})
}
