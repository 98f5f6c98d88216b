package agent

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/kube"
	"github.com/fairlead-net/fairlead/internal/l7"
	"github.com/fairlead-net/fairlead/internal/l7/proxy"
	"github.com/fairlead-net/fairlead/internal/pmap"
)

// credentials turns Secrets into certificates. One that becomes unusable stays as it
// was: a mistake in a renewal must not take a site down.
type credentials struct {
	log    *slog.Logger
	expiry *prometheus.Desc

	mu     sync.Mutex
	last   dataMap
	parsed proxy.Certificates
	wrong  map[desired.Name]error
}

func newCredentials(log *slog.Logger) *credentials {
	c := &credentials{
		log: log, parsed: proxy.Certificates{}, wrong: map[desired.Name]error{},
		expiry: prometheus.NewDesc("fairlead_gateway_certificate_expiry_timestamp_seconds", "When the certificate in a Secret ends, in seconds since 1970.", []string{"namespace", "secret"}, nil),
	}
	standard, err := selfSigned()
	if err != nil {
		log.Error("no certificate for hosts that have none: their TLS handshakes fail", "error", err)
		return c
	}
	c.parsed[l7.CertificateID{}] = standard
	return c
}

// certificates returns those of all Secrets, and the default one of the empty name.
func (c *credentials) certificates(data dataMap) proxy.Certificates {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := make(proxy.Certificates, len(c.parsed))
	for id, certificate := range c.parsed {
		all[id] = certificate
	}
	for change := range pmap.Diff(c.last, data) {
		name := change.Key.Name
		id := l7.CertificateID(name)
		if change.Key.ConfigMap {
			continue
		}
		if !change.HasNew {
			delete(all, id)
			delete(c.wrong, name)
			continue
		}
		if change.New.Type != string(corev1.SecretTypeTLS) && len(change.New.Keys[corev1.TLSCertKey]) == 0 {
			continue // it is for something else
		}
		certificate, err := parseCertificate(change.New)
		if err != nil {
			c.log.Warn("Secret cannot be used as a certificate", "secret", name.String(), "error", err)
			c.wrong[name] = err
			continue
		}
		delete(c.wrong, name)
		all[id] = certificate
	}
	c.last, c.parsed = data, all
	return all
}

// problems says which Secrets are no certificates, and what serves instead.
func (c *credentials) problems() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var lines []string
	for name := range c.wrong {
		lines = append(lines, c.describe(name))
	}
	slices.Sort(lines)
	return lines
}

// problem says why a Secret is no certificate; "" if it is one.
func (c *credentials) problem(name desired.Name) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.describe(name)
}

func (c *credentials) describe(name desired.Name) string {
	err := c.wrong[name]
	if err == nil {
		return ""
	}
	instead := "its hosts get the default certificate"
	if c.parsed[l7.CertificateID(name)] != nil {
		instead = "its hosts get what it held before"
	}
	return fmt.Sprintf("Secret %s: %v; %s", name, err, instead)
}

func parseCertificate(s *kube.Data) (*tls.Certificate, error) {
	chain, key := s.Keys[corev1.TLSCertKey], s.Keys[corev1.TLSPrivateKeyKey]
	switch {
	case len(chain) == 0 && len(key) == 0:
		return nil, errors.New("it has neither tls.crt nor tls.key; make it with kubectl create secret tls")
	case len(chain) == 0:
		return nil, errors.New("it has no tls.crt")
	case len(key) == 0:
		return nil, errors.New("it has no tls.key")
	}
	certificate, err := tls.X509KeyPair(chain, key)
	if err != nil {
		return nil, err
	}
	return &certificate, nil
}

// selfSigned returns a certificate that no client trusts, for those that ask for a
// host without one: they see whose fault it is, instead of a broken handshake.
func selfSigned() (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "Fairlead default certificate", Organization: []string{"no certificate for this host"}},
		NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(1, 0, 0),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// Describe implements prometheus.Collector.
func (c *credentials) Describe(out chan<- *prometheus.Desc) { out <- c.expiry }

// maxExpiries bounds the certificates that metrics tell apart.
const maxExpiries = 10_000

// Collect implements prometheus.Collector.
func (c *credentials) Collect(out chan<- prometheus.Metric) {
	c.mu.Lock()
	all := c.parsed
	c.mu.Unlock()
	series := 0
	for id, certificate := range all {
		if series == maxExpiries {
			break
		}
		if id != (l7.CertificateID{}) && certificate.Leaf != nil {
			series++
			out <- prometheus.MustNewConstMetric(c.expiry, prometheus.GaugeValue, float64(certificate.Leaf.NotAfter.Unix()), id.Namespace, id.Name)
		}
	}
}
