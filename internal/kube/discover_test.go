package kube

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/rest"
	clienttesting "k8s.io/client-go/testing"
)

func discovered(t *testing.T, objects ...runtime.Object) Cluster {
	t.Helper()
	client := &Client{clientset: fake.NewClientset(objects...), rest: &rest.Config{Host: "https://lb.example:6443/"}}
	cluster, err := client.Discover(t.Context(), "fairlead-system")
	if err != nil {
		t.Fatal(err)
	}
	return cluster
}

func named(namespace, name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: namespace, Name: name}
}

func apiServerSlice(name string, port int32, ready *bool, addresses ...string) *discoveryv1.EndpointSlice {
	slice := &discoveryv1.EndpointSlice{ObjectMeta: named("default", name)}
	slice.Labels = map[string]string{discoveryv1.LabelServiceName: "kubernetes"}
	portName := "https"
	slice.Ports = []discoveryv1.EndpointPort{{Name: &portName, Port: &port}}
	slice.Endpoints = []discoveryv1.Endpoint{{Addresses: addresses, Conditions: discoveryv1.EndpointConditions{Ready: ready}}}
	return slice
}

func apiService(address string) *corev1.Service {
	return &corev1.Service{ObjectMeta: named("default", "kubernetes"), Spec: corev1.ServiceSpec{ClusterIP: address}}
}

func serviceCIDR(cidrs ...string) *networkingv1.ServiceCIDR {
	return &networkingv1.ServiceCIDR{ObjectMeta: named("", "kubernetes"), Spec: networkingv1.ServiceCIDRSpec{CIDRs: cidrs}}
}

func TestDiscover(t *testing.T) {
	no := false
	c := discovered(t,
		apiServerSlice("kubernetes", 6443, nil, "192.0.2.2"),
		apiServerSlice("kubernetes-v6", 6443, nil, "2001:db8::1"),
		apiServerSlice("more", 443, nil, "192.0.2.2"),
		apiServerSlice("gone", 6443, &no, "192.0.2.3"),
		serviceCIDR("10.96.0.0/12", "fd00:96::/108"),
		&corev1.Node{ObjectMeta: named("", "a")}, &corev1.Node{ObjectMeta: named("", "b")},
		&appsv1.DaemonSet{ObjectMeta: named("kube-system", "kube-proxy")},
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "fairlead-system", Labels: map[string]string{"a": "b"}}},
	)
	if want := []string{"https://192.0.2.2:443", "https://192.0.2.2:6443", "https://[2001:db8::1]:6443"}; !slices.Equal(c.APIServers, want) {
		t.Errorf("API servers %v", c.APIServers)
	}
	if want := []netip.Addr{netip.MustParseAddr("10.96.0.10"), netip.MustParseAddr("fd00:96::a")}; !slices.Equal(c.DNSAddresses, want) {
		t.Errorf("DNS at %v", c.DNSAddresses)
	}
	if c.Nodes != 2 || !c.KubeProxy || c.CoreDNS || c.DNSService || c.MetalLB != "" || c.NamespaceLabels["a"] != "b" || len(c.Guesses) != 0 || c.Version == "" {
		t.Errorf("%+v", c)
	}
}

// TestDiscoverExistingDNS holds that the addresses of a Service that exists win
// over those that it would get.
func TestDiscoverExistingDNS(t *testing.T) {
	service := &corev1.Service{ObjectMeta: named("kube-system", "kube-dns"), Spec: corev1.ServiceSpec{ClusterIPs: []string{"10.0.0.53", "fd00::53"}}}
	c := discovered(t, service, serviceCIDR("10.96.0.0/12"), &appsv1.Deployment{ObjectMeta: named("kube-system", "coredns")})
	if !c.DNSService || c.DNSRelease != "" || !c.CoreDNS || len(c.DNSAddresses) != 2 || c.DNSAddresses[0].String() != "10.0.0.53" {
		t.Errorf("%+v", c)
	}
	if c.NamespaceLabels != nil {
		t.Error("a namespace that does not exist has labels")
	}
	service.Annotations = map[string]string{"meta.helm.sh/release-name": "fairlead", "meta.helm.sh/release-namespace": "fairlead-system"}
	if c := discovered(t, service); c.DNSRelease != "fairlead-system/fairlead" {
		t.Errorf("release %q", c.DNSRelease)
	}
}

// TestDiscoverMetalLB holds that MetalLB is found by what its manifests and its
// Helm chart call it, also if only a part of it is left.
func TestDiscoverMetalLB(t *testing.T) {
	labelled := func(name, key string) metav1.ObjectMeta {
		m := named("lb", name)
		m.Labels = map[string]string{key: "metallb"}
		return m
	}
	for _, key := range []string{"app", "app.kubernetes.io/name"} {
		if c := discovered(t, serviceCIDR("10.96.0.0/12"), &appsv1.Deployment{ObjectMeta: labelled("controller", key)}); c.MetalLB != "lb/controller" {
			t.Errorf("%s: %q", key, c.MetalLB)
		}
		if c := discovered(t, serviceCIDR("10.96.0.0/12"), &appsv1.DaemonSet{ObjectMeta: labelled("speaker", key)}); c.MetalLB != "lb/speaker" {
			t.Errorf("%s: %q", key, c.MetalLB)
		}
	}
}

// TestDiscoverGuesses holds that what cannot be read is concluded, and said.
func TestDiscoverGuesses(t *testing.T) {
	c := discovered(t, apiService("10.96.0.1"))
	if len(c.DNSAddresses) != 1 || c.DNSAddresses[0].String() != "10.96.0.10" || c.APIServers[0] != "https://lb.example:6443" {
		t.Errorf("%+v", c)
	}
	all := strings.Join(c.Guesses, "\n")
	if len(c.Guesses) != 2 || !strings.Contains(all, "set config.apiServers") || !strings.Contains(all, "set dns.clusterIPs") {
		t.Errorf("guesses: %s", all)
	}
}

func TestDiscoverErrors(t *testing.T) {
	for resource, want := range map[string]string{
		"nodes":          "installing needs cluster-admin",
		"namespaces":     "namespace fairlead-system cannot be read",
		"endpointslices": "API servers' addresses cannot be read",
		"daemonsets":     "kube-proxy cannot be read",
		"deployments":    "coredns cannot be read",
	} {
		set := fake.NewClientset(apiService("10.96.0.1"))
		set.PrependReactor("*", resource, func(clienttesting.Action) (bool, runtime.Object, error) {
			return true, nil, errors.New("no permission")
		})
		_, err := (&Client{clientset: set, rest: &rest.Config{}}).Discover(t.Context(), "fairlead-system")
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "no permission") {
			t.Errorf("%s: %v", resource, err)
		}
	}
}

func TestRollout(t *testing.T) {
	two := int32(2)
	client := &Client{clientset: fake.NewClientset(
		&appsv1.DaemonSet{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "old", Generation: 2},
			Status: appsv1.DaemonSetStatus{ObservedGeneration: 1, DesiredNumberScheduled: 3, NumberReady: 3, UpdatedNumberScheduled: 3}},
		&appsv1.DaemonSet{ObjectMeta: named("n", "updating"),
			Status: appsv1.DaemonSetStatus{DesiredNumberScheduled: 3, NumberReady: 3, UpdatedNumberScheduled: 1}},
		&appsv1.DaemonSet{ObjectMeta: named("n", "ready"),
			Status: appsv1.DaemonSetStatus{DesiredNumberScheduled: 3, NumberReady: 3, UpdatedNumberScheduled: 3}},
		&appsv1.Deployment{ObjectMeta: named("n", "ready"), Spec: appsv1.DeploymentSpec{Replicas: &two},
			Status: appsv1.DeploymentStatus{Replicas: 2, UpdatedReplicas: 2, AvailableReplicas: 2}},
		&appsv1.Deployment{ObjectMeta: named("n", "surge"), Spec: appsv1.DeploymentSpec{Replicas: &two},
			Status: appsv1.DeploymentStatus{Replicas: 3, UpdatedReplicas: 2, AvailableReplicas: 3}},
	)}
	for w, want := range map[Workload]Rollout{
		{"DaemonSet", "n", "old"}:      {3, 0, false},
		{"DaemonSet", "n", "updating"}: {3, 1, false},
		{"DaemonSet", "n", "ready"}:    {3, 3, true},
		{"Deployment", "n", "ready"}:   {2, 2, true},
		{"Deployment", "n", "surge"}:   {2, 2, false},
	} {
		if got, err := client.Rollout(t.Context(), w); err != nil || got != want {
			t.Errorf("%s: %+v, %v; want %+v", w, got, err, want)
		}
	}
	if _, err := client.Rollout(t.Context(), Workload{"DaemonSet", "n", "none"}); err == nil || !strings.Contains(err.Error(), "DaemonSet n/none") {
		t.Error(err)
	}
}

func TestProblems(t *testing.T) {
	pod := func(name string, change func(*corev1.Pod)) *corev1.Pod {
		p := &corev1.Pod{ObjectMeta: named("n", name)}
		p.Labels = map[string]string{"app.kubernetes.io/name": "fairlead", "app.kubernetes.io/component": "node"}
		p.Spec.NodeName = "worker-1"
		p.Status.Phase = corev1.PodRunning
		change(p)
		return p
	}
	container := func(p *corev1.Pod, s corev1.ContainerStatus) {
		p.Status.ContainerStatuses = []corev1.ContainerStatus{s}
	}
	client := &Client{clientset: fake.NewClientset(
		pod("crashing", func(p *corev1.Pod) {
			container(p, corev1.ContainerStatus{Name: "fairlead",
				State:                corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff", Message: "back-off"}},
				LastTerminationState: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: 2}}})
		}),
		pod("fine", func(p *corev1.Pod) {
			p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
		}),
		pod("pulling", func(p *corev1.Pod) {
			container(p, corev1.ContainerStatus{State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ErrImagePull", Message: "no such image"}}})
		}),
		pod("running", func(p *corev1.Pod) {
			container(p, corev1.ContainerStatus{State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}})
		}),
		pod("unplaced", func(p *corev1.Pod) {
			p.Spec.NodeName = ""
			p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: "Unschedulable", Message: "no room"}}
		}),
	)}
	got, err := client.Problems(t.Context(), Workload{"DaemonSet", "n", "fairlead-node"})
	if err != nil {
		t.Fatal(err)
	}
	want := []PodProblem{
		{"n/crashing", "worker-1", "CrashLoopBackOff", "its last run ended with exit code 2", "fake logs"},
		{"n/pulling", "worker-1", "ErrImagePull", "no such image", ""},
		{"n/running", "worker-1", "NotReady", "it runs, but its readiness check fails", "fake logs"},
		{"n/unplaced", "", "Unschedulable", "no room", ""},
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// TestProblemsWithoutPods holds that a pod that could not even be made is
// explained by the controller's Event.
func TestProblemsWithoutPods(t *testing.T) {
	client := &Client{clientset: fake.NewClientset(&corev1.Event{
		ObjectMeta: named("n", "e"), Reason: "FailedCreate", Message: "violates PodSecurity",
		InvolvedObject: corev1.ObjectReference{Kind: "DaemonSet", Name: "fairlead-node"},
	})}
	got, err := client.Problems(t.Context(), Workload{"DaemonSet", "n", "fairlead-node"})
	if err != nil || len(got) != 1 || got[0].Message != "violates PodSecurity" {
		t.Errorf("%+v, %v", got, err)
	}
}
