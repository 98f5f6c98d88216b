package agent

import (
	"crypto/x509"
	"fmt"
	"os"

	"github.com/fairlead-net/fairlead/internal/config"
	"github.com/fairlead-net/fairlead/internal/l7/acme"
)

// ACMEConfig returns what the configuration says about certificates. An error says
// that acme.caFile cannot be used.
func ACMEConfig(c config.Config) (acme.Config, error) {
	a := c.ACME
	made := acme.Config{
		Server: a.Server, Email: a.Email, AgreeToTerms: a.AgreeToTerms, Challenge: acme.Challenge(a.Challenge), Default: a.Default,
		Profile: a.Profile, OrdersPerHour: a.OrdersPerHour, Namespace: c.Status.LeaseNamespace,
		Webhook: acme.Webhook{URL: a.DNSWebhook.URL, Secret: a.DNSWebhook.Secret, Propagation: a.DNSWebhook.Propagation},
		EAB:     acme.EAB{KeyID: a.EAB.KeyID, Secret: a.EAB.Secret},
	}
	if a.CAFile == "" {
		return made, nil
	}
	text, err := os.ReadFile(a.CAFile)
	if err != nil {
		return acme.Config{}, fmt.Errorf("acme.caFile: %w", err)
	}
	made.Roots = x509.NewCertPool()
	if !made.Roots.AppendCertsFromPEM(text) {
		return acme.Config{}, fmt.Errorf("acme.caFile: %s has no certificate in PEM form", a.CAFile)
	}
	return made, nil
}
