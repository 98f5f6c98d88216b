package filter

import (
	"testing"

	"github.com/fairlead-net/fairlead/internal/l7/waf"
)

// TestModSecurityAfter follows a Route without rules through texts of which each comes
// before the one before it is compiled: the first that is compiled is in force from then on.
func TestModSecurityAfter(t *testing.T) {
	// Each has a Compiler of its own, so that the test says which is done.
	later := func(text string) (*ModSecurity, func()) {
		var work func()
		c := waf.NewCompiler()
		c.Run = func(f func()) { work = f }
		r, err := c.Read("a", waf.Wanted{Own: text})
		if err != nil {
			t.Fatal(err)
		}
		c.Start(r)
		return &ModSecurity{Rules: r}, func() { work() }
	}
	expect := func(step string, m *ModSecurity, rules *waf.Rules, open bool) {
		t.Helper()
		if got, is := m.InForce(); got != rules || is != open || m.Waits() != (rules == nil && !open) {
			t.Errorf("%s: in force %p, open %t, waits %t, want %p, %t", step, got, is, m.Waits(), rules, open)
		}
	}
	a, compileA := later("SecMarker a")
	expect("as it is made", a, nil, false)
	if m, passed := a.After(&ModSecurity{Rules: a.Rules}); passed {
		t.Errorf("after what waited: %+v", m)
	}
	first, _ := a.After(nil)
	expect("after none", first, nil, true)
	again, _ := a.After(first)
	expect("made once more", again, nil, true)
	b, compileB := later("SecMarker b")
	second, _ := b.After(again)
	expect("another text", second, nil, true)
	c, compileC := later(`SecRule NOTHING "a" "id:1,deny"`)
	third, _ := c.After(second)
	expect("a third text", third, nil, true)
	compileA()
	expect("the first is compiled", first, a.Rules, false)
	expect("the first is compiled, with the second", second, a.Rules, false)
	expect("the first is compiled, with the third", third, a.Rules, false)
	d, _ := later("SecMarker d")
	fourth, _ := d.After(third)
	expect("a fourth text", fourth, a.Rules, false)
	compileB()
	expect("its own are compiled", second, b.Rules, false)
	compileC()
	expect("its own are wrong", third, nil, false)
	if m, passed := d.After(third); passed {
		t.Errorf("after a wrong text: %+v", m)
	}
	// A text that is wrong ends it, though another came meanwhile.
	wrong, compileWrong := later(`SecRule NOTHING "b" "id:1,deny"`)
	wrong, _ = wrong.After(nil)
	e, _ := later("SecMarker e")
	e, _ = e.After(wrong)
	expect("before it is known to be wrong", e, nil, true)
	compileWrong()
	expect("as the first text was wrong", e, nil, false)
}
