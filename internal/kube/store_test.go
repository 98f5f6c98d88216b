package kube

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/fairlead-net/fairlead/internal/desired"
)

type serviceStore = store[desired.Name, *corev1.Service, *desired.Service]

// newServiceStore returns a store and the number of changes it announced.
func newServiceStore() (*serviceStore, *int) {
	announced := 0
	return &serviceStore{key: namespacedName, keep: desired.ParseService, changed: func() { announced++ }}, &announced
}

// versioned returns a Service whose time of creation is its UID and whose port is
// its version; both are numbers.
func versioned(name, uid, version string) *corev1.Service {
	created, _ := strconv.ParseInt(uid, 10, 64)
	port, _ := strconv.ParseInt(version, 10, 32)
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "demo", Name: name, UID: types.UID(uid), ResourceVersion: version, CreationTimestamp: metav1.Unix(created, 0),
			Annotations: map[string]string{"long": "text"}, Labels: map[string]string{"app": "shop", "service.kubernetes.io/service-proxy-name": "other"},
			ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "kubectl"}},
		},
		Spec: corev1.ServiceSpec{ClusterIP: "10.96.0.1", Selector: map[string]string{"app": "shop"}, Ports: []corev1.ServicePort{{Port: int32(port)}}},
	}
}

func stored(t *testing.T, s *serviceStore, name string) *desired.Service {
	t.Helper()
	objects, _ := s.snapshot()
	o, ok := objects.Get(desired.Name{Namespace: "demo", Name: name})
	if !ok {
		t.Fatalf("%s is not in the store", name)
	}
	return o
}

func TestStoreReplace(t *testing.T) {
	s, announced := newServiceStore()
	if err := s.Add(versioned("early", "1", "1")); err != nil {
		t.Fatal(err)
	}
	if _, synced := s.snapshot(); synced {
		t.Error("synced before the first full list")
	}
	if err := s.Replace([]any{versioned("same", "2", "5"), versioned("newer", "3", "6"), versioned("reborn", "4", "7")}, "9"); err != nil {
		t.Fatal(err)
	}
	objects, synced := s.snapshot()
	if _, ok := objects.Get(desired.Name{Namespace: "demo", Name: "early"}); ok || objects.Len() != 3 || !synced {
		t.Errorf("after Replace: %d objects, synced %t, the absent one there: %t", objects.Len(), synced, ok)
	}
	same, newer, reborn := stored(t, s, "same"), stored(t, s, "newer"), stored(t, s, "reborn")
	if err := s.Replace([]any{versioned("same", "2", "5"), versioned("newer", "3", "8"), versioned("reborn", "5", "7")}, "10"); err != nil {
		t.Fatal(err)
	}
	if stored(t, s, "same") != same {
		t.Error("an object at the same version has another pointer")
	}
	if stored(t, s, "newer") == newer || stored(t, s, "reborn") == reborn {
		t.Error("an object at another version, or made anew, was kept")
	}
	before, _ := s.snapshot()
	if err := s.Replace([]any{versioned("newer", "3", "8"), versioned("reborn", "5", "7"), versioned("same", "2", "5")}, "11"); err != nil {
		t.Fatal(err)
	}
	if after, _ := s.snapshot(); after != before {
		t.Error("a relist without news changed the map")
	}
	if err := s.Replace(nil, "12"); err != nil {
		t.Fatal(err)
	}
	if after, synced := s.snapshot(); after.Len() != 0 || !synced || before.Len() != 3 {
		t.Error("an empty list did not empty the store, or emptied a snapshot")
	}
	if *announced != 5 {
		t.Errorf("%d changes announced", *announced)
	}
}

func TestStoreChanges(t *testing.T) {
	s, _ := newServiceStore()
	for _, err := range []error{
		s.Add(versioned("a", "1", "1")), s.Update(versioned("a", "1", "2")), s.Add(versioned("b", "2", "3")),
		s.Delete(versioned("b", "2", "4")), s.Delete(versioned("never-there", "3", "5")), s.Resync(),
	} {
		if err != nil {
			t.Error(err)
		}
	}
	objects, synced := s.snapshot()
	if a := stored(t, s, "a"); objects.Len() != 1 || a.Ports[0].Port != 2 || synced {
		t.Errorf("%d objects, a at version %d, synced %t", objects.Len(), a.Ports[0].Port, synced)
	}
	if a := stored(t, s, "a"); a.Foreign == "" || len(a.Addresses) != 1 || a.Addresses[0].String() != "10.96.0.1" {
		t.Errorf("not as it was written: %+v", a)
	}
	for _, err := range []error{s.Add(&corev1.Node{}), s.Replace([]any{versioned("c", "9", "9"), "text"}, "9"), s.Delete(nil)} {
		if err == nil || !strings.Contains(err.Error(), "from the API server") {
			t.Errorf("a thing of another kind: %v", err)
		}
	}
	if after, synced := s.snapshot(); after != objects || synced {
		t.Error("what was refused left a trace")
	}
}

// TestStoreConcurrent is of use under the race detector.
func TestStoreConcurrent(t *testing.T) {
	var mu sync.Mutex
	announced := 0
	s := &serviceStore{key: namespacedName, keep: desired.ParseService, changed: func() { mu.Lock(); announced++; mu.Unlock() }}
	const writers, each = 4, 200
	var working sync.WaitGroup
	for w := range writers {
		working.Go(func() {
			for i := range each {
				name := fmt.Sprintf("%d-%d", w, i)
				if err := s.Add(versioned(name, name, "1")); err != nil {
					t.Error(err)
				}
				if i%2 == 1 {
					_ = s.Delete(versioned(name, name, "1"))
				}
			}
		})
		working.Go(func() {
			for range each {
				objects, _ := s.snapshot()
				n := 0
				for range objects.All() {
					n++
				}
				if n != objects.Len() {
					t.Errorf("a snapshot changed: %d of %d", n, objects.Len())
				}
			}
		})
	}
	working.Wait()
	if objects, _ := s.snapshot(); objects.Len() != writers*each/2 || announced != writers*each*3/2 {
		t.Errorf("%d objects left, %d changes announced", objects.Len(), announced)
	}
}
