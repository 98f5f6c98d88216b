//go:build e2e

package e2e

import (
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// told is a Service with one endpoint, at which somebody tells each client what
// address it has.
const told = `{apiVersion: v1, kind: Service, metadata: {name: e2e-told, namespace: demo}, spec: {
  type: NodePort, ipFamilyPolicy: RequireDualStack,
  ports: [{name: tcp, port: 80, targetPort: 8090, nodePort: 30095}, {name: udp, port: 80, protocol: UDP, targetPort: 8090, nodePort: 30095}]}}`

const toldSlice = `{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, addressType: %s,
  metadata: {name: e2e-told-%s, namespace: demo, labels: {kubernetes.io/service-name: e2e-told}},
  endpoints: [{addresses: ["%s"], nodeName: %s, conditions: {ready: true}}],
  ports: [{name: tcp, port: 8090, protocol: TCP}, {name: udp, port: 8090, protocol: UDP}]}`

// tell starts the server in a pod, and ends it when the test ends.
func (p pod) tell(t *testing.T) {
	t.Helper()
	l := lab(t)
	// The test's context ends before its clean-up, and takes kubectl with it, not
	// what that started.
	shell := func(script string) error {
		cmd := exec.Command(l.Bin("kubectl"), "--kubeconfig", l.Kubeconfig(), "exec", "-n", p.namespace, p.name, "--", "sh", "-c", script)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%w\n%s", err, out)
		}
		return nil
	}
	ended := make(chan error, 1)
	go func() { ended <- shell("echo $$ > /tmp/tell.pid; exec /tmp/load --serve 8090 --duration 10m") }()
	t.Cleanup(func() {
		select {
		case err := <-ended:
			t.Errorf("the server in the pod ended before the test: %v", err)
			return
		default:
		}
		if err := shell("kill $(cat /tmp/tell.pid)"); err != nil {
			t.Errorf("ending the server in the pod: %v", err)
			return
		}
		<-ended // with the signal's exit code, or with none
	})
}

// TestClientAddress asks for the client's address as the endpoint sees it, by the
// endpoint's own node and by another, without direct return and with it.
func TestClientAddress(t *testing.T) {
	eventually(t, 2*time.Minute, func() error { return ready(t) })
	all, server := nodes(t), probes(t)[1]
	apply(t, told)
	for _, ip := range strings.Fields(kubectl(t, "get", "pod", "-n", server.namespace, server.name, "-o", "jsonpath={.status.podIPs[*].ip}")) {
		family := "IPv4"
		if strings.Contains(ip, ":") {
			family = "IPv6"
		}
		apply(t, fmt.Sprintf(toldSlice, family, strings.ToLower(family), ip, server.node))
	}
	server.install(t)
	program := buildLoad(t)
	server.tell(t)
	own := map[bool]netip.Addr{false: netip.MustParseAddr("172.30.0.200"), true: netip.MustParseAddr("fd00:30::200")}
	expect := func(protocol, address string, wantKept bool) {
		t.Helper()
		target := hostPort(address, 30095)
		eventually(t, 30*time.Second, func() error {
			out, err := fromClient(t, program, "--who", protocol, "--connect", target)
			seen, failed := netip.ParseAddrPort(out)
			if kept := seen.Addr().Unmap() == own[seen.Addr().Unmap().Is6()]; err != nil || failed != nil || kept != wantKept {
				return errorf("%s to %s: %v, the endpoint sees %s; is that to be the client's own address: %t", protocol, target, err, out, wantKept)
			}
			return nil
		})
	}
	expectAll := func(direct bool) {
		t.Helper()
		for _, n := range all {
			for _, address := range []string{n.address, n.addr6} {
				here := n.name == server.node
				expect("tcp", address, here || direct)
				expect("udp", address, here)
			}
		}
	}
	expectAll(false)
	t.Cleanup(func() { setPackets(t, false) })
	setPackets(t, true)
	expectAll(true)
}
