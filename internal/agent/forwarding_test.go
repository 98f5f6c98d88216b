package agent

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"
	"sigs.k8s.io/yaml"

	"github.com/fairlead-net/fairlead/internal/config"
	"github.com/fairlead-net/fairlead/internal/dns/corefile"
	"github.com/fairlead-net/fairlead/internal/dns/server/forward"
)

// TestForwarding takes what fairlead.yaml says of other servers to the package
// that asks them.
func TestForwarding(t *testing.T) {
	for text, want := range map[string]string{
		"dns: {upstreams: ['192.0.2.1:53']}": "upstream 192.0.2.1:53 answers",
		"dns: {upstreams: ['192.0.2.1:53'], forward: {zones: [{name: example.local, servers: [{address: '10.1.2.3:853', protocol: tls}]}]}}":                             "upstream tls://10.1.2.3:853 of example.local. answers\nupstream 192.0.2.1:53 answers",
		"dns: {resolvConf: /nonexistent, forward: {servers: [{address: '192.0.2.2:53'}], failover: [NXDOMAIN]}, cache: {prefetch: {amount: 3}, success: {capacity: 9}}}": "upstream 192.0.2.2:53 answers",
		"dns: {resolvConf: /nonexistent}": "no upstream: names outside of the cluster are refused\nthe upstreams of /nonexistent cannot be read: stat /nonexistent: no such file or directory",
	} {
		c, err := config.Parse([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		f, err := forward.New(forwarding(c.DNS))
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got := strings.Join(f.Describe(), "\n"); got != want {
			t.Errorf("%s:\n%s\nwant\n%s", text, got, want)
		}
	}
}

// TestImportedForwarding: what an imported Corefile says of other servers is
// good for fairlead.yaml and for the package that asks them.
func TestImportedForwarding(t *testing.T) {
	names, _ := filepath.Glob("../dns/corefile/testdata/*.txtar")
	if len(names) == 0 {
		t.Fatal("no Corefiles")
	}
	var all []string
	for _, name := range names {
		archive, err := txtar.ParseFile(name)
		if err != nil {
			t.Fatal(err)
		}
		file, problem := corefile.Parse(corefile.Source{Name: "Corefile", Text: string(archive.Files[0].Data)}, corefile.Surroundings{
			Env:   func(string) (string, bool) { return "192.0.2.53", true },
			Files: func(string) ([]corefile.Source, error) { return nil, nil },
		})
		if problem != nil {
			continue // it wants the archive's other files
		}
		read, _ := corefile.Read(file)
		text, err := yaml.Marshal(read.Settings())
		if err != nil {
			t.Fatal(err)
		}
		c, err := config.Parse(text)
		if err != nil {
			t.Errorf("%s: %v in\n%s", name, err, text)
			continue
		}
		f := forwarding(c.DNS)
		for i := range f.Zones {
			// The files of certificates are not here.
			for _, path := range []*string{&f.Zones[i].TLS.CA, &f.Zones[i].TLS.Cert, &f.Zones[i].TLS.Key} {
				if _, err := os.Stat(*path); err != nil {
					*path = ""
				}
			}
		}
		forwarder, err := forward.New(f)
		if err != nil {
			t.Errorf("%s: %v in\n%s", name, err, text)
			continue
		}
		all = append(all, forwarder.Describe()...)
	}
	for _, want := range []string{
		"upstream tls://192.0.2.53:853 answers", "upstream 10.9.9.9:5353 of corp.example. answers", "upstream 10.1.2.3:53 of example.local. answers",
		"upstream 10.1.2.3:53 of example.net. answers", "upstream 10.1.2.4:53 of 10.in-addr.arpa. answers", "upstream tls://9.9.9.9:853 of example.org. answers",
	} {
		if !strings.Contains(strings.Join(all, "\n"), want) {
			t.Errorf("no %q in\n%s", want, strings.Join(all, "\n"))
		}
	}
}
