package nginx

import "regexp/syntax"

// MaxGroups is how many groups an expression may have: where they end is carried along
// for every state that it is in.
const MaxGroups = 20

// MaxPatternSize is what ExpressionSize may be of an expression that is looked for
// anywhere in a text: every octet may begin a match.
const MaxPatternSize = 200

// ExpressionWidth returns about how many states an expression, matched from the
// beginning of a text, can be in at once: what each octet of the text costs (package
// regexp). What has a fixed length is in one state at a time, until something before it
// may have had several lengths.
func ExpressionWidth(re *syntax.Regexp) int { return extentOf(re).width }

// extent is what is known of a part of an expression.
type extent struct {
	// size is how many states it has; width how many it can be in at once if it begins at
	// one place.
	size, width int
	// length is that of every text that it matches, if fixed is set.
	length int
	fixed  bool
}

func extentOf(re *syntax.Regexp) extent {
	e := extent{size: ExpressionSize(re), width: 1, fixed: true}
	switch re.Op {
	case syntax.OpLiteral:
		e.length = len(re.Rune)
	case syntax.OpCharClass, syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		e.length = 1
	case syntax.OpCapture:
		e = extentOf(re.Sub[0])
		e.size, e.width = e.size+2, e.width+2
	case syntax.OpConcat:
		e.concat(re.Sub)
	case syntax.OpAlternate:
		e.alternate(re.Sub)
	case syntax.OpStar, syntax.OpPlus, syntax.OpQuest, syntax.OpRepeat:
		e.repeat(re)
	}
	e.width = min(e.width, max(e.size, 1))
	return e
}

func (e *extent) concat(parts []*syntax.Regexp) {
	e.width = 0
	beside := 0 // what matches nothing is passed together with what follows
	for i, part := range parts {
		p := extentOf(part)
		e.length += p.length
		e.fixed = e.fixed && p.fixed
		if !p.fixed {
			width := beside + p.width
			for _, rest := range parts[i+1:] {
				r := extentOf(rest)
				width += r.size
			}
			e.width = max(e.width, width)
			return
		}
		e.width = max(e.width, beside+p.width)
		if beside += p.width; p.length > 0 {
			beside = p.width // its end and the begin of the next
		}
	}
}

func (e *extent) alternate(branches []*syntax.Regexp) {
	for i, branch := range branches {
		b := extentOf(branch)
		e.width += b.width + 1
		if i == 0 {
			e.length = b.length
		}
		e.fixed = e.fixed && b.fixed && b.length == e.length
	}
}

func (e *extent) repeat(re *syntax.Regexp) {
	sub := extentOf(re.Sub[0])
	times := 1
	if re.Op == syntax.OpRepeat {
		times = max(re.Min, re.Max, 1)
	}
	e.size = min((sub.size+1)*times, 1<<24)
	e.fixed = re.Op == syntax.OpRepeat && re.Min == re.Max && sub.fixed
	e.length = sub.length * times
	if e.width = 2*sub.width + 2; !sub.fixed || sub.length == 0 {
		e.width = e.size + 1 // every turn may begin anywhere
	}
}
