package kube

import (
	"log/slog"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead-net/fairlead/internal/desired"
)

func statusOf(kind, name string, codes ...string) desired.Status {
	s := desired.Status{Object: desired.Ref{Kind: kind, Namespace: "demo", Name: name}}
	for _, code := range codes {
		s.Reasons = append(s.Reasons, desired.Reason{Object: s.Object, Code: code, Message: "what is wrong: " + code})
	}
	return s
}

func TestEventWriter(t *testing.T) {
	s := newAPIServer(t)
	s.set("services", versioned("shop", "uid-of-shop", ""))
	s.set("endpointslices", &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "shop-1", UID: "uid-of-slice"}})
	w := NewEventWriter(s.client(t), slog.New(slog.DiscardHandler))
	for _, status := range []desired.Status{
		statusOf("Service", "shop", "PortInvalid", "FrontendTaken"), statusOf("EndpointSlice", "shop-1", "AddressInvalid"), statusOf("Service", "shop"),
	} {
		if err := w.Write(t.Context(), status); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Write(t.Context(), statusOf("Service", "gone", "PortInvalid")); !apierrors.IsNotFound(err) {
		t.Errorf("an object that is gone: %v", err)
	}
	taken := func() []*corev1.Event {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.events
	}
	eventually(t, "three Events arrive", func() bool { return len(taken()) >= 3 })
	w.Close()
	byReason := map[string]*corev1.Event{}
	for _, e := range taken() {
		byReason[e.Reason] = e
	}
	for code, want := range map[string]corev1.ObjectReference{
		"PortInvalid":    {Kind: "Service", APIVersion: "v1", Namespace: "demo", Name: "shop", UID: "uid-of-shop"},
		"FrontendTaken":  {Kind: "Service", APIVersion: "v1", Namespace: "demo", Name: "shop", UID: "uid-of-shop"},
		"AddressInvalid": {Kind: "EndpointSlice", APIVersion: "discovery.k8s.io/v1", Namespace: "demo", Name: "shop-1", UID: "uid-of-slice"},
	} {
		e := byReason[code]
		if e == nil {
			t.Errorf("no Event %s", code)
			continue
		}
		on := e.InvolvedObject
		on.ResourceVersion = ""
		if on != want || e.Namespace != "demo" || e.Type != corev1.EventTypeWarning || e.Message != "what is wrong: "+code || e.Source.Component != "fairlead" {
			t.Errorf("%s: %+v", code, e)
		}
	}
	if len(taken()) != 3 {
		t.Errorf("%d Events", len(taken()))
	}
}
