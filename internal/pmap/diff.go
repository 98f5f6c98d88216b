package pmap

import "iter"

// Change is one key whose value differs between two maps: added if only New is
// there, removed if only Old is there, changed if both are.
type Change[K, V comparable] struct {
	Key            K
	Old, New       V
	HasOld, HasNew bool
}

// Diff yields what must change in the map from to make it the map to, in no
// particular order. Parts that both maps share are not looked at: between a
// map and its successor the cost is that of the change.
func Diff[K, V comparable](from, to Map[K, V]) iter.Seq[Change[K, V]] {
	return func(yield func(Change[K, V]) bool) {
		diffNodes(from.root, to.root, 0, yield)
	}
}

// diffNodes reports whether to go on. A nil node is an empty one.
func diffNodes[K, V comparable](from, to *node[K, V], level uint, yield func(Change[K, V]) bool) bool {
	switch {
	case from == to:
		return true
	case from == nil:
		return to.all(func(key K, value V) bool { return yield(Change[K, V]{Key: key, New: value, HasNew: true}) })
	case to == nil:
		return from.all(func(key K, value V) bool { return yield(Change[K, V]{Key: key, Old: value, HasOld: true}) })
	case level >= lastLevel:
		return diffEntries(from.entries, to.entries, yield)
	}
	for all := from.data | from.deeper | to.data | to.deeper; all != 0; all &= all - 1 {
		bit := all & -all
		if !diffBranches(from, to, bit, level, yield) {
			return false
		}
	}
	return true
}

func diffBranches[K, V comparable](from, to *node[K, V], bit uint32, level uint, yield func(Change[K, V]) bool) bool {
	if (from.data|to.data)&bit == 0 {
		return diffNodes(from.child(bit), to.child(bit), level+bitsPerLevel, yield)
	}
	// At least one side is a single entry, so the other side holds little that
	// is not itself a change.
	return diffEntries(from.at(bit), to.at(bit), yield)
}

// child returns the deeper node at a branch, or nil.
func (n *node[K, V]) child(bit uint32) *node[K, V] {
	if n.deeper&bit == 0 {
		return nil
	}
	return n.nodes[index(n.deeper, bit)]
}

// at returns all entries at a branch.
func (n *node[K, V]) at(bit uint32) []entry[K, V] {
	if n.data&bit != 0 {
		i := index(n.data, bit)
		return n.entries[i : i+1]
	}
	var entries []entry[K, V]
	if child := n.child(bit); child != nil {
		child.all(func(key K, value V) bool {
			entries = append(entries, entry[K, V]{key, value})
			return true
		})
	}
	return entries
}

// diffEntries compares two short lists with distinct keys.
func diffEntries[K, V comparable](from, to []entry[K, V], yield func(Change[K, V]) bool) bool {
	find := func(list []entry[K, V], key K) *entry[K, V] {
		for i := range list {
			if list[i].key == key {
				return &list[i]
			}
		}
		return nil
	}
	for _, old := range from {
		c := Change[K, V]{Key: old.key, Old: old.value, HasOld: true}
		if now := find(to, old.key); now != nil {
			c.New, c.HasNew = now.value, true
			if old.value == now.value {
				continue
			}
		}
		if !yield(c) {
			return false
		}
	}
	for _, now := range to {
		if find(from, now.key) == nil && !yield(Change[K, V]{Key: now.key, New: now.value, HasNew: true}) {
			return false
		}
	}
	return true
}
