package agent

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"math/big"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/kube"
)

// certificateData is a Secret with a certificate for some hosts.
func certificateData(t *testing.T, hosts ...string) *kube.Data {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	from := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: hosts, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(0, 3, 0)}
	der, err := x509.CreateCertificate(rand.Reader, from, from, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	text, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return &kube.Data{Type: string(corev1.SecretTypeTLS), Keys: map[string][]byte{
		corev1.TLSCertKey:       pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		corev1.TLSPrivateKeyKey: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: text}),
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
