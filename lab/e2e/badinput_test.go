//go:build e2e

package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// works makes sure that the shop answers by name from every node.
func works(t *testing.T) {
	t.Helper()
	for _, p := range probes(t) {
		out, err := p.exec(t, "curl", "-sS", "--max-time", "10", "-o", "/dev/null", "-w", "%{http_code}", "http://shop.demo.svc.cluster.local")
		if err != nil || out != "200" {
			t.Errorf("from %s: %v %s", p.node, err, out)
		}
	}
}

// event waits for an Event with a reason on an object, and returns its message.
func event(t *testing.T, namespace, name, reason string) string {
	t.Helper()
	var message string
	eventually(t, time.Minute, func() error {
		out, err := tryKubectl(t, "get", "events", "-n", namespace, "--field-selector", "involvedObject.name="+name+",reason="+reason, "-o", "jsonpath={.items[*].message}")
		if err != nil || out == "" {
			return errorf("no Event %s on %s: %v %s", reason, name, err, out)
		}
		message = out
		return nil
	})
	return message
}

// TestTargetPort has a Service ask for a port that no container has.
func TestTargetPort(t *testing.T) {
	apply(t, `{apiVersion: v1, kind: Service, metadata: {name: e2e-typo, namespace: demo}, spec: {selector: {app: front}, ports: [{name: http, port: 80, targetPort: htpp}]}}`)
	if message := event(t, "demo", "e2e-typo", "TargetPortNotFound"); !strings.Contains(message, `targetPort "htpp"`) {
		t.Errorf("the Event says: %s", message)
	}
	out, err := fairlead(t, "explain", "service", "demo/e2e-typo")
	if must(t, out, err); !strings.Contains(out, "refused at once") || !strings.Contains(out, `targetPort "htpp"`) {
		t.Errorf("explain says:\n%s", out)
	}
	works(t)
}

// TestWrongAddress has EndpointSlices with mistakes: those that the API server
// lets through are named, and the endpoints beside them serve.
func TestWrongAddress(t *testing.T) {
	address := kubectl(t, "get", "pods", "-n", "demo", "-l", "app=front", "-o", "jsonpath={.items[0].status.podIP}")
	slice := func(name, endpoints, ports string) string {
		return `{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: ` + name + `, namespace: demo, labels: {kubernetes.io/service-name: e2e-manual}}, addressType: IPv4, endpoints: [` + endpoints + `], ports: [` + ports + `]}`
	}
	l := lab(t)
	out, err := run(t, []byte(slice("e2e-refused", `{addresses: ["10.244.1.300"]}`, `{name: http, port: 8080}`)), l.Bin("kubectl"), "--kubeconfig", l.Kubeconfig(), "apply", "-f", "-")
	if err == nil {
		t.Errorf("the API server took 10.244.1.300: %s", out)
	}
	apply(t, `{apiVersion: v1, kind: Service, metadata: {name: e2e-manual, namespace: demo}, spec: {ports: [{name: http, port: 80}]}}`)
	apply(t, slice("e2e-good", `{addresses: ["`+address+`"]}`, `{name: http, port: 8080, protocol: TCP}`))
	apply(t, slice("e2e-bad", `{addresses: ["10.244.1.77"]}`, `{name: http, protocol: TCP}`))
	if message := event(t, "demo", "e2e-bad", "PortInvalid"); !strings.Contains(message, `port "http"`) {
		t.Errorf("the Event says: %s", message)
	}
	p := probes(t)[0]
	for range 5 {
		eventually(t, 10*time.Second, func() error {
			out, err := p.exec(t, "curl", "-sS", "--max-time", "5", "-o", "/dev/null", "-w", "%{http_code}", "http://e2e-manual.demo.svc.cluster.local")
			if err != nil || out != "200" {
				return errorf("%v %s", err, out)
			}
			return nil
		})
	}
	// The same mistakes in a folder of manifests, where no API server checks.
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "slice.yaml"), []byte(slice("x", `{addresses: ["10.244.1.300"]}`, `{name: http, port: 8080}`)), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err = run(t, nil, l.Bin("fairlead"), "compile", "-f", dir)
	if must(t, out, err); !strings.Contains(out, `address "10.244.1.300" is not an IP address`) {
		t.Errorf("compile says:\n%s", out)
	}
}

// TestMalformedConfig breaks the configuration file under running processes.
func TestMalformedConfig(t *testing.T) {
	eventually(t, 2*time.Minute, func() error { return ready(t) })
	before := kubectl(t, "get", "configmap", "-n", "fairlead-system", "fairlead", "-o", `jsonpath={.data.fairlead\.yaml}`)
	set := func(content string) error {
		patch, err := json.Marshal(map[string]any{"data": map[string]string{"fairlead.yaml": content}})
		if err != nil {
			return err
		}
		l := lab(t)
		// The test's own context has ended when it cleans up.
		out, err := exec.Command(l.Bin("kubectl"), "--kubeconfig", l.Kubeconfig(), "patch", "configmap", "-n", "fairlead-system", "fairlead", "--type=merge", "-p", string(patch)).CombinedOutput()
		if err != nil {
			return errorf("%w: %s", err, out)
		}
		return nil
	}
	if err := set(before + "\nlgoLevel: debug\n"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := set(before); err != nil {
			t.Error(err)
		}
	})
	eventually(t, 3*time.Minute, func() error {
		out, err := fairlead(t, "status")
		if !strings.Contains(out, `unknown field "lgoLevel"; did you mean "logLevel"?`) || !strings.Contains(out, "the previous configuration stays in force") {
			return errorf("status: %v\n%s", err, out)
		}
		return nil
	})
	works(t)
	if err := set(before); err != nil {
		t.Fatal(err)
	}
	eventually(t, 3*time.Minute, func() error { return ready(t) })
}

// TestAPIServerAway stops the API server for a minute: what was there goes on,
// what is asked for afterwards comes.
func TestAPIServerAway(t *testing.T) {
	eventually(t, 2*time.Minute, func() error { return ready(t) })
	address := kubectl(t, "get", "service", "-n", "demo", "shop", "-o", "jsonpath={.spec.clusterIP}") + ":80"
	p := probes(t)[1]
	p.install(t)
	// Started by the pod's own shell, as kubectl exec needs the API server.
	out, err := p.exec(t, "sh", "-c", "(/tmp/load --connect "+address+" --rate 100 --hold 20 --duration 75s > /tmp/connect.json; touch /tmp/done1) > /dev/null 2>&1 & "+
		"(/tmp/load --resolve shop.demo.svc.cluster.local --rate 20 --duration 75s > /tmp/resolve.json; touch /tmp/done2) > /dev/null 2>&1 &")
	must(t, out, err)
	id := apiServer(t)
	if err := syscall.Kill(id, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	resume := func() { _ = syscall.Kill(id, syscall.SIGCONT) } // it may have ended
	t.Cleanup(resume)
	time.Sleep(60 * time.Second)
	resume()
	eventually(t, 2*time.Minute, func() error {
		_, err := p.exec(t, "ls", "/tmp/done1", "/tmp/done2")
		return err
	})
	for _, file := range []string{"/tmp/connect.json", "/tmp/resolve.json"} {
		out, err := p.exec(t, "sh", "-c", "cat "+file+"; rm -f /tmp/done1 /tmp/done2")
		var r loadReport
		if err := json.Unmarshal([]byte(must(t, out, err)), &r); err != nil {
			t.Fatalf("%v in %s", err, out)
		}
		t.Logf("%s: %+v", file, r)
		if r.Failures > 0 || r.Broken > 0 || r.Attempts < 1000 {
			t.Errorf("%s: %d of %d failed, %d held connections broke: %v", file, r.Failures, r.Attempts, r.Broken, r.Errors)
		}
	}
	eventually(t, 2*time.Minute, func() error { return ready(t) })
	apply(t, `{apiVersion: v1, kind: Service, metadata: {name: e2e-after, namespace: demo}, spec: {selector: {app: front}, ports: [{port: 80, targetPort: http}]}}`)
	eventually(t, 30*time.Second, func() error {
		out, err := p.exec(t, "curl", "-sS", "--max-time", "5", "-o", "/dev/null", "-w", "%{http_code}", "http://e2e-after.demo.svc.cluster.local")
		if err != nil || out != "200" {
			return errorf("a Service made after the outage: %v %s", err, out)
		}
		return nil
	})
}

// apiServer returns the id of the lab's API server.
func apiServer(t *testing.T) int {
	t.Helper()
	for _, id := range commands(t, func(args []string) bool {
		return strings.HasSuffix(args[0], "kube") && len(args) > 1 && args[1] == "kube-apiserver" || filepath.Base(args[0]) == "kube-apiserver"
	}) {
		return id
	}
	t.Fatal("no API server among the processes")
	return 0
}
