// Package pebble has Fairlead's gateway get certificates from Pebble, the test
// authority of Let's Encrypt. In go manifests; replicas on loopback answer what the
// authority asks, through the Answers that they read from a store of Secrets. Nothing
// here is faked but the API server.
package pebble

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/l7"
	"github.com/fairlead-net/fairlead/internal/l7/acme"
)

// secrets are a Store as an API server is one. Who watches gets a signal with each
// change.
type secrets struct {
	mu      sync.Mutex
	all     map[desired.Name]acme.Secret
	version int
	watch   []chan struct{}
}

func newSecrets() *secrets { return &secrets{all: map[desired.Name]acme.Secret{}} }

func (s *secrets) Get(_ context.Context, name desired.Name) (acme.Secret, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	found, ok := s.all[name]
	found.Data = maps.Clone(found.Data)
	return found, ok, nil
}

func (s *secrets) Put(_ context.Context, name desired.Name, secret acme.Secret) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all[name].Version != secret.Version {
		return acme.ErrConflict
	}
	s.version++
	secret.Version, secret.Data = strconv.Itoa(s.version), maps.Clone(secret.Data)
	s.all[name] = secret
	for _, w := range s.watch {
		select {
		case w <- struct{}{}:
		default:
		}
	}
	return nil
}

func (s *secrets) follow() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := make(chan struct{}, 1)
	s.watch = append(s.watch, w)
	return w
}

const system = "fairlead-system"

// replica is a gateway as far as an authority can see it.
type replica struct {
	answers     atomic.Pointer[acme.Answers]
	http, https net.Listener
	// asked counts what authorities and other replicas asked for, with and without an
	// answer; before is called with each, if it is set.
	asked  atomic.Int64
	before func(n int64)
	// tell is given what is answered, if it is set.
	tell func(*acme.Answers)
}

func newReplica(t *testing.T) *replica {
	t.Helper()
	r := &replica{http: listen(t), https: listen(t)}
	r.answers.Store(new(acme.Answers))
	server := &http.Server{Handler: http.HandlerFunc(r.serve), ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = server.Serve(r.http) }()
	go r.acceptTLS()
	t.Cleanup(func() { _ = server.Close(); _ = r.https.Close() })
	return r
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func (r *replica) note() {
	n := r.asked.Add(1)
	if r.before != nil {
		r.before(n)
	}
}

func (r *replica) serve(w http.ResponseWriter, request *http.Request) {
	token, ok := acme.Token(request.URL.Path)
	if !ok {
		http.NotFound(w, request)
		return
	}
	r.note()
	host := request.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	key, ok := r.answers.Load().HTTP01(host, token)
	if !ok {
		http.NotFound(w, request)
		return
	}
	_, _ = w.Write([]byte(key))
}

func (r *replica) acceptTLS() {
	config := &tls.Config{GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		r.note()
		config, err := r.answers.Load().TLSConfig(hello)
		if config == nil && err == nil {
			err = fmt.Errorf("%s is no challenge", hello.ServerName)
		}
		return config, err
	}}
	for {
		c, err := r.https.Accept()
		if err != nil {
			return
		}
		go func() {
			_ = tls.Server(c, config).HandshakeContext(context.Background())
			_ = c.Close()
		}()
	}
}

// read takes over what the Secret with the answers says now.
func (r *replica) read(t *testing.T, s *secrets) {
	secret, _, _ := s.Get(t.Context(), desired.Name{Namespace: system, Name: acme.AnswersSecret})
	answers, err := acme.ReadAnswers(secret, r.answers.Load())
	if err != nil {
		t.Error(err)
	}
	r.answers.Store(answers)
	if r.tell != nil {
		r.tell(answers)
	}
}

// follow reads it with each change.
func (r *replica) follow(t *testing.T, s *secrets) *replica {
	changes, done := s.follow(), t.Context().Done()
	go func() {
		for {
			select {
			case <-changes:
				r.read(t, s)
			case <-done:
				return
			}
		}
	}()
	return r
}

func address(l net.Listener) netip.AddrPort { return netip.MustParseAddrPort(l.Addr().String()) }

func port(l net.Listener) int { return int(address(l).Port()) }

// probeFor is ample for loopback.
const probeFor = 5 * time.Second

// leader runs a Manager, and keeps what it reports.
type leader struct {
	*acme.Manager
	reports chan acme.Report
	stop    func()
}

func lead(t *testing.T, c acme.Config, s *secrets, peers ...*replica) *leader {
	t.Helper()
	l := &leader{reports: make(chan acme.Report, 1000)}
	var err error
	l.Manager, err = acme.New(acme.Options{
		Config: c, Store: s, Report: func(r acme.Report) { l.reports <- r }, Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
		ProbeFor: probeFor,
		Peers: func() []acme.Peer {
			var all []acme.Peer
			for _, p := range peers {
				all = append(all, acme.Peer{HTTP: address(p.http), HTTPS: address(p.https)})
			}
			return all
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	l.stop = sync.OnceFunc(func() { cancel(); <-ended })
	t.Cleanup(l.stop)
	l.Offer(table(t, c))
	go func() { defer close(ended); _ = l.Run(ctx) }()
	return l
}

// until waits for a report of which it is so.
func (l *leader) until(t *testing.T, what string, so func(acme.Report) bool) acme.Report {
	t.Helper()
	limit := time.NewTimer(time.Minute)
	defer limit.Stop()
	var last acme.Report
	for {
		select {
		case last = <-l.reports:
			if so(last) {
				return last
			}
		case <-limit.C:
			t.Fatalf("no %s; the last report is %+v", what, last)
		}
	}
}

// table is that of one Ingress, demo/shop, which asks for a certificate.
func table(t *testing.T, c acme.Config) *l7.Table {
	t.Helper()
	hosts := []string{"shop.example.com", "www.shop.example.com"}
	if c.Challenge == acme.DNS01 {
		hosts[1] = "*.shop.example.com"
	}
	class := desired.ParseIngressClass(&networkingv1.IngressClass{
		ObjectMeta: metav1.ObjectMeta{Name: "fairlead"}, Spec: networkingv1.IngressClassSpec{Controller: l7.Controller},
	})
	ingress := desired.ParseIngress(&networkingv1.Ingress{
		ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "shop", Annotations: map[string]string{acme.Annotation: "true"}},
		Spec: networkingv1.IngressSpec{
			IngressClassName: &class.Name, TLS: []networkingv1.IngressTLS{{Hosts: hosts, SecretName: "shop-tls"}},
			DefaultBackend: &networkingv1.IngressBackend{Service: &networkingv1.IngressServiceBackend{Name: "shop", Port: networkingv1.ServiceBackendPort{Number: 80}}},
		},
	})
	objects := desired.Objects{Synced: true}
	objects.Ingresses = objects.Ingresses.Set(ingress.Name, ingress)
	objects.IngressClasses = objects.IngressClasses.Set(class.Name, class)
	state, _ := desired.Build(objects, desired.Node{}, nil)
	table, _ := l7.Compile(state, l7.Table{}, l7.Config{})
	return &table
}

// certificate returns the one in demo/shop-tls, which must have the hosts and be signed
// by the authority.
func certificate(t *testing.T, s *secrets, roots *x509.CertPool, hosts ...string) *x509.Certificate {
	t.Helper()
	secret, ok, _ := s.Get(t.Context(), desired.Name{Namespace: "demo", Name: "shop-tls"})
	if !ok || secret.Type != acme.TypeTLS {
		t.Fatalf("there is no certificate: %+v", secret)
	}
	pair, err := tls.X509KeyPair(secret.Data["tls.crt"], secret.Data["tls.key"])
	if err != nil {
		t.Fatal(err)
	}
	between := x509.NewCertPool()
	for _, der := range pair.Certificate[1:] {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		between.AddCert(c)
	}
	for _, host := range hosts {
		if _, err := pair.Leaf.Verify(x509.VerifyOptions{DNSName: host, Roots: roots, Intermediates: between}); err != nil {
			t.Error(err)
		}
	}
	return pair.Leaf
}
