package waf

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// hand is a Compiler that a test has work, and what it has compiled by then: "NAMESPACE
// TEXT" each.
type hand struct {
	*Compiler
	t      *testing.T
	work   func()
	built  []string
	panics bool
	// pauses are those before further attempts, again has the last one made.
	pauses []time.Duration
	again  func()
}

func newHand(t *testing.T) *hand {
	h := &hand{Compiler: NewCompiler(), t: t}
	h.Run = func(work func()) { h.work = work }
	h.build = func(r *Rules) *built {
		h.built = append(h.built, r.namespace+" "+r.wanted.Own)
		if h.panics {
			panic("out of order")
		}
		return &built{}
	}
	h.after = func(d time.Duration, f func()) { h.pauses, h.again = append(h.pauses, d), f }
	return h
}

// start has a text compiled.
func (h *hand) start(namespace, text string) *Rules {
	h.t.Helper()
	r, err := h.Read(namespace, Wanted{Own: text})
	if err != nil {
		h.t.Fatal(err)
	}
	h.Start(r)
	return r
}

// compile compiles all that waits, and returns what that was.
func (h *hand) compile() []string {
	h.built = nil
	if work := h.work; work != nil {
		h.work = nil
		work()
	}
	return h.built
}

func marker(n int) string { return fmt.Sprintf("SecMarker m%d", n) }

// TestLater holds that Rules are there at once, and ready when they have been compiled,
// of which one is told.
func TestLater(t *testing.T) {
	h := newHand(t)
	changed := h.Changed()
	r := h.start("a", marker(1))
	if again := h.start("a", marker(1)); again != r || r.Ready() || h.Idle() {
		t.Errorf("before: the same %t, ready %t, idle %t", again == r, r.Ready(), h.Idle())
	}
	select {
	case <-changed:
		t.Error("something changed before anything was compiled")
	default:
	}
	if built := h.compile(); len(built) != 1 || !r.Ready() || !h.Idle() {
		t.Errorf("after: %q, ready %t, idle %t", built, r.Ready(), h.Idle())
	}
	<-changed
	if h.start("a", marker(1)); h.work != nil {
		t.Error("what is ready is compiled again")
	}
	if other := h.start("b", marker(1)); other == r {
		t.Error("two namespaces share the Rules of a text")
	}
}

// TestTurns holds that a namespace with many texts has another one wait for one of them
// at most, and that the newest of its own come first.
func TestTurns(t *testing.T) {
	h := newHand(t)
	var kept []*Rules
	for n := range 5 {
		kept = append(kept, h.start("a", marker(n)))
	}
	kept = append(kept, h.start("b", marker(0)))
	if built := h.compile(); !slices.Equal(built[:3], []string{"a " + marker(4), "b " + marker(0), "a " + marker(3)}) || len(built) != 6 {
		t.Errorf("%q", built)
	}
	runtime.KeepAlive(kept)
}

// TestWaiting holds that a namespace that changes its texts all the time has few of them
// wait, and that what was dropped can be started again.
func TestWaiting(t *testing.T) {
	h := newHand(t)
	var kept []*Rules
	for n := range 3 * maxWaiting {
		kept = append(kept, h.start("a", marker(n)))
	}
	if built := h.compile(); len(built) != maxWaiting || built[0] != "a "+marker(3*maxWaiting-1) {
		t.Errorf("%d were compiled: %q", len(built), built)
	}
	if kept[0].Ready() {
		t.Error("one that waited too long was compiled")
	}
	h.Start(kept[0])
	if built := h.compile(); len(built) != 1 || !kept[0].Ready() {
		t.Errorf("started again: %q", built)
	}
	runtime.KeepAlive(kept)
}

// TestAgain holds that what failed by no fault of the text is tried again, less and less
// often, and only that.
func TestAgain(t *testing.T) {
	h := newHand(t)
	h.panics = true
	r := h.start("a", marker(1))
	for range 12 {
		if built := h.compile(); len(built) != 1 || r.Ready() || r.Err() != nil || r.Trouble() == nil || !strings.Contains(r.Trouble().Error(), "out of order") {
			t.Fatalf("%q: ready %t, %v, %v", built, r.Ready(), r.Err(), r.Trouble())
		}
		if h.Start(r); h.work != nil {
			t.Fatal("it is tried again before the pause is over")
		}
		h.again()
	}
	if first, last := h.pauses[0], h.pauses[len(h.pauses)-1]; first != firstPause || h.pauses[1] != 2*firstPause || last != lastPause {
		t.Errorf("pauses %v", h.pauses)
	}
	h.panics = false
	if h.compile(); !r.Ready() || r.Trouble() != nil {
		t.Errorf("ready %t, %v", r.Ready(), r.Trouble())
	}
	h.Compiler.build = func(*Rules) *built { return &built{err: errors.New("unknown variable")} }
	pauses := len(h.pauses)
	wrong := h.start("a", marker(2))
	if h.compile(); wrong.Ready() || wrong.Err() == nil || len(h.pauses) != pauses {
		t.Errorf("ready %t, %v, pauses %v", wrong.Ready(), wrong.Err(), h.pauses)
	}
	if h.Start(wrong); h.work != nil {
		t.Error("a text that is wrong is compiled again")
	}
}

// TestForgotten holds that nothing is kept of texts that nobody has any more.
func TestForgotten(t *testing.T) {
	h := newHand(t)
	for n := range 10 * MaxSets {
		h.start("a", marker(n))
		if n%MaxSets == 0 {
			runtime.GC()
		}
	}
	if len(h.sets) > 4*MaxSets {
		t.Errorf("%d texts are remembered", len(h.sets))
	}
	runtime.GC()
	if built := h.compile(); len(built) != 0 {
		t.Errorf("compiled for nobody: %q", built)
	}
}
