package kube

import (
	"net/netip"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/fairlead-net/fairlead/internal/desired"
)

func metalLBObject(resource, name string, spec map[string]any) *unstructured.Unstructured {
	apiVersion, kind := kindOf(resource)
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": apiVersion, "kind": kind, "spec": spec,
		"metadata": map[string]any{"namespace": "metallb-system", "name": name},
	}}
}

func TestWatcherAddressing(t *testing.T) {
	s := newAPIServer(t)
	clusterObjects(s)
	s.set("ipaddresspools", metalLBObject("ipaddresspools", "blue", map[string]any{"addresses": []any{"192.0.2.0/24"}}))
	s.set("l2advertisements", metalLBObject("l2advertisements", "all", map[string]any{}))
	s.set("bgpadvertisements", metalLBObject("bgpadvertisements", "all", map[string]any{"localPref": int64(200)}))
	s.set("communities", metalLBObject("communities", "names", map[string]any{"communities": []any{map[string]any{"name": "vip", "value": "64512:1"}}}))
	s.set("bgppeers", metalLBObject("bgppeers", "tor", map[string]any{"myASN": int64(64512), "peerASN": int64(64513), "peerAddress": "192.0.2.1"}))
	s.set("bfdprofiles", metalLBObject("bfdprofiles", "fast", map[string]any{"receiveInterval": int64(100)}))
	s.set("ipaddresses", claimObject(&desired.Claim{Address: netip.MustParseAddr("192.0.2.7"), Services: []desired.Name{{Namespace: "demo", Name: "shop"}}}))
	_, views := watchedWith(t, s, "", Reads{Addressing: Addressing{Namespace: "metallb-system", Claims: true}})
	v := until(t, views, "all is read", synced)
	a := v.Objects.Addressing
	if a.Pools.Len() != 1 || a.L2Advertisements.Len() != 1 || a.BGPAdvertisements.Len() != 1 || a.Communities.Len() != 1 || a.Peers.Len() != 1 || a.BFDProfiles.Len() != 1 || a.Claims.Len() != 1 {
		t.Fatalf("%+v", a)
	}
	name := desired.Name{Namespace: "metallb-system", Name: "blue"}
	if pool, _ := a.Pools.Get(name); len(pool.Ranges) != 1 || pool.Ranges[0].String() != "192.0.2.0-192.0.2.255" {
		t.Errorf("pool %+v", pool)
	}
	s.set("ipaddresspools", metalLBObject("ipaddresspools", "blue", map[string]any{"addresses": "192.0.2.0/24"}))
	until(t, views, "a pool that cannot be read has no addresses", func(v View) bool {
		pool, ok := v.Objects.Addressing.Pools.Get(name)
		return ok && len(pool.Ranges) == 0
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, request := range s.requests {
		if strings.Contains(request, "metallb.io") && !strings.Contains(request, "/namespaces/metallb-system/") {
			t.Errorf("asks for more than the namespace: %s", request)
		}
		if strings.Contains(request, "/ipaddresses") && !strings.Contains(request, "labelSelector=ipaddress.kubernetes.io%2Fmanaged-by%3Dfairlead.dev") {
			t.Errorf("asks for more than its own: %s", request)
		}
	}
}

func TestNodeAbout(t *testing.T) {
	s := newAPIServer(t)
	clusterObjects(s)
	_, views := watched(t, s, "worker-1")
	v := until(t, views, "all is read", synced)
	if v.Node.About == nil || v.Node.About.Unavailable != "" {
		t.Fatalf("%+v", v.Node.About)
	}
	about := v.Node.About
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "worker-1", Labels: about.Labels}}
	node.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}
	node.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "192.0.2.9"}}
	s.set("nodes", node)
	v = until(t, views, "the address is there", func(v View) bool { return len(v.NodeAddresses) == 1 })
	if v.Node.About != about {
		t.Error("a new pointer though nothing in it changed")
	}
	node.Status.Conditions = append(node.Status.Conditions, corev1.NodeCondition{Type: corev1.NodeNetworkUnavailable, Status: corev1.ConditionTrue, Message: "no route"})
	s.set("nodes", node)
	until(t, views, "the network is unavailable", func(v View) bool { return strings.Contains(v.Node.About.Unavailable, "no route") })
	node.Status.Conditions = nil
	node.Labels = map[string]string{corev1.LabelNodeExcludeBalancers: ""}
	s.set("nodes", node)
	until(t, views, "the node is excluded", func(v View) bool {
		return strings.Contains(v.Node.About.Unavailable, corev1.LabelNodeExcludeBalancers)
	})
}

// TestWatcherWithoutPasswords may not read Secrets: that concerns nothing else.
func TestWatcherWithoutPasswords(t *testing.T) {
	s := newAPIServer(t)
	clusterObjects(s)
	s.setRefused("secrets", true)
	w, views := watchedWith(t, s, "", Reads{Addressing: Addressing{Namespace: "metallb-system", Passwords: true}})
	v := until(t, views, "all else is read", synced)
	if !v.Objects.Addressing.PasswordsUnread {
		t.Error("passwords count as read")
	}
	eventually(t, "Health names the resource", func() bool { return strings.HasPrefix(w.Health(), "secrets cannot be read") })
	s.set("secrets", &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: "metallb-system", Name: "tor"}, Type: corev1.SecretTypeBasicAuth,
		Data: map[string][]byte{corev1.BasicAuthPasswordKey: []byte("key")},
	})
	s.setRefused("secrets", false)
	until(t, views, "the password is read", func(v View) bool {
		password, _ := v.Objects.Addressing.Passwords.Get(desired.Name{Namespace: "metallb-system", Name: "tor"})
		return password == "key" && !v.Objects.Addressing.PasswordsUnread
	})
}
