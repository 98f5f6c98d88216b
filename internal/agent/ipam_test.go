package agent

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/scheme"

	"github.com/fairlead-net/fairlead/api/metallb"
	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/ipam"
	"github.com/fairlead-net/fairlead/internal/kube"
)

// addressServer is an API server with Services and IPAddresses, by RESOURCE/NAME. It
// remembers what was written, in order.
type addressServer struct {
	mu      sync.Mutex
	objects map[string]runtime.Object
	writes  []string
	// before is called, without the lock, before a write is done. Its context ends when
	// the client has gone away.
	before func(ctx context.Context, write string)
}

func (s *addressServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	key, object := s.addressed(r)
	if r.Method != http.MethodGet && !strings.HasPrefix(key, "events") {
		s.mu.Lock()
		before := s.before
		s.mu.Unlock()
		if before != nil {
			before(r.Context(), r.Method+" "+key)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.Context().Err() != nil {
		return // the client has gone away before the write
	}
	if r.Method != http.MethodGet && !strings.HasPrefix(key, "events") {
		s.writes = append(s.writes, r.Method+" "+key)
	}
	there, exists := s.objects[key]
	switch {
	case r.Method == http.MethodPost && exists:
		answer(w, http.StatusConflict, &metav1.Status{Reason: metav1.StatusReasonAlreadyExists, Code: http.StatusConflict})
		return
	case r.Method == http.MethodPost, r.Method == http.MethodPut:
		s.objects[key] = object
		there = object
	case !exists && r.Method != http.MethodPatch:
		answer(w, http.StatusNotFound, &metav1.Status{Reason: metav1.StatusReasonNotFound, Code: http.StatusNotFound})
		return
	case r.Method == http.MethodPatch:
		there = &metav1.Status{Status: metav1.StatusSuccess}
	case r.Method == http.MethodDelete:
		delete(s.objects, key)
	}
	answer(w, http.StatusOK, there)
}

// addressed returns the key of the object that a request is about, and its body.
func (s *addressServer) addressed(r *http.Request) (string, runtime.Object) {
	parts := strings.Split(r.URL.Path, "/")
	parts = parts[slices.IndexFunc(parts, func(p string) bool { return strings.HasPrefix(p, "v1") })+1:]
	if parts[0] == "namespaces" {
		parts = parts[2:]
	}
	body, _ := io.ReadAll(r.Body)
	object, _, _ := scheme.Codecs.UniversalDeserializer().Decode(body, nil, nil)
	if accessor, ok := object.(metav1.Object); ok && len(parts) == 1 {
		parts = append(parts, accessor.GetName())
	}
	return strings.Join(parts[:min(2, len(parts))], "/"), object
}

func answer(w http.ResponseWriter, code int, o runtime.Object) {
	if kinds, _, err := scheme.Scheme.ObjectKinds(o); err == nil {
		o = o.DeepCopyObject()
		o.GetObjectKind().SetGroupVersionKind(kinds[0])
	}
	if status, ok := o.(*metav1.Status); ok {
		status.Kind, status.APIVersion = "Status", "v1"
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(o)
}

// wrote checks what was written since the last time, pools apart.
func (s *addressServer) wrote(t *testing.T, when string, want ...string) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	got := slices.DeleteFunc(s.writes, func(write string) bool { return strings.Contains(write, "ipaddresspools") })
	s.writes = nil
	if diff := cmp.Diff(want, got, cmp.Transformer("", func(all []string) string { return strings.Join(all, "\n") })); diff != "" {
		t.Errorf("%s (-want +got):\n%s", when, diff)
	}
}

func (s *addressServer) set(key string, o runtime.Object) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.objects[key] = o
}

// service puts a Service that wants an address of a class.
func (s *addressServer) service(name, class string, ingress ...string) {
	o := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: name, UID: "u"}}
	o.Spec = corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer, LoadBalancerClass: &class, ClusterIP: "10.96.0.1", ClusterIPs: []string{"10.96.0.1"}, Ports: []corev1.ServicePort{{Port: 80}}}
	for _, ip := range ingress {
		o.Status.LoadBalancer.Ingress = append(o.Status.LoadBalancer.Ingress, corev1.LoadBalancerIngress{IP: ip})
	}
	s.set("services/"+name, o)
}

// addressWorld is a plane at such a server.
type addressWorld struct {
	*addressPlane
	server *addressServer
	state  *desired.State
	table  ipam.Table
}

func newAddressWorld(t *testing.T) *addressWorld {
	t.Helper()
	s := &addressServer{objects: map[string]runtime.Object{}}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	client, log := clientOf(t, server.URL), slog.New(slog.DiscardHandler)
	p := &addressPlane{
		client: client, watcher: kube.NewWatcher(client, "", kube.Reads{Addressing: kube.Addressing{Namespace: "metallb-system", Claims: true}}, log),
		writer: kube.NewEventWriter(client, log), log: log, leadership: newLeadership(),
		written: map[netip.Addr][]desired.Name{}, pools: map[desired.Name]ipam.Usage{},
	}
	t.Cleanup(func() { _ = p.Close() })
	return &addressWorld{addressPlane: p, server: s}
}

// hold gives the plane the Lease, and returns how to take it away.
func (w *addressWorld) hold(t *testing.T) (lose func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { w.lead(ctx); close(done) }()
	return func() { cancel(); <-done }
}

// see compiles what the server has: of it the claims that are named in claims alone.
func (w *addressWorld) see(synced bool, claims ...string) addresses {
	w.server.mu.Lock()
	defer w.server.mu.Unlock()
	o := desired.Objects{Synced: synced}
	for _, object := range w.server.objects {
		switch object := object.(type) {
		case *corev1.Service:
			s := desired.ParseService(object)
			o.Services = o.Services.Set(s.Name, s)
		case *networkingv1.IPAddress:
			if !slices.Contains(claims, object.Name) {
				continue
			}
			claim := &desired.Claim{Address: netip.MustParseAddr(object.Name)}
			for text := range strings.SplitSeq(object.Annotations["fairlead.dev/services"], ",") {
				namespace, name, _ := strings.Cut(text, "/")
				claim.Services = append(claim.Services, desired.Name{Namespace: namespace, Name: name})
			}
			o.Addressing.Claims = o.Addressing.Claims.Set(claim.Address, claim)
		}
	}
	pool := &metallb.IPAddressPool{ObjectMeta: metav1.ObjectMeta{Namespace: "metallb-system", Name: "pool"}, Spec: metallb.IPAddressPoolSpec{Addresses: []string{"192.0.2.1-192.0.2.2"}}}
	o.Addressing.Pools = o.Addressing.Pools.Set(desired.Name{Namespace: "metallb-system", Name: "pool"}, desired.ParsePool(pool))
	w.state, _ = desired.Build(o, desired.Node{}, w.state)
	w.table, _ = ipam.Compile(w.state, w.table, ipam.Options{})
	return addresses{state: w.state, table: w.table}
}

const one, two = "192.0.2.1", "192.0.2.2"

// TestAddressPlaneOrder expects an address to be claimed before it is written into a
// Service, and to be let go of after it was taken out.
func TestAddressPlaneOrder(t *testing.T) {
	w := newAddressWorld(t)
	defer w.hold(t)()
	apply := func(want addresses) {
		t.Helper()
		if err := inTurn(t.Context(), w, want); err != nil {
			t.Error(err)
		}
	}
	w.server.service("a", ipam.Class)
	apply(w.see(false))
	w.server.wrote(t, "before everything is known")
	stale := w.see(true)
	apply(stale)
	w.server.wrote(t, "a Service is new", "POST ipaddresses/"+one, "PUT services/a")

	// The State is still the one before; another Service must not get what a has.
	w.server.service("b", ipam.Class)
	apply(w.see(true))
	w.server.wrote(t, "its own claim has not been seen yet")
	apply(w.see(true, one))
	w.server.wrote(t, "it has", "POST ipaddresses/"+two, "PUT services/b")
	apply(w.see(true, one, two))
	w.server.wrote(t, "all is as it should be")

	w.server.service("a", "other.example/class", one)
	apply(w.see(true, one, two))
	w.server.wrote(t, "a Service is somebody else's", "PUT services/a", "DELETE ipaddresses/"+one)
	w.server.mu.Lock()
	delete(w.server.objects, "services/b")
	w.server.mu.Unlock()
	apply(w.see(true, two))
	w.server.wrote(t, "a Service is gone", "DELETE ipaddresses/"+two)
}

// TestAddressPlaneKeepsWhatIsInUse expects no address to be let go of that a Service
// has, whatever the State says.
func TestAddressPlaneKeepsWhatIsInUse(t *testing.T) {
	w := newAddressWorld(t)
	defer w.hold(t)()
	w.server.service("a", ipam.Class)
	if err := inTurn(t.Context(), w, w.see(true)); err != nil {
		t.Fatal(err)
	}
	w.server.wrote(t, "a Service is new", "POST ipaddresses/"+one, "PUT services/a")
	w.server.mu.Lock()
	a := w.server.objects["services/a"]
	delete(w.server.objects, "services/a")
	w.server.mu.Unlock()
	gone := w.see(true, one)
	w.server.set("services/a", a) // it is there, though the State does not have it yet
	if err := inTurn(t.Context(), w, gone); err == nil || !strings.Contains(err.Error(), "stays claimed: Service demo/a still has it") {
		t.Errorf("%v", err)
	}
	w.server.wrote(t, "a Service that is not seen yet")
}

// TestAddressPlaneTaken expects nothing to be written into a Service whose address is
// somebody else's, or which has changed.
func TestAddressPlaneTaken(t *testing.T) {
	w := newAddressWorld(t)
	defer w.hold(t)()
	w.server.service("a", ipam.Class)
	w.server.set("ipaddresses/"+one, &networkingv1.IPAddress{
		ObjectMeta: metav1.ObjectMeta{Name: one, Labels: map[string]string{networkingv1.LabelManagedBy: "other"}},
		Spec:       networkingv1.IPAddressSpec{ParentRef: &networkingv1.ParentReference{Resource: "services", Namespace: "x", Name: "y"}},
	})
	if err := inTurn(t.Context(), w, w.see(true)); err != nil {
		t.Error(err)
	}
	w.server.wrote(t, "somebody was first", "POST ipaddresses/"+one)

	w = newAddressWorld(t)
	defer w.hold(t)()
	w.server.service("a", ipam.Class)
	before := w.see(true)
	w.server.service("a", "other.example/class")
	if err := inTurn(t.Context(), w, before); err != nil {
		t.Error(err)
	}
	w.server.wrote(t, "the Service is not as it was", "POST ipaddresses/"+one)
	// What does not come back from the API server was undone by somebody.
	w.server.service("a", ipam.Class)
	w.server.mu.Lock()
	delete(w.server.objects, "ipaddresses/"+one)
	w.server.mu.Unlock()
	w.at = time.Now().Add(-longUnseen - time.Second)
	if err := inTurn(t.Context(), w, w.see(true)); err != nil {
		t.Error(err)
	}
	w.server.wrote(t, "after a while", "POST ipaddresses/"+one, "PUT services/a")
}

// TestAddressPlaneWithoutLease expects nothing to be written without the Lease, and
// nothing more once it is lost in the middle.
func TestAddressPlaneWithoutLease(t *testing.T) {
	w := newAddressWorld(t)
	w.server.service("a", ipam.Class)
	brief, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := inTurn(brief, w, w.see(true)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("without the Lease: %v", err)
	}
	w.server.wrote(t, "without the Lease")

	lose, lost := w.hold(t), make(chan struct{})
	w.server.before = func(ctx context.Context, write string) {
		if strings.HasPrefix(write, "PUT") {
			go func() { lose(); close(lost) }()
			<-ctx.Done() // Apply has given up
		}
	}
	if err := inTurn(t.Context(), w, w.see(true)); !errors.Is(err, context.Canceled) {
		t.Errorf("the Lease is lost: %v", err)
	}
	<-lost
	w.server.wrote(t, "the Lease is lost", "POST ipaddresses/"+one)
	if w.Describe()[0] != "stands by for the lease" {
		t.Error(w.Describe())
	}
}
