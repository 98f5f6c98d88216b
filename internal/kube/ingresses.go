package kube

import (
	"context"
	"sync"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"

	"github.com/fairlead-net/fairlead/internal/desired"
)

// ingresses holds the objects of Ingress.
type ingresses struct {
	follow  bool
	objects *store[desired.Name, *networkingv1.Ingress, *desired.Ingress]
	classes *store[string, *networkingv1.IngressClass, *desired.IngressClass]
}

func newIngresses(follow bool, changed func()) ingresses {
	return ingresses{
		follow: follow,
		objects: &store[desired.Name, *networkingv1.Ingress, *desired.Ingress]{
			key: namespacedName, keep: desired.ParseIngress, changed: changed, synced: !follow,
		},
		classes: &store[string, *networkingv1.IngressClass, *desired.IngressClass]{
			key: clusterName, keep: desired.ParseIngressClass, changed: changed, synced: !follow,
		},
	}
}

// snapshot adds what there is, and tells whether full lists have come in.
func (i ingresses) snapshot(into *desired.Objects) bool {
	var objects, classes bool
	into.Ingresses, objects = i.objects.snapshot()
	into.IngressClasses, classes = i.classes.snapshot()
	return objects && classes
}

// followIngresses keeps the stores equal to what the API server has.
func (w *Watcher) followIngresses(ctx context.Context, running *sync.WaitGroup) {
	if !w.ingresses.follow {
		return
	}
	client, all := w.client.clientset.NetworkingV1().RESTClient(), fields.Everything()
	w.follow(ctx, running, client, "ingresses", &networkingv1.Ingress{}, w.ingresses.objects, all)
	w.follow(ctx, running, client, "ingressclasses", &networkingv1.IngressClass{}, w.ingresses.classes, all)
}

// listIngresses reads the same once.
func (c *Client) listIngresses(ctx context.Context, into *desired.Objects) error {
	objects, err := c.clientset.NetworkingV1().Ingresses("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return listError("Ingresses", err)
	}
	e := into.Ingresses.Edit()
	for n := range objects.Items {
		o := &objects.Items[n]
		e.Set(namespacedName(o), desired.ParseIngress(o))
	}
	into.Ingresses = e.Map()
	classes, err := c.clientset.NetworkingV1().IngressClasses().List(ctx, metav1.ListOptions{})
	if err != nil {
		return listError("IngressClasses", err)
	}
	for n := range classes.Items {
		into.IngressClasses = into.IngressClasses.Set(classes.Items[n].Name, desired.ParseIngressClass(&classes.Items[n]))
	}
	return nil
}
