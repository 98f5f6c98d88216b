package main

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
)

// series holds a value per round.
type series []float64

func (s series) median() float64 {
	sorted := slices.Sorted(slices.Values(s))
	middle := len(sorted) / 2
	if len(sorted)%2 == 0 {
		return (sorted[middle-1] + sorted[middle]) / 2
	}
	return sorted[middle]
}

func (s series) spread() string {
	return digits(slices.Min(s)) + " to " + digits(slices.Max(s))
}

// report collects lines: each figure, and what it was made of.
type report struct{ lines []string }

// ratio notes how much more the first does than the second, round by round.
func (r *report) ratio(name string, more, less series, what string) {
	var each series
	for i := range min(len(more), len(less)) {
		each = append(each, more[i]/less[i])
	}
	r.add(fmt.Sprintf("ratio %s %s", name, digits(each.median())),
		fmt.Sprintf("%s: %s / %s; the ratio of each round: %s", what, digits(more.median()), digits(less.median()), each.spread()))
}

// figure notes a median.
func (r *report) figure(name string, values series, unit, what string) {
	if len(values) > 1 {
		what += "; rounds: " + values.spread()
	}
	r.add(fmt.Sprintf("figure %s %s %s", name, digits(values.median()), unit), what)
}

// missing notes what cannot be measured, so that nobody takes it for forgotten.
func (r *report) missing(name, why string) { r.add("missing "+name, why) }

func (r *report) add(line, detail string) {
	say("%s   (%s)", line, detail)
	r.lines = append(r.lines, line+"\n\n    "+detail+"\n")
}

func (r *report) print(out io.Writer) { fmt.Fprint(out, strings.Join(r.lines, "\n")) }

// digits writes a number with three significant digits, and with four where it
// is about 1, so that one percent can be seen.
func digits(v float64) string {
	if v == 0 {
		return "0"
	}
	places := 2 - int(math.Floor(math.Log10(math.Abs(v))))
	if v >= 0.9 && v < 1.1 {
		places = 3
	}
	return fmt.Sprintf("%.*f", max(0, places), v)
}
