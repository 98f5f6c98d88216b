package kube

import (
	"context"
	"fmt"
	"log/slog"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead-net/fairlead/internal/desired"
)

// List reads once what a Watcher on the named node would see; the empty name
// means no node in particular.
func (c *Client) List(ctx context.Context, node string, what Reads, log *slog.Logger) (View, error) {
	v := View{Objects: desired.Objects{Synced: true}, Node: desired.Node{Name: node}}
	all := metav1.ListOptions{}
	parseService, parseSlice := what.Names.parsers()
	services, err := c.clientset.CoreV1().Services("").List(ctx, all)
	if err != nil {
		return v, listError("Services", err)
	}
	for i := range services.Items {
		o := &services.Items[i]
		v.Objects.Services = v.Objects.Services.Set(namespacedName(o), parseService(o))
	}
	slices, err := c.clientset.DiscoveryV1().EndpointSlices("").List(ctx, all)
	if err != nil {
		return v, listError("EndpointSlices", err)
	}
	for i := range slices.Items {
		o := &slices.Items[i]
		v.Objects.Slices = v.Objects.Slices.Set(namespacedName(o), parseSlice(o))
	}
	namespaces, err := c.clientset.CoreV1().Namespaces().List(ctx, all)
	if err != nil {
		return v, listError("Namespaces", err)
	}
	for i := range namespaces.Items {
		o := &namespaces.Items[i]
		v.Objects.Namespaces = v.Objects.Namespaces.Set(o.Name, parseNamespace(o))
	}
	cidrs, err := c.clientset.NetworkingV1().ServiceCIDRs().List(ctx, all)
	if err != nil && !absent(err) {
		return v, listError("ServiceCIDRs", err)
	}
	for i := range cidrs.Items {
		o := &cidrs.Items[i]
		v.Objects.ServiceCIDRs = v.Objects.ServiceCIDRs.Set(o.Name, stripServiceCIDR(o))
	}
	if err := c.listNames(ctx, what.Names, &v.Objects, log); err != nil {
		return v, err
	}
	if what.Ingresses {
		if err := c.listIngresses(ctx, &v.Objects); err != nil {
			return v, err
		}
	}
	if err := c.listConfigMaps(ctx, what.ConfigMaps, &v.Objects); err != nil {
		return v, err
	}
	if v.Objects.Addressing, err = c.listAddressing(ctx, what.Addressing, log); err != nil || node == "" {
		return v, err
	}
	o, err := c.clientset.CoreV1().Nodes().Get(ctx, node, metav1.GetOptions{})
	if err != nil {
		return v, fmt.Errorf("get Node %s: %w; 'kubectl get nodes' lists the names", node, err)
	}
	v.setNode(o)
	return v, nil
}

func listError(kind string, err error) error { return fmt.Errorf("list %s: %w", kind, err) }

// absent tells whether the API server does not have a kind at all.
func absent(err error) bool { return apierrors.IsNotFound(err) }
