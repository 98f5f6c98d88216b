package kube

import (
	"context"
	"log/slog"
	"net/netip"
	"sync"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"

	"github.com/fairlead-net/fairlead/api/metallb"
	"github.com/fairlead-net/fairlead/internal/desired"
)

// Addressing says which of the objects are read that concern the addresses of
// load balancers. The zero value means none.
type Addressing struct {
	// Namespace is where MetalLB's objects are; those elsewhere do not count, so that
	// whoever may write in some namespace has no say in the cluster's addresses.
	Namespace string
	// Claims: also who has which address. Passwords: also those of BGP sessions.
	Claims, Passwords bool
}

// addressing holds the objects of desired.Addressing.
type addressing struct {
	what Addressing

	pools       *store[desired.Name, *unstructured.Unstructured, *desired.Pool]
	l2          *store[desired.Name, *unstructured.Unstructured, *desired.L2Advertisement]
	bgp         *store[desired.Name, *unstructured.Unstructured, *desired.BGPAdvertisement]
	communities *store[desired.Name, *unstructured.Unstructured, *desired.CommunityNames]
	peers       *store[desired.Name, *unstructured.Unstructured, *desired.Peer]
	profiles    *store[desired.Name, *unstructured.Unstructured, *desired.BFDProfile]
	claims      *store[netip.Addr, *networkingv1.IPAddress, *desired.Claim]
	passwords   *store[desired.Name, *corev1.Secret, desired.Password]
}

func newAddressing(what Addressing, changed func(), log *slog.Logger) *addressing {
	none := what.Namespace == ""
	a := &addressing{what: what}
	a.pools = metalLB(desired.ParsePool, changed, none, log)
	a.l2 = metalLB(desired.ParseL2Advertisement, changed, none, log)
	a.bgp = metalLB(desired.ParseBGPAdvertisement, changed, none, log)
	a.communities = metalLB(desired.ParseCommunityNames, changed, none, log)
	a.peers = metalLB(desired.ParsePeer, changed, none, log)
	a.profiles = metalLB(desired.ParseBFDProfile, changed, none, log)
	a.claims = &store[netip.Addr, *networkingv1.IPAddress, *desired.Claim]{
		key: claimedAddress, keep: parseClaim, changed: changed, synced: !what.Claims,
	}
	a.passwords = &store[desired.Name, *corev1.Secret, desired.Password]{
		key: namespacedName, keep: parsePassword, changed: changed, synced: none || !what.Passwords,
	}
	return a
}

// metalLB returns a store for one of MetalLB's kinds.
func metalLB[T any, V comparable](parse func(*T) V, changed func(), synced bool, log *slog.Logger) *store[desired.Name, *unstructured.Unstructured, V] {
	return &store[desired.Name, *unstructured.Unstructured, V]{
		key: namespacedName, keep: func(o *unstructured.Unstructured) V { return parse(read[T](o, log)) }, changed: changed, synced: synced,
	}
}

// read returns the typed object, or just its name where the schema that the API
// server has for the kind lets something else through.
func read[T any](o *unstructured.Unstructured, log *slog.Logger) *T {
	typed, err := metallb.Read[T](o)
	if err == nil {
		return typed
	}
	log.Error("object is used as if it were empty: correct the field, and install the definitions of its kind that come with Fairlead", "error", err)
	empty := &unstructured.Unstructured{Object: map[string]any{"metadata": map[string]any{
		"namespace": o.GetNamespace(), "name": o.GetName(),
	}}}
	if typed, err = metallb.Read[T](empty); err != nil {
		return new(T)
	}
	return typed
}

// parsePassword keeps the one field that MetalLB reads of a Secret, which must be
// of type kubernetes.io/basic-auth.
func parsePassword(o *corev1.Secret) desired.Password {
	return desired.Password(o.Data[corev1.BasicAuthPasswordKey])
}

// snapshot returns what has been read, and whether that is everything.
func (a *addressing) snapshot() (desired.Addressing, bool) {
	var all desired.Addressing
	var synced [7]bool
	all.Pools, synced[0] = a.pools.snapshot()
	all.L2Advertisements, synced[1] = a.l2.snapshot()
	all.BGPAdvertisements, synced[2] = a.bgp.snapshot()
	all.Communities, synced[3] = a.communities.snapshot()
	all.Peers, synced[4] = a.peers.snapshot()
	all.BFDProfiles, synced[5] = a.profiles.snapshot()
	all.Claims, synced[6] = a.claims.snapshot()
	passwords, read := a.passwords.snapshot()
	all.Passwords, all.PasswordsUnread = passwords, !read
	return all, synced == [7]bool{true, true, true, true, true, true, true}
}

// kinds are the resources of MetalLB's kinds, and where each is kept.
func (a *addressing) kinds() map[string]cache.ReflectorStore {
	return map[string]cache.ReflectorStore{
		"ipaddresspools": a.pools, "l2advertisements": a.l2, "bgpadvertisements": a.bgp,
		"communities": a.communities, "bgppeers": a.peers, "bfdprofiles": a.profiles,
	}
}

// followAddressing keeps the stores equal to what the API server has.
func (w *Watcher) followAddressing(ctx context.Context, running *sync.WaitGroup) {
	a := w.addressing
	if a.what.Namespace != "" {
		for plural, kept := range a.kinds() {
			w.reflect(ctx, running, plural, w.client.listMetalLB(plural, a.what.Namespace), &unstructured.Unstructured{}, kept)
		}
	}
	if a.what.Passwords && a.what.Namespace != "" {
		lw := cache.NewListWatchFromClient(w.client.clientset.CoreV1().RESTClient(), "secrets", a.what.Namespace,
			fields.OneTermEqualSelector("type", string(corev1.SecretTypeBasicAuth)))
		w.reflect(ctx, running, "secrets", lw, &corev1.Secret{}, a.passwords)
	}
	if a.what.Claims {
		networking := w.client.clientset.NetworkingV1().RESTClient()
		ours := labels.SelectorFromSet(labels.Set{labelManagedBy: managedByFairlead}).String()
		lw := cache.NewFilteredListWatchFromClient(networking, "ipaddresses", metav1.NamespaceAll, func(o *metav1.ListOptions) {
			o.LabelSelector, o.FieldSelector = ours, fields.Everything().String()
		})
		w.reflect(ctx, running, "ipaddresses", lw, &networkingv1.IPAddress{}, a.claims)
	}
}

// listMetalLB lists and watches one of MetalLB's resources.
func (c *Client) listMetalLB(plural, namespace string) *cache.ListWatch {
	resource := c.dynamic.Resource(metallb.Resource(plural)).Namespace(namespace)
	return &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			return resource.List(ctx, o)
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			return resource.Watch(ctx, o)
		},
	}
}

// listAddressing reads the objects once.
func (c *Client) listAddressing(ctx context.Context, what Addressing, log *slog.Logger) (desired.Addressing, error) {
	a := newAddressing(what, func() {}, log)
	if what.Namespace == "" {
		all, _ := a.snapshot()
		return all, nil
	}
	for plural, kept := range a.kinds() {
		list, err := c.dynamic.Resource(metallb.Resource(plural)).Namespace(what.Namespace).List(ctx, metav1.ListOptions{})
		if unread(plural, err, log) {
			continue
		}
		if err != nil {
			return desired.Addressing{}, listError(plural, err)
		}
		for i := range list.Items {
			if err := kept.Add(&list.Items[i]); err != nil {
				return desired.Addressing{}, err
			}
		}
	}
	if what.Claims {
		list, err := c.clientset.NetworkingV1().IPAddresses().List(ctx, metav1.ListOptions{LabelSelector: labelManagedBy + "=" + managedByFairlead})
		if err != nil && !unread("ipaddresses", err, log) {
			return desired.Addressing{}, listError("IPAddresses", err)
		}
		if err != nil {
			list = &networkingv1.IPAddressList{}
		}
		for i := range list.Items {
			if err := a.claims.Add(&list.Items[i]); err != nil {
				return desired.Addressing{}, err
			}
		}
	}
	all, _ := a.snapshot()
	return all, nil
}

// unread tells whether a kind is left out: the API server does not have it, or the
// user may not read it, which need not keep anybody from asking about the rest.
func unread(plural string, err error, log *slog.Logger) bool {
	if apierrors.IsForbidden(err) {
		log.Warn("left out of the answer", "kind", plural, "error", err)
		return true
	}
	return err != nil && absent(err)
}
