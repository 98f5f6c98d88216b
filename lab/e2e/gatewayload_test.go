//go:build e2e

package e2e

import (
	"encoding/json"
	"flag"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"
)

var perSecond = flag.Int("rate", 2000, "requests a second while gateways' world changes")

// loaded has what is asked for under load: a part of the shop, and WebSockets.
const loaded = `
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: e2e-loaded, namespace: demo}
spec:
  ingressClassName: fairlead
  tls: [{hosts: [loaded.example.test], secretName: e2e-loaded}]
  rules:
  - host: loaded.example.test
    http:
      paths:
      - {path: /items, pathType: Prefix, backend: {service: {name: catalogue, port: {name: http}}}}
      - {path: /echo, pathType: Exact, backend: {service: {name: e2e-told, port: {name: tcp}}}}
`

const (
	// conns are the connections on which requests are made, sockets the WebSockets that
	// are held at a replica.
	conns, sockets = 50, 100
	gatewayLabel   = "app.kubernetes.io/component=gateway"
)

// gatewayPort is where every node has a port of the gateways' Service; connections to it
// go to the node's own replica.
func gatewayPort(t *testing.T, name string) int {
	t.Helper()
	port, err := strconv.Atoi(kubectl(t, "get", "service", "-n", "fairlead-system", "fairlead-gateway", "-o", `jsonpath={.spec.ports[?(@.name=="`+name+`")].nodePort}`))
	must(t, "", err)
	return port
}

// replicas returns the gateway that has the connections to an address, and one on another
// node, each with the address of its node.
func replicas(t *testing.T, address string) (here, elsewhere pod, at map[string]string) {
	t.Helper()
	at = map[string]string{}
	for _, n := range nodes(t) {
		at[n.name] = n.address
	}
	eventually(t, time.Minute, func() error {
		out, err := fairlead(t, "lb", "-o", "json")
		var all balancers
		if err == nil {
			err = json.Unmarshal([]byte(out), &all)
		}
		if err != nil {
			return errorf("%v %s", err, out)
		}
		for _, a := range all.Addresses {
			if a.Address != address || len(a.Nodes) != 1 {
				continue
			}
			// What has been told to end is still listed.
			running := pods(t, gatewayLabel)
			i := slices.IndexFunc(running, func(p pod) bool { return p.node == a.Nodes[0].Node })
			j := slices.IndexFunc(running, func(p pod) bool { return p.node != a.Nodes[0].Node })
			if i >= 0 && j >= 0 && len(running) == 2 {
				here, elsewhere = running[i], running[j]
				return nil
			}
		}
		return errorf("two gateways on two nodes, one of which has %s: %s", address, out)
	})
	return here, elsewhere, at
}

// testUnderLoad changes all that can change while clients ask: no request fails, and no
// WebSocket breaks of a replica that lives.
func testUnderLoad(t *testing.T, addresses []string) {
	tellByService(t)
	tlsSecret(t, "e2e-loaded", "loaded.example.test")
	apply(t, loaded)
	program, port := buildLoad(t), gatewayPort(t, "https")
	load := func(at string, port int, d time.Duration, more ...string) func() loadReport {
		return loadFromClient(t, program, append([]string{"--connect", hostPort(at, port), "--tls", "--host", "loaded.example.test", "--path", "/items", "--duration", d.String()}, more...)...)
	}
	held := func(at string, d time.Duration) func() loadReport {
		return load(at, port, d, "--rate", "0", "--websocket", "/echo", "--hold", fmt.Sprint(sockets))
	}
	eventually(t, 60*time.Second, func() error {
		if r := load(addresses[0], 443, time.Second, "--rate", "20", "--hold", "10", "--websocket", "/echo")(); r.Failures+r.Broken > 0 {
			return errorf("%v", r.Errors)
		}
		return nil
	})
	here, elsewhere, at := replicas(t, addresses[0])
	changes := changesUnderLoad(t, here)
	// At the replica that will go until then, and for a while of its leave; at the one
	// that stays throughout.
	before := changes[0].took + changes[1].took + changes[2].took
	waits := map[string]func() loadReport{"before": held(at[here.node], before), "throughout": held(at[elsewhere.node], before+changes[3].took)}
	broken := 0
	for _, change := range changes {
		wait := load(addresses[0], 443, change.took, "--rate", fmt.Sprint(*perSecond), "--keep", fmt.Sprint(conns))
		if change.name == "replica" {
			waits["leaving"] = held(at[here.node], 15*time.Second)
		}
		time.Sleep(2 * time.Second)
		change.make()
		r := wait()
		r.check(t, change.name, int(change.took.Seconds())**perSecond/2)
		if change.name == "replica" {
			for when, wait := range waits {
				s := wait()
				s.check(t, "WebSockets "+when, 0)
				broken += s.Broken
			}
		}
		figure(t, "l7-change-errors-"+change.name, fmt.Sprint(r.Failures), "count", fmt.Sprintf("of %d requests over TLS, %d a second on %d connections that are kept; the slowest took %d ms", r.Attempts, r.Attempts/int(change.took.Seconds()), conns, r.SlowestMillis))
	}
	figure(t, "l7-change-errors-websockets", fmt.Sprint(broken), "count", fmt.Sprintf("of %d with a message a second: at each replica while routes, endpoints and certificates change, at the other one while a replica is replaced, and at that for 13 s of its leave", 3*sockets))
}

// changeUnderLoad is made while requests come.
type changeUnderLoad struct {
	name string
	took time.Duration
	make func()
}

// changesUnderLoad are what gateways go through; here is the replica that is replaced.
func changesUnderLoad(t *testing.T, here pod) []changeUnderLoad {
	t.Helper()
	return []changeUnderLoad{
		{"routes", 10 * time.Second, func() {
			for range 5 {
				kubectl(t, "annotate", "ingress", "-n", "demo", "e2e-loaded", "--overwrite", "nginx.ingress.kubernetes.io/proxy-body-size=8m")
				kubectl(t, "annotate", "ingress", "-n", "demo", "e2e-loaded", "nginx.ingress.kubernetes.io/proxy-body-size-")
			}
		}},
		{"endpoints", 25 * time.Second, func() {
			kubectl(t, "rollout", "restart", "-n", "demo", "deployment/catalogue")
			kubectl(t, "rollout", "status", "-n", "demo", "deployment/catalogue", "--timeout", "60s")
		}},
		{"certificates", 10 * time.Second, func() { tlsSecret(t, "e2e-loaded", "loaded.example.test") }},
		{"replica", 20 * time.Second, func() {
			kubectl(t, "delete", "pod", "-n", here.namespace, here.name, "--wait=false")
		}},
		{"gateways", 45 * time.Second, func() {
			kubectl(t, "rollout", "restart", "-n", "fairlead-system", "deployment/fairlead-gateway")
			kubectl(t, "rollout", "status", "-n", "fairlead-system", "deployment/fairlead-gateway", "--timeout", "70s")
		}},
	}
}
