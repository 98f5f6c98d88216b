package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/fairlead-net/fairlead/api/metallb"
	"github.com/fairlead-net/fairlead/internal/desired"
)

// SetIngress writes the addresses of a Service into its status; none clears it.
// check gets the Service as the API server has it now: if it says no, the Service
// has changed and nothing is written. A Service that is gone needs nothing. It
// tells whether the status was written.
func (c *Client) SetIngress(ctx context.Context, name desired.Name, addresses []netip.Addr, check func(*desired.Service) bool) (bool, error) {
	services := c.clientset.CoreV1().Services(name.Namespace)
	o, err := services.Get(ctx, name.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read Service %s: %w", name, err)
	}
	if !check(desired.ParseService(o)) {
		return false, nil
	}
	old := o.Status.LoadBalancer.Ingress
	var ingress []corev1.LoadBalancerIngress
	for _, address := range addresses {
		// What others wrote beside the address (the mode, ports) stays with it.
		i := slices.IndexFunc(old, func(i corev1.LoadBalancerIngress) bool { return i.IP == address.String() })
		if i >= 0 {
			ingress = append(ingress, old[i])
			continue
		}
		ingress = append(ingress, corev1.LoadBalancerIngress{IP: address.String()})
	}
	if slices.EqualFunc(old, ingress, func(a, b corev1.LoadBalancerIngress) bool { return a.IP == b.IP && a.Hostname == b.Hostname }) {
		return false, nil
	}
	o.Status.LoadBalancer.Ingress = ingress
	_, err = services.UpdateStatus(ctx, o, metav1.UpdateOptions{})
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("write the addresses of Service %s: %w", name, err)
	}
	return true, nil
}

// Ingress returns the addresses in the status of a Service; none if there is no
// such Service.
func (c *Client) Ingress(ctx context.Context, name desired.Name) ([]netip.Addr, error) {
	o, err := c.clientset.CoreV1().Services(name.Namespace).Get(ctx, name.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read Service %s: %w", name, err)
	}
	var addresses []netip.Addr
	for _, i := range o.Status.LoadBalancer.Ingress {
		if address, err := netip.ParseAddr(i.IP); err == nil {
			addresses = append(addresses, address)
		}
	}
	return addresses, nil
}

// SetPoolStatus writes how many addresses of a pool are in use. A pool that is
// gone, or whose definition has no status, needs nothing.
func (c *Client) SetPoolStatus(ctx context.Context, name desired.Name, status metallb.IPAddressPoolStatus) error {
	patch, err := json.Marshal(map[string]any{"status": status})
	if err != nil {
		return err
	}
	pools := c.dynamic.Resource(metallb.Resource("ipaddresspools")).Namespace(name.Namespace)
	_, err = pools.Patch(ctx, name.Name, types.MergePatchType, patch, metav1.PatchOptions{}, "status")
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("write the status of IPAddressPool %s: %w", name, err)
	}
	return nil
}
