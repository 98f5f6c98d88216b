package kube

import (
	"context"
	"fmt"
	"net/netip"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead-net/fairlead/internal/desired"
)

// Pod is what matters of a pod to its connections and its look-ups.
type Pod struct {
	Node      string
	Addresses []netip.Addr
	// HostNetwork: it has its node's network namespace.
	HostNetwork bool
	// DNSPolicy, Search and Ndots are what its spec says about its resolver; Ndots
	// is empty if it says nothing.
	DNSPolicy string
	Search    []string
	Ndots     string
}

// Pod reads one pod. Only the command line does so: no process watches pods.
func (c *Client) Pod(ctx context.Context, name desired.Name) (Pod, error) {
	o, err := c.clientset.CoreV1().Pods(name.Namespace).Get(ctx, name.Name, metav1.GetOptions{})
	if err != nil {
		return Pod{}, fmt.Errorf("get pod %s: %w; 'kubectl get pods -n %s' lists the names", name, err, name.Namespace)
	}
	p := Pod{Node: o.Spec.NodeName, HostNetwork: o.Spec.HostNetwork, DNSPolicy: string(o.Spec.DNSPolicy)}
	if c := o.Spec.DNSConfig; c != nil {
		p.Search = c.Searches
		for _, option := range c.Options {
			if option.Name == "ndots" && option.Value != nil {
				p.Ndots = *option.Value
			}
		}
	}
	for _, ip := range o.Status.PodIPs {
		if address, err := netip.ParseAddr(ip.IP); err == nil {
			p.Addresses = append(p.Addresses, address)
		}
	}
	if p.Node == "" {
		return p, fmt.Errorf("pod %s is on no node yet; 'kubectl describe pod -n %s %s' says why", name, name.Namespace, name.Name)
	}
	return p, nil
}
