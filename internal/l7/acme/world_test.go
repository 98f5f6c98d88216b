package acme

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/big"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/l7"
)

// memory is a Store.
type memory struct {
	mu      sync.Mutex
	all     map[desired.Name]Secret
	version int
	gets    int
	broken  error
	// conflicts is how many Puts somebody else is faster than.
	conflicts int
}

func newMemory() *memory { return &memory{all: map[desired.Name]Secret{}} }

func (m *memory) Get(_ context.Context, name desired.Name) (Secret, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.gets++
	s, ok := m.all[name]
	s.Data = maps.Clone(s.Data)
	return s, ok, m.broken
}

func (m *memory) reads() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.gets
}

func (m *memory) Put(_ context.Context, name desired.Name, s Secret) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.broken != nil {
		return m.broken
	}
	if m.conflicts > 0 || m.all[name].Version != s.Version {
		m.conflicts--
		return ErrConflict
	}
	m.version++
	s.Version, s.Data = strconv.Itoa(m.version), maps.Clone(s.Data)
	m.all[name] = s
	return nil
}

// world is a Manager whose authority is a function.
type world struct {
	*Manager
	store  *memory
	config Config
	// answer says how orders go; nil issues for 90 days.
	answer  func(want Want) (time.Duration, error)
	ordered []string // with the time since the beginning
	start   time.Time
	reports []Report
	mu      sync.Mutex
	stop    func()
}

func newWorld(t *testing.T, objects ...*networkingv1.Ingress) *world {
	t.Helper()
	w := &world{store: newMemory(), start: time.Now(), config: Config{
		Server: "https://ca.example.com/dir", AgreeToTerms: true, Challenge: HTTP01, OrdersPerHour: 30, Namespace: "fairlead-system",
	}}
	w.lead(t, objects...)
	return w
}

// lead has a new process lead, in a synctest bubble.
func (w *world) lead(t *testing.T, objects ...*networkingv1.Ingress) {
	t.Helper()
	m, err := New(Options{Config: w.config, Store: w.store, Log: slog.New(slog.DiscardHandler), Report: func(r Report) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.reports = append(w.reports, r)
	}})
	if err != nil {
		t.Fatal(err)
	}
	w.Manager = m
	m.issue, m.advise = w.issue, func(context.Context, []advised) map[l7.CertificateID]advised { return nil }
	m.Offer(testTable(objects...))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = m.Run(ctx) }()
	w.stop = func() { cancel(); <-ended }
	t.Cleanup(w.stop)
	synctest.Wait()
}

func (w *world) issue(ctx context.Context, want Want, _ Held) (time.Duration, error) {
	w.mu.Lock()
	w.ordered = append(w.ordered, fmt.Sprintf("%s %s", time.Since(w.start).Round(time.Second), want.Secret))
	answer := w.answer
	w.mu.Unlock()
	if answer != nil {
		if after, err := answer(want); err != nil {
			return after, err
		}
	}
	return 0, w.put(want, 90*24*time.Hour, w.config.Server)
}

// put gives a Secret a certificate of its own.
func (w *world) put(want Want, lifetime time.Duration, server string) error {
	chain, key := testCertificate(time.Now(), lifetime, want.Hosts...)
	s, _, _ := w.store.Get(context.Background(), desired.Name(want.Secret))
	return w.store.Put(context.Background(), desired.Name(want.Secret), Secret{
		Type: TypeTLS, Ours: true, Version: s.Version, Data: map[string][]byte{keyCertificate: chain, keyPrivate: key, keyServer: []byte(server)},
	})
}

func (w *world) orders() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Join(w.ordered, "; ")
}

// said returns the last report's Reasons.
func (w *world) said() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.reports) == 0 {
		return ""
	}
	var all []string
	for _, r := range w.reports[len(w.reports)-1].Reasons {
		all = append(all, r.Object.String()+": "+r.Code+": "+r.Message)
	}
	return strings.Join(all, "\n")
}

func testCertificate(from time.Time, lifetime time.Duration, hosts ...string) (chain, key []byte) {
	made, keyText, err := newKey()
	if err != nil {
		panic(err)
	}
	issuer, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(from.UnixNano()), NotBefore: from, NotAfter: from.Add(lifetime), DNSNames: hosts, AuthorityKeyId: []byte{1}}
	der, err := x509.CreateCertificate(rand.Reader, template, &x509.Certificate{}, made.Public(), issuer)
	if err != nil {
		panic(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), keyText
}

// asks is an Ingress that asks for a certificate, in a Secret of its own name.
func asks(namespace, name string, hosts ...string) *networkingv1.Ingress {
	class := "fairlead"
	return &networkingv1.Ingress{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Annotations: map[string]string{Annotation: "true"}},
		Spec: networkingv1.IngressSpec{
			IngressClassName: &class, TLS: []networkingv1.IngressTLS{{Hosts: hosts, SecretName: name}}, Rules: testRules(hosts),
		},
	}
}

func testRules(hosts []string) (rules []networkingv1.IngressRule) {
	prefix := networkingv1.PathTypePrefix
	for _, host := range hosts {
		rules = append(rules, networkingv1.IngressRule{Host: host, IngressRuleValue: networkingv1.IngressRuleValue{HTTP: &networkingv1.HTTPIngressRuleValue{
			Paths: []networkingv1.HTTPIngressPath{{Path: "/", PathType: &prefix, Backend: networkingv1.IngressBackend{
				Service: &networkingv1.IngressServiceBackend{Name: "s", Port: networkingv1.ServiceBackendPort{Number: 80}},
			}}},
		}}})
	}
	return rules
}

func testTable(objects ...*networkingv1.Ingress) *l7.Table {
	o := desired.Objects{Synced: true}
	class := desired.ParseIngressClass(&networkingv1.IngressClass{ObjectMeta: metav1.ObjectMeta{Name: "fairlead"}, Spec: networkingv1.IngressClassSpec{Controller: l7.Controller}})
	o.IngressClasses = o.IngressClasses.Set("fairlead", class)
	for _, object := range objects {
		i := desired.ParseIngress(object)
		o.Ingresses = o.Ingresses.Set(i.Name, i)
	}
	state, _ := desired.Build(o, desired.Node{}, nil)
	table, _ := l7.Compile(state, l7.Table{}, l7.Config{})
	return &table
}

var errAway = ofAuthority(errors.New("connection refused"))
