package kube

import (
	"log/slog"
	"strings"
	"testing"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

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
