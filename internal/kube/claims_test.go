package kube

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/fairlead-net/fairlead/internal/desired"
)

func claimOf(address string, services ...string) *desired.Claim {
	c := &desired.Claim{Address: netip.MustParseAddr(address)}
	for _, service := range services {
		c.Services = append(c.Services, desired.Name{Namespace: "demo", Name: service})
	}
	return c
}

func TestClaims(t *testing.T) {
	c := &Client{clientset: fake.NewClientset()}
	ctx := t.Context()
	held := func(address string) *desired.Claim {
		t.Helper()
		o, err := c.clientset.NetworkingV1().IPAddresses().Get(ctx, address, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return parseClaim(o)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	taken := func(err error) {
		t.Helper()
		if conflict := new(ClaimTakenError); !errors.As(err, &conflict) || !slices.Contains(conflict.By.Services, desired.Name{Namespace: "demo", Name: "a"}) {
			t.Errorf("want a ClaimTakenError by demo/a, got %v", err)
		}
	}
	must(c.CreateClaim(ctx, claimOf("2001:db8::7", "a")))
	taken(c.CreateClaim(ctx, claimOf("2001:db8::7", "b")))
	taken(c.DeleteClaim(ctx, claimOf("2001:db8::7", "b")))
	must(c.UpdateClaim(ctx, claimOf("2001:db8::7", "a"), claimOf("2001:db8::7", "a", "b")))
	taken(c.UpdateClaim(ctx, claimOf("2001:db8::7", "a"), claimOf("2001:db8::7", "a", "c")))
	if got := held("2001:db8::7"); len(got.Services) != 2 || got.Foreign != "" {
		t.Errorf("%+v", got)
	}
	// The first leaves, the other stays: the object gets another parent.
	must(c.UpdateClaim(ctx, claimOf("2001:db8::7", "a", "b"), claimOf("2001:db8::7", "b")))
	o, _ := c.clientset.NetworkingV1().IPAddresses().Get(ctx, "2001:db8::7", metav1.GetOptions{})
	if o.Spec.ParentRef.Name != "b" || !slices.Equal(held("2001:db8::7").Services, claimOf("::1", "b").Services) {
		t.Errorf("%+v", o)
	}
	must(c.DeleteClaim(ctx, claimOf("2001:db8::7", "b")))
	must(c.DeleteClaim(ctx, claimOf("2001:db8::7", "b")))
}

func TestForeignClaim(t *testing.T) {
	c := &Client{clientset: fake.NewClientset(&networkingv1.IPAddress{
		ObjectMeta: metav1.ObjectMeta{Name: "10.96.0.1", Labels: map[string]string{labelManagedBy: "ipallocator.k8s.io"}},
		Spec:       networkingv1.IPAddressSpec{ParentRef: &networkingv1.ParentReference{Resource: "services", Namespace: "default", Name: "kubernetes"}},
	})}
	conflict := new(ClaimTakenError)
	if err := c.CreateClaim(t.Context(), claimOf("10.96.0.1", "a")); !errors.As(err, &conflict) || !strings.Contains(conflict.By.Foreign, "default/kubernetes") {
		t.Errorf("%v", err)
	}
	if err := c.DeleteClaim(t.Context(), claimOf("10.96.0.1", "a")); !errors.As(err, &conflict) {
		t.Errorf("a foreign claim was deleted: %v", err)
	}
}

func TestSetIngress(t *testing.T) {
	proxy := corev1.LoadBalancerIPModeProxy
	service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "a"}, Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer}}
	service.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "192.0.2.1", IPMode: &proxy}}
	c := &Client{clientset: fake.NewClientset(service)}
	name := desired.Name{Namespace: "demo", Name: "a"}
	addresses := []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")}
	now := func() []corev1.LoadBalancerIngress {
		t.Helper()
		o, err := c.clientset.CoreV1().Services("demo").Get(t.Context(), "a", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return o.Status.LoadBalancer.Ingress
	}
	yes := func(s *desired.Service) bool { return s.Balancer != nil }
	if wrote, err := c.SetIngress(t.Context(), name, addresses, func(*desired.Service) bool { return false }); err != nil || wrote || len(now()) != 1 {
		t.Errorf("%v, %v", now(), err)
	}
	if wrote, err := c.SetIngress(t.Context(), name, addresses, yes); err != nil || !wrote || len(now()) != 2 || now()[0].IPMode == nil || now()[1].IP != "2001:db8::1" {
		t.Errorf("%v, %v", now(), err)
	}
	if has, err := c.Ingress(t.Context(), name); err != nil || !slices.Equal(has, addresses) {
		t.Errorf("%v, %v", has, err)
	}
	if wrote, err := c.SetIngress(t.Context(), name, nil, yes); err != nil || !wrote || len(now()) != 0 {
		t.Errorf("%v, %v", now(), err)
	}
	if wrote, err := c.SetIngress(t.Context(), desired.Name{Namespace: "demo", Name: "gone"}, nil, yes); err != nil || wrote {
		t.Errorf("a Service that is gone: %v", err)
	}
}
