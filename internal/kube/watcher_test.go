package kube

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/fairlead-net/fairlead/internal/desired"
)

// patience is far above what anything here takes.
const patience = 20 * time.Second

func clusterObjects(s *apiServer) {
	s.set("services", versioned("shop", "1", ""))
	s.set("endpointslices", &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{
		Namespace: "demo", Name: "shop-1", Labels: map[string]string{discoveryv1.LabelServiceName: "shop"},
	}, AddressType: discoveryv1.AddressTypeIPv4})
	s.set("namespaces", &corev1.Namespace{ObjectMeta: named("", "demo")})
	s.set("nodes", &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "worker-1", Labels: map[string]string{corev1.LabelTopologyZone: "east", "x": "y"}}})
}

// watched starts a Watcher that ends with the test.
func watched(t *testing.T, s *apiServer, node string) (*Watcher, <-chan View) {
	t.Helper()
	return watchedWith(t, s, node, Reads{})
}

func watchedWith(t *testing.T, s *apiServer, node string, what Reads) (*Watcher, <-chan View) {
	t.Helper()
	w := NewWatcher(s.client(t), node, what, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	views, done := make(chan View), make(chan error, 1)
	go func() { done <- w.Run(ctx, views) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("Run = %v", err)
			}
		case <-time.After(patience):
			t.Error("Run goes on after its context ended")
		}
	})
	return w, views
}

// until reads Views until one is as wanted.
func until(t *testing.T, views <-chan View, what string, is func(View) bool) View {
	t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case v := <-views:
			if is(v) {
				return v
			}
		case <-timeout:
			t.Fatalf("no View in which %s", what)
		}
	}
}

// eventually waits for what no View announces.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for start := time.Now(); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Since(start) > patience {
			t.Fatalf("never: %s", what)
		}
	}
}

func synced(v View) bool { return v.Objects.Synced }

func has(name string) func(View) bool {
	return func(v View) bool {
		_, ok := v.Objects.Services.Get(desired.Name{Namespace: "demo", Name: name})
		return ok
	}
}

func TestWatcher(t *testing.T) {
	s := newAPIServer(t)
	clusterObjects(s)
	w, views := watched(t, s, "worker-1")
	v := until(t, views, "all is read", synced)
	if v.Objects.Services.Len() != 1 || v.Objects.Slices.Len() != 1 || v.Objects.Namespaces.Len() != 1 || v.Node.Name != "worker-1" || v.Node.Zone != "east" || v.Node.About.Labels["x"] != "y" {
		t.Errorf("first synced View: %d Services, %d slices, %d namespaces, node %v", v.Objects.Services.Len(), v.Objects.Slices.Len(), v.Objects.Namespaces.Len(), v.Node)
	}
	old := v
	s.set("services", versioned("db", "2", ""))
	v = until(t, views, "the new Service is", has("db"))
	if v.Objects.Slices != old.Objects.Slices || has("db")(old) {
		t.Error("a change touched other kinds, or a View that was given away")
	}
	s.set("nodes", &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "worker-1", Labels: map[string]string{corev1.LabelTopologyZone: "west"}}})
	until(t, views, "the node moved", func(v View) bool { return v.Node.Zone == "west" })
	s.remove("services", versioned("shop", "1", ""))
	until(t, views, "the Service is gone", func(v View) bool { return !has("shop")(v) })
	if h := w.Health(); h != "" {
		t.Errorf("Health() = %q", h)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, request := range s.requests {
		if strings.Contains(request, "/nodes") && !strings.Contains(request, "fieldSelector=metadata.name%3Dworker-1") {
			t.Errorf("asks for more than its node: %s", request)
		}
		if !strings.HasSuffix(request, " fairlead/test") {
			t.Errorf("no name given: %s", request)
		}
	}
}

// TestWatcherPods: pods are read where they are asked for, and little is kept.
func TestWatcherPods(t *testing.T) {
	s := newAPIServer(t)
	clusterObjects(s)
	pod := func(name string, phase corev1.PodPhase, ips ...string) *corev1.Pod {
		o := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: name}, Spec: corev1.PodSpec{HostNetwork: true}, Status: corev1.PodStatus{Phase: phase}}
		for _, ip := range ips {
			o.Status.PodIPs = append(o.Status.PodIPs, corev1.PodIP{IP: ip})
		}
		return o
	}
	s.set("pods", pod("a", corev1.PodRunning, "10.1.0.1", "fd00::1"))
	s.set("pods", pod("done", corev1.PodSucceeded, "10.1.0.2"))
	_, views := watchedWith(t, s, "", Reads{Names: Names{Pods: true, Labels: "app=web", NoSlices: true}})
	v := until(t, views, "all is read", synced)
	addresses := func(v View, name string) string {
		p, _ := v.Objects.Pods.Get(desired.NewPodID(desired.Name{Namespace: "demo", Name: name}))
		return fmt.Sprint(p)
	}
	if got := addresses(v, "a"); got != "{demo [10.1.0.1 fd00::1]}" || addresses(v, "done") != "{demo [invalid IP invalid IP]}" || v.Objects.Slices.Len() != 0 {
		t.Errorf("pod a %s, pod done %s, %d slices", got, addresses(v, "done"), v.Objects.Slices.Len())
	}
	s.set("pods", pod("b", corev1.PodPending))
	s.set("pods", pod("b", corev1.PodRunning, "10.1.0.3"))
	until(t, views, "b has its address", func(v View) bool { return addresses(v, "b") == "{demo [10.1.0.3 invalid IP]}" })
	s.remove("pods", pod("a", corev1.PodRunning))
	until(t, views, "a is gone", func(v View) bool { return v.Objects.Pods.Len() == 2 })
	s.set("services", &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "labelled", Labels: map[string]string{"app": "web"}}})
	v = until(t, views, "the new Service is", has("labelled"))
	if o, _ := v.Objects.Services.Get(desired.Name{Namespace: "demo", Name: "labelled"}); o.Labels["app"] != "web" {
		t.Errorf("labels %v", o.Labels)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, request := range s.requests {
		if strings.Contains(request, "/pods") && (!strings.Contains(request, "fieldSelector=status.phase%21%3DSucceeded%2Cstatus.phase%21%3DFailed") || !strings.Contains(request, "labelSelector=app%3Dweb")) {
			t.Errorf("asks for too many pods: %s", request)
		}
		if strings.Contains(request, "/endpointslices") {
			t.Errorf("asks for what nobody needs: %s", request)
		}
	}
}

// TestWatcherImports: ServiceImports are read where they are asked for, and a
// cluster need not have the kind.
func TestWatcherImports(t *testing.T) {
	s := newAPIServer(t)
	clusterObjects(s)
	s.set("serviceimports", &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "multicluster.x-k8s.io/v1alpha1", "kind": "ServiceImport",
		"metadata": map[string]any{"namespace": "demo", "name": "web"},
		"spec":     map[string]any{"type": "ClusterSetIP", "ips": []any{"10.97.0.1"}, "ports": []any{map[string]any{"port": int64(80), "protocol": "TCP"}}},
	}})
	_, views := watchedWith(t, s, "", Reads{Names: Names{Imports: true}})
	v := until(t, views, "all is read", synced)
	o, ok := v.Objects.Imports.Get(desired.Name{Namespace: "demo", Name: "web"})
	if !ok || fmt.Sprint(o.Addresses) != "[10.97.0.1]" || len(o.Ports) != 1 || o.Ports[0].Port != 80 {
		t.Errorf("ServiceImport %+v", o)
	}
	without := newAPIServer(t)
	clusterObjects(without)
	without.unknown = "serviceimports"
	_, views = watchedWith(t, without, "", Reads{Names: Names{Imports: true}})
	if v := until(t, views, "all is read", synced); v.Objects.Imports.Len() != 0 {
		t.Errorf("%d ServiceImports out of nowhere", v.Objects.Imports.Len())
	}
}

func TestWatcherWithoutPods(t *testing.T) {
	s := newAPIServer(t)
	clusterObjects(s)
	_, views := watched(t, s, "")
	v := until(t, views, "all is read", synced)
	if o, _ := v.Objects.Slices.Get(desired.Name{Namespace: "demo", Name: "shop-1"}); o.Labels != nil {
		t.Errorf("labels %v are kept for nobody", o.Labels)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, request := range s.requests {
		if strings.Contains(request, "/pods") {
			t.Errorf("asks for pods: %s", request)
		}
	}
}

func TestStripPod(t *testing.T) {
	o := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "a", ResourceVersion: "7", Labels: map[string]string{"a": "b"}},
		Spec: corev1.PodSpec{NodeName: "n"}, Status: corev1.PodStatus{Phase: corev1.PodRunning, PodIPs: []corev1.PodIP{{IP: "10.1.0.1"}}, Message: "m"}}
	stripped, err := stripPod(o)
	p, ok := stripped.(*corev1.Pod)
	if err != nil || !ok || p.Spec.NodeName != "" || p.Labels != nil || p.Status.Message != "" || p.ResourceVersion != "7" || desired.ParsePod(p) != desired.ParsePod(o) || podID(p) != podID(o) {
		t.Errorf("%+v, %v", stripped, err)
	}
	if again, _ := stripPod(p); desired.ParsePod(again.(*corev1.Pod)) != desired.ParsePod(o) {
		t.Error("stripped twice it differs")
	}
}

func TestWatcherWithoutNode(t *testing.T) {
	s := newAPIServer(t)
	clusterObjects(s)
	_, views := watched(t, s, "")
	if v := until(t, views, "all is read", synced); v.Node != (desired.Node{}) {
		t.Errorf("node %v", v.Node)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if all := strings.Join(s.requests, "\n"); strings.Contains(all, "/nodes") {
		t.Errorf("asked for nodes:\n%s", all)
	}
}

// TestWatcherSlowReader expects a reader that was busy to get the latest View
// and not those between.
func TestWatcherSlowReader(t *testing.T) {
	s := newAPIServer(t)
	clusterObjects(s)
	w, views := watched(t, s, "worker-1")
	until(t, views, "all is read", synced)
	const last = 30
	for i := range last {
		s.set("services", versioned(fmt.Sprint("more-", i), fmt.Sprint("u", i), ""))
	}
	isLast := has(fmt.Sprint("more-", last-1))
	eventually(t, "the last Service is in the store", func() bool { return isLast(w.view()) })
	late := 0
	until(t, views, "the last Service is", func(v View) bool { late++; return isLast(v) })
	if late > 2 {
		// One View may have been on offer while the last change came in.
		t.Errorf("the slow reader got %d Views", late)
	}
}

// TestWatcherOutage stops the API server; when it comes back it has another
// content and has forgotten how that came to be.
func TestWatcherOutage(t *testing.T) {
	s := newAPIServer(t)
	clusterObjects(s)
	s.set("services", versioned("db", "2", ""))
	w, views := watched(t, s, "worker-1")
	before := until(t, views, "all is read", synced)
	kept, _ := before.Objects.Services.Get(desired.Name{Namespace: "demo", Name: "db"})
	s.stop()
	eventually(t, "Health tells of the outage", func() bool {
		return strings.Contains(w.Health(), " cannot be read from the API server since ")
	})
	if h := w.Health(); !strings.Contains(h, s.address) || !strings.HasSuffix(h, "what was read before stays in force") {
		t.Errorf("Health() = %q", h)
	}
	if v := w.view(); v.Objects.Services != before.Objects.Services || !v.Objects.Synced {
		t.Error("an outage changed what was read before")
	}
	s.remove("services", versioned("shop", "1", ""))
	s.set("services", versioned("new", "3", ""))
	s.forget()
	s.start(t)
	v := until(t, views, "the deletion during the outage is seen", func(v View) bool { return !has("shop")(v) && has("new")(v) })
	if now, _ := v.Objects.Services.Get(desired.Name{Namespace: "demo", Name: "db"}); now != kept {
		t.Error("what did not change during the outage has another pointer")
	}
	eventually(t, "Health is well again", func() bool { return w.Health() == "" })
	s.set("services", versioned("later", "4", ""))
	until(t, views, "a later Service is", has("later"))
}

// TestWatcherForbidden lacks a right at first: no View is synced, and Health
// says which resource is missing.
func TestWatcherForbidden(t *testing.T) {
	s := newAPIServer(t)
	clusterObjects(s)
	s.setRefused("endpointslices", true)
	w, views := watched(t, s, "worker-1")
	until(t, views, "Services are", has("shop"))
	eventually(t, "Health names the resource", func() bool {
		return strings.HasPrefix(w.Health(), "endpointslices cannot be read") && strings.Contains(w.Health(), "no such right")
	})
	if w.view().Objects.Synced {
		t.Error("synced without EndpointSlices")
	}
	s.setRefused("endpointslices", false)
	until(t, views, "all is read", synced)
	eventually(t, "Health is well", func() bool { return w.Health() == "" })
}

// TestWatcherServiceCIDRs follows the ranges of ClusterIPs.
func TestWatcherServiceCIDRs(t *testing.T) {
	s := newAPIServer(t)
	clusterObjects(s)
	s.set("servicecidrs", &networkingv1.ServiceCIDR{ObjectMeta: metav1.ObjectMeta{Name: "kubernetes"}, Spec: networkingv1.ServiceCIDRSpec{CIDRs: []string{"10.96.0.0/16"}}})
	_, views := watched(t, s, "worker-1")
	v := until(t, views, "all is read", synced)
	if cidr, ok := v.Objects.ServiceCIDRs.Get("kubernetes"); !ok || !slices.Equal(cidr.Spec.CIDRs, []string{"10.96.0.0/16"}) {
		t.Errorf("ServiceCIDR kubernetes: %v", cidr)
	}
}

// TestWatcherOldCluster knows no ServiceCIDRs, as Kubernetes before 1.33.
func TestWatcherOldCluster(t *testing.T) {
	s := newAPIServer(t)
	s.unknown = "servicecidrs"
	clusterObjects(s)
	w, views := watched(t, s, "worker-1")
	until(t, views, "all else is read", synced)
	eventually(t, "Health is well", func() bool { return w.Health() == "" })
}

// TestWatcherLeavingNode sees the node's addresses, and the mark of a node that
// the autoscaler is about to remove.
func TestWatcherLeavingNode(t *testing.T) {
	s := newAPIServer(t)
	clusterObjects(s)
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "worker-1"}}
	node.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeHostName, Address: "worker-1"}, {Type: corev1.NodeInternalIP, Address: "192.0.2.7"}}
	s.set("nodes", node)
	_, views := watched(t, s, "worker-1")
	v := until(t, views, "all is read", synced)
	if v.Leaving || !slices.Equal(v.NodeAddresses, []netip.Addr{netip.MustParseAddr("192.0.2.7")}) {
		t.Errorf("leaving %t, addresses %v", v.Leaving, v.NodeAddresses)
	}
	node.Spec.Taints = []corev1.Taint{{Key: "ToBeDeletedByClusterAutoscaler", Effect: corev1.TaintEffectNoSchedule}}
	s.set("nodes", node)
	until(t, views, "the node is leaving", func(v View) bool { return v.Leaving })
}
