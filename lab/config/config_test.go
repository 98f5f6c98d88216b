package config

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/pelletier/go-toml/v2"

	"github.com/fairlead-net/fairlead/lab/machine"
	"github.com/fairlead-net/fairlead/lab/plan"
)

func specs(t *testing.T) (plan.Plan, []machine.Spec) {
	t.Helper()
	p, err := plan.New(3)
	if err != nil {
		t.Fatal(err)
	}
	c, err := NewCredentials(p, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	var out []machine.Spec
	for _, n := range p.Nodes {
		out = append(out, Node(p, n, c, Host{RestrictOOM: true, LocalStorage: true}))
	}
	return p, out
}

func TestFilesParse(t *testing.T) {
	_, all := specs(t)
	for _, s := range all {
		for path, file := range s.Files {
			var err error
			var value any
			switch {
			case strings.HasSuffix(path, ".yaml"), strings.HasSuffix(path, ".conf") && strings.HasPrefix(path, kubernetesDir):
				err = yaml.UnmarshalStrict([]byte(file.Text), &value)
			case strings.HasSuffix(path, ".conflist"):
				err = json.Unmarshal([]byte(file.Text), &value)
			case strings.HasSuffix(path, ".toml"):
				err = toml.Unmarshal([]byte(file.Text), &value)
			}
			if err != nil {
				t.Errorf("%s %s: %v\n%s", s.Name, path, err, file.Text)
			}
		}
	}
}

func TestKeysAreSecret(t *testing.T) {
	_, all := specs(t)
	for _, s := range all {
		for path, file := range s.Files {
			if strings.Contains(file.Text, "PRIVATE KEY") != strings.HasSuffix(path, ".key") {
				t.Errorf("%s %s: a key in the wrong file", s.Name, path)
			}
			if strings.HasSuffix(path, ".key") && !file.Secret {
				t.Errorf("%s %s is readable for all", s.Name, path)
			}
		}
	}
}

func TestOnlyTheControlPlaneHasItsComponentsAndKeys(t *testing.T) {
	_, all := specs(t)
	for i, s := range all {
		var names []string
		for _, c := range s.Components {
			names = append(names, c.Name)
		}
		_, signs := s.Files[pkiDir+"ca.key"]
		if first := i == 0; slices.Contains(names, "etcd") != first || signs != first {
			t.Errorf("%s runs %v, has the authority's key: %v", s.Name, names, signs)
		}
		if !slices.Contains(names, "kubelet") || !slices.Contains(names, "containerd") {
			t.Errorf("%s runs only %v", s.Name, names)
		}
	}
}

func TestKubeletIsDualStack(t *testing.T) {
	p, all := specs(t)
	for i, s := range all {
		var kubelet struct {
			ClusterDNS         []string
			RegisterWithTaints []map[string]string
		}
		if err := yaml.Unmarshal([]byte(s.Files[kubernetesDir+"kubelet.yaml"].Text), &kubelet); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(kubelet.ClusterDNS, p.DNS.Strings()) {
			t.Errorf("%s: clusterDNS is %v", s.Name, kubelet.ClusterDNS)
		}
		if tainted := len(kubelet.RegisterWithTaints) == 1; tainted != (i == 0) {
			t.Errorf("%s: taints are %v", s.Name, kubelet.RegisterWithTaints)
		}
		args := s.Components[len(s.Components)-1].Args
		if want := "--node-ip=" + strings.Join(p.Nodes[i].Addr.Strings(), ","); !slices.Contains(args, want) {
			t.Errorf("%s: %v lacks %s", s.Name, args, want)
		}
	}
}

func TestFabricForwardsToTheAPIServer(t *testing.T) {
	p, _ := specs(t)
	for _, c := range Fabric(p).Components {
		if c.Listeners && !slices.Contains(c.Args, p.APIServer().String()) {
			t.Errorf("%s forwards to %v", c.Name, c.Args)
		}
	}
	if resolv := ResolvConf(p); strings.Count(resolv, "nameserver") != 2 {
		t.Errorf("resolv.conf is %q", resolv)
	}
}

// TestRoutersTakeTheirFiles asks the routers' own programs.
func TestRoutersTakeTheirFiles(t *testing.T) {
	p, err := plan.New(2)
	if err != nil {
		t.Fatal(err)
	}
	checks := map[string][]string{
		"/etc/frr/bgpd.conf":  {"/usr/lib/frr/bgpd", "--dryrun", "-f"},
		"/etc/frr/bfdd.conf":  {"/usr/lib/frr/bfdd", "--dryrun", "-f"},
		"/etc/bird/bird.conf": {"/usr/sbin/bird", "-p", "-c"},
	}
	for _, s := range Outside(p) {
		for path, file := range s.Files {
			check, ok := checks[path]
			if !ok {
				continue
			}
			delete(checks, path)
			// FRR's programs give up root's rights before they read.
			name := filepath.Join(t.TempDir(), "conf")
			if err := os.WriteFile(name, []byte(file.Text), 0o644); err != nil {
				t.Fatal(err)
			}
			if out, err := exec.Command(check[0], append(check[1:], name)...).CombinedOutput(); err != nil {
				t.Errorf("%s (Debian packages frr and bird2): %v\n%s\n%s", path, err, out, file.Text)
			}
		}
	}
	if len(checks) > 0 {
		t.Errorf("no machine has %v", checks)
	}
}
