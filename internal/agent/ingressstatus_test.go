package agent

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/l7"
)

// ingressServer is as much of an API server as takes statuses of Ingresses.
type ingressServer struct {
	mu      sync.Mutex
	written []string
	fails   bool
}

func (s *ingressServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	name := path.Base(strings.TrimSuffix(r.URL.Path, "/status"))
	if r.Method == http.MethodPatch {
		if s.fails {
			w.WriteHeader(http.StatusConflict)
			return
		}
		s.written = append(s.written, name)
	}
	o := ingressOf(name, "fairlead")
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(o)
}

// took returns whose statuses have been written since it was called last.
func (s *ingressServer) took() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.written
	s.written = nil
	slices.Sort(all)
	return all
}

func ingressOf(name, class string) *networkingv1.Ingress {
	o := &networkingv1.Ingress{
		TypeMeta: metav1.TypeMeta{APIVersion: "networking.k8s.io/v1", Kind: "Ingress"}, ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: name},
		Spec: networkingv1.IngressSpec{IngressClassName: &class},
	}
	if name == "done" {
		o.Status.LoadBalancer.Ingress = []networkingv1.IngressLoadBalancerIngress{{IP: "192.0.2.1"}}
	}
	return o
}

// TestIngressStatus: what changed is written, and what depends on something else that
// did; what failed is tried again.
func TestIngressStatus(t *testing.T) {
	s := &ingressServer{}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	p := &ingressStatusPlane{client: clientOf(t, server.URL), leadership: newLeadership(), written: map[desired.Name]bool{}}
	o := desired.Objects{Synced: true}
	at := []string{"192.0.2.1"}
	var state *desired.State
	var table l7.Table
	set := func(name, class string) {
		o.Ingresses = o.Ingresses.Set(desired.Name{Namespace: "demo", Name: name}, desired.ParseIngressWithStatus(ingressOf(name, class)))
	}
	expect := func(what string, fails bool, want ...string) {
		t.Helper()
		state, _ = desired.Build(o, desired.Node{}, state)
		table, _ = l7.Compile(state, table, l7.Config{})
		if err := p.Apply(t.Context(), ingressesServed{state: state, table: table, at: at}); (err != nil) != fails {
			t.Errorf("%s: %v", what, err)
		}
		if got := s.took(); !slices.Equal(got, want) {
			t.Errorf("%s: the statuses of %v are written, want %v", what, got, want)
		}
	}
	class := func(name string) {
		o.IngressClasses = o.IngressClasses.Set(name, &desired.IngressClass{Name: name, Controller: l7.Controller})
	}
	class("fairlead")
	set("done", "fairlead")
	set("shop", "fairlead")
	set("other", "foreign")
	p.written[desired.Name{Namespace: "demo", Name: "gone"}] = true
	expect("the first time", false, "shop")
	if p.written[desired.Name{Namespace: "demo", Name: "gone"}] {
		t.Error("an Ingress that is gone is still known")
	}
	expect("nothing changed", false)
	set("cart", "fairlead")
	expect("one more", false, "cart")
	s.fails = true
	set("late", "fairlead")
	expect("the server refuses", true)
	s.fails = false
	expect("again, with all whose status is not seen yet", false, "cart", "late", "shop")
	at = []string{"192.0.2.2"}
	expect("another address", false, "cart", "done", "late", "shop")
	class("foreign")
	expect("a class is served now", false, "cart", "done", "late", "other", "shop")
	set("done", "another")
	expect("one is not served any more", false, "done")
	o.Ingresses = o.Ingresses.Delete(desired.Name{Namespace: "demo", Name: "cart"})
	expect("one is gone", false)
	if p.written[desired.Name{Namespace: "demo", Name: "cart"}] {
		t.Error("an Ingress that is gone is still known")
	}
}
