//go:build e2e

package e2e

import (
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

// rolling is a Deployment whose pods leave as good pods do: they go on serving
// for the moments that it takes everybody to hear of it. All are on one node, so
// that a traffic policy of Local always finds some there. The Services in front
// of it have every type and both policies.
const rolling = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: e2e-rolling, namespace: demo}
spec:
  replicas: 3
  strategy: {rollingUpdate: {maxSurge: 1, maxUnavailable: 0}}
  selector: {matchLabels: {app: e2e-rolling}}
  template:
    metadata: {labels: {app: e2e-rolling}}
    spec:
      nodeSelector: {kubernetes.io/hostname: %s}
      terminationGracePeriodSeconds: 10
      securityContext: {runAsNonRoot: true, runAsUser: 65532}
      containers:
      - name: front
        image: %s
        imagePullPolicy: Never
        args: [front]
        ports: [{name: admin, containerPort: 9000}]
        readinessProbe: {httpGet: {path: /healthz, port: admin}, periodSeconds: 1}
        lifecycle: {preStop: {sleep: {seconds: 3}}}
---
apiVersion: v1
kind: Service
metadata: {name: e2e-rolling-cluster, namespace: demo}
spec: {type: LoadBalancer, loadBalancerClass: example.com/none, selector: {app: e2e-rolling}, externalTrafficPolicy: Cluster, ports: [{port: 80, targetPort: admin, nodePort: 30090}]}
---
apiVersion: v1
kind: Service
metadata: {name: e2e-rolling-local, namespace: demo}
spec: {type: LoadBalancer, loadBalancerClass: example.com/none, selector: {app: e2e-rolling}, externalTrafficPolicy: Local, internalTrafficPolicy: Cluster, ports: [{port: 80, targetPort: admin, nodePort: 30091}]}
`

// setAddress gives a Service an address, as a load balancer would, and the
// client a route to it.
func setAddress(t *testing.T, service, address, by string) {
	t.Helper()
	kubectl(t, "patch", "service", "-n", "demo", service, "--subresource", "status", "--type", "merge",
		"-p", `{"status": {"loadBalancer": {"ingress": [{"ip": "`+address+`"}]}}}`)
	out, err := fromClient(t, "ip", "route", "replace", address+"/32", "via", by)
	must(t, out, err)
	t.Cleanup(func() {
		// The test's own context has ended by then.
		if out, err := exec.Command(lab(t).Bin("lab"), "client", "--", "ip", "route", "del", address+"/32").CombinedOutput(); err != nil {
			t.Errorf("clean up: %v\n%s", err, out)
		}
	})
}

// TestRollingUpdate replaces all pods behind a Service while 500 requests a
// second come by each way that leads to it, every one on a new connection.
func TestRollingUpdate(t *testing.T) {
	eventually(t, 2*time.Minute, func() error { return ready(t) })
	all, client := nodes(t), probes(t)[0]
	here, elsewhere := all[len(all)-1], all[len(all)-2]
	image := kubectl(t, "get", "deployment", "-n", "demo", "front", "-o", "jsonpath={.spec.template.spec.containers[0].image}")
	apply(t, fmt.Sprintf(rolling, here.name, image))
	kubectl(t, "rollout", "status", "-n", "demo", "deployment/e2e-rolling", "--timeout", "2m")
	setAddress(t, "e2e-rolling-cluster", "192.0.2.90", elsewhere.address)
	setAddress(t, "e2e-rolling-local", "192.0.2.91", here.address)
	client.install(t)
	program := buildLoad(t)
	inside := func(args ...string) func() loadReport { return client.load(t, args...) }
	outside := func(args ...string) func() loadReport { return loadFromClient(t, program, args...) }
	clusterIP := kubectl(t, "get", "service", "-n", "demo", "e2e-rolling-cluster", "-o", "jsonpath={.spec.clusterIP}")
	for name, way := range map[string]struct {
		from   func(args ...string) func() loadReport
		target string
	}{
		"ClusterIP":                    {inside, clusterIP + ":80"},
		"NodePort, policy Cluster":     {outside, hostPort(elsewhere.address, 30090)},
		"NodePort, policy Local":       {outside, hostPort(here.address, 30091)},
		"LoadBalancer, policy Cluster": {outside, "192.0.2.90:80"},
		"LoadBalancer, policy Local":   {outside, "192.0.2.91:80"},
	} {
		t.Run(strings.ReplaceAll(name, ",", ""), func(t *testing.T) {
			eventually(t, 20*time.Second, func() error {
				if r := way.from("--connect", way.target, "--path", "/healthz", "--rate", "5", "--duration", "1s")(); r.Failures > 0 {
					return errorf("%v", r.Errors)
				}
				return nil
			})
			wait := way.from("--connect", way.target, "--path", "/healthz", "--rate", "500", "--duration", "30s")
			kubectl(t, "rollout", "restart", "-n", "demo", "deployment/e2e-rolling")
			kubectl(t, "rollout", "status", "-n", "demo", "deployment/e2e-rolling", "--timeout", "2m")
			wait().check(t, name, 7500)
		})
	}
}

// TestNodeRestart replaces the node process of every node while clients inside
// and outside use TCP and UDP, new connections and old ones.
func TestNodeRestart(t *testing.T) {
	eventually(t, 2*time.Minute, func() error { return ready(t) })
	all, client := nodes(t), probes(t)[0]
	apply(t, fmt.Sprintf(external, "Cluster"))
	const name = "shop.demo.svc.cluster.local"
	dns, udpOutside := dnsInside(t), dnsOutside(t, all[1])
	shop := kubectl(t, "get", "service", "-n", "demo", "shop", "-o", "jsonpath={.spec.clusterIP}") + ":80"
	program := buildLoad(t)
	client.install(t)
	tcpOutside := hostPort(all[1].address, 30080)
	eventually(t, 20*time.Second, func() error {
		tcp := loadFromClient(t, program, "--connect", tcpOutside, "--rate", "5", "--duration", "1s")()
		udp := loadFromClient(t, program, "--resolve", name, "--server", udpOutside, "--rate", "5", "--duration", "1s")()
		if tcp.Failures+udp.Failures > 0 {
			return errorf("%v %v", tcp.Errors, udp.Errors)
		}
		return nil
	})
	// The DaemonSet replaces one node after the other; the load lasts until all are done.
	const length = "90s"
	reports := map[string]func() loadReport{
		"TCP inside":  client.load(t, "--connect", shop, "--rate", "50", "--hold", "20", "--duration", length),
		"UDP inside":  client.load(t, "--resolve", name, "--server", dns, "--rate", "100", "--hold", "20", "--duration", length),
		"TCP outside": loadFromClient(t, program, "--connect", tcpOutside, "--rate", "50", "--hold", "20", "--duration", length),
		"UDP outside": loadFromClient(t, program, "--resolve", name, "--server", udpOutside, "--rate", "100", "--hold", "20", "--duration", length),
	}
	time.Sleep(2 * time.Second)
	before := processes(t, "lb")
	kubectl(t, "rollout", "restart", "-n", "fairlead-system", "daemonset/fairlead-node")
	kubectl(t, "rollout", "status", "-n", "fairlead-system", "daemonset/fairlead-node", "--timeout", "80s")
	for _, id := range processes(t, "lb") {
		if slices.Contains(before, id) {
			t.Errorf("node process %d was not replaced", id)
		}
	}
	for what, wait := range reports {
		wait().check(t, what, 3000)
	}
}
