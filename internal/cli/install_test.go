package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestInstallMistakes holds what a user reads who made a mistake, and the exit
// code: 2 for a wrong command line, 1 for a failure.
func TestInstallMistakes(t *testing.T) {
	nowhere := filepath.Join(t.TempDir(), "kubeconfig")
	broken := filepath.Join(t.TempDir(), "values.yaml")
	if err := os.WriteFile(broken, []byte("a: [\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for line, want := range map[string]struct {
		code int
		text string
	}{
		"install --set config.logLevel":        {2, "--set config.logLevel: "},
		"install --values " + broken:           {2, broken},
		"install --values /does/not/exist":     {2, "/does/not/exist"},
		"install --timeout 0s":                 {2, "--wait=false"},
		"upgrade --set a":                      {2, "write PATH=VALUE"},
		"uninstall --timeout 0s":               {2, "--timeout 0s"},
		"install everything":                   {2, "everything"},
		"install --kubeconfig " + nowhere:      {1, "name a kubeconfig with --kubeconfig"},
		"uninstall --kubeconfig " + nowhere:    {1, "name a kubeconfig with --kubeconfig"},
		"upgrade --colour":                     {2, "unknown flag"},
		"upgrade --kubeconfig " + nowhere + "": {1, nowhere},
	} {
		var out, err bytes.Buffer
		code := Main(t.Context(), strings.Fields(line), Streams{In: strings.NewReader(""), Out: &out, Err: &err})
		if code != want.code || !strings.Contains(err.String(), want.text) || out.Len() > 0 {
			t.Errorf("%s: exit code %d\n%s%s", line, code, err.String(), out.String())
		}
	}
}
