//go:build e2e

package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"
)

// dnsHost is the name in the certificate of the DNS servers.
const dnsHost = "dns.e2e.test"

// certificate returns one that is its own authority, and its key.
func certificate(t *testing.T) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, "", err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: dnsHost}, DNSNames: []string{dnsHost},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	must(t, "", err)
	encoded, err := x509.MarshalPKCS8PrivateKey(private)
	must(t, "", err)
	text := func(kind string, content []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: content}))
	}
	return text("CERTIFICATE", der), text("PRIVATE KEY", encoded)
}

// TestDNSKnowsPods has the DNS servers know pods and speak TLS: the names of pods that
// are there, search paths that end at once, and a certificate that holds.
func TestDNSKnowsPods(t *testing.T) {
	eventually(t, 3*time.Minute, func() error { return ready(t) })
	l := lab(t)
	settings := func(pods, autopath, secret string) []string {
		return []string{"config.dns.pods=" + pods, "config.dns.autopath=" + autopath, "dns.tlsSecret=" + secret}
	}
	t.Cleanup(func() { upgrade(t, settings("insecure", "false", "")...) })
	cert, key := certificate(t)
	secret, err := json.Marshal(map[string]any{
		"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "metadata": map[string]string{"name": "e2e-dns-tls", "namespace": "kube-system"},
		"stringData": map[string]string{"tls.crt": cert, "tls.key": key},
	})
	must(t, "", err)
	apply(t, string(secret))
	upgrade(t, settings("verified", "true", "e2e-dns-tls")...)
	eventually(t, 3*time.Minute, func() error { return ready(t) })

	p := probes(t)[0]
	address := kubectl(t, "get", "pod", "-n", p.namespace, p.name, "-o", "jsonpath={.status.podIP}")
	named := func(address string) string {
		return strings.ReplaceAll(address, ".", "-") + "." + p.namespace + ".pod.cluster.local"
	}
	eventually(t, time.Minute, func() error { return everyServer(t, "IN A "+address, named(address), "A") })
	if out, err := p.exec(t, "dig", named("10.244.255.254"), "A"); err != nil || !strings.Contains(out, "status: NXDOMAIN") {
		t.Errorf("an address that no pod has: %v\n%s", err, out)
	}

	// The first name of the search path leads to the one that exists.
	first := "example.test." + p.namespace + ".svc.cluster.local"
	if err := dug(t, p, "IN CNAME example.test.", first, "A"); err != nil {
		t.Error(err)
	}
	if out, err := p.exec(t, "curl", "-sS", "--max-time", "10", "-o", "/dev/null", "-w", "%{http_code}", "http://shop"); must(t, out, err) != "200" {
		t.Errorf("by short name: %s", out)
	}

	out, err := run(t, []byte(cert), l.Bin("kubectl"), "--kubeconfig", l.Kubeconfig(), "exec", "-i", "-n", p.namespace, p.name, "--", "sh", "-c", "cat > /tmp/dns-ca.pem")
	must(t, out, err)
	for _, server := range []string{"@10.96.0.10", "@fd00:96::a"} {
		if err := dug(t, p, "shop.demo.svc.cluster.local. 30 IN A", server, "+tls-ca=/tmp/dns-ca.pem", "+tls-hostname="+dnsHost, "shop.demo.svc.cluster.local", "A"); err != nil {
			t.Error(err)
		}
	}
	if err := dug(t, p, "IN A", "@10.96.0.10", "+tls-ca=/tmp/dns-ca.pem", "+tls-hostname=other.test", "shop.demo.svc.cluster.local", "A"); err == nil {
		t.Error("a certificate for another name is taken: this test cannot fail")
	}

	out, err = fairlead(t, "dns", "query", "shop", "--from", p.namespace+"/"+p.name)
	if must(t, out, err); !strings.Contains(out, "shop."+p.namespace+".svc.cluster.local") || !strings.Contains(out, "10.96.") {
		t.Errorf("dns query --from:\n%s", out)
	}
}
