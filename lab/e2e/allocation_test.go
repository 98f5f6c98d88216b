//go:build e2e

package e2e

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

// The figure is ten thousand, which takes some minutes; the default is for
// every run of the tests.
var allocationSteps = flag.Int("allocation-steps", 500, "how many random steps TestAllocation makes")

const (
	shareKey    = "metallb.io/allow-shared-ip"
	requestKey  = "metallb.io/loadBalancerIPs"
	allocations = "demo"
	labelled    = "e2e=allocation"
)

// allocator does random things to Services and pools of a real API server.
type allocator struct {
	*testing.T
	client  *kubernetes.Clientset
	dynamic dynamic.Interface
	random  *rand.Rand
	ledger  *ledger
	pools   map[string][]addressRange
}

// TestAllocation makes, changes and deletes Services and pools at random, has the
// leader replaced and robbed of its Lease meanwhile, and expects of every state that
// the API server has ever had: no address is two Services' that do not share it, and
// none is lost without a reason.
func TestAllocation(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	config, err := clientcmd.BuildConfigFromFlags("", lab(t).Kubeconfig())
	must(t, "", err)
	config.QPS = -1
	client, err := kubernetes.NewForConfig(config)
	must(t, "", err)
	dynamics, err := dynamic.NewForConfig(config)
	must(t, "", err)
	a := &allocator{
		T: t, client: client, dynamic: dynamics, random: rand.New(rand.NewPCG(seed, 1)),
		ledger: &ledger{services: map[string]entry{}}, pools: map[string][]addressRange{},
	}
	ctx, cancel := context.WithCancel(t.Context())
	var following sync.WaitGroup
	following.Go(func() { a.ledger.follow(ctx, t, client, allocations, labelled) })
	t.Cleanup(func() { a.clean() })
	a.setPool("e2e-a")
	for i := range *allocationSteps {
		switch i {
		case *allocationSteps / 3:
			a.replaceLeader()
		case *allocationSteps * 2 / 3:
			a.robLease()
		default:
			a.step()
		}
	}
	a.settle()
	cancel()
	following.Wait()
	a.ledger.check(t, *allocationSteps)
}

func (a *allocator) step() {
	switch n := a.random.IntN(1000); {
	case n < 350:
		a.create()
	case n < 600:
		a.change()
	case n < 950:
		a.remove()
	case n < 970: // rarely enough for the ledger to tell which of them took an address away
		a.setPool([]string{"e2e-a", "e2e-b", "e2e-c"}[a.random.IntN(3)])
	case n < 999:
		time.Sleep(time.Duration(a.random.IntN(1000)) * time.Millisecond)
	// Without a leader, for some fifteen seconds, nothing else is tested.
	case a.random.IntN(2) == 0:
		a.replaceLeader()
	default:
		a.robLease()
	}
}

// service returns a name; there are few, so that things happen to the same ones.
func (a *allocator) service() string { return fmt.Sprintf("e2e-allocation-%d", a.random.IntN(60)) }

// wish fills in what a Service asks for.
func (a *allocator) wish(s *corev1.Service) {
	s.Spec.Type = corev1.ServiceTypeLoadBalancer
	if a.random.IntN(10) == 0 {
		s.Spec.Type = corev1.ServiceTypeClusterIP
	}
	s.Annotations = map[string]string{}
	if a.random.IntN(3) == 0 {
		s.Annotations[shareKey] = fmt.Sprint("key", a.random.IntN(3))
	}
	if a.random.IntN(4) == 0 {
		s.Annotations[requestKey] = fmt.Sprintf("172.30.8.%d", a.random.IntN(40))
	}
	s.Spec.Ports = []corev1.ServicePort{{Port: int32(80 + a.random.IntN(8))}}
}

func (a *allocator) create() {
	policies := []corev1.IPFamilyPolicy{corev1.IPFamilyPolicySingleStack, corev1.IPFamilyPolicyRequireDualStack}
	s := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: a.service(), Labels: map[string]string{"e2e": "allocation"}},
		Spec:       corev1.ServiceSpec{IPFamilyPolicy: &policies[a.random.IntN(2)], Selector: map[string]string{"app": "cart"}},
	}
	a.wish(s)
	_, err := a.client.CoreV1().Services(allocations).Create(a.Context(), s, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		a.Fatal(err)
	}
}

func (a *allocator) change() {
	s, err := a.client.CoreV1().Services(allocations).Get(a.Context(), a.service(), metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return
	}
	must(a.T, "", err)
	labels := s.Labels
	a.wish(s)
	s.Labels = labels
	_, err = a.client.CoreV1().Services(allocations).Update(a.Context(), s, metav1.UpdateOptions{})
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		a.Fatal(err)
	}
}

func (a *allocator) remove() {
	err := a.client.CoreV1().Services(allocations).Delete(a.Context(), a.service(), metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		a.Fatal(err)
	}
}

// setPool gives a pool other addresses, or deletes it. Pools overlap.
func (a *allocator) setPool(name string) {
	if len(a.pools) > 1 && a.random.IntN(4) == 0 {
		a.writePool(name, nil)
		return
	}
	first := a.random.IntN(30)
	last := first + a.random.IntN(20)
	a.writePool(name, []addressRange{
		{netip.AddrFrom4([4]byte{172, 30, 8, byte(first)}), netip.AddrFrom4([4]byte{172, 30, 8, byte(last)})},
		{netip.MustParseAddr(fmt.Sprintf("fd00:30:8::%x", first+1)), netip.MustParseAddr(fmt.Sprintf("fd00:30:8::%x", last+1))},
	})
}

func (a *allocator) writePool(name string, ranges []addressRange) {
	pools := a.dynamic.Resource(schema.GroupVersionResource{Group: "metallb.io", Version: "v1beta1", Resource: "ipaddresspools"}).Namespace("metallb-system")
	before := a.offered()
	if a.pools[name] = ranges; ranges == nil {
		delete(a.pools, name)
	}
	after := a.offered()
	a.ledger.offers(before, after)
	var err error
	if ranges == nil {
		err = pools.Delete(a.Context(), name, metav1.DeleteOptions{})
		if apierrors.IsNotFound(err) {
			err = nil
		}
	} else {
		var texts []any
		for _, r := range ranges {
			texts = append(texts, r.first.String()+"-"+r.last.String())
		}
		o := &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "metallb.io/v1beta1", "kind": "IPAddressPool",
			"metadata": map[string]any{"name": name}, "spec": map[string]any{"addresses": texts},
		}}
		_, err = pools.Apply(a.Context(), name, o, metav1.ApplyOptions{FieldManager: "e2e", Force: true})
	}
	must(a.T, "", err)
	a.ledger.offers(after, after)
}

// offered returns what all pools have.
func (a *allocator) offered() []addressRange {
	var all []addressRange
	for _, ranges := range a.pools {
		all = append(all, ranges...)
	}
	return all
}

// replaceLeader kills a controller's pod, the leader's or another's.
func (a *allocator) replaceLeader() {
	all := pods(a.T, "app.kubernetes.io/component=controller")
	if len(all) == 0 {
		return // they are being made
	}
	p, now := all[a.random.IntN(len(all))], int64(0)
	err := a.client.CoreV1().Pods(p.namespace).Delete(a.Context(), p.name, metav1.DeleteOptions{GracePeriodSeconds: &now})
	if err != nil && !apierrors.IsNotFound(err) {
		a.Fatal(err)
	}
}

// robLease gives the Lease to somebody who does nothing with it.
func (a *allocator) robLease() {
	patch := fmt.Sprintf(`{"spec":{"holderIdentity":"stranger","renewTime":%q}}`, time.Now().UTC().Format("2006-01-02T15:04:05.000000Z"))
	_, err := a.client.CoordinationV1().Leases("fairlead-system").Patch(a.Context(), "fairlead-controller", types.MergePatchType, []byte(patch), metav1.PatchOptions{})
	must(a.T, "", err)
}

// settle makes room for all, and waits until every Service has what it asks for and
// claims say the same.
func (a *allocator) settle() {
	a.writePool("e2e-a", []addressRange{
		{netip.MustParseAddr("172.30.8.0"), netip.MustParseAddr("172.30.9.255")}, {netip.MustParseAddr("fd00:30:8::1"), netip.MustParseAddr("fd00:30:8::ffff")},
	})
	eventually(a.T, 2*time.Minute, func() error {
		claimed, err := a.claimed()
		if err != nil {
			return err
		}
		all := a.ledger.have()
		for name, e := range all {
			for _, address := range e.addresses {
				for with, other := range all {
					if with != name && slices.Contains(other.addresses, address) && !e.shares(other) {
						return errorf("%s is of %s (%s) and of %s (%s)", address, name, e.asked, with, other.asked)
					}
				}
				if !slices.Contains(claimed[address], name) {
					return errorf("%s has %s, whose claim names %v", name, address, claimed[address])
				}
				claimed[address] = slices.DeleteFunc(claimed[address], func(n string) bool { return n == name })
			}
			// Who asks for an address that somebody else has waits for it.
			if strings.HasPrefix(e.asked, "LoadBalancer") && !strings.Contains(e.asked, requestKey) && len(e.addresses) == 0 {
				return errorf("%s has no address (%s)", name, e.asked)
			}
			if !strings.HasPrefix(e.asked, "LoadBalancer") && len(e.addresses) > 0 {
				return errorf("%s still has %v (%s)", name, e.addresses, e.asked)
			}
		}
		for address, names := range claimed {
			if len(names) > 0 {
				return errorf("%s is claimed for %v, who do not have it", address, names)
			}
		}
		return nil
	})
}

// claimed returns whom the claims of the test's addresses name.
func (a *allocator) claimed() (map[netip.Addr][]string, error) {
	list, err := a.client.NetworkingV1().IPAddresses().List(a.Context(), metav1.ListOptions{LabelSelector: "ipaddress.kubernetes.io/managed-by=fairlead.dev"})
	if err != nil {
		return nil, err
	}
	all := map[netip.Addr][]string{}
	for _, o := range list.Items {
		address, err := netip.ParseAddr(o.Name)
		if err != nil {
			return nil, err
		}
		var names []string
		for text := range strings.SplitSeq(o.Annotations["fairlead.dev/services"], ",") {
			_, name, _ := strings.Cut(text, "/")
			names = append(names, name)
		}
		all[address] = names
	}
	return all, nil
}

// clean removes what the test made; its own context has ended by then.
func (a *allocator) clean() {
	ctx := context.Background()
	all, err := a.client.CoreV1().Services(allocations).List(ctx, metav1.ListOptions{LabelSelector: labelled})
	if err != nil {
		a.Error(err)
		return
	}
	for _, s := range all.Items {
		if err := a.client.CoreV1().Services(allocations).Delete(ctx, s.Name, metav1.DeleteOptions{}); err != nil {
			a.Error(err)
		}
	}
	pools := a.dynamic.Resource(schema.GroupVersionResource{Group: "metallb.io", Version: "v1beta1", Resource: "ipaddresspools"}).Namespace("metallb-system")
	for _, name := range []string{"e2e-a", "e2e-b", "e2e-c"} {
		if err := pools.Delete(ctx, name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			a.Error(err)
		}
	}
}
