package conformance

import (
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const list = `The following spec names can be used with 'ginkgo run --focus/skip':
    ../go/test/e2e/network/service.go:42: [sig-network] Services should be (all) right [Conformance]
    ../go/test/e2e/network/service.go:41: [sig-network] Services should be (all) right
    ../go/test/e2e/network/dns.go:1: [sig-network] DNS should wait its turn [Serial]
    ../go/test/e2e/network/dns.go:2: [sig-network] DNS should break things [Disruptive]
    ../go/test/e2e/network/perf.go:3: [sig-network] Internet should be there [Feature:Internet]
    ../go/test/e2e/network/perf.go:4: [sig-network] SCTP should work [Feature:SCTP]
    ../go/test/e2e/apps/job.go:7: [sig-apps] Job should mention [sig-network]

`

func exclusions(t *testing.T, text string) []Exclusion {
	t.Helper()
	out, err := ParseExclusions(text)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

const excluded = `
# a remark
\[Feature:Internet\]       # there is no Internet # here
unless=sctp \[Feature:SCTP\] # no SCTP
`

func TestSelectPutsEverySpecInOneList(t *testing.T) {
	got, err := Select(Specs(list), exclusions(t, excluded), nil, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := Selection{
		Parallel: []string{
			"[sig-network] Services should be (all) right",
			"[sig-network] Services should be (all) right [Conformance]",
		},
		Serial: []string{
			"[sig-network] DNS should break things [Disruptive]",
			"[sig-network] DNS should wait its turn [Serial]",
		},
		Excluded: []Excluded{
			{"[sig-network] Internet should be there [Feature:Internet]", "there is no Internet # here"},
			{"[sig-network] SCTP should work [Feature:SCTP]", "no SCTP"},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestSelectRunsWhatTheLabHas(t *testing.T) {
	got, err := Select(Specs(list), exclusions(t, excluded), map[string]bool{"sctp": true}, regexp.MustCompile("SCTP|DNS"), regexp.MustCompile("Serial"))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"[sig-network] SCTP should work [Feature:SCTP]", "[sig-network] DNS should break things [Disruptive]"}
	if diff := cmp.Diff(want, got.Specs()); diff != "" {
		t.Error(diff)
	}
	if len(got.Excluded) != 0 {
		t.Errorf("excluded out of focus: %v", got.Excluded)
	}
}

func TestSelectRefusesAnExclusionOfNothing(t *testing.T) {
	_, err := Select(Specs(list), exclusions(t, `Feature:Gone # it was removed upstream`), nil, nil, nil)
	if err == nil || !strings.Contains(err.Error(), "Feature:Gone") {
		t.Errorf("got %v", err)
	}
}

func TestFocusMatchesExactlyTheSelected(t *testing.T) {
	all := Specs(list)
	for i, spec := range all {
		focus := regexp.MustCompile(Focus([]string{spec}))
		for j, other := range all {
			if got := focus.MatchString(description + other); got != (i == j) {
				t.Errorf("the focus on %q matches %q: %v", spec, other, got)
			}
		}
	}
}

func TestParseExclusionsRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"ok # fine\nServices":    "line 2: no reason",
		"Services # ":            "line 1: no reason",
		"Services( # open":       "line 1: error parsing",
		"unless=sctp # no regex": "line 1: no regular expression",
	} {
		if _, err := ParseExclusions(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
	}
}
