package kube

import (
	"log/slog"
	"slices"
	"strings"
	"testing"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/fairlead-net/fairlead/internal/desired"
)

func shopIngress(class string) *networkingv1.Ingress {
	return &networkingv1.Ingress{
		ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "shop", Annotations: map[string]string{"kubectl.kubernetes.io/last-applied-configuration": "long", "a": "b"}},
		Spec: networkingv1.IngressSpec{IngressClassName: &class, DefaultBackend: &networkingv1.IngressBackend{
			Service: &networkingv1.IngressServiceBackend{Name: "shop", Port: networkingv1.ServiceBackendPort{Number: 80}},
		}},
	}
}

// TestWatcherIngresses: they are read where they are asked for, and only there.
func TestWatcherIngresses(t *testing.T) {
	s := newAPIServer(t)
	clusterObjects(s)
	s.set("ingresses", shopIngress("fairlead"))
	s.set("ingressclasses", &networkingv1.IngressClass{ObjectMeta: named("", "fairlead"), Spec: networkingv1.IngressClassSpec{Controller: "fairlead.dev/ingress"}})
	_, views := watched(t, s, "")
	if v := until(t, views, "all is read", synced); v.Objects.Ingresses.Len()+v.Objects.IngressClasses.Len() > 0 {
		t.Error("nobody asked for Ingresses")
	}
	s.mu.Lock()
	for _, request := range s.requests {
		if strings.Contains(request, "ingress") {
			t.Errorf("asks for %s", request)
		}
	}
	s.mu.Unlock()
	_, views = watchedWith(t, s, "", Reads{Ingresses: true})
	v := until(t, views, "all is read", synced)
	name := desired.Name{Namespace: "demo", Name: "shop"}
	shop, _ := v.Objects.Ingresses.Get(name)
	class, _ := v.Objects.IngressClasses.Get("fairlead")
	if shop == nil || shop.Class != "fairlead" || !shop.CatchAll || len(shop.Annotations) != 1 || class == nil || class.Controller != "fairlead.dev/ingress" {
		t.Fatalf("%+v, %+v", shop, class)
	}
	s.set("ingresses", shopIngress("other"))
	until(t, views, "the class is another", func(v View) bool {
		i, _ := v.Objects.Ingresses.Get(name)
		return i != nil && i.Class == "other"
	})
	listed, err := s.client(t).List(t.Context(), "", Reads{Ingresses: true}, slog.New(slog.DiscardHandler))
	if err != nil || listed.Objects.Ingresses.Len() != 1 || listed.Objects.IngressClasses.Len() != 1 {
		t.Errorf("List: %d Ingresses, %d classes, %v", listed.Objects.Ingresses.Len(), listed.Objects.IngressClasses.Len(), err)
	}
}

// TestSetIngressStatus: where an Ingress is served is written by one request, and taken
// away by one; what else the Ingress is stays.
func TestSetIngressStatus(t *testing.T) {
	set := fake.NewClientset(shopIngress("fairlead"))
	c, name := &Client{clientset: set}, desired.Name{Namespace: "demo", Name: "shop"}
	for _, want := range [][]string{{"192.0.2.1", "shop.example"}, {"2001:db8::1"}, nil} {
		set.ClearActions()
		if err := c.SetIngressStatus(t.Context(), name, want); err != nil {
			t.Fatal(err)
		}
		if n := len(set.Actions()); n != 1 {
			t.Errorf("%d requests, want 1", n)
		}
		o, err := set.NetworkingV1().Ingresses("demo").Get(t.Context(), "shop", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if got := desired.ParseIngressWithStatus(o).Status; !slices.Equal(got, want) || *o.Spec.IngressClassName != "fairlead" {
			t.Errorf("%v, want %v", got, want)
		}
	}
	if err := c.SetIngressStatus(t.Context(), desired.Name{Namespace: "demo", Name: "gone"}, nil); err != nil {
		t.Errorf("one that is gone: %v", err)
	}
}
