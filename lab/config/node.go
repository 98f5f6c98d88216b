package config

import (
	"encoding/base64"
	"strings"

	"github.com/fairlead-net/fairlead/lab/machine"
	"github.com/fairlead-net/fairlead/lab/pki"
	"github.com/fairlead-net/fairlead/lab/plan"
)

// Host is what the host allows.
type Host struct {
	// RestrictOOM says that the host withholds CAP_SYS_RESOURCE.
	RestrictOOM bool
	// LocalStorage says that kubelet can find the file system under the nodes'
	// disks, so that it can evict pods that write too much.
	LocalStorage bool
}

// Node is a node's machine without the host's paths. A control plane's node runs the control plane as
// plain processes beside its kubelet: Services and DNS, which are what the lab is for, must not be needed
// to start them.
func Node(p plan.Plan, n plan.Node, c Credentials, h Host) machine.Spec {
	s := machine.Spec{
		Name:  n.Name,
		Files: nodeFiles(p, n, c, h),
		Links: map[string]string{},
		Masks: kubeletMasks(),
	}
	for _, plugin := range []string{"ptp", "loopback", "host-local", "portmap"} {
		s.Links["/opt/cni/bin/"+plugin] = machine.Programs + "/cni/" + plugin
	}
	if n.Role == plan.ControlPlane {
		addControlPlane(&s, p, n, c)
	}
	s.Components = append(s.Components,
		machine.Component{
			Name: "containerd", Path: machine.Programs + "/containerd",
			Args: []string{"--config", "/etc/containerd/config.toml"},
		},
		machine.Component{
			Name: "kubelet", Path: machine.Programs + "/kube",
			Args: []string{
				flag("config", kubernetesDir+"kubelet.yaml"),
				flag("kubeconfig", kubernetesDir+"kubelet.conf"),
				flag("hostname-override", n.Name),
				flag("node-ip", strings.Join(n.Addr.Strings(), ",")),
			},
			After: []string{"unix:" + containerdSocket, "tcp:" + p.APIServer().String()},
		},
	)
	return s
}

func nodeFiles(p plan.Plan, n plan.Node, c Credentials, h Host) map[string]machine.File {
	own := c.Nodes[n.Name]
	fs := map[string]machine.File{
		"/etc/hostname":    {Text: n.Name + "\n"},
		"/etc/hosts":       {Text: hosts(p)},
		"/etc/resolv.conf": {Text: ResolvConf(p)},
		"/etc/cni/net.d/10-lab.conflist": {Text: render("cni.json", map[string]any{
			"Pods": n.Pods,
		})},
		"/etc/containerd/config.toml": {Text: render("containerd.toml", map[string]any{
			"Pause": PauseImage, "RestrictOOM": h.RestrictOOM,
		})},
		kubernetesDir + "kubelet.yaml": {Text: render("kubelet.yaml", map[string]any{
			"Domain": Domain, "DNS": p.DNS.Strings(), "Reserved": n.Role == plan.ControlPlane && len(p.Nodes) > 1,
			"LocalStorage": h.LocalStorage,
		})},
		kubernetesDir + "kubelet.conf": {Secret: true,
			Text: Kubeconfig(p.APIServer().String(), "kubelet", c.Cluster.Cert, own)},
		pkiDir + "ca.crt": {Text: string(c.Cluster.Cert)},
	}
	addPair(fs, "kubelet", own)
	return fs
}

// ResolvConf points a machine at the lab's stand-in for its provider's resolver.
func ResolvConf(p plan.Plan) string {
	return "nameserver " + p.Resolver.V4.String() + "\nnameserver " + p.Resolver.V6.String() + "\n"
}

func hosts(p plan.Plan) string {
	var b strings.Builder
	b.WriteString("127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n")
	for _, n := range p.Nodes {
		for _, addr := range n.Addr.Strings() {
			b.WriteString(addr + " " + n.Name + "\n")
		}
	}
	return b.String()
}

// kubeletMasks are the settings that kubelet sets at its start, with the values it wants.
func kubeletMasks() map[string]string {
	return map[string]string{
		"/proc/sys/vm/overcommit_memory":      "1",
		"/proc/sys/vm/panic_on_oom":           "0",
		"/proc/sys/kernel/panic":              "10",
		"/proc/sys/kernel/panic_on_oops":      "1",
		"/proc/sys/kernel/keys/root_maxkeys":  "1000000",
		"/proc/sys/kernel/keys/root_maxbytes": "25000000",
	}
}

func addPair(fs map[string]machine.File, name string, p pki.Pair) {
	fs[pkiDir+name+".crt"] = machine.File{Text: string(p.Cert)}
	fs[pkiDir+name+".key"] = machine.File{Text: string(p.Key), Secret: true}
}

func encode(text []byte) string { return base64.StdEncoding.EncodeToString(text) }
