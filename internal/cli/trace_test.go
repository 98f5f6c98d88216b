package cli

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fairlead-net/fairlead/internal/agent"
	"github.com/fairlead-net/fairlead/internal/lb"
)

// shop is a cluster with one Service, whose node process answers as told.
type shop struct {
	answer  agent.TraceAnswer
	refusal string // in place of the answer
	config  string
	nodes   string
	asked   string // what the node was asked
}

func (s *shop) serve(t *testing.T) {
	t.Helper()
	list := func(kind, items string) string {
		return `{"kind": "` + kind + `List", "apiVersion": "v1", "items": [` + items + `]}`
	}
	endpoint := func(address, node string) string {
		return `{"addresses": ["` + address + `"], "nodeName": "` + node + `", "conditions": {"ready": true}}`
	}
	objects := map[string]string{
		"/api/v1/services": list("Service", `{"metadata": {"namespace": "demo", "name": "shop"}, "spec": {"type": "NodePort", "clusterIP": "10.96.0.20", "clusterIPs": ["10.96.0.20"],
			"externalIPs": ["198.51.100.8"], "ports": [{"name": "http", "port": 80, "nodePort": 30080, "protocol": "TCP", "targetPort": 8080}]}}`),
		"/apis/discovery.k8s.io/v1/endpointslices": `{"kind": "EndpointSliceList", "apiVersion": "discovery.k8s.io/v1", "items": [{"metadata": {"namespace": "demo", "name": "shop-1",
			"labels": {"kubernetes.io/service-name": "shop"}}, "addressType": "IPv4", "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
			"endpoints": [` + endpoint("10.244.1.5", "worker-1") + `, ` + endpoint("10.244.2.5", "worker-2") + `]}]}`,
		"/api/v1/namespaces":                      list("Namespace", ""),
		"/apis/networking.k8s.io/v1/servicecidrs": `{"kind": "ServiceCIDRList", "apiVersion": "networking.k8s.io/v1", "items": []}`,
		"/api/v1/nodes/worker-1":                  `{"kind": "Node", "apiVersion": "v1", "metadata": {"name": "worker-1"}, "status": {"addresses": [{"type": "InternalIP", "address": "192.0.2.1"}]}}`,
		"/api/v1/namespaces/demo/pods/probe":      `{"kind": "Pod", "apiVersion": "v1", "metadata": {"namespace": "demo", "name": "probe"}, "spec": {"nodeName": "worker-1"}, "status": {"podIPs": [{"ip": "10.244.1.9"}]}}`,
		"/api/v1/pods":                            list("Pod", strings.ReplaceAll(s.nodes, `"nodeName": "a"`, `"nodeName": "worker-1"`)),
	}
	if s.config != "" {
		content, err := json.Marshal(map[string]any{"kind": "ConfigMap", "apiVersion": "v1", "data": map[string]string{"fairlead.yaml": s.config}})
		if err != nil {
			t.Fatal(err)
		}
		objects["/api/v1/namespaces/kube-system/configmaps/fairlead"] = string(content)
	}
	apiServer(t, func(r *http.Request) ([]byte, bool) {
		if r.URL.Path == "/api/v1/namespaces/fairlead-system/pods/node-1:9153/proxy/trace" {
			s.asked = r.URL.RawQuery
			content, err := json.Marshal(s.answer)
			if err != nil {
				t.Error(err)
			}
			if s.refusal != "" {
				return nil, false
			}
			return content, true
		}
		content, found := objects[r.URL.Path]
		return []byte(content), found
	})
}

func sameEverywhere() agent.TraceAnswer {
	return agent.TraceAnswer{
		Node: "worker-1", Revision: 12, Frontend: "10.96.0.20:80/TCP", Verdict: lb.Forward, Backends: []string{"10.244.1.5:8080", "10.244.2.5:8080"},
		Kernel: []agent.KernelSays{{Plane: "eBPF in sockets", Held: "forward to 2 backends"}, {Plane: "nftables", Held: "forward to 2 backends"}},
	}
}

// TestTrace goes through what a node may answer.
func TestTrace(t *testing.T) {
	const steps = `From a pod (10.244.1.9) on node worker-1 to 10.96.0.20:80/TCP
1. 10.96.0.20:80/TCP is the ClusterIP of Service demo/shop, port http
2. decided in the socket when it connects (by nftables, at the first packet, where eBPF is off)
3. endpoints:
     yes  10.244.1.5:8080  -  worker-1  ready
     yes  10.244.2.5:8080  -  worker-2  ready
=> goes to one of 2 endpoints, by chance
`
	const differs = "fairlead: node worker-1 does not serve what the API server says; if it stays so, see: fairlead status\n"
	for name, c := range map[string]struct {
		change func(*agent.TraceAnswer)
		out    string
		err    string
	}{
		"same": {func(*agent.TraceAnswer) {}, "node worker-1, at revision 12: same\nkernel, eBPF in sockets: same (forward to 2 backends)\nkernel, nftables: same (forward to 2 backends)\n", ""},
		"the node lags": {func(a *agent.TraceAnswer) { a.Backends[1] = "10.244.2.4:8080" },
			"node worker-1, at revision 12: DIFFERENT: endpoint 10.244.2.5:8080 is missing; endpoint 10.244.2.4:8080 is gone from the API server\nkernel, eBPF in sockets: same (forward to 2 backends)\nkernel, nftables: same (forward to 2 backends)\n", differs},
		"the node knows nothing": {func(a *agent.TraceAnswer) { a.Verdict, a.Backends = lb.Drop, nil },
			"node worker-1, at revision 12: DIFFERENT: it says drop instead of forward\nkernel, eBPF in sockets: same (forward to 2 backends)\nkernel, nftables: same (forward to 2 backends)\n", differs},
		"the kernel differs": {func(a *agent.TraceAnswer) {
			a.Kernel[1] = agent.KernelSays{Plane: "nftables", Held: "no entry", Differences: []string{"the entry is missing"}}
		}, "node worker-1, at revision 12: same\nkernel, eBPF in sockets: same (forward to 2 backends)\nkernel, nftables: DIFFERENT (no entry): the entry is missing\n", differs},
		"the kernel is silent": {func(a *agent.TraceAnswer) {
			a.Kernel[0] = agent.KernelSays{Plane: "eBPF in sockets", Problem: "no maps"}
		},
			"node worker-1, at revision 12: same\nkernel, eBPF in sockets: not known: no maps\nkernel, nftables: same (forward to 2 backends)\n",
			"fairlead: the kernel of node worker-1 could not be asked about everything\n"},
	} {
		s := &shop{answer: sameEverywhere(), nodes: pod("node-1", "node", true)}
		c.change(&s.answer)
		s.serve(t)
		code, out, err := run(t, "trace", "demo/probe", "shop.demo:80")
		if diff := cmp.Diff(steps+c.out, out) + cmp.Diff(c.err, err); diff != "" || (code == 1) != (c.err != "") {
			t.Errorf("%s: exit code %d (-want +got):\n%s", name, code, diff)
		}
		if s.asked != "from=pod&source=10.244.1.9&to=10.96.0.20%3A80%2Ftcp" {
			t.Errorf("%s: asked %s", name, s.asked)
		}
		if _, problem := agent.ParseTrace(s.asked); problem != nil {
			t.Error(problem)
		}
	}
}

// TestTraceNodePort knows from the node which addresses it has.
func TestTraceNodePort(t *testing.T) {
	s := &shop{answer: sameEverywhere(), nodes: pod("node-1", "node", true)}
	s.answer.NodeAddress, s.answer.Kernel, s.answer.Frontend = true, s.answer.Kernel[1:], "NODE4:30080/TCP"
	s.serve(t)
	code, out, err := run(t, "trace", "outside:203.0.113.9", "192.0.2.77:30080", "--node", "worker-1", "-o", "json")
	var got traced
	if problem := json.Unmarshal([]byte(out), &got); problem != nil || code != 0 || err != "" {
		t.Fatalf("exit code %d, %v\n%s%s", code, problem, out, err)
	}
	if got.Frontend != "NODE4:30080/TCP" || got.Verdict != lb.Forward || got.Answer.Revision != 12 || len(got.Lag) != 0 || s.asked != "from=outside&source=203.0.113.9&to=192.0.2.77%3A30080%2Ftcp" {
		t.Errorf("asked %s: %+v", s.asked, got)
	}
}

// TestTraceMistakes holds what a user reads who made a mistake, or whose cluster
// cannot answer.
func TestTraceMistakes(t *testing.T) {
	for line, want := range map[string]struct {
		code int
		text string
	}{
		"demo/none shop.demo:80":            {1, "fairlead: get pod demo/none: "},
		"demo/probe sho.demo:80":            {1, "fairlead: there is no Service demo/sho; did you mean demo/shop?\n"},
		"demo/probe shop.demo:99999":        {2, "fairlead: \"99999\" is not a port number (1 to 65535)\n" + seeHelp},
		"demo/probe shop.demo":              {2, "fairlead: \"shop.demo\" is not of the form TO:PORT or TO:PORT/PROTOCOL\n" + seeHelp},
		"demo/probe":                        {2, "fairlead: 1 arguments given, wanted FROM TO:PORT\n" + seeHelp},
		"host shop.demo:80":                 {2, "fairlead: host is a program on the node that --node names; name one\n" + seeHelp},
		"outside shop.demo:80":              {2, "fairlead: name the node at which the packets arrive with --node\n" + seeHelp},
		"outside:me shop.demo:80":           {2, "fairlead: \"outside:me\" is not of the form outside:ADDRESS\n" + seeHelp},
		"host shop.demo:80 --node worker-9": {1, "fairlead: get Node worker-9: "},
	} {
		(&shop{answer: sameEverywhere(), nodes: pod("node-1", "node", true)}).serve(t)
		code, out, err := run(t, append([]string{"trace"}, strings.Fields(line)...)...)
		if code != want.code || !strings.HasPrefix(err, want.text) || out != "" {
			t.Errorf("%s: exit code %d\n%s%s", line, code, out, err)
		}
	}
	for want, s := range map[string]*shop{
		"fairlead: Fairlead's process on node worker-1 cannot be asked: there is none; 'fairlead status' lists all\n": {nodes: pod("dns-1", "dns", true)},
		"fairlead: Fairlead's process on node worker-1 cannot be asked: ImagePullBackOff\n":                           {nodes: pod("node-1", "node", false)},
		"fairlead: Fairlead's process on node worker-1 answers: 404 page not found\n":                                 {nodes: pod("node-1", "node", true), refusal: "an old version"},
	} {
		s.serve(t)
		if code, out, err := run(t, "trace", "demo/probe", "shop.demo:80"); code != 1 || err != want || out != "" {
			t.Errorf("exit code %d\n%s%swant %s", code, out, err, want)
		}
	}
}

// TestClusterConfig expects commands to decide as the cluster's configuration
// says: external IPs are served only where it allows them.
func TestClusterConfig(t *testing.T) {
	for config, want := range map[string]string{
		"":                         "is nobody's frontend",
		"lb: {externalIPs: true}":  "is the ExternalIP of Service demo/shop",
		"lb: {externalIPs: maybe}": "is nobody's frontend",
	} {
		(&shop{config: config}).serve(t)
		code, out, err := run(t, "explain", "connection", "node/worker-1", "198.51.100.8:80")
		if code != 0 || !strings.Contains(out, want) {
			t.Errorf("%q: exit code %d\n%s%s", config, code, out, err)
		}
		if broken := strings.Contains(config, "maybe"); broken != strings.HasPrefix(err, "fairlead: defaults are assumed for what fairlead.yaml says: ConfigMap kube-system/fairlead: ") || !broken && err != "" {
			t.Errorf("%q: %s", config, err)
		}
		_, services, _ := run(t, "explain", "service", "demo/shop")
		if served := strings.Contains(services, "198.51.100.8:80/TCP  ExternalIP"); served != (config == "lb: {externalIPs: true}") {
			t.Errorf("%q: %s", config, services)
		}
	}
}
