package pmap

import (
	"maps"
	"math/rand/v2"
	"testing"
)

// TestAgainstBuiltin applies random edits to a Map and to a builtin map and
// expects the same content, an untouched predecessor, and a Diff that leads
// from each version to every other.
func TestAgainstBuiltin(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var m Map[int, int]
	model := map[int]int{}
	versions := []Map[int, int]{m}
	models := []map[int]int{maps.Clone(model)}
	for range 300 {
		e := m.Edit()
		for range rng.IntN(60) {
			key := rng.IntN(500)
			if rng.IntN(3) == 0 {
				e.Delete(key)
				delete(model, key)
			} else {
				value := rng.IntN(4)
				e.Set(key, value)
				model[key] = value
			}
		}
		m = e.Map()
		versions = append(versions, m)
		models = append(models, maps.Clone(model))
	}
	for i, version := range versions {
		if got := maps.Collect(version.All()); !maps.Equal(got, models[i]) || version.Len() != len(models[i]) {
			t.Fatalf("version %d holds %d keys, want %d", i, version.Len(), len(models[i]))
		}
		j := rng.IntN(len(versions))
		checkDiff(t, version, versions[j], models[i], models[j])
	}
}

func checkDiff(t *testing.T, from, to Map[int, int], fromModel, toModel map[int]int) {
	t.Helper()
	got := maps.Clone(fromModel)
	for c := range Diff(from, to) {
		if old, has := fromModel[c.Key]; has != c.HasOld || old != c.Old {
			t.Fatalf("change %+v: old side should be %d, %t", c, old, has)
		}
		if c.HasOld && c.HasNew && c.Old == c.New {
			t.Fatalf("change %+v is none", c)
		}
		if c.HasNew {
			got[c.Key] = c.New
		} else {
			delete(got, c.Key)
		}
	}
	if !maps.Equal(got, toModel) {
		t.Fatal("following the changes does not lead to the other map")
	}
}

// TestCollisions forces every key into one list by working below the last level.
func TestCollisions(t *testing.T) {
	own := new(owner)
	n := &node[string, int]{own: own}
	n, _ = n.set(own, 7, lastLevel, "a", 1)
	n, _ = n.set(own, 7, lastLevel, "b", 2)
	n, added := n.set(own, 7, lastLevel, "a", 3)
	if v, ok := n.get(7, lastLevel, "a"); added || !ok || v != 3 {
		t.Fatalf("a = %d, %t, added %t", v, ok, added)
	}
	n, removed := n.remove(own, 7, lastLevel, "b")
	if _, ok := n.get(7, lastLevel, "b"); !removed || ok {
		t.Fatal("b is still there")
	}
}

// TestSharing expects that a change makes new nodes only on the way from the
// root to the key, whatever the size of the map.
func TestSharing(t *testing.T) {
	for _, size := range []int{100, 10_000, 100_000} {
		e := Map[int, int]{}.Edit()
		for i := range size {
			e.Set(i, i)
		}
		old := e.Map()
		before := map[*node[int, int]]bool{}
		walk(old.root, func(n *node[int, int]) { before[n] = true })
		fresh := 0
		walk(old.Set(size/2, -1).root, func(n *node[int, int]) {
			if !before[n] {
				fresh++
			}
		})
		if fresh > 6 {
			t.Errorf("one change among %d keys made %d nodes", size, fresh)
		}
	}
}

func walk(n *node[int, int], visit func(*node[int, int])) {
	visit(n)
	for _, child := range n.nodes {
		walk(child, visit)
	}
}

func BenchmarkSet(b *testing.B) {
	e := Map[int, int]{}.Edit()
	for i := range 50_000 {
		e.Set(i, i)
	}
	m := e.Map()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		m.Set(i%50_000, -i)
	}
}
