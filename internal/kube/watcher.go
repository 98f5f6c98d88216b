package kube

import (
	"context"
	"log/slog"
	"net/netip"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"github.com/fairlead-net/fairlead/internal/desired"
)

// taintToBeDeleted is how the cluster autoscaler marks a node that it removes.
const taintToBeDeleted = "ToBeDeletedByClusterAutoscaler"

// View is what a process sees of the cluster: the objects, and its own node.
type View struct {
	Objects desired.Objects
	Node    desired.Node
	// NodeAddresses are those in the status of the Node object.
	NodeAddresses []netip.Addr
	// Leaving tells that the node is about to be removed, so load balancers
	// should turn away from it (KEP-3836).
	Leaving bool
}

// Watcher follows the objects that Fairlead needs.
type Watcher struct {
	client *Client
	node   string
	log    *slog.Logger
	wake   chan struct{}
	health health

	services   *store[desired.Name, *corev1.Service, *desired.Service]
	slices     *store[desired.Name, *discoveryv1.EndpointSlice, *desired.Slice]
	namespaces *store[string, *corev1.Namespace, *desired.Namespace]
	cidrs      *store[string, *networkingv1.ServiceCIDR, *networkingv1.ServiceCIDR]
	nodes      *store[string, *corev1.Node, *corev1.Node]
	pods       *store[desired.PodID, *corev1.Pod, desired.Pod]
	imports    *store[desired.Name, *unstructured.Unstructured, *desired.Service]
	ingresses  ingresses
	configMaps *configMaps
	addressing *addressing
	names      Names

	about atomic.Pointer[desired.NodeObject] // the last one that was sent
}

// NewWatcher returns a Watcher for the process on the named node; the empty
// name means no node in particular.
func NewWatcher(client *Client, node string, what Reads, log *slog.Logger) *Watcher {
	w := &Watcher{client: client, node: node, log: log.With("component", "kube"), wake: make(chan struct{}, 1)}
	w.names = what.Names
	w.addressing = newAddressing(what.Addressing, w.changed, w.log)
	changed := w.changed
	service, slice := w.names.parsers()
	w.services = &store[desired.Name, *corev1.Service, *desired.Service]{key: namespacedName, keep: service, changed: changed}
	w.slices = &store[desired.Name, *discoveryv1.EndpointSlice, *desired.Slice]{key: namespacedName, keep: slice, changed: changed, synced: w.names.NoSlices}
	w.namespaces = &store[string, *corev1.Namespace, *desired.Namespace]{key: clusterName, keep: parseNamespace, changed: changed}
	w.cidrs = &store[string, *networkingv1.ServiceCIDR, *networkingv1.ServiceCIDR]{key: clusterName, keep: stripServiceCIDR, changed: changed}
	w.nodes = &store[string, *corev1.Node, *corev1.Node]{key: clusterName, keep: stripNode, changed: changed, synced: node == ""}
	w.pods = newPods(w.names, changed)
	w.imports = newImports(w.names, changed, w.log)
	w.ingresses = newIngresses(what, changed)
	w.configMaps = newConfigMaps(what.ConfigMaps, changed)
	return w
}

func (w *Watcher) changed() {
	poke(w.wake)
}

// Run sends the current View whenever it changed, until ctx ends. A reader that
// is slow gets the latest View and misses those between. Lost connections are
// retried for ever; Health tells of them.
func (w *Watcher) Run(ctx context.Context, out chan<- View) error {
	var running sync.WaitGroup
	defer running.Wait()
	core, discovery := w.client.clientset.CoreV1().RESTClient(), w.client.clientset.DiscoveryV1().RESTClient()
	all := fields.Everything()
	w.follow(ctx, &running, core, "services", &corev1.Service{}, w.services, all)
	if !w.names.NoSlices {
		w.follow(ctx, &running, discovery, "endpointslices", &discoveryv1.EndpointSlice{}, w.slices, all)
	}
	w.follow(ctx, &running, core, "namespaces", &corev1.Namespace{}, w.namespaces, all)
	w.follow(ctx, &running, w.client.clientset.NetworkingV1().RESTClient(), "servicecidrs", &networkingv1.ServiceCIDR{}, w.cidrs, all)
	if w.node != "" {
		w.follow(ctx, &running, core, "nodes", &corev1.Node{}, w.nodes, fields.OneTermEqualSelector("metadata.name", w.node))
	}
	w.followAddressing(ctx, &running)
	w.followNames(ctx, &running)
	w.followIngresses(ctx, &running)
	w.followConfigMaps(ctx, &running)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-w.wake:
		}
		w.send(ctx, out)
	}
}

// send offers the current View, refreshing it while the reader is busy, until
// it is taken or ctx ends.
func (w *Watcher) send(ctx context.Context, out chan<- View) {
	for {
		view := w.view()
		select {
		case out <- view:
			return
		case <-w.wake:
		case <-ctx.Done():
			return
		}
	}
}

func (w *Watcher) view() View {
	var v View
	var synced [10]bool
	v.Objects.Services, synced[0] = w.services.snapshot()
	v.Objects.Slices, synced[1] = w.slices.snapshot()
	v.Objects.Namespaces, synced[2] = w.namespaces.snapshot()
	nodes, nodesSynced := w.nodes.snapshot()
	synced[3] = nodesSynced
	v.Objects.ServiceCIDRs, synced[4] = w.cidrs.snapshot()
	v.Objects.Addressing, synced[5] = w.addressing.snapshot()
	v.Objects.Pods, synced[6] = w.pods.snapshot()
	v.Objects.Imports, synced[7] = w.imports.snapshot()
	synced[8] = w.ingresses.snapshot(&v.Objects)
	v.Objects.ConfigMaps, synced[9] = w.configMaps.snapshot()
	v.Objects.Synced = !slices.Contains(synced[:], false)
	v.Node.Name = w.node
	if node, ok := nodes.Get(w.node); ok {
		v.setNode(node)
		if last := w.about.Load(); reflect.DeepEqual(last, v.Node.About) {
			v.Node.About = last // the same pointer until something in it changes
		}
		w.about.Store(v.Node.About)
	}
	return v
}

func (v *View) setNode(node *corev1.Node) {
	v.Node.Zone = node.Labels[corev1.LabelTopologyZone]
	for _, a := range node.Status.Addresses {
		if address, err := netip.ParseAddr(a.Address); err == nil {
			v.NodeAddresses = append(v.NodeAddresses, address)
		}
	}
	v.Leaving = node.DeletionTimestamp != nil ||
		slices.ContainsFunc(node.Spec.Taints, func(t corev1.Taint) bool { return t.Key == taintToBeDeleted })
	v.Node.About = &desired.NodeObject{Labels: node.Labels, UID: string(node.UID), Unavailable: unavailable(node)}
	for _, cidr := range node.Spec.PodCIDRs {
		if p, err := netip.ParsePrefix(cidr); err == nil {
			v.Node.About.PodCIDRs = append(v.Node.About.PodCIDRs, p.Masked())
		}
	}
}

// unavailable returns why a node should not announce the addresses of Services,
// or "". MetalLB goes by the same.
func unavailable(node *corev1.Node) string {
	if _, excluded := node.Labels[corev1.LabelNodeExcludeBalancers]; excluded {
		return "it has the label " + corev1.LabelNodeExcludeBalancers
	}
	for _, c := range node.Status.Conditions {
		if c.Type == corev1.NodeNetworkUnavailable && c.Status == corev1.ConditionTrue {
			return "its condition NetworkUnavailable is true: " + c.Message
		}
	}
	return ""
}

// follow keeps store equal to what the API server has of one resource.
func (w *Watcher) follow(ctx context.Context, running *sync.WaitGroup, client rest.Interface, resource string, kind runtime.Object, store cache.ReflectorStore, selector fields.Selector) {
	w.reflect(ctx, running, resource, cache.NewListWatchFromClient(client, resource, corev1.NamespaceAll, selector), kind, store)
}

// reflect keeps store equal to what lw lists and watches.
func (w *Watcher) reflect(ctx context.Context, running *sync.WaitGroup, resource string, lw *cache.ListWatch, kind runtime.Object, store cache.ReflectorStore) {
	reflector := cache.NewReflectorWithOptions(w.health.observe(resource, lw), kind, store, cache.ReflectorOptions{
		Name: resource, Backoff: patientBackoff(),
	})
	running.Go(func() { reflector.RunWithContext(ctx) })
}

// patientBackoff is how often it is tried to list and watch again. An API server that
// comes back is found within seconds, and a thousand nodes do not all come at once.
func patientBackoff() *wait.Backoff {
	return &wait.Backoff{Duration: 300 * time.Millisecond, Cap: 5 * time.Second, Steps: 5, Factor: 2, Jitter: 1}
}

// Health returns the reason why the objects may be out of date, or "".
func (w *Watcher) Health() string { return w.health.problem(time.Now()) }
