package nginx

import (
	"math/rand/v2"
	"regexp/syntax"
	"strings"
	"testing"
)

// visited returns how many states the program of an expression is in at most, for any
// octet of a text, matched from the beginning.
func visited(t *testing.T, text, on string) int {
	t.Helper()
	re, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		t.Fatal(err)
	}
	prog, err := syntax.Compile(re.Simplify())
	if err != nil {
		t.Fatal(err)
	}
	most := 0
	now := map[uint32]bool{}
	var add func(pc uint32)
	add = func(pc uint32) {
		if now[pc] {
			return
		}
		now[pc] = true
		switch i := prog.Inst[pc]; i.Op {
		case syntax.InstAlt, syntax.InstAltMatch:
			add(i.Out)
			add(i.Arg)
		case syntax.InstCapture, syntax.InstNop, syntax.InstEmptyWidth: // as if it held
			add(i.Out)
		}
	}
	add(uint32(prog.Start))
	for _, r := range on {
		most = max(most, len(now))
		before := now
		now = map[uint32]bool{}
		for pc := range before {
			i := prog.Inst[pc]
			switch i.Op {
			case syntax.InstRune, syntax.InstRune1, syntax.InstRuneAny, syntax.InstRuneAnyNotNL:
				if i.MatchRune(r) {
					add(i.Out)
				}
			}
		}
	}
	return max(most, len(now))
}

func width(t *testing.T, text string) int {
	t.Helper()
	re, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		t.Fatal(err)
	}
	return ExpressionWidth(re)
}

// TestWidth holds that usual expressions cost little, and that hostile ones are known.
func TestWidth(t *testing.T) {
	for _, c := range []struct {
		text     string
		from, to int
	}{
		{"(?i)^(?:/api/v1/items)", 1, 4}, {"(?i)^(?:/api(/|$)(.*))", 4, 20}, {"(?i)^(?:/foo/[0-9]+/bar)", 4, 12}, {"(?i)^(?:/[a-z]{40}/x)", 1, 6},
		{"^.*" + strings.Repeat("a", 100), 100, 120}, {"^(a*)*(a*)*", 6, 30}, {"^(?:" + strings.Repeat("a|ab|", 50) + "c)", 3, 210}, {"^(.*a){50}", 150, 500},
	} {
		if got := width(t, c.text); got < c.from || got > c.to {
			t.Errorf("%s: %d, want %d to %d", c.text, got, c.from, c.to)
		}
	}
}

// TestWidthBounds compares the width with what a program really visits.
func TestWidthBounds(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var random func(depth int) string
	random = func(depth int) string {
		if depth == 0 {
			return []string{"a", "b", "[ab]", ".", "aab", "^", "$", "(?:)", `\b`}[rng.IntN(9)]
		}
		sub := func() string { return random(depth - 1) }
		switch rng.IntN(8) {
		case 0:
			return "(" + sub() + ")"
		case 1:
			return "(?:" + sub() + ")" + []string{"*", "+", "?", "*?"}[rng.IntN(4)]
		case 2:
			return "(?:" + sub() + ")" + []string{"{2}", "{1,4}", "{0,3}", "{2,}", "{5}"}[rng.IntN(5)]
		case 3:
			return "(?:" + sub() + "|" + sub() + ")"
		}
		return sub() + sub()
	}
	for range 20000 {
		text := random(1 + rng.IntN(5))
		on := make([]byte, 30)
		for i := range on {
			on[i] = "aab"[rng.IntN(3)]
		}
		if got, most := visited(t, text, string(on)), 2*width(t, text)+2; got > most {
			t.Fatalf("%s: in %d states on %s, the width %d is too small", text, got, on, width(t, text))
		}
	}
}
