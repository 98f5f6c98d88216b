package pmap

import (
	"hash/maphash"
	"math/bits"
	"slices"
)

const (
	bitsPerLevel = 5
	// lastLevel is where the 64 bits of a hash are used up; keys that share all
	// of them are kept there in one unordered list.
	lastLevel = (64 + bitsPerLevel - 1) / bitsPerLevel * bitsPerLevel
)

type entry[K, V comparable] struct {
	key   K
	value V
}

// node holds up to 32 branches: a branch is either one entry (its bit is in
// data) or a deeper node (its bit is in deeper). Both slices are ordered by
// branch number.
type node[K, V comparable] struct {
	data, deeper uint32
	entries      []entry[K, V]
	nodes        []*node[K, V]
	own          *owner
}

// branch returns the bit of the branch that a hash takes at a level.
func branch(hash uint64, level uint) uint32 {
	return 1 << (hash >> level & (1<<bitsPerLevel - 1))
}

// index returns the position of a branch among the set bits of a bitmap.
func index(bitmap, bit uint32) int { return bits.OnesCount32(bitmap & (bit - 1)) }

func (n *node[K, V]) find(key K) int {
	return slices.IndexFunc(n.entries, func(e entry[K, V]) bool { return e.key == key })
}

func (n *node[K, V]) get(hash uint64, level uint, key K) (V, bool) {
	for ; level < lastLevel; level += bitsPerLevel {
		bit := branch(hash, level)
		if n.deeper&bit != 0 {
			n = n.nodes[index(n.deeper, bit)]
			continue
		}
		if n.data&bit != 0 {
			if e := &n.entries[index(n.data, bit)]; e.key == key {
				return e.value, true
			}
		}
		var none V
		return none, false
	}
	if i := n.find(key); i >= 0 {
		return n.entries[i].value, true
	}
	var none V
	return none, false
}

// owned returns n itself if own made it, else a copy that own may change.
func (n *node[K, V]) owned(own *owner) *node[K, V] {
	if n.own == own {
		return n
	}
	return &node[K, V]{
		data: n.data, deeper: n.deeper,
		entries: slices.Clone(n.entries), nodes: slices.Clone(n.nodes),
		own: own,
	}
}

// set returns the node that replaces n, and whether key is new.
func (n *node[K, V]) set(own *owner, hash uint64, level uint, key K, value V) (*node[K, V], bool) {
	if level >= lastLevel {
		return n.setListed(own, key, value)
	}
	bit := branch(hash, level)
	switch {
	case n.deeper&bit != 0:
		i := index(n.deeper, bit)
		child, added := n.nodes[i].set(own, hash, level+bitsPerLevel, key, value)
		if child != n.nodes[i] {
			n = n.owned(own)
			n.nodes[i] = child
		}
		return n, added
	case n.data&bit == 0:
		n = n.owned(own)
		n.entries = slices.Insert(n.entries, index(n.data, bit), entry[K, V]{key, value})
		n.data |= bit
		return n, true
	}
	i := index(n.data, bit)
	if old := n.entries[i]; old.key != key {
		child := &node[K, V]{own: own}
		child, _ = child.set(own, maphash.Comparable(seed, old.key), level+bitsPerLevel, old.key, old.value)
		child, _ = child.set(own, hash, level+bitsPerLevel, key, value)
		n = n.owned(own)
		n.entries = slices.Delete(n.entries, i, i+1)
		n.data &^= bit
		n.nodes = slices.Insert(n.nodes, index(n.deeper, bit), child)
		n.deeper |= bit
		return n, true
	} else if old.value == value {
		return n, false
	}
	n = n.owned(own)
	n.entries[i].value = value
	return n, false
}

func (n *node[K, V]) setListed(own *owner, key K, value V) (*node[K, V], bool) {
	i := n.find(key)
	if i >= 0 && n.entries[i].value == value {
		return n, false
	}
	n = n.owned(own)
	if i >= 0 {
		n.entries[i].value = value
		return n, false
	}
	n.entries = append(n.entries, entry[K, V]{key, value})
	return n, true
}

// remove returns the node that replaces n, and whether key was there.
func (n *node[K, V]) remove(own *owner, hash uint64, level uint, key K) (*node[K, V], bool) {
	if level >= lastLevel {
		i := n.find(key)
		if i < 0 {
			return n, false
		}
		n = n.owned(own)
		n.entries = slices.Delete(n.entries, i, i+1)
		return n, true
	}
	bit := branch(hash, level)
	if n.deeper&bit != 0 {
		return n.removeDeeper(own, hash, level, bit, key)
	}
	if n.data&bit == 0 {
		return n, false
	}
	i := index(n.data, bit)
	if n.entries[i].key != key {
		return n, false
	}
	n = n.owned(own)
	n.entries = slices.Delete(n.entries, i, i+1)
	n.data &^= bit
	return n, true
}

// removeDeeper removes key below the branch bit; a child left with a single
// entry is folded into n, so that a map's shape depends on its content alone.
func (n *node[K, V]) removeDeeper(own *owner, hash uint64, level uint, bit uint32, key K) (*node[K, V], bool) {
	i := index(n.deeper, bit)
	child, removed := n.nodes[i].remove(own, hash, level+bitsPerLevel, key)
	if !removed {
		return n, false
	}
	n = n.owned(own)
	if len(child.nodes) > 0 || len(child.entries) > 1 {
		n.nodes[i] = child
		return n, true
	}
	n.nodes = slices.Delete(n.nodes, i, i+1)
	n.deeper &^= bit
	n.entries = slices.Insert(n.entries, index(n.data, bit), child.entries[0])
	n.data |= bit
	return n, true
}

func (n *node[K, V]) all(yield func(K, V) bool) bool {
	for i := range n.entries {
		if !yield(n.entries[i].key, n.entries[i].value) {
			return false
		}
	}
	for _, child := range n.nodes {
		if !child.all(yield) {
			return false
		}
	}
	return true
}
