// Package pmap is a persistent hash map: changing one yields a new map that
// shares all untouched parts with the old one, which stays valid for its
// readers. Both a change and the difference between two versions cost in
// proportion to what changed, never to the size of the map; that is what lets
// every stage of Fairlead work on whole values and still pay only for the
// change.
//
// In go keys and values; out come maps and differences. It never locks, never
// copies a value, and never keeps an order: whoever prints sorts.
//
// The structure is a hash array mapped trie in the CHAMP layout (Steindorfer
// and Vinju, "Optimizing Hash-Array Mapped Tries for Fast and Lean Immutable
// JVM Collections", OOPSLA 2015).
package pmap

import (
	"hash/maphash"
	"iter"
)

// seed is drawn once per process: all maps must hash alike to be compared, and
// nobody outside may predict it to force collisions.
var seed = maphash.MakeSeed()

// Map is an immutable map from K to V. The zero value is an empty map. Values
// are compared with == to find changes, so V is usually a pointer to something
// that is never written again.
type Map[K, V comparable] struct {
	root *node[K, V]
	size int
}

// Len returns the number of keys.
func (m Map[K, V]) Len() int { return m.size }

// Get returns the value stored under key, and whether there is one.
func (m Map[K, V]) Get(key K) (V, bool) {
	if m.root == nil {
		var none V
		return none, false
	}
	return m.root.get(maphash.Comparable(seed, key), 0, key)
}

// Set returns a map in which key has the given value.
func (m Map[K, V]) Set(key K, value V) Map[K, V] {
	e := m.Edit()
	e.Set(key, value)
	return e.Map()
}

// Delete returns a map without key; deleting an absent key returns m itself.
func (m Map[K, V]) Delete(key K) Map[K, V] {
	e := m.Edit()
	e.Delete(key)
	return e.Map()
}

// All yields every key and value in no particular order.
func (m Map[K, V]) All() iter.Seq2[K, V] {
	return func(yield func(K, V) bool) {
		if m.root != nil {
			m.root.all(yield)
		}
	}
}

// Edit returns an Editor that starts as m and leaves m untouched.
func (m Map[K, V]) Edit() *Editor[K, V] {
	return &Editor[K, V]{root: m.root, size: m.size, own: new(owner)}
}

// owner marks the nodes that an Editor made itself and may therefore change in
// place. It must not be of size zero: such values may share one address.
type owner struct{ _ byte }

// Editor changes a map many times while copying each shared node only once.
// It is not safe for concurrent use.
type Editor[K, V comparable] struct {
	root *node[K, V]
	size int
	own  *owner
}

// Len returns the number of keys.
func (e *Editor[K, V]) Len() int { return e.size }

// Get returns the value stored under key, and whether there is one.
func (e *Editor[K, V]) Get(key K) (V, bool) {
	return Map[K, V]{root: e.root}.Get(key)
}

// Set stores value under key.
func (e *Editor[K, V]) Set(key K, value V) {
	if e.root == nil {
		e.root = &node[K, V]{own: e.own}
	}
	root, added := e.root.set(e.own, maphash.Comparable(seed, key), 0, key, value)
	e.root = root
	if added {
		e.size++
	}
}

// Delete removes key; removing an absent key changes nothing.
func (e *Editor[K, V]) Delete(key K) {
	if e.root == nil {
		return
	}
	root, removed := e.root.remove(e.own, maphash.Comparable(seed, key), 0, key)
	if !removed {
		return
	}
	e.root = root
	e.size--
	if e.size == 0 {
		e.root = nil
	}
}

// Map returns what the Editor holds. The Editor may be used further; the
// returned map does not change with it.
func (e *Editor[K, V]) Map() Map[K, V] {
	e.own = new(owner)
	return Map[K, V]{root: e.root, size: e.size}
}
