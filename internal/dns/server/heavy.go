package server

import (
	"bytes"
	"cmp"
	"hash/maphash"
	"maps"
	"slices"
	"unsafe"
)

// heavy counts keys and keeps those that come up most, with room for a fixed number
// of them (Space-Saving: Metwally, Agrawal and El Abbadi, "Efficient Computation of
// Frequent and Top-k Elements in Data Streams", ICDT 2005). Whatever makes up more
// than one part in so many is among them, and no count is too small; by how much
// it may be too large is known. It allocates nothing after newHeavy.
type heavy struct {
	seed    maphash.Seed
	entries []counted
	// heads are lists of entries by their keys' hash, numbered from 1.
	heads []int32
	// order is a heap of entries, numbered from 0, the least count first.
	order []int32
}

// maxCounted is the longest key: a name in wire form and three bytes more.
const maxCounted = maxName + 3

type counted struct {
	key  [maxCounted]byte
	size int16
	// next is the next entry of the list slot, place where the entry is in order.
	next, slot, place int32
	// over is how much of count may belong to keys that were there before.
	count, over uint64
}

func newHeavy(room int) *heavy {
	return &heavy{seed: maphash.MakeSeed(), entries: make([]counted, room), heads: make([]int32, 2*room), order: make([]int32, 0, room)}
}

// reset forgets all keys.
func (h *heavy) reset() {
	h.order = h.order[:0]
	clear(h.heads)
}

// add counts a key so many times. Keys that are too long are cut off.
func (h *heavy) add(key []byte, times uint64) {
	key = key[:min(len(key), maxCounted)]
	// Nobody who chooses names can choose the list that they get into.
	slot := int32(maphash.Bytes(h.seed, key) % uint64(len(h.heads)))
	for i := h.heads[slot]; i != 0; i = h.entries[i-1].next {
		if e := &h.entries[i-1]; bytes.Equal(e.name(), key) {
			e.count += times
			h.sink(int(e.place))
			return
		}
	}
	h.insert(slot, key, times)
}

// insert adds a key, in the place of the rarest one if all are taken.
func (h *heavy) insert(slot int32, key []byte, times uint64) {
	last := len(h.order)
	if last < cap(h.order) {
		h.order = append(h.order, int32(last))
		h.entries[last].count, h.entries[last].place = 0, int32(last)
	} else {
		last = 0
		h.unlink(h.order[0])
	}
	at := h.order[last]
	e := &h.entries[at]
	e.over = e.count
	e.count += times
	e.size = int16(copy(e.key[:], key))
	e.slot, e.next, h.heads[slot] = slot, h.heads[slot], at+1
	h.rise(int(e.place))
	h.sink(int(e.place))
}

func (h *heavy) unlink(at int32) {
	link := &h.heads[h.entries[at].slot]
	for *link != at+1 {
		link = &h.entries[*link-1].next
	}
	*link = h.entries[at].next
}

// sink moves an entry whose count has grown away from the heap's top, rise one that
// was added at its end towards it.
func (h *heavy) sink(i int) {
	for {
		least := 2*i + 1
		if least >= len(h.order) {
			return
		}
		if right := least + 1; right < len(h.order) && h.less(right, least) {
			least = right
		}
		if !h.less(least, i) {
			return
		}
		h.swap(i, least)
		i = least
	}
}

func (h *heavy) rise(i int) {
	for i > 0 && h.less(i, (i-1)/2) {
		h.swap(i, (i-1)/2)
		i = (i - 1) / 2
	}
}

func (h *heavy) less(i, j int) bool {
	return h.entries[h.order[i]].count < h.entries[h.order[j]].count
}

func (h *heavy) swap(i, j int) {
	h.order[i], h.order[j] = h.order[j], h.order[i]
	h.entries[h.order[i]].place, h.entries[h.order[j]].place = int32(i), int32(j)
}

func (e *counted) name() []byte { return e.key[:e.size] }

// addTo adds the counts of all keys to those in a map.
func (h *heavy) addTo(all map[string]counted) {
	for _, at := range h.order {
		e := h.entries[at]
		before := all[string(e.name())]
		e.count, e.over = e.count+before.count, e.over+before.over
		all[string(e.name())] = e
	}
}

// ranked returns entries, those that came up most first.
func ranked(all map[string]counted) []counted {
	return slices.SortedFunc(maps.Values(all), func(a, b counted) int {
		return cmp.Or(cmp.Compare(b.count, a.count), bytes.Compare(a.name(), b.name()))
	})
}

// text returns bytes as text without copying them, for as long as they stay the same.
func text(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
