package kube

import (
	"strings"
	"testing"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/fairlead-net/fairlead/internal/desired"
)

// TestIngressEvents holds that what several replicas say of an Ingress is there once, in
// the words of the Reason, and that another thing, or of another Ingress of the name, is
// there too.
func TestIngressEvents(t *testing.T) {
	s := newAPIServer(t)
	ingress := func(name, uid string) *networkingv1.Ingress {
		return &networkingv1.Ingress{ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: name, UID: types.UID(uid)}}
	}
	s.set("ingresses", ingress("shop", "uid-1"))
	s.set("ingresses", ingress("another", "uid-2"))
	long := strings.Repeat("a", 253)
	s.set("ingresses", ingress(long, "uid-3"))
	client := s.client(t)
	warn := func(name, message string) {
		t.Helper()
		what := desired.Reason{Object: desired.Ref{Kind: "Ingress", Namespace: "demo", Name: name}, Code: "SecretNotFound", Message: message}
		if err := NewIngressEvents(client).Warn(t.Context(), what); err != nil {
			t.Error(err)
		}
	}
	for _, say := range [][2]string{{"shop", "one"}, {"shop", "one"}, {"shop", "two"}, {"gone", "one"}, {long, "one"}} {
		warn(say[0], say[1])
	}
	s.set("ingresses", ingress("shop", "uid-4"))
	warn("shop", "one")
	got := []string{}
	for _, e := range s.events {
		on := e.InvolvedObject
		got = append(got, string(on.UID)+" "+e.Reason+" "+e.Message)
		if on.Kind != "Ingress" || on.APIVersion != "networking.k8s.io/v1" || on.Namespace != "demo" || e.Namespace != "demo" || e.Type != "Warning" || e.Source.Component != "fairlead" || len(e.Name) > 253 {
			t.Errorf("%+v", e)
		}
	}
	want := "uid-1 SecretNotFound one|uid-1 SecretNotFound two|uid-3 SecretNotFound one|uid-4 SecretNotFound one"
	if strings.Join(got, "|") != want {
		t.Errorf("%q, want %q", got, want)
	}
	s.setRefused("events", true)
	what := desired.Reason{Object: desired.Ref{Kind: "Ingress", Namespace: "demo", Name: "shop"}, Code: "SecretNotFound", Message: "three"}
	if err := NewIngressEvents(client).Warn(t.Context(), what); err == nil {
		t.Error("a refusal is no error")
	}
}
