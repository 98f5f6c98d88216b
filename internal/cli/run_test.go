package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestRunOptions holds that a directory for certificates is taken where they are ordered,
// and else said to be of no use.
func TestRunOptions(t *testing.T) {
	file := filepath.Join(t.TempDir(), "fairlead.yaml")
	for text, want := range map[string]string{"": "acme.agreeToTerms: true", "acme: {agreeToTerms: true}": ""} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		s := served{dir: "manifests", config: file, acmeDir: "kept", httpPort: 80, httpsPort: 443}
		o, err := s.options()
		if want == "" && (err != nil || o.ACMEDir != "kept" || o.Dir != "manifests") {
			t.Errorf("%q: %+v, error %v", text, o, err)
		}
		if want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: error %v", text, err)
		}
	}
}
