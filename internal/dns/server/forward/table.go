package forward

import (
	"bytes"
	"sync"
	"sync/atomic"
)

const (
	// ways is the number of places for one hash value; a set's tags fill half a
	// cache line.
	ways = 8
	// lockStripes is the number of locks of a table, which only writers take.
	lockStripes = 64
)

// table keeps entries by their key. It is set-associative: the hash says which
// eight places an entry can have. Readers take no lock and write nothing but a
// mark, once, in an entry that is used.
type table struct {
	capacity int64
	sets     []set
	locks    [lockStripes]sync.Mutex
	count    atomic.Int64
	bytes    atomic.Int64
	evicted  atomic.Uint64
	// hand is the set that is looked at next for entries to drop (CLOCK; Corbató,
	// "A paging experiment with the Multics system", 1968).
	hand atomic.Uint64
}

type set struct {
	// tags are parts of hashes: most entries that are not it need not be read.
	tags    [ways]atomic.Uint32
	entries [ways]atomic.Pointer[entry]
}

func newTable(capacity int) *table {
	sets := 1
	for sets*ways*2 < capacity*3 {
		sets *= 2
	}
	return &table{capacity: int64(capacity), sets: make([]set, sets)}
}

func (t *table) set(hash uint64) *set { return &t.sets[hash&uint64(len(t.sets)-1)] }

func tag(hash uint64) uint32 { return uint32(hash>>32) | 1 }

// lock takes the lock of a set and returns it.
func (t *table) lock(index uint64) *sync.Mutex {
	l := &t.locks[index%lockStripes]
	l.Lock()
	return l
}

func (t *table) get(hash uint64, key []byte) *entry {
	s := t.set(hash)
	for i := range s.tags {
		if s.tags[i].Load() != tag(hash) {
			continue
		}
		if e := s.entries[i].Load(); e != nil && e.hash == hash && bytes.Equal(e.key(), key) {
			return e
		}
	}
	return nil
}

// put adds an entry, in place of the one with its key or of the one in its set
// that is needed least, and drops others if there are too many; now is the time
// for which entries count as expired.
func (t *table) put(e *entry, now int64) {
	s := t.set(e.hash)
	lock := t.lock(e.hash & uint64(len(t.sets)-1))
	place, worth := 0, 4
	for i := range s.entries {
		old := s.entries[i].Load()
		w := 3
		switch {
		case old == nil:
			w = 1
		case old.hash == e.hash && bytes.Equal(old.key(), e.key()):
			w = 0
			e.inherit(old)
		case now >= old.dead:
			w = 2
		case old.used.Load() != 0:
			w = 4
		}
		if w < worth {
			place, worth = i, w
		}
	}
	if worth == 4 {
		// All are in use; which one goes depends on the newcomer.
		place = int(e.hash>>16) % ways
	}
	if worth > 1 {
		t.evicted.Add(1)
	}
	t.drop(s, place)
	s.tags[place].Store(tag(e.hash))
	s.entries[place].Store(e)
	t.count.Add(1)
	t.bytes.Add(int64(e.size()))
	lock.Unlock()
	for t.count.Load() > t.capacity && t.evict(now) {
	}
}

// remove drops the entry of a key, if there is one.
func (t *table) remove(hash uint64, key []byte) {
	s := t.set(hash)
	defer t.lock(hash & uint64(len(t.sets)-1)).Unlock()
	for i := range s.entries {
		if e := s.entries[i].Load(); e != nil && e.hash == hash && bytes.Equal(e.key(), key) {
			t.drop(s, i)
		}
	}
}

// drop empties a place; the caller holds the set's lock.
func (t *table) drop(s *set, place int) {
	if old := s.entries[place].Load(); old != nil {
		s.tags[place].Store(0)
		s.entries[place].Store(nil)
		t.count.Add(-1)
		t.bytes.Add(-int64(old.size()))
	}
}

// evict drops one entry that has expired or has not been used since the hand
// passed last, and reports whether it found one.
func (t *table) evict(now int64) bool {
	for range 2*len(t.sets) + 1 {
		index := (t.hand.Add(1) - 1) & uint64(len(t.sets)-1)
		if t.evictFrom(index, now) {
			return true
		}
	}
	return false
}

func (t *table) evictFrom(index uint64, now int64) bool {
	defer t.lock(index).Unlock()
	s := &t.sets[index]
	for i := range s.entries {
		e := s.entries[i].Load()
		if e == nil {
			continue
		}
		if now < e.dead && e.used.Swap(0) != 0 {
			continue
		}
		t.drop(s, i)
		t.evicted.Add(1)
		return true
	}
	return false
}
