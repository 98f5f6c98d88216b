package agent

import (
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/kube"
)

// certificateData is a Secret with a certificate.
func certificateData(t *testing.T) *kube.Data {
	t.Helper()
	made, err := selfSigned()
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(made.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return &kube.Data{Type: string(corev1.SecretTypeTLS), Keys: map[string][]byte{
		corev1.TLSCertKey:       pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: made.Certificate[0]}),
		corev1.TLSPrivateKeyKey: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}),
	}}
}

// TestExpiryMetric holds that gateways say when each certificate ends that they have of a
// Secret, in the words of docs/observability.md, and nothing of the one they make themselves.
func TestExpiryMetric(t *testing.T) {
	c := newCredentials(slog.New(slog.DiscardHandler))
	var data dataMap
	for name, d := range map[string]*kube.Data{"web": certificateData(t), "users": {Keys: map[string][]byte{"auth": []byte("a:b")}}} {
		data = data.Set(kube.DataName{Name: desired.Name{Namespace: "shop", Name: name}}, d)
	}
	made := c.certificates(data)
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(c)
	families, err := registry.Gather()
	if err != nil || len(families) != 1 || families[0].GetName() != "fairlead_gateway_certificate_expiry_timestamp_seconds" || len(families[0].GetMetric()) != 1 {
		t.Fatalf("%v, error %v", families, err)
	}
	m, want := families[0].GetMetric()[0], map[string]string{"namespace": "shop", "secret": "web"}
	for _, l := range m.GetLabel() {
		if want[l.GetName()] != l.GetValue() {
			t.Errorf("%s=%s", l.GetName(), l.GetValue())
		}
	}
	for id, certificate := range made {
		if id.Name == "web" && m.GetGauge().GetValue() != float64(certificate.Leaf.NotAfter.Unix()) {
			t.Errorf("%v", m)
		}
	}
}
