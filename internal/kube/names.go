package kube

import (
	"context"
	"fmt"
	"log/slog"
	"sync"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"

	"github.com/fairlead-net/fairlead/internal/desired"
)

// Reads says which objects are read besides those that every process needs.
type Reads struct {
	Addressing Addressing
	Names      Names
	// Ingresses: also Ingresses and IngressClasses.
	Ingresses bool
	// IngressStatus: also what the status of Ingresses says.
	IngressStatus bool
	// ConfigMaps are those that are read, by name; zero values are none.
	ConfigMaps [3]desired.Name
}

// Names says what is read for names in DNS. The zero value means nothing more.
type Names struct {
	// Pods: the addresses of all pods that have Labels.
	Pods bool
	// Labels is a selector as kubectl's --selector takes it. If it is not empty, the
	// labels of Services and EndpointSlices are kept, for others to select by.
	Labels string
	// NoSlices leaves out EndpointSlices.
	NoSlices bool
	// Imports: also ServiceImports, which a cluster need not have.
	Imports bool
}

// living selects the pods that have not come to their end.
const living = "status.phase!=" + string(corev1.PodSucceeded) + ",status.phase!=" + string(corev1.PodFailed)

// parsers returns how Services and EndpointSlices are kept.
func (n Names) parsers() (func(*corev1.Service) *desired.Service, func(*discoveryv1.EndpointSlice) *desired.Slice) {
	if n.Labels == "" {
		return desired.ParseService, desired.ParseSlice
	}
	service := func(o *corev1.Service) *desired.Service {
		s := desired.ParseService(o)
		s.Labels = o.Labels
		return s
	}
	slice := func(o *discoveryv1.EndpointSlice) *desired.Slice {
		s := desired.ParseSlice(o)
		s.Labels = o.Labels
		return s
	}
	return service, slice
}

func newPods(n Names, changed func()) *store[desired.PodID, *corev1.Pod, desired.Pod] {
	return &store[desired.PodID, *corev1.Pod, desired.Pod]{
		key: podID, keep: desired.ParsePod, transform: stripPod, changed: changed, synced: !n.Pods,
	}
}

func podID(o metav1.Object) desired.PodID {
	return desired.NewPodID(desired.Name{Namespace: o.GetNamespace(), Name: o.GetName()})
}

// stripPod keeps what ParsePod reads of a pod.
func stripPod(object any) (any, error) {
	o, ok := object.(*corev1.Pod)
	if !ok {
		return nil, fmt.Errorf("unexpected %T from the API server", object)
	}
	return &corev1.Pod{ObjectMeta: stripMeta(o.ObjectMeta), Status: corev1.PodStatus{Phase: o.Status.Phase, PodIPs: o.Status.PodIPs}}, nil
}

// selectPods restricts a list or a watch to the pods that count.
func (n Names) selectPods(o *metav1.ListOptions) {
	o.FieldSelector, o.LabelSelector = living, n.Labels
}

// serviceImports is the resource of KEP-1645's ServiceImports.
func serviceImports() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "multicluster.x-k8s.io", Version: "v1alpha1", Resource: "serviceimports"}
}

func newImports(n Names, changed func(), log *slog.Logger) *store[desired.Name, *unstructured.Unstructured, *desired.Service] {
	return &store[desired.Name, *unstructured.Unstructured, *desired.Service]{
		key: namespacedName, changed: changed, synced: !n.Imports,
		keep: func(o *unstructured.Unstructured) *desired.Service { return parseImport(o, log) },
	}
}

// parseImport reads an object as far as it is what the kind's definition lets
// through.
func parseImport(o *unstructured.Unstructured, log *slog.Logger) *desired.Service {
	var typed desired.ServiceImport
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &typed); err != nil {
		log.Error("ServiceImport is used as if it were empty: correct the field", "namespace", o.GetNamespace(), "name", o.GetName(), "error", err)
		typed = desired.ServiceImport{}
	}
	typed.Namespace, typed.Name = o.GetNamespace(), o.GetName()
	return desired.ParseServiceImport(&typed)
}

// listResource lists and watches a resource of another API group.
func (c *Client) listResource(of schema.GroupVersionResource) *cache.ListWatch {
	resource := c.dynamic.Resource(of)
	return &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			return resource.List(ctx, o)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			return resource.Watch(ctx, o)
		},
	}
}

// followNames keeps the stores that are for names alone equal to what the API
// server has.
func (w *Watcher) followNames(ctx context.Context, running *sync.WaitGroup) {
	if w.names.Pods {
		lw := cache.NewFilteredListWatchFromClient(w.client.clientset.CoreV1().RESTClient(), "pods", metav1.NamespaceAll, w.names.selectPods)
		w.reflect(ctx, running, "pods", lw, &corev1.Pod{}, w.pods)
	}
	if w.names.Imports {
		w.reflect(ctx, running, "serviceimports", w.client.listResource(serviceImports()), &unstructured.Unstructured{}, w.imports)
	}
}

// listNames reads the same once.
func (c *Client) listNames(ctx context.Context, n Names, into *desired.Objects, log *slog.Logger) error {
	if n.Imports {
		list, err := c.dynamic.Resource(serviceImports()).List(ctx, metav1.ListOptions{})
		switch {
		case unread("serviceimports", err, log):
			list = &unstructured.UnstructuredList{}
		case err != nil:
			return listError("ServiceImports", err)
		}
		for i := range list.Items {
			o := &list.Items[i]
			into.Imports = into.Imports.Set(namespacedName(o), parseImport(o, log))
		}
	}
	if !n.Pods {
		return nil
	}
	var options metav1.ListOptions
	n.selectPods(&options)
	list, err := c.clientset.CoreV1().Pods("").List(ctx, options)
	if err != nil {
		return listError("Pods", err)
	}
	e := into.Pods.Edit()
	for i := range list.Items {
		e.Set(podID(&list.Items[i]), desired.ParsePod(&list.Items[i]))
	}
	into.Pods = e.Map()
	return nil
}
