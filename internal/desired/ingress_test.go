package desired

import (
	"testing"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestIngressesAreShared: an Ingress is the same value in every State until it
// changes, and its mistakes are no Status of a State's: another controller may serve
// it.
func TestIngressesAreShared(t *testing.T) {
	name := Name{"demo", "x"}
	bad := &networkingv1.Ingress{ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "x"}, Spec: networkingv1.IngressSpec{
		Rules: []networkingv1.IngressRule{{Host: "no host"}}, DefaultBackend: &networkingv1.IngressBackend{
			Service: &networkingv1.IngressServiceBackend{Name: "s", Port: networkingv1.ServiceBackendPort{Number: 80}},
		},
	}}
	o := cluster(2)
	o.Ingresses = o.Ingresses.Set(name, ParseIngress(bad))
	first, statuses := Build(o, Node{}, nil)
	i, _ := first.Ingresses.Get(name)
	if len(i.Reasons()) != 1 || i.Reasons()[0].Code != "HostInvalid" || i.Reasons()[0].Object.String() != "Ingress demo/x" || len(statuses) != 0 || first.Statuses.Len() != 0 {
		t.Errorf("%+v, %+v", i.Reasons(), statuses)
	}
	if i.CatchAll {
		t.Error("a host that cannot be read must not mean every host")
	}
	o.Ingresses = o.Ingresses.Set(Name{"demo", "y"}, ParseIngress(bad))
	second, _ := Build(o, Node{}, first)
	if again, _ := second.Ingresses.Get(name); again != i || second.Revision != first.Revision+1 {
		t.Errorf("another value, or revision %d after %d", second.Revision, first.Revision)
	}
	o.IngressClasses = o.IngressClasses.Set("c", ParseIngressClass(&networkingv1.IngressClass{ObjectMeta: metav1.ObjectMeta{Name: "c"}}))
	if third, _ := Build(o, Node{}, second); third.Revision != second.Revision+1 || third.IngressClasses.Len() != 1 {
		t.Errorf("revision %d after a class", third.Revision)
	}
}

// FuzzParseIngress: whatever is in it, hosts are names and paths begin with a slash.
func FuzzParseIngress(f *testing.F) {
	f.Add("a.example.com", "/a", "Prefix", "*.example.com", "s", int32(80), "http")
	f.Add("*", "a", "", "", "", int32(-1), "")
	f.Fuzz(func(t *testing.T, host, path, kind, tlsHost, service string, number int32, portName string) {
		pathType := networkingv1.PathType(kind)
		backend := networkingv1.IngressBackend{Service: &networkingv1.IngressServiceBackend{Name: service, Port: networkingv1.ServiceBackendPort{Number: number, Name: portName}}}
		i := ParseIngress(&networkingv1.Ingress{Spec: networkingv1.IngressSpec{
			DefaultBackend: &backend, TLS: []networkingv1.IngressTLS{{Hosts: []string{tlsHost}}},
			Rules: []networkingv1.IngressRule{{Host: host, IngressRuleValue: networkingv1.IngressRuleValue{HTTP: &networkingv1.HTTPIngressRuleValue{Paths: []networkingv1.HTTPIngressPath{{Path: path, PathType: &pathType, Backend: backend}}}}}},
		}})
		if len(i.Rules) == 0 && len(i.Reasons()) == 0 {
			t.Error("a rule is gone without a word")
		}
		for _, r := range i.Rules {
			if r.Path == "" || r.Path[0] != '/' || r.Backend.Service == "" || r.Backend.Port == "" {
				t.Errorf("%+v", r)
			}
		}
		if len(i.TLS) == 1 && len(i.TLS[0].Hosts) != 1 {
			t.Errorf("TLS for every host: %+v", i.TLS)
		}
	})
}
