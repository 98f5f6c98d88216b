package testkit

import (
	"strings"
	"testing"

	"golang.org/x/tools/txtar"
)

// TestDifferences holds that a story notices what comes out otherwise, what is new, and
// what nobody looks at.
func TestDifferences(t *testing.T) {
	story := []txtar.File{File("in", "a\n"), File("out", "b\n")}
	for name, c := range map[string]struct {
		got  []txtar.File
		want []string
	}{
		"same":      {story, nil},
		"other":     {[]txtar.File{File("in", "a\n"), File("out", "c\n")}, []string{"out (-want +got)"}},
		"new":       {append(story[:2:2], File("more", "d\n")), []string{"more (-want +got)"}},
		"too many":  {story[:1], []string{"out is nothing"}},
		"both":      {[]txtar.File{File("in", "a\n"), File("outcome", "b\n")}, []string{"outcome (-want +got)", "out is nothing"}},
		"no output": {append(story[:2:2], File("more", "")), nil},
	} {
		got := differences(story, c.got)
		if len(got) != len(c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
			continue
		}
		for i, problem := range got {
			if !strings.HasPrefix(problem, c.want[i]) {
				t.Errorf("%s: %q, want %q", name, got, c.want)
			}
		}
	}
}
