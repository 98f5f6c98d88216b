// Package h2spec runs the cases of h2spec, for servers of HTTP/2 and HPACK, against
// the L7 engine: with prior knowledge and within TLS. Nothing but tests is in it.
package h2spec

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"

	"github.com/summerwind/h2spec/config"
	"github.com/summerwind/h2spec/generic"
	"github.com/summerwind/h2spec/hpack"
	"github.com/summerwind/h2spec/http2"
	"github.com/summerwind/h2spec/spec"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/l7"
	"github.com/fairlead-net/fairlead/internal/l7/proxy"
)

// TestServer runs every case, also those that are strict, and none may fail or be
// skipped.
func TestServer(t *testing.T) {
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, "an answer that is longer than some windows of the cases")
	}))
	defer backend.Close()
	for _, secure := range []bool{false, true} {
		address := serve(t, netip.MustParseAddrPort(backend.Listener.Addr().String()), secure)
		served(t, address, secure)
		c := &config.Config{
			Host: address.Addr().String(), Port: int(address.Port()), Path: "/", Timeout: 2 * time.Second, MaxHeaderLen: 4000,
			Strict: true, TLS: secure, Insecure: true,
		}
		for _, group := range []*spec.TestGroup{generic.Spec(), http2.Spec(), hpack.Spec()} {
			group.Test(c)
			report(t, group, secure)
			if group.PassedCount == 0 {
				t.Errorf("%s: no case was run", group.Title())
			}
		}
	}
}

// served holds that requests reach the backend: cases hold of errors too.
func served(t *testing.T, address netip.AddrPort, secure bool) {
	scheme := map[bool]string{false: "http", true: "https"}[secure]
	c := http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} //nolint:gosec // httptest's certificate
	defer c.CloseIdleConnections()
	response, err := c.Get(scheme + "://" + address.String())
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Fatalf("the engine answers %s", response.Status)
	}
}

// notHTTP2 is the one case that has another outcome without TLS: its client says
// something that is not HTTP/2, and a listener that speaks HTTP/1.1 too answers in that,
// with 400, before it closes the connection, as the case wants.
const notHTTP2 = "Sends invalid connection preface"

func report(t *testing.T, group *spec.TestGroup, secure bool) {
	for _, c := range append(group.Tests, group.StrictTests...) {
		if c.Result == nil || !c.Result.Failed && !c.Result.Skipped || c.Desc == notHTTP2 && !secure {
			continue
		}
		t.Errorf("%s: %s: %v", group.ID(), c.Desc, c.Result.Error)
	}
	for _, g := range group.Groups {
		report(t, g, secure)
	}
}

// serve runs the engine with one backend for every request.
func serve(t *testing.T, backend netip.AddrPort, secure bool) netip.AddrPort {
	t.Helper()
	p, err := proxy.New(proxy.Config{Address: netip.MustParseAddr("127.0.0.1"), DrainTimeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	table, certificates := tableOf(t, backend)
	p.SetCertificates(certificates)
	if err := p.Apply(context.Background(), table); err != nil {
		t.Fatal(err)
	}
	if err := p.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	name := map[bool]string{false: "http", true: "https"}[secure]
	return p.Addresses(name)[0]
}

// tableOf returns the Table of one Ingress that takes every request, with TLS, and
// what its Secret would hold.
func tableOf(t *testing.T, backend netip.AddrPort) (l7.Table, proxy.Certificates) {
	const namespace, name, class = "h2spec", "web", "fairlead"
	o := desired.Objects{Synced: true}
	o.Namespaces = o.Namespaces.Set(namespace, &desired.Namespace{})
	o.IngressClasses = o.IngressClasses.Set(class, desired.ParseIngressClass(&networkingv1.IngressClass{
		ObjectMeta: metav1.ObjectMeta{Name: class}, Spec: networkingv1.IngressClassSpec{Controller: "fairlead.dev/ingress"},
	}))
	meta := metav1.ObjectMeta{Namespace: namespace, Name: name}
	key := desired.Name{Namespace: namespace, Name: name}
	o.Services = o.Services.Set(key, desired.ParseService(&corev1.Service{ObjectMeta: meta, Spec: corev1.ServiceSpec{
		Type: corev1.ServiceTypeClusterIP, ClusterIP: "10.96.0.1", ClusterIPs: []string{"10.96.0.1"},
		Ports: []corev1.ServicePort{{Name: "http", Protocol: corev1.ProtocolTCP, Port: 80}},
	}}))
	className := class
	o.Ingresses = o.Ingresses.Set(key, desired.ParseIngress(&networkingv1.Ingress{ObjectMeta: meta, Spec: networkingv1.IngressSpec{
		IngressClassName: &className,
		DefaultBackend: &networkingv1.IngressBackend{Service: &networkingv1.IngressServiceBackend{
			Name: name, Port: networkingv1.ServiceBackendPort{Name: "http"},
		}},
	}}))
	certificate := desired.Name{Namespace: namespace, Name: "tls"}
	state, _ := desired.Build(o, desired.Node{}, nil)
	table, reasons := l7.Compile(state, l7.Table{}, l7.Config{
		HTTPPort: free(t), HTTPSPort: free(t), DefaultCertificate: l7.CertificateID(certificate),
	})
	for _, r := range reasons {
		t.Error(r)
	}
	// No cluster has endpoints on loopback, so this one comes in by hand.
	id := l7.BackendID{Service: key, Port: "http"}
	table.Backends = table.Backends.Set(id, &l7.Backend{ID: id, Endpoints: []l7.Endpoint{{Address: backend}}})
	s := httptest.NewUnstartedServer(nil)
	s.StartTLS()
	t.Cleanup(s.Close)
	return table, proxy.Certificates{l7.CertificateID(certificate): &s.TLS.Certificates[0]}
}

// free returns a port that nobody listens at.
func free(t *testing.T) uint16 {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).AddrPort().Port()
}
