package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/cespare/xxhash/v2"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/dynamic"

	"github.com/fairlead-net/fairlead/api/metallb"
	"github.com/fairlead-net/fairlead/internal/desired"
)

// How ServiceL2Status and ServiceBGPStatus objects are marked: the labels are
// MetalLB's, the annotation has the addresses, which MetalLB's objects do not tell.
const (
	labelNode             = "metallb.io/node"
	labelServiceName      = "metallb.io/service-name"
	labelServiceNamespace = "metallb.io/service-namespace"
	annotationAddresses   = "fairlead.dev/addresses"
)

// Announcements keeps the ServiceL2Status and ServiceBGPStatus objects of one node.
// Their names follow from what they are about, so that no two are about the same
// and those of another node can be deleted unread. The owner of each is the Node
// object: Kubernetes deletes them with it.
type Announcements struct {
	client    *Client
	namespace string
	node      string
}

// NewAnnouncements returns the objects of a node in a namespace.
func NewAnnouncements(client *Client, namespace, node string) *Announcements {
	return &Announcements{client, namespace, node}
}

// List reads the node's objects. Those that this node, known by uid, would not have
// made are deleted: they are from another program, or from a node that had its
// name before.
func (a *Announcements) List(ctx context.Context, uid string) ([]desired.Announcement, error) {
	var all []desired.Announcement
	for _, bgp := range []bool{false, true} {
		list, err := a.resource(bgp).List(ctx, metav1.ListOptions{LabelSelector: labelNode + "=" + nodeLabel(a.node)})
		if err != nil {
			return nil, fmt.Errorf("list %s: %w%s", kindOfAnnouncement(bgp), err, hint(err))
		}
		for i := range list.Items {
			o := &list.Items[i]
			one, ok := parseAnnouncement(o, bgp)
			if ok && o.GetName() == announcementName(a.node, one.Announced) && ownedBy(o, uid) {
				all = append(all, one)
				continue
			}
			if err := a.delete(ctx, bgp, o.GetName()); err != nil {
				return nil, err
			}
		}
	}
	return all, nil
}

// Put makes the object say what now does. It needs to know what the object said
// before: the zero value if there was none. An object that is not as expected is an
// error, after which List tells what there is.
func (a *Announcements) Put(ctx context.Context, uid string, before, now desired.Announcement) error {
	name := announcementName(a.node, now.Announced)
	if before.Announced != now.Announced {
		_, err := a.resource(now.BGP).Create(ctx, a.object(uid, name, now), metav1.CreateOptions{})
		if apierrors.IsAlreadyExists(err) {
			// Somebody changed its labels, or it is not the node's: the next Put makes it anew.
			err = errors.Join(err, a.delete(ctx, now.BGP, name))
		}
		if err != nil {
			return a.failed("create", now.BGP, name, err)
		}
		before = desired.Announcement{Announced: now.Announced, Addresses: now.Addresses}
		if len(now.Through) == 0 {
			before.Through = []string{""} // the status has yet to be written
		}
	}
	if !slices.Equal(before.Addresses, now.Addresses) {
		annotations := map[string]any{annotationAddresses: joinAddresses(now.Addresses)}
		if err := a.patch(ctx, now.BGP, name, map[string]any{"metadata": map[string]any{"annotations": annotations}}); err != nil {
			return err
		}
	}
	if slices.Equal(before.Through, now.Through) {
		return nil
	}
	return a.patch(ctx, now.BGP, name, map[string]any{"status": a.status(now)}, "status")
}

// Delete deletes an object of any node; one that is gone is no error.
func (a *Announcements) Delete(ctx context.Context, node string, what desired.Announced) error {
	return a.delete(ctx, what.BGP, announcementName(node, what))
}

// DeleteAll deletes all objects of a node that is gone, in two requests.
func (a *Announcements) DeleteAll(ctx context.Context, node string) error {
	for _, bgp := range []bool{false, true} {
		err := a.resource(bgp).DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{LabelSelector: labelNode + "=" + nodeLabel(node)})
		if err != nil && !absent(err) {
			return fmt.Errorf("delete the %s objects of node %s: %w", kindOfAnnouncement(bgp), node, err)
		}
	}
	return nil
}

func (a *Announcements) resource(bgp bool) dynamic.ResourceInterface {
	plural := "servicel2statuses"
	if bgp {
		plural = "servicebgpstatuses"
	}
	return a.client.dynamic.Resource(metallb.Resource(plural)).Namespace(a.namespace)
}

func kindOfAnnouncement(bgp bool) string {
	if bgp {
		return "ServiceBGPStatus"
	}
	return "ServiceL2Status"
}

func (a *Announcements) object(uid, name string, now desired.Announcement) *unstructured.Unstructured {
	o := &unstructured.Unstructured{Object: map[string]any{}}
	o.SetAPIVersion(metallb.Group + "/" + metallb.Version)
	o.SetKind(kindOfAnnouncement(now.BGP))
	o.SetName(name)
	o.SetNamespace(a.namespace)
	o.SetLabels(map[string]string{
		labelNode: nodeLabel(a.node), labelServiceName: now.Service.Name, labelServiceNamespace: now.Service.Namespace,
	})
	if len(now.Addresses) > 0 {
		o.SetAnnotations(map[string]string{annotationAddresses: joinAddresses(now.Addresses)})
	}
	o.SetOwnerReferences([]metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: a.node, UID: types.UID(uid)}})
	return o
}

// status returns the status of an object. It has all fields: a list that became empty is
// to be so in the object too.
func (a *Announcements) status(now desired.Announcement) map[string]any {
	status := map[string]any{"node": a.node, "serviceName": now.Service.Name, "serviceNamespace": now.Service.Namespace}
	list := []any{}
	for _, name := range now.Through {
		if now.BGP {
			list = append(list, name)
		} else {
			list = append(list, map[string]any{"name": name})
		}
	}
	if now.BGP {
		status["peers"] = list
	} else {
		status["interfaces"] = list
	}
	return status
}

// parseAnnouncement reads an object, and tells whether it says of which Service and
// of which node it is. Where the status has not been written yet it differs from all
// that are.
func parseAnnouncement(o *unstructured.Unstructured, bgp bool) (desired.Announcement, bool) {
	one := desired.Announcement{Announced: desired.Announced{
		Service: desired.Name{Namespace: o.GetLabels()[labelServiceNamespace], Name: o.GetLabels()[labelServiceName]}, BGP: bgp,
	}}
	var node string
	if bgp {
		typed, err := metallb.Read[metallb.ServiceBGPStatus](o)
		if err != nil {
			return one, false
		}
		node, one.Through = typed.Status.Node, typed.Status.Peers
	} else {
		typed, err := metallb.Read[metallb.ServiceL2Status](o)
		if err != nil {
			return one, false
		}
		node = typed.Status.Node
		for _, i := range typed.Status.Interfaces {
			one.Through = append(one.Through, i.Name)
		}
	}
	if node == "" {
		one.Through = []string{""}
	}
	for text := range strings.SplitSeq(o.GetAnnotations()[annotationAddresses], ",") {
		if address, err := netip.ParseAddr(text); err == nil {
			one.Addresses = append(one.Addresses, address)
		}
	}
	return one, one.Service.Namespace != "" && one.Service.Name != ""
}

func ownedBy(o *unstructured.Unstructured, uid string) bool {
	owners := o.GetOwnerReferences()
	return len(owners) == 1 && string(owners[0].UID) == uid
}

// announcementName returns the name of the object of a node: a hash, as the names
// of a node and of a Service together can be longer than a name may be.
func announcementName(node string, what desired.Announced) string {
	protocol := "l2"
	if what.BGP {
		protocol = "bgp"
	}
	return fmt.Sprintf("%s-%016x", protocol, xxhash.Sum64String(node+"/"+what.Service.String()))
}

// nodeLabel returns the name of a node, shortened if it is too long for a label.
func nodeLabel(node string) string {
	if len(node) <= validation.LabelValueMaxLength {
		return node
	}
	return fmt.Sprintf("%s-%08x", strings.TrimRight(node[:validation.LabelValueMaxLength-9], ".-"), uint32(xxhash.Sum64String(node)))
}

func joinAddresses(addresses []netip.Addr) string {
	var texts []string
	for _, a := range addresses {
		texts = append(texts, a.String())
	}
	return strings.Join(texts, ",")
}

func (a *Announcements) patch(ctx context.Context, bgp bool, name string, what map[string]any, subresources ...string) error {
	body, err := json.Marshal(what)
	if err != nil {
		return err
	}
	_, err = a.resource(bgp).Patch(ctx, name, types.MergePatchType, body, metav1.PatchOptions{}, subresources...)
	return a.failed("write", bgp, name, err)
}

func (a *Announcements) delete(ctx context.Context, bgp bool, name string) error {
	if err := a.resource(bgp).Delete(ctx, name, metav1.DeleteOptions{}); !apierrors.IsNotFound(err) {
		return a.failed("delete", bgp, name, err)
	}
	return nil
}

func (a *Announcements) failed(verb string, bgp bool, name string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s %s %s/%s: %w%s", verb, kindOfAnnouncement(bgp), a.namespace, name, err, hint(err))
}

// hint says what to do about an error that will not go away by itself.
func hint(err error) string {
	switch {
	case absent(err):
		return "; install the definitions of MetalLB's kinds that come with Fairlead (charts/fairlead/crds)"
	case apierrors.IsForbidden(err):
		return "; the role fairlead-loadbalancer-node of the chart allows it"
	}
	return ""
}
