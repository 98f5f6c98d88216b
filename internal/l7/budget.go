package l7

import "strings"

// The regular expressions of a host are tried one after the other, and all requests
// share the processor. So what one request may cost is bounded, in steps: a step is one
// octet of a path in one state of an expression, and takes about 15 ns.
const (
	// maxSteps is for all expressions of those whose the host is, and again for those of
	// all others: 3 ms each. A path for which that is not enough is refused.
	maxSteps = 200_000
	// maxWidth is how many states the expressions of the owners that one path is compared
	// with may be in, and those of all guests; maxGuestWidth those of one guest namespace.
	maxWidth, maxGuestWidth = 400, 100
	// maxPaths is how many expressions the owners may have, and all guests; maxGuestPaths
	// one guest namespace: the beginning of each is compared with every path.
	maxPaths, maxGuestPaths = 2000, 200
)

// budget is what some expressions of a host may cost together.
type budget struct {
	maxWidth, maxPaths int
	in                 []allotted
	// width is what the most costly path costs for each octet. An expression that begins
	// with a text costs paths that begin so, and hardly any others.
	width int
}

// allotted is an expression in a budget, and what a path costs that begins as it does.
type allotted struct {
	prefix string
	width  int
	along  int
}

// admits tells whether there is room for an expression.
func (b *budget) admits(e *expression) bool {
	return len(b.in) < b.maxPaths && b.with(e, false) <= b.maxWidth
}

// add takes an expression in.
func (b *budget) add(e *expression) { b.width = b.with(e, true) }

// with returns what the most costly path costs with one more expression.
func (b *budget) with(e *expression, keep bool) int {
	now := allotted{prefix: e.prefix, width: e.width, along: e.width}
	most := b.width
	for i := range b.in {
		other := &b.in[i]
		if strings.HasPrefix(now.prefix, other.prefix) {
			now.along += other.width
		}
		if strings.HasPrefix(other.prefix, now.prefix) && other.prefix != now.prefix {
			most = max(most, other.along+now.width)
			if keep {
				other.along += now.width
			}
		} else if other.prefix == now.prefix && keep {
			other.along += now.width
		}
	}
	if keep {
		b.in = append(b.in, now)
	}
	return max(most, now.along)
}

// longest is how long a path may be that is compared with the expressions.
func (b *budget) longest() int { return maxSteps / max(b.width, 1) }

// tooLong answers requests whose path would take too long to compare.
var tooLong = Route{Rule: "(path too long for the regular expressions)", Status: 414, Why: "the path is too long for the regular expressions of its host"}

var tooLongRule = rule{kind: fallback, written: "(any)", route: &tooLong}
