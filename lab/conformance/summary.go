package conformance

import (
	"fmt"
	"io"
	"slices"
)

// Failures are the results that failed.
func (r Run) Failures() []Result { return r.in(Failed) }

func (r Run) in(state State) []Result {
	return slices.DeleteFunc(slices.Clone(r.Results), func(x Result) bool { return x.State != state })
}

// Summary tells a person what came out: every failure with its reason, and what was not tried.
func Summary(out io.Writer, r Run) {
	excluded := map[string]int{}
	var reasons []string
	for _, e := range r.Excluded {
		if excluded[e.Reason]++; excluded[e.Reason] == 1 {
			reasons = append(reasons, e.Reason)
		}
	}
	if len(reasons) > 0 {
		fmt.Fprintf(out, "\nExcluded (%d):\n", len(r.Excluded))
	}
	for _, reason := range reasons {
		fmt.Fprintf(out, "  %3d  %s\n", excluded[reason], reason)
	}
	for _, part := range []struct {
		title   string
		results []Result
	}{
		{"Skipped by themselves", r.in(Skipped)},
		{"Failed", r.in(Failed)},
	} {
		if len(part.results) > 0 {
			fmt.Fprintf(out, "\n%s (%d):\n", part.title, len(part.results))
		}
		for _, result := range part.results {
			fmt.Fprintf(out, "  %s\n      %s\n", result.Spec, result.Message)
		}
	}
	fmt.Fprintf(out, "\n%d specs on the plane %s: %d passed, %d failed, %d skipped by themselves; %d excluded\n",
		len(r.Results), r.Plane, len(r.in(Passed)), len(r.in(Failed)), len(r.in(Skipped)), len(r.Excluded))
}
