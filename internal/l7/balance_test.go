package l7

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/l7/filter"
)

// annotated is a Service with annotations of Fairlead's.
func annotated(pairs ...string) *desired.Service {
	o := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "shop", Annotations: map[string]string{"other": "x"}}}
	for i := 0; i < len(pairs); i += 2 {
		o.Annotations[desired.AnnotationPrefix+pairs[i]] = pairs[i+1]
	}
	o.Spec.ClusterIP, o.Spec.Ports = "10.96.0.1", []corev1.ServicePort{{Name: "http", Port: 80}}
	return desired.ParseService(o)
}

func TestReadBalance(t *testing.T) {
	if b, reasons := readBalance(annotated("acme", "x")); b != nil || reasons != nil {
		t.Errorf("%v %v of a Service that says nothing", b, reasons)
	}
	b, reasons := readBalance(annotated(
		"balance", "maglev", "balance-by", "$http_x_user", "slow-start", "90s", "zones", "prefer",
		"eject-connect-failures", "0", "eject-5xx", "7", "eject-gateway-errors", "3", "eject-time", "10m", "eject-max-percent", "34",
		"max-requests", "100", "max-pending", "20", "max-connections", "30", "retry-percent", "0", "retry-least", "2",
		"health-check", "http", "health-check-path", "/healthy?deep=1", "health-check-interval", "1s", "health-check-healthy", "1",
	))
	want := Balance{
		How: filter.Maglev, SlowStart: 90 * time.Second, Zones: OwnZone,
		Ejection: Ejection{Gateway: 3, Server: 7, Time: 10 * time.Minute, MaxTime: 10 * time.Minute, Percent: 34},
		Limits:   Limits{Requests: 100, Pending: 20, Connections: 30}, Retries: RetryBudget{Least: 2},
		Check: HealthCheck{Protocol: CheckHTTP, Path: "/healthy?deep=1", Interval: time.Second, Timeout: time.Second, Unhealthy: 3, Healthy: 1},
	}
	want.HashBy, _ = filter.ParseTemplate("$http_x_user")
	if diff := gocmp.Diff(&want, b, gocmp.Comparer(func(a, b filter.Template) bool { return a.String() == b.String() })); diff != "" || reasons != nil {
		t.Errorf("%v -want +got:\n%s", reasons, diff)
	}
}

// TestReadBalanceMistakes holds that what is wrong is left out, and said at the Service.
func TestReadBalanceMistakes(t *testing.T) {
	for _, wrong := range [][2]string{
		{"balance", "fastest"}, {"balance", ""}, {"balance-by", "same"}, {"balance-by", "$nothing"}, {"slow-start", "-1s"}, {"slow-start", "2h"}, {"slow-start", "30"},
		{"zones", "mine"}, {"eject-connect-failures", "-1"}, {"eject-5xx", "many"}, {"eject-time", "0s"}, {"eject-max-percent", "101"},
		{"max-requests", "9999999"}, {"max-pending", "1e3"}, {"retry-percent", "20%"}, {"health-check", "grpc"},
		{"health-check-path", "healthy"}, {"health-check-path", "/a b"}, {"health-check-path", "/%zz"}, {"health-check-path", "/a\r\nx: y"}, {"health-check-host", "a@b"}, {"health-check-host", "a\nb"},
		{"health-check-interval", "1ms"}, {"health-check-timeout", "1h"},
	} {
		b, reasons := readBalance(annotated(wrong[0], wrong[1], "max-connections", "5"))
		if len(reasons) != 1 || reasons[0].Object.String() != "Service demo/shop" || !strings.Contains(reasons[0].Message, desired.AnnotationPrefix+wrong[0]) {
			t.Errorf("%s: %q: %v", wrong[0], wrong[1], reasons)
		}
		usual := DefaultBalance()
		usual.Limits.Connections = 5
		if diff := gocmp.Diff(&usual, b, gocmp.Comparer(func(a, b filter.Template) bool { return a.String() == b.String() })); diff != "" {
			t.Errorf("%s: %q: -want +got:\n%s", wrong[0], wrong[1], diff)
		}
	}
}

// TestZones holds which endpoints are far from a gateway, and that it follows where the
// gateway is.
func TestZones(t *testing.T) {
	endpoint := func(address, zone string, ready bool, forNode, forZone string) discoveryv1.Endpoint {
		e := discoveryv1.Endpoint{Addresses: []string{address}, Zone: &zone, Hints: &discoveryv1.EndpointHints{}}
		serving := true
		e.Conditions.Ready, e.Conditions.Serving = &ready, &serving
		if terminating := !ready; terminating {
			e.Conditions.Terminating = &terminating
		}
		if forNode != "" {
			e.Hints.ForNodes = []discoveryv1.ForNode{{Name: forNode}}
		}
		if forZone != "" {
			e.Hints.ForZones = []discoveryv1.ForZone{{Name: forZone}}
		}
		return e
	}
	none := []discoveryv1.Endpoint{endpoint("10.1.0.1", "a", true, "", ""), endpoint("10.1.0.2", "b", true, "", ""), endpoint("10.1.0.3", "b", false, "", "")}
	zonal := []discoveryv1.Endpoint{endpoint("10.1.0.1", "a", true, "", "b"), endpoint("10.1.0.2", "b", true, "", "a"), endpoint("10.1.0.3", "b", false, "", "")}
	nodal := []discoveryv1.Endpoint{endpoint("10.1.0.1", "a", true, "n1", "b"), endpoint("10.1.0.2", "b", true, "n2", "b")}
	some := []discoveryv1.Endpoint{endpoint("10.1.0.1", "a", true, "", "a"), endpoint("10.1.0.2", "b", true, "", "")}
	for _, c := range []struct {
		name, zones, node, zone string
		endpoints               []discoveryv1.Endpoint
		far                     string // the last octets
	}{
		{"no hints", "hints", "n1", "a", none, ""},
		{"own zone", "prefer", "n1", "a", none, "2"},
		{"own zone is unknown", "prefer", "n1", "", none, ""},
		{"nobody in it", "prefer", "n1", "c", none, ""},
		{"hints for zones", "hints", "n1", "b", zonal, "2"},
		{"hints for another zone", "hints", "n1", "c", zonal, ""},
		{"hints for nodes go first", "hints", "n2", "b", nodal, "1"},
		{"not all have hints", "hints", "n1", "a", some, ""},
		{"not asked for", "ignore", "n2", "b", nodal, ""},
	} {
		s, number, port := annotated("zones", c.zones), int32(80), "http"
		s.Slices = []*desired.Slice{desired.ParseSlice(&discoveryv1.EndpointSlice{
			ObjectMeta:  metav1.ObjectMeta{Namespace: "demo", Name: "shop", Labels: map[string]string{discoveryv1.LabelServiceName: "shop"}},
			AddressType: discoveryv1.AddressTypeIPv4, Ports: []discoveryv1.EndpointPort{{Name: &port, Port: &number}}, Endpoints: c.endpoints,
		})}
		b := &builder{state: &desired.State{Node: desired.Node{Name: c.node, Zone: c.zone}}}
		far := ""
		for _, e := range b.makeBackend(BackendID{Service: s.Name, Port: "80"}, s).Endpoints {
			if e.Far && !e.Draining {
				far += e.Address.Addr().String()[len("10.1.0."):]
			}
		}
		if far != c.far {
			t.Errorf("%s: %q are far, want %q", c.name, far, c.far)
		}
	}
}

// TestNodeMoves holds that Backends are made anew when it becomes known where the gateway
// is, and not else.
func TestNodeMoves(t *testing.T) {
	o := bigObjects(3)
	service, _ := o.Services.Get(desired.Name{Namespace: "demo", Name: "app-1"})
	changed := *service
	changed.Annotations = map[string]string{desired.AnnotationPrefix + "zones": "prefer"}
	o.Services = o.Services.Set(service.Name, &changed)
	slice, _ := o.Slices.Get(service.Name)
	two := *slice
	two.Endpoints = slices.Clone(slice.Endpoints)
	two.Endpoints[0].Zone = "a"
	two.Endpoints = append(two.Endpoints, two.Endpoints[0])
	two.Endpoints[1].Address, two.Endpoints[1].Zone = two.Endpoints[1].Address.Next(), "b"
	o.Slices = o.Slices.Set(slice.Name, &two)
	var state *desired.State
	var table Table
	for _, zone := range []string{"", "a", "b", "b"} {
		state, _ = desired.Build(o, desired.Node{Name: "n", Zone: zone}, state)
		before := table
		table, _ = Compile(state, table, Config{})
		b, _ := table.Backends.Get(BackendID{Service: service.Name, Port: "80"})
		for _, e := range b.Endpoints {
			if e.Far != (zone != "" && e.Zone != zone) {
				t.Errorf("at zone %q, %s of %s is far: %t", zone, e.Address, e.Zone, e.Far)
			}
		}
		if other, _ := table.Backends.Get(BackendID{Service: desired.Name{Namespace: "demo", Name: "app-2"}, Port: "80"}); before.state != nil {
			if old, _ := before.Backends.Get(other.ID); old != other {
				t.Error("a Backend that is the same is made anew")
			}
		}
	}
}

// FuzzReadBalance holds that whatever annotations say, what is read is within bounds.
func FuzzReadBalance(f *testing.F) {
	for name := range balanceReaders() {
		for _, text := range []string{"", "0", "1", "30s", "-5", "99999999999999999999", "http", "maglev", "/x", "$remote_addr", "a.example:80", "prefer"} {
			f.Add(name, text)
		}
	}
	f.Fuzz(func(t *testing.T, name, text string) {
		b, reasons := readBalance(annotated(name, text))
		if b == nil {
			return
		}
		if len(reasons) > 0 {
			t.Fatalf("%v of what is taken", reasons)
		}
		e, l, c := b.Ejection, b.Limits, b.Check
		if e.Time < time.Second || e.MaxTime < e.Time || e.Percent < 0 || e.Percent > 100 || min(e.Connect, e.Gateway, e.Server) < 0 {
			t.Errorf("%+v", e)
		}
		if min(l.Requests, l.Pending, l.Connections, b.Retries.Least, b.Retries.Percent) < 0 || b.SlowStart < 0 {
			t.Errorf("%+v", b)
		}
		if c.Protocol == 0 {
			return
		}
		if request, err := http.NewRequest("GET", "http://127.0.0.1:80"+c.Path, nil); err != nil || request.URL.Host != "127.0.0.1:80" || c.Interval < time.Second || c.Timeout <= 0 || c.Timeout > c.Interval || c.Unhealthy < 1 || c.Healthy < 1 {
			t.Errorf("%v %+v", err, c)
		}
	})
}
