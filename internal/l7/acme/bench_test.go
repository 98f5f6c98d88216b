package acme

import (
	"fmt"
	"testing"
	"time"

	networkingv1 "k8s.io/api/networking/v1"

	"github.com/fairlead-net/fairlead/internal/l7"
)

// BenchmarkLook is what a change among 5,000 Ingresses with certificates costs the
// leader, which looks at most once in a second.
func BenchmarkLook(b *testing.B) {
	var all []*networkingv1.Ingress
	known := Known{Held: map[l7.CertificateID]Held{}, Ledgers: map[string]Ledger{}}
	for n := range 5000 {
		host, name := fmt.Sprint(n, ".example.com"), fmt.Sprint("i", n)
		all = append(all, asks("demo", name, host))
	}
	chain, key := testCertificate(time.Now(), time.Hour, "any")
	held := readHeld(Secret{Type: TypeTLS, Ours: true, Data: map[string][]byte{keyCertificate: chain, keyPrivate: key}}, true)
	table, config := testTable(all...), Config{Challenge: HTTP01, OrdersPerHour: 1}
	for _, i := range all {
		h := held
		h.Hosts = i.Spec.TLS[0].Hosts
		known.Held[l7.CertificateID{Namespace: i.Namespace, Name: i.Name}] = h
	}
	for b.Loop() {
		wants, _ := Wanted(table, config, func(l7.CertificateID) bool { return false })
		if a := Plan(time.Now(), config, wants, known); len(a.Due) != 0 || len(a.Certificates) != 5000 {
			b.Fatal(len(a.Due), len(a.Certificates))
		}
	}
}
