package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestMigrate holds the report on the folder testdata/nginx, in which something is
// refused, and the objects of Gateway API with what is said on standard error.
func TestMigrate(t *testing.T) {
	const said = "fairlead: 1 of 6 Ingresses and 1 settings would not be served as they are written; the report says why\n"
	for name, line := range map[string]string{
		"migrate-nginx.text": "-o text", "migrate-nginx.json": "-o json", "migrate-nginx.yaml": "-o yaml", "migrate-nginx-all.text": "--all",
		"migrate-nginx-gateway.yaml": "--gateway-api --gateway-namespace gateways",
	} {
		code, out, err := run(t, strings.Fields("migrate ingress-nginx -f testdata/nginx "+line)...)
		if code != 1 || !strings.HasSuffix(err, said) {
			t.Errorf("%s: exit code %d\n%s", name, code, err)
		}
		for note := range strings.Lines(strings.TrimSuffix(err, said)) {
			_, text, _ := strings.Cut(note, ": ")
			if !strings.Contains(out, "# "+text) {
				t.Errorf("%s: no comment says %q", name, text)
			}
		}
		file := filepath.Join("testdata", "golden", name)
		if *update {
			if err := os.WriteFile(file, []byte(out), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, problem := os.ReadFile(file)
		if problem != nil {
			t.Fatal(problem)
		}
		if diff := cmp.Diff(string(want), out); diff != "" {
			t.Errorf("%s: run with -update if this is meant (-want +got):\n%s", name, diff)
		}
	}
	code, out, err := run(t, "migrate", "ingress-nginx", "-f", "testdata/demo")
	if code != 0 || err != "" || !strings.Contains(out, "Ingresses of ingress-nginx: 0;") {
		t.Errorf("nothing of ingress-nginx: exit code %d\n%s%s", code, out, err)
	}
	code, _, err = run(t, "migrate", "ingress-nginx", "-f", t.TempDir())
	if code != 1 || !strings.Contains(err, "has no .yaml, .yml or .json file, so there is nothing to migrate") {
		t.Errorf("an empty folder: exit code %d\n%s", code, err)
	}
}

// TestMigrateMistakes is TestMistakes for this command.
func TestMigrateMistakes(t *testing.T) {
	for line, want := range map[string]struct {
		code int
		text string
	}{
		"migrate ingress-nginx -f /does/not/exist":                                      {2, "fairlead: --filename /does/not/exist is not a folder; name one that holds .yaml or .json manifests\n" + seeHelp},
		"migrate ingress-nginx -f testdata/noingress":                                   {1, "fairlead: the manifests in testdata/noingress have no Ingress, so there is nothing to migrate\n"},
		"migrate ingress-nginx -f testdata/nginx -o xml":                                {2, "fairlead: --output xml: there is no such form; use text, json or yaml\n" + seeHelp},
		"migrate ingress-nginx -f testdata/nginx --gateway-api -o json":                 {2, "fairlead: --gateway-api prints YAML; leave --output out\n" + seeHelp},
		"migrate ingress-nginx --gateway-class x -f testdata/nginx":                     {2, "fairlead: --gateway-class and --gateway-namespace go with --gateway-api\n" + seeHelp},
		"migrate ingress-nginx -f testdata/nginx --gateway-api --gateway-namespace A_B": {2, "fairlead: --gateway-namespace \"A_B\" is no name of an object\n" + seeHelp},
		"migrate nginx":           {2, "fairlead: unknown command \"nginx\" for \"fairlead migrate\"\n" + seeHelp},
		"migrate ingress-nginx x": {2, "fairlead: unknown command \"x\" for \"fairlead migrate ingress-nginx\"\n" + seeHelp},
	} {
		code, out, err := run(t, strings.Fields(line)...)
		if code != want.code || err != want.text || out != "" {
			t.Errorf("%s: exit code %d, want %d\n got %q\nwant %q\n%s", line, code, want.code, err, want.text, out)
		}
	}
}
