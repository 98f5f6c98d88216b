package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/fairlead-net/fairlead/internal/config"
)

const plainCorefile = `.:53 {
    errors
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        pods insecure
        ttl 30
    }
    forward . 192.0.2.1
    import custom/*.override
}
`

// TestImportCorefile: what is supported gives exit code 0 and settings that
// fairlead.yaml takes; what is not, code 1 and its line in the imported file.
func TestImportCorefile(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "Corefile")
	if err := os.WriteFile(name, []byte(plainCorefile), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, problem := run(t, "dns", "import-corefile", name)
	if code != 0 || problem != "" || !strings.Contains(out, "All of it is understood and supported.") {
		t.Fatalf("exit code %d\n%s\n%s", code, out, problem)
	}
	code, out, problem = run(t, "dns", "import-corefile", name, "-o", "json")
	var result imported
	if err := json.Unmarshal([]byte(out), &result); code != 0 || err != nil {
		t.Fatalf("exit code %d, %v\n%s", code, err, problem)
	}
	settings, err := yaml.Marshal(result.Settings)
	if err != nil {
		t.Fatal(err)
	}
	c, err := config.Parse(settings)
	if err != nil || c.ClusterDomain != "cluster.local" || c.DNS.TTL != 30 || len(c.DNS.Upstreams) != 1 || c.DNS.Lameduck != 0 {
		t.Errorf("%+v, %v of\n%s", c.DNS, err, settings)
	}

	if err := os.Mkdir(filepath.Join(dir, "custom"), 0o700); err != nil {
		t.Fatal(err)
	}
	override := filepath.Join(dir, "custom", "log.override")
	if err := os.WriteFile(override, []byte("\ndebug\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, problem = run(t, "dns", "import-corefile", name)
	if code != 1 || !strings.Contains(out, override+":2: not supported: debug: ") || !strings.HasSuffix(problem, "is not followed to the letter; problems: 1\n") {
		t.Errorf("exit code %d\n%s\n%s", code, out, problem)
	}

	// What is there and cannot be read is not passed over.
	if err := os.Symlink("nowhere", filepath.Join(dir, "custom", "lost.override")); err != nil {
		t.Fatal(err)
	}
	code, out, _ = run(t, "dns", "import-corefile", name)
	if code != 1 || !strings.Contains(out, name+":8: import custom/*.override: ") || !strings.Contains(out, "lost.override: no such file") {
		t.Errorf("exit code %d\n%s", code, out)
	}
}

// TestImportRefused: what only the server would refuse is told, too.
func TestImportRefused(t *testing.T) {
	for text, want := range map[string]string{
		".:53 {\n rewrite ttl a.org soon\n}":                            `:2: rewrite ttl: "soon" is neither`,
		".:53 {\n view x {\n }\n}":                                      ":2: view x: what depends on this directive cannot be told",
		".:53 {\n kubernetes cluster_local\n}":                          ":1: the file would not be followed: what it says is not possible here: clusterDomain",
		".:53 {\n forward . tls://192.0.2.1 {\n tls /nowhere/ca\n }\n}": ":1: the file would not be followed: forward: ",
	} {
		name := filepath.Join(t.TempDir(), "Corefile")
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if code, out, _ := run(t, "dns", "import-corefile", name); code != 1 || !strings.Contains(out, name+want) {
			t.Errorf("%s\nexit code %d, want %s\n%s", text, code, want, out)
		}
	}
}
