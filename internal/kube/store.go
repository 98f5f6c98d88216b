package kube

import (
	"fmt"
	"reflect"
	"sync"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/fairlead-net/fairlead/internal/pmap"
)

// store keeps the objects of one kind as a persistent map, which is all that
// client-go's reflector asks of its store. T is a pointer to an API type, V one to
// what is kept of it.
type store[K, T, V comparable] struct {
	key  func(metav1.Object) K
	keep func(T) V
	// transform makes an object small as soon as it is read, while a first list is
	// still coming in; nil leaves it as it is.
	transform cache.TransformFunc
	// changed is called after each change.
	changed func()

	mu      sync.Mutex
	objects pmap.Map[K, V]
	synced  bool
}

// snapshot returns what the store holds, and whether a full list has come in.
func (s *store[K, T, V]) snapshot() (pmap.Map[K, V], bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.objects, s.synced
}

// Transformer returns what makes an object small (cache.TransformingStore).
func (s *store[K, T, V]) Transformer() cache.TransformFunc { return s.transform }

func (s *store[K, T, V]) edit(objects []any, change func(e *pmap.Editor[K, V], key K, object T)) error {
	e := s.objects.Edit()
	for _, object := range objects {
		typed, ok := object.(T)
		if !ok {
			return fmt.Errorf("unexpected %T from the API server", object)
		}
		accessor, err := meta.Accessor(object)
		if err != nil {
			return err
		}
		change(e, s.key(accessor), typed)
	}
	s.objects = e.Map()
	return nil
}

func (s *store[K, T, V]) locked(f func() error) error {
	s.mu.Lock()
	err := f()
	s.mu.Unlock()
	s.changed()
	return err
}

// Add stores an object.
func (s *store[K, T, V]) Add(object any) error {
	return s.locked(func() error {
		return s.edit([]any{object}, s.put)
	})
}

// Update stores an object.
func (s *store[K, T, V]) Update(object any) error { return s.Add(object) }

// Delete removes an object.
func (s *store[K, T, V]) Delete(object any) error {
	return s.locked(func() error {
		return s.edit([]any{object}, func(e *pmap.Editor[K, V], key K, _ T) { e.Delete(key) })
	})
}

// put stores an object. One of which the store has all that it keeps stays as it
// is, so a relist, or a change of what nobody reads, is no change to anybody.
func (s *store[K, T, V]) put(e *pmap.Editor[K, V], key K, o T) {
	now := s.keep(o)
	if old, ok := e.Get(key); !ok || !reflect.DeepEqual(old, now) {
		e.Set(key, now)
	}
}

// Replace makes the store hold exactly these objects.
func (s *store[K, T, V]) Replace(objects []any, _ string) error {
	return s.locked(func() error {
		present := make(map[K]bool, len(objects))
		err := s.edit(objects, func(e *pmap.Editor[K, V], key K, o T) {
			present[key] = true
			s.put(e, key, o)
		})
		if err != nil {
			return err
		}
		e := s.objects.Edit()
		for key := range s.objects.All() {
			if !present[key] {
				e.Delete(key)
			}
		}
		s.objects, s.synced = e.Map(), true
		return nil
	})
}

// Resync does nothing: whoever reads the store compares snapshots.
func (s *store[K, T, V]) Resync() error { return nil }
