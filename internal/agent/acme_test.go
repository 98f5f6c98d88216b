package agent

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fairlead-net/fairlead/internal/config"
	"github.com/fairlead-net/fairlead/internal/l7/acme"
)

// TestACMEConfig: what is valid in the file is so for the Manager, and nothing gets lost.
func TestACMEConfig(t *testing.T) {
	text := "acme: {server: https://ca.example.com/dir, email: a@example.com, agreeToTerms: true, challenge: dns-01, default: true, profile: short, ordersPerHour: 5, " +
		"dnsWebhook: {url: https://dns.example.com, secret: dns, propagation: 5s}, eab: {keyID: k, secret: e}}"
	for _, text := range []string{"", text} {
		c, err := config.Parse([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		made, err := ACMEConfig(c)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := acme.New(acme.Options{Config: made, Store: acme.Store(nil), Log: slog.Default()}); err == nil || !strings.Contains(err.Error(), "no Store") {
			t.Error(err)
		}
		if text != "" && made != (acme.Config{
			Server: "https://ca.example.com/dir", Email: "a@example.com", AgreeToTerms: true, Challenge: acme.DNS01, Default: true, Profile: "short", OrdersPerHour: 5,
			Namespace: "fairlead-system", Webhook: acme.Webhook{URL: "https://dns.example.com", Secret: "dns", Propagation: 5e9}, EAB: acme.EAB{KeyID: "k", Secret: "e"},
		}) {
			t.Errorf("%+v", made)
		}
	}
	file := filepath.Join(t.TempDir(), "ca.pem")
	c := config.Default()
	c.ACME.CAFile = file
	if _, err := ACMEConfig(c); err == nil {
		t.Error("a file that is not there is taken")
	}
	if err := os.WriteFile(file, []byte("no PEM"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ACMEConfig(c); err == nil || !strings.Contains(err.Error(), "no certificate in PEM form") {
		t.Error(err)
	}
}
