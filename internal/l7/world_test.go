package l7

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/l7/nginx"
	"github.com/fairlead-net/fairlead/internal/pmap"
)

func testClass(name, controller string) *desired.IngressClass {
	return desired.ParseIngressClass(&networkingv1.IngressClass{
		ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: networkingv1.IngressClassSpec{Controller: controller},
	})
}

// path is one of an Ingress.
type testPath struct {
	host, path, kind, service string
}

func testIngress(namespace, name string, created int, paths ...testPath) *networkingv1.Ingress {
	class := "fairlead"
	o := &networkingv1.Ingress{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, CreationTimestamp: metav1.NewTime(time.Unix(int64(created), 0))}}
	o.Spec.IngressClassName = &class
	for _, p := range paths {
		kind := networkingv1.PathType(p.kind)
		o.Spec.Rules = append(o.Spec.Rules, networkingv1.IngressRule{Host: p.host, IngressRuleValue: networkingv1.IngressRuleValue{
			HTTP: &networkingv1.HTTPIngressRuleValue{Paths: []networkingv1.HTTPIngressPath{{
				Path: p.path, PathType: &kind,
				Backend: networkingv1.IngressBackend{Service: &networkingv1.IngressServiceBackend{Name: p.service, Port: networkingv1.ServiceBackendPort{Number: 80}}},
			}}},
		}})
	}
	return o
}

func testService(namespace, name string, n int) (*desired.Service, *desired.Slice) {
	s := desired.ParseService(&corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Spec: corev1.ServiceSpec{
		ClusterIP: address(96, n), Ports: []corev1.ServicePort{{Name: "http", Port: 80}},
	}})
	port, number := "http", int32(8080)
	slice := desired.ParseSlice(&discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{discoveryv1.LabelServiceName: name}},
		AddressType: discoveryv1.AddressTypeIPv4, Ports: []discoveryv1.EndpointPort{{Name: &port, Port: &number}},
		Endpoints: []discoveryv1.Endpoint{{Addresses: []string{address(128, n)}}},
	})
	return s, slice
}

func address(second, n int) string {
	return netip.AddrFrom4([4]byte{10, byte(second + n>>16), byte(n >> 8), byte(n)}).String()
}

// bigObjects are n Ingresses with a host and a Service each, and ten paths.
func bigObjects(n int) desired.Objects {
	o := desired.Objects{Synced: true}
	o.IngressClasses = o.IngressClasses.Set("fairlead", testClass("fairlead", Controller))
	ingresses, services, endpoints := o.Ingresses.Edit(), o.Services.Edit(), o.Slices.Edit()
	for i := range n {
		name := desired.Name{Namespace: "demo", Name: fmt.Sprintf("app-%d", i)}
		ingresses.Set(name, desired.ParseIngress(bigIngress(i, "")))
		s, slice := testService(name.Namespace, name.Name, i)
		services.Set(name, s)
		endpoints.Set(name, slice)
	}
	o.Ingresses, o.Services, o.Slices = ingresses.Map(), services.Map(), endpoints.Map()
	return o
}

func bigIngress(i int, suffix string) *networkingv1.Ingress {
	service := fmt.Sprintf("app-%d", i)
	host := service + ".example.com"
	paths := []testPath{{host, "/", "Prefix", service}}
	for p := range 9 {
		paths = append(paths, testPath{host, fmt.Sprintf("/api/v%d%s", p, suffix), "Prefix", service})
	}
	return testIngress("demo", service, i, paths...)
}

var (
	testHosts = []string{"a.example.com", "b.example.com", "*.example.com", "", "example.com"}
	testPaths = []string{"/", "/a", "/a/", "/a/b", "/ab", "/a/b/", "/a/bc", "/b", "/A", "/a%2Fb", "/c;d", "/%7Ea"}
	testKinds = []string{"Exact", "Prefix", "ImplementationSpecific"}
	testNames = []string{"x", "y", "z"}
)

var testAnnotations = [][2]string{
	{"use-regex", "true"}, {"rewrite-target", "/x$1"}, {"app-root", "/home"}, {"canary", "true"}, {"canary-weight", "20"}, {"canary-by-header", "x-c"},
	{"force-ssl-redirect", "true"}, {"allowlist-source-range", "10.0.0.0/8"}, {"auth-url", "https://a"}, {"temporal-redirect", "https://b/"},
}

func pick(rng *rand.Rand, of []string) string { return of[rng.IntN(len(of))] }

// randomIngress is one of few, so that they get into each other's way.
func randomIngress(rng *rand.Rand) *networkingv1.Ingress {
	var paths []testPath
	for range rng.IntN(5) {
		paths = append(paths, testPath{pick(rng, testHosts), pick(rng, testPaths), pick(rng, testKinds), pick(rng, testNames)})
	}
	o := testIngress("ns-"+pick(rng, testNames), "i"+fmt.Sprint(rng.IntN(4)), rng.IntN(3), paths...)
	if rng.IntN(3) == 0 {
		o.Spec.TLS = []networkingv1.IngressTLS{{Hosts: []string{pick(rng, testHosts)}, SecretName: pick(rng, testNames)}}
	}
	if rng.IntN(4) == 0 {
		o.Spec.DefaultBackend = &networkingv1.IngressBackend{Service: &networkingv1.IngressServiceBackend{Name: pick(rng, testNames), Port: networkingv1.ServiceBackendPort{Name: "http"}}}
	}
	if rng.IntN(8) == 0 {
		class := "other"
		o.Spec.IngressClassName = &class
	}
	if rng.IntN(3) == 0 {
		o.Annotations = map[string]string{}
		for range 1 + rng.IntN(2) {
			pair := testAnnotations[rng.IntN(len(testAnnotations))]
			o.Annotations[nginx.Prefix+pair[0]] = pair[1]
		}
	}
	return o
}

// withIngresses sets Ingresses in the given order.
func withIngresses(o desired.Objects, all []*networkingv1.Ingress) desired.Objects {
	o.Ingresses = pmap.Map[desired.Name, *desired.Ingress]{}
	for _, i := range all {
		o.Ingresses = o.Ingresses.Set(desired.Name{Namespace: i.Namespace, Name: i.Name}, desired.ParseIngress(i))
	}
	return o
}

// seen is everything that a Table answers for the test's hosts and paths, as lines,
// and whatever Explain says of it.
func seen(t Table) []string {
	var lines []string
	hosts := append(slices.Clone(testHosts), "c.example.com", "c.b.example.com", "other.org")
	paths := append(slices.Clone(testPaths), "/a/b/c", "/abc", "/a/bc/d", "/zzz", "/~a/b")
	for _, host := range hosts {
		for _, path := range paths {
			q := Request{Method: "GET", Host: host, Path: path}
			if len(lines)%2 == 0 {
				q.Header = []Field{{"x-c", "always"}}
			}
			e, route := t.Explain(ListenerHTTPS, q)
			line := host + path + " " + e.Answer + " " + e.Certificate
			if route != nil {
				line += fmt.Sprint(" ", route.Source, route.Rule, route.Status, e.Backends, route.HTTPSRedirect != nil)
				if route.Rewrite != nil {
					rewritten, err := route.Rewrite.Path.Apply(path)
					line += fmt.Sprint(" ", rewritten, err)
				}
			}
			lines = append(lines, line)
		}
	}
	return lines
}
