package charts_test

import (
	"slices"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/fairlead-net/fairlead/internal/config"
)

// TestACME holds that the controller may write Secrets where the terms of an authority
// were agreed to and nowhere else, that nobody else may, and what its pod needs for it.
func TestACME(t *testing.T) {
	for text, want := range map[string]struct {
		verbs  []string
		policy corev1.DNSPolicy
		caFile string
	}{
		"gateway: {enabled: true}":             {nil, corev1.DNSDefault, ""},
		"config: {acme: {agreeToTerms: true}}": {nil, corev1.DNSDefault, ""}, // no gateway
		"{gateway: {enabled: true}, config: {acme: {agreeToTerms: true}}}": {
			[]string{"create", "get", "update"}, corev1.DNSDefault, "",
		},
		"{gateway: {enabled: true}, controller: {acmeCA: ours}, config: {acme: {agreeToTerms: true, server: 'https://ca.example.com/dir', dnsWebhook: {url: 'http://dns.infra.svc'}}}}": {
			[]string{"create", "get", "update"}, corev1.DNSClusterFirst, "/etc/fairlead-acme/ca.crt",
		},
	} {
		r := render(t, text, "elsewhere", "v1.37.2")
		for _, role := range r.roles {
			var verbs []string
			for _, rule := range role.Rules {
				if slices.Contains(rule.Resources, "secrets") {
					verbs = append(verbs, rule.Verbs...)
				}
			}
			allowed := map[string][]string{"fairlead-controller": want.verbs, "fairlead-gateway": {"list", "watch"}}[role.Name]
			if !slices.Equal(verbs, allowed) {
				t.Errorf("%s: %s may %v Secrets, want %v", text, role.Name, verbs, allowed)
			}
		}
		c, err := config.Parse([]byte(r.configs[0].Data["fairlead.yaml"]))
		if err != nil {
			t.Fatal(err)
		}
		pod := r.byName["Deployment elsewhere/fairlead-controller"].(*appsv1.Deployment).Spec.Template.Spec
		if pod.DNSPolicy != want.policy || c.ACME.CAFile != want.caFile || (len(pod.Volumes) > 1) != (want.caFile != "") {
			t.Errorf("%s: DNS policy %s, issuers in %q, volumes %v", text, pod.DNSPolicy, c.ACME.CAFile, pod.Volumes)
		}
	}
}
