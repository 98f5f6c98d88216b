package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"sync"

	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"

	"github.com/fairlead-net/fairlead/internal/desired"
)

// ingresses holds the objects of Ingress.
type ingresses struct {
	follow  bool
	objects *store[desired.Name, *networkingv1.Ingress, *desired.Ingress]
	classes *store[string, *networkingv1.IngressClass, *desired.IngressClass]
}

func newIngresses(what Reads, changed func()) ingresses {
	follow, parse := what.Ingresses, desired.ParseIngress
	if what.IngressStatus {
		parse = desired.ParseIngressWithStatus
	}
	return ingresses{
		follow: follow,
		objects: &store[desired.Name, *networkingv1.Ingress, *desired.Ingress]{
			key: namespacedName, keep: parse, changed: changed, synced: !follow,
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

// SetIngressStatus writes where an Ingress is served: addresses and host names. One
// that is gone needs nothing. It is one request, whatever is there: what else writes it
// is overwritten, and seen by those who watch.
func (c *Client) SetIngressStatus(ctx context.Context, name desired.Name, at []string) error {
	var now []networkingv1.IngressLoadBalancerIngress
	for _, text := range at {
		entry := networkingv1.IngressLoadBalancerIngress{Hostname: text}
		if _, err := netip.ParseAddr(text); err == nil {
			entry = networkingv1.IngressLoadBalancerIngress{IP: text}
		}
		now = append(now, entry)
	}
	// None are null, which takes the list away (RFC 7396, section 1).
	patch, err := json.Marshal(map[string]any{"status": map[string]any{"loadBalancer": map[string]any{"ingress": now}}})
	if err != nil {
		return fmt.Errorf("write the status of Ingress %s: %w", name, err)
	}
	_, err = c.clientset.NetworkingV1().Ingresses(name.Namespace).Patch(ctx, name.Name, types.MergePatchType, patch, metav1.PatchOptions{}, "status")
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("write the status of Ingress %s: %w", name, err)
	}
	return nil
}
