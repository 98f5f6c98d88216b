package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"

	"github.com/fairlead-net/fairlead/internal/config"
	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/l7"
	"github.com/fairlead-net/fairlead/internal/l7/acme"
)

// secretServer is an API server that has Secrets, knows every Ingress and takes Events.
type secretServer struct {
	t       *testing.T
	mu      sync.Mutex
	version int
	secrets map[string]*corev1.Secret
	// used are METHOD NAMESPACE/NAME of Secrets, events the bodies of Events.
	used, events []string
}

func (s *secretServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	body, _ := io.ReadAll(r.Body)
	parts := strings.Split(r.URL.Path, "/") // /api/v1/namespaces/NAMESPACE/RESOURCE/NAME
	switch {
	case len(parts) > 5 && parts[5] == "secrets":
		s.secret(w, r.Method, parts, body)
	case r.Method == http.MethodPost:
		s.events = append(s.events, string(body))
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, `{"kind": "Event", "apiVersion": "v1"}`)
	default:
		_, _ = io.WriteString(w, `{"kind": "Ingress", "apiVersion": "networking.k8s.io/v1", "metadata": {"uid": "u"}}`)
	}
}

func (s *secretServer) secret(w http.ResponseWriter, method string, parts []string, body []byte) {
	name := parts[4] + "/" + parts[len(parts)-1]
	sent := new(corev1.Secret)
	if len(body) > 0 {
		if _, _, err := scheme.Codecs.UniversalDeserializer().Decode(body, nil, sent); err != nil {
			s.t.Error(err)
		}
		name = parts[4] + "/" + sent.Name
	}
	s.used = append(s.used, method+" "+name)
	has := s.secrets[name]
	refuse := func(code int, reason string) {
		w.WriteHeader(code)
		_, _ = fmt.Fprintf(w, `{"kind": "Status", "apiVersion": "v1", "code": %d, "reason": %q}`, code, reason)
	}
	switch {
	case method == http.MethodPost && has != nil:
		refuse(http.StatusConflict, "AlreadyExists")
		return
	case method != http.MethodPost && has == nil:
		refuse(http.StatusNotFound, "NotFound")
		return
	case method == http.MethodPut && sent.ResourceVersion != has.ResourceVersion:
		refuse(http.StatusConflict, "Conflict")
		return
	case method != http.MethodGet:
		s.version++
		sent.ResourceVersion = fmt.Sprint(s.version)
		s.secrets[name], has = sent, sent
	}
	text, err := runtime.Encode(scheme.Codecs.LegacyCodec(corev1.SchemeGroupVersion), has)
	if err != nil {
		s.t.Error(err)
	}
	_, _ = w.Write(text)
}

// seen waits until Events have come that say this, and returns what Secrets were used.
func (s *secretServer) seen(t *testing.T, parts ...string) []string {
	t.Helper()
	for start := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		s.mu.Lock()
		all := strings.Join(s.events, "\n")
		used := slices.Clone(s.used)
		s.mu.Unlock()
		if !slices.ContainsFunc(parts, func(part string) bool { return !strings.Contains(all, part) }) {
			return used
		}
		if time.Since(start) > 20*time.Second {
			t.Fatalf("Events %q, want %q", all, parts)
		}
	}
}

// securedIngress has a certificate in Secret NAME-tls.
func securedIngress(name string, annotations map[string]string) *desired.Ingress {
	class := "fairlead"
	return desired.ParseIngress(&networkingv1.Ingress{
		ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: name, Annotations: annotations},
		Spec: networkingv1.IngressSpec{
			IngressClassName: &class, TLS: []networkingv1.IngressTLS{{Hosts: []string{name + ".example.com"}, SecretName: name + "-tls"}},
			Rules: []networkingv1.IngressRule{{Host: name + ".example.com", IngressRuleValue: networkingv1.IngressRuleValue{HTTP: &networkingv1.HTTPIngressRuleValue{
				Paths: []networkingv1.HTTPIngressPath{{Path: "/", PathType: new(networkingv1.PathTypePrefix), Backend: networkingv1.IngressBackend{
					Service: &networkingv1.IngressServiceBackend{Name: name, Port: networkingv1.ServiceBackendPort{Number: 80}},
				}}},
			}}}},
		},
	})
}

// securedState has Ingresses demo/shop, which asks for a certificate, and demo/plain,
// which does not.
func securedState() *desired.State {
	class := desired.ParseIngressClass(&networkingv1.IngressClass{
		ObjectMeta: metav1.ObjectMeta{Name: "fairlead"}, Spec: networkingv1.IngressClassSpec{Controller: l7.Controller},
	})
	objects := desired.Objects{Synced: true}
	objects.IngressClasses = objects.IngressClasses.Set(class.Name, class)
	for _, i := range []*desired.Ingress{securedIngress("shop", map[string]string{acme.Annotation: "true"}), securedIngress("plain", nil)} {
		objects.Ingresses = objects.Ingresses.Set(i.Name, i)
	}
	state, _ := desired.Build(objects, desired.Node{}, nil)
	return state
}

// ordering runs what orders certificates until the test ends.
func ordering(t *testing.T, change func(*config.ACME)) (*certificates, *secretServer) {
	t.Helper()
	s := &secretServer{t: t, secrets: map[string]*corev1.Secret{}}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	a := bare(t, Options{})
	a.options.Config.Gateway.Service = "fairlead-system/fairlead-gateway"
	change(&a.options.Config.ACME)
	c, line := a.newCertificates(clientOf(t, server.URL))
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	for _, run := range append(a.services, line.run) {
		all.Go(func() { _ = run(ctx) })
	}
	for _, l := range a.leaderships {
		all.Go(func() { l.lead(ctx) })
	}
	t.Cleanup(func() { cancel(); all.Wait() })
	state := securedState()
	table, _ := l7.Compile(state, l7.Table{}, l7.Config{})
	c.offer(state, &table)
	return c, s
}

// TestCertificates: an authority that is away is a warning at the Ingress, and no Secret
// is used but the ones that this is about.
func TestCertificates(t *testing.T) {
	authority := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }))
	t.Cleanup(authority.Close)
	c, s := ordering(t, func(a *config.ACME) { a.AgreeToTerms, a.Server = true, authority.URL+"/dir" })
	used := s.seen(t, "CertificateAuthorityUnavailable", "shop-tls")
	if !slices.Contains(used, "GET demo/shop-tls") {
		t.Errorf("nobody has looked for the certificate: %v", used)
	}
	for _, one := range used {
		if name := strings.SplitN(one, " ", 2)[1]; name != "demo/shop-tls" && !strings.HasPrefix(name, "fairlead-system/fairlead-acme-") {
			t.Error(one)
		}
	}
	lines := strings.Join(c.Describe(), "\n")
	if !strings.Contains(lines, "holds the lease and orders certificates; of 1 that are wanted, 0 are valid") || !strings.Contains(lines, "no valid certificate in Secret demo/shop-tls") {
		t.Error(lines)
	}
	if h := c.standby(c.events.Health)(); !h.Healthy() {
		t.Errorf("the process is not well for an authority: %+v", h)
	}
}

// TestCertificatesWithoutTerms: the Ingress says whose turn it is, and no Secret is read.
func TestCertificatesWithoutTerms(t *testing.T) {
	_, s := ordering(t, func(*config.ACME) {})
	if used := s.seen(t, "CertificateNotOrdered", "acme.agreeToTerms"); len(used) > 0 {
		t.Error(used)
	}
}

// TestCertificatesOff: what cannot be read costs the process nothing else.
func TestCertificatesOff(t *testing.T) {
	c, _ := ordering(t, func(a *config.ACME) { a.AgreeToTerms, a.CAFile = true, "/nowhere/ca.crt" })
	if lines := c.Describe(); len(lines) != 1 || !strings.Contains(lines[0], "acme.caFile") {
		t.Error(lines)
	}
}

// TestPeers: each ready replica is asked once, behind the ports that clients use.
func TestPeers(t *testing.T) {
	slice := func(name, kind string, addresses ...string) *desired.Slice {
		o := &discoveryv1.EndpointSlice{
			ObjectMeta:  metav1.ObjectMeta{Namespace: "system", Name: name, Labels: map[string]string{discoveryv1.LabelServiceName: "gateway"}},
			AddressType: discoveryv1.AddressType(kind),
			Ports: []discoveryv1.EndpointPort{
				{Name: new("https"), Port: new(int32(8443)), Protocol: new(corev1.ProtocolTCP)}, {Name: new("http"), Port: new(int32(8080)), Protocol: new(corev1.ProtocolTCP)},
			},
		}
		for i, a := range addresses {
			o.Endpoints = append(o.Endpoints, discoveryv1.Endpoint{Addresses: []string{a}, Conditions: discoveryv1.EndpointConditions{Ready: new(i < 2)}})
		}
		return desired.ParseSlice(o)
	}
	service := desired.ParseService(&corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "system", Name: "gateway"},
		Spec: corev1.ServiceSpec{ClusterIP: "10.0.0.1", ClusterIPs: []string{"10.0.0.1", "fd00::1"}, Ports: []corev1.ServicePort{
			{Name: "http", Port: 80, Protocol: corev1.ProtocolTCP}, {Name: "https", Port: 443, Protocol: corev1.ProtocolTCP}, {Name: "quic", Port: 443, Protocol: corev1.ProtocolUDP},
		}},
	})
	objects := desired.Objects{Synced: true}
	objects.Services = objects.Services.Set(service.Name, service)
	for _, s := range []*desired.Slice{
		slice("a", "IPv4", "10.1.0.2", "10.1.0.1", "10.1.0.9"), slice("b", "IPv4", "10.1.0.2"), slice("c", "IPv6", "fd01::1", "fd01::2"),
	} {
		objects.Slices = objects.Slices.Set(s.Name, s)
	}
	state, _ := desired.Build(objects, desired.Node{}, nil)
	made, _ := state.Services.Get(service.Name)
	text, err := json.Marshal(peersOf(made))
	if want := `[{"HTTP":"10.1.0.1:8080","HTTPS":"10.1.0.1:8443"},{"HTTP":"10.1.0.2:8080","HTTPS":"10.1.0.2:8443"}]`; err != nil || string(text) != want {
		t.Errorf("%s, %v", text, err)
	}
}
