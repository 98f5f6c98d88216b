package kube

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/fairlead-net/fairlead/api/metallb"
	"github.com/fairlead-net/fairlead/internal/desired"
)

func announcementOf(bgp bool, service, addresses string, through ...string) desired.Announcement {
	a := desired.Announcement{Announced: desired.Announced{Service: desired.Name{Namespace: "demo", Name: service}, BGP: bgp}, Through: through}
	for text := range strings.FieldsSeq(addresses) {
		a.Addresses = append(a.Addresses, netip.MustParseAddr(text))
	}
	return a
}

func sameAnnouncements(t *testing.T, what string, want, got []desired.Announcement) {
	t.Helper()
	slices.SortFunc(got, func(a, b desired.Announcement) int { return a.Compare(b.Announced) })
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// statusServer knows the two kinds and, as the real one does, takes a status only
// through its own resource.
func statusServer() (*dynamicfake.FakeDynamicClient, *Client) {
	fake := dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), map[schema.GroupVersionResource]string{
		metallb.Resource("servicel2statuses"): "ServiceL2StatusList", metallb.Resource("servicebgpstatuses"): "ServiceBGPStatusList",
	})
	return fake, &Client{dynamic: fake}
}

func TestAnnouncements(t *testing.T) {
	fake, client := statusServer()
	ctx, one := t.Context(), NewAnnouncements(client, "metallb-system", "node-1")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	listed := func(want ...desired.Announcement) {
		t.Helper()
		got, err := one.List(ctx, "uid-1")
		must(err)
		sameAnnouncements(t, "the node's objects", want, got)
	}
	listed()
	none := desired.Announcement{}
	shop, routed := announcementOf(false, "shop", "192.0.2.1 2001:db8::1", "eth0"), announcementOf(true, "shop", "", "tor-1", "tor-2")
	nowhere := announcementOf(false, "nowhere", "192.0.2.9")
	must(one.Put(ctx, "uid-1", none, shop))
	must(one.Put(ctx, "uid-1", none, nowhere))
	must(one.Put(ctx, "uid-1", none, routed))
	must(NewAnnouncements(client, "metallb-system", "node-2").Put(ctx, "uid-2", none, shop))
	listed(nowhere, shop, routed)

	// What MetalLB's users and tools look for.
	name := announcementName("node-1", shop.Announced)
	o, err := fake.Resource(metallb.Resource("servicel2statuses")).Namespace("metallb-system").Get(ctx, name, metav1.GetOptions{})
	must(err)
	typed, err := metallb.Read[metallb.ServiceL2Status](o)
	must(err)
	wantLabels := map[string]string{"metallb.io/node": "node-1", "metallb.io/service-name": "shop", "metallb.io/service-namespace": "demo"}
	wantStatus := metallb.ServiceL2StatusStatus{Node: "node-1", ServiceName: "shop", ServiceNamespace: "demo", Interfaces: []metallb.Interface{{Name: "eth0"}}}
	if diff := cmp.Diff(wantLabels, typed.Labels) + cmp.Diff(wantStatus, typed.Status); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: "node-1", UID: "uid-1"}}, typed.OwnerReferences); diff != "" {
		t.Errorf("owner (-want +got):\n%s", diff)
	}

	fewer, moved := announcementOf(false, "shop", "2001:db8::1"), announcementOf(true, "shop", "", "tor-2")
	must(one.Put(ctx, "uid-1", shop, fewer))
	must(one.Put(ctx, "uid-1", routed, moved))
	listed(nowhere, fewer, moved)
	for _, action := range fake.Actions() {
		if create, ok := action.(clienttesting.CreateAction); ok && create.GetObject().(*unstructured.Unstructured).Object["status"] != nil {
			t.Error("a status in what is created is lost: the API server takes it by its own resource alone")
		}
		if patch, ok := action.(clienttesting.PatchAction); ok && strings.Contains(string(patch.GetPatch()), `"status"`) != (patch.GetSubresource() == "status") {
			t.Errorf("patch %s of %q", patch.GetPatch(), patch.GetSubresource())
		}
	}
	must(one.Delete(ctx, "node-1", moved.Announced))
	must(one.Delete(ctx, "node-1", moved.Announced)) // nothing there is no error
	must(one.Delete(ctx, "node-2", shop.Announced))
	listed(nowhere, fewer)
	if err := one.Put(ctx, "uid-1", moved, routed); !apierrors.IsNotFound(err) {
		t.Errorf("the object is gone: %v", err)
	}
}

// TestAnnouncementsOfOthers expects the node to keep only what it would have written.
func TestAnnouncementsOfOthers(t *testing.T) {
	fake, client := statusServer()
	ctx, one := t.Context(), NewAnnouncements(client, "metallb-system", "node-1")
	shop := announcementOf(false, "shop", "192.0.2.1", "eth0")
	resource := fake.Resource(metallb.Resource("servicel2statuses")).Namespace("metallb-system")
	create := func(o *unstructured.Unstructured, change func(*unstructured.Unstructured)) {
		t.Helper()
		change(o)
		if _, err := resource.Create(ctx, o, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	object := func(service string) *unstructured.Unstructured {
		a := announcementOf(false, service, "192.0.2.1")
		return one.object("uid-1", announcementName("node-1", a.Announced), a)
	}
	create(object("metallb"), func(o *unstructured.Unstructured) { o.SetName("l2-x7k2p") })
	create(object("predecessor"), func(o *unstructured.Unstructured) { o.SetOwnerReferences([]metav1.OwnerReference{{UID: "uid-0"}}) })
	create(object("nobody"), func(o *unstructured.Unstructured) { o.SetLabels(map[string]string{labelNode: "node-1"}) })
	create(object("other"), func(o *unstructured.Unstructured) { o.SetLabels(map[string]string{labelNode: "node-2"}) })
	create(object("unwritten"), func(*unstructured.Unstructured) {})
	got, err := one.List(ctx, "uid-1")
	if err != nil || len(got) != 1 || got[0].Service.Name != "unwritten" || slices.Equal(got[0].Through, nil) {
		t.Errorf("of what others wrote: %v, %v", got, err)
	}
	// One that nobody finds by its labels is in the way once.
	create(object("shop"), func(o *unstructured.Unstructured) { o.SetLabels(nil) })
	if err := one.Put(ctx, "uid-1", desired.Announcement{}, shop); !apierrors.IsAlreadyExists(err) {
		t.Errorf("in the way: %v", err)
	}
	if err := one.Put(ctx, "uid-1", desired.Announcement{}, shop); err != nil {
		t.Error(err)
	}
	list, err := resource.List(ctx, metav1.ListOptions{})
	if err != nil || len(list.Items) != 3 { // other, unwritten, shop
		t.Errorf("%d objects are left, %v", len(list.Items), err)
	}
}

func TestDeleteAllAnnouncements(t *testing.T) {
	fake, client := statusServer()
	var asked []string
	fake.PrependReactor("delete-collection", "*", func(action clienttesting.Action) (bool, runtime.Object, error) {
		asked = append(asked, action.GetResource().Resource+" "+action.GetNamespace()+" "+action.(clienttesting.DeleteCollectionAction).GetListRestrictions().Labels.String())
		return true, nil, apierrors.NewNotFound(schema.GroupResource{}, "") // as without the definitions
	})
	if err := NewAnnouncements(client, "metallb-system", "node-1").DeleteAll(t.Context(), "node-2"); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{"servicel2statuses metallb-system metallb.io/node=node-2", "servicebgpstatuses metallb-system metallb.io/node=node-2"}, asked); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	fake.PrependReactor("list", "*", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, apierrors.NewNotFound(schema.GroupResource{}, "")
	})
	if _, err := NewAnnouncements(client, "metallb-system", "node-1").List(t.Context(), "uid-1"); err == nil || !strings.Contains(err.Error(), "install the definitions") {
		t.Errorf("without the definitions: %v", err)
	}
}

func TestNodeLabel(t *testing.T) {
	long := strings.Repeat("rack-1.", 20)
	if nodeLabel("node-1") != "node-1" || len(nodeLabel(long)) > 63 || nodeLabel(long) == nodeLabel(long+"x") || strings.Contains(nodeLabel(long), ".-") {
		t.Error(nodeLabel(long))
	}
	a := desired.Announced{Service: desired.Name{Namespace: "demo", Name: "shop"}}
	b := a
	b.BGP = true
	if announcementName("node-1", a) == announcementName("node-2", a) || announcementName("node-1", a) == announcementName("node-1", b) {
		t.Error("two objects of one name")
	}
}
