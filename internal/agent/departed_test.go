package agent

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/fairlead-net/fairlead/internal/announce"
)

func liveOf(names ...string) announce.Live {
	l := announce.Live{Nodes: map[string]*announce.Condition{}}
	for _, name := range names {
		l.Nodes[name] = &announce.Condition{}
	}
	return l
}

// TestDeparted expects each node that is gone for long enough to be buried by exactly
// one of those that are left.
func TestDeparted(t *testing.T) {
	start := time.Unix(1000, 0)
	var names []string
	for i := range 20 {
		names = append(names, fmt.Sprint("node-", i))
	}
	left := names[:12]
	by := map[string][]string{}
	for _, self := range left {
		var d departed
		if d.note(liveOf(names...), start) || d.note(liveOf(left...), start) {
			t.Error("nobody has come back")
		}
		if due, _ := d.due(self, len(names), start.Add(mourned-1)); len(due) > 0 {
			t.Errorf("%s is in a hurry", self)
		}
		due, _ := d.due(self, len(names), start.Add(mourned))
		for _, name := range due {
			by[name] = append(by[name], self)
			d.bury(name)
		}
		if again, next := d.due(self, len(names), start.Add(mourned)); len(again) > 0 || !next.IsZero() {
			t.Errorf("%s buries twice", self)
		}
		if due, _ := d.due(self, 25, start.Add(mourned)); len(due) > 0 {
			t.Errorf("%s buries though most are gone", self)
		}
		if !d.note(liveOf(names[:13]...), start.Add(time.Minute)) {
			t.Error("one is back")
		}
		d.note(liveOf(left...), start.Add(2*time.Minute))
		d.note(liveOf(left...), start.Add(3*time.Hour))
		if len(d.gone) > 0 {
			t.Errorf("%v are remembered for ever", d.gone)
		}
	}
	for _, name := range names[12:] {
		if len(by[name]) != 1 {
			t.Errorf("%s is buried by %v", name, by[name])
		}
	}
	if len(by) != 8 {
		t.Errorf("%v", by)
	}
}

// TestDepartedOnPurpose expects nothing of a node that said that it would go and is back.
func TestDepartedOnPurpose(t *testing.T) {
	var d departed
	leaving := liveOf("one", "two")
	leaving.Nodes["two"].Leaving = true
	d.note(leaving, time.Unix(1, 0))
	d.note(liveOf("one"), time.Unix(2, 0))
	if d.note(liveOf("one", "two"), time.Unix(3, 0)) {
		t.Error("it did not hold this node for dead")
	}
	d.note(liveOf("one"), time.Unix(4, 0))
	if due, _ := d.due("one", 2, time.Unix(100, 0)); !slices.Equal(due, []string{"two"}) {
		t.Errorf("half of the nodes are left: %v", due)
	}
	if due, _ := d.due("two", 2, time.Unix(100, 0)); due != nil {
		t.Errorf("a node that does not know of itself: %v", due)
	}
}
