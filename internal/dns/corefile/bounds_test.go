package corefile

import (
	"strings"
	"testing"
)

// TestBounds: texts that are made to grow without end are refused, or read, with
// work in proportion to their size. Each would take minutes, or all memory,
// without its limit, so that the test's own timeout would end it.
func TestBounds(t *testing.T) {
	many := func(text string, n int) string { return strings.Repeat(text, n) }
	for name, c := range map[string]struct{ text, want string }{
		"a bomb of arguments":      {"(a) {\n" + many("x {args[0]}{args[0]}\n", 20_000) + "}\n. {\nimport a " + many("y", 30_000) + "\n}\n", "more than 1048576 bytes"},
		"a bomb of snippets":       {"(a) {\n" + many("x\n", 1000) + "}\n. {\n" + many("import a\n", 900) + "}\n", "more than 100000 words"},
		"imports of imports":       {"(a) {\nimport b\nimport b\n}\n(b) {\nimport a\nimport a\n}\nimport a\n", "imports are more than"},
		"variables without end":    {many("{$", 400_000), ""},
		"braces in braces":         {". {\n" + many("x {\n", 20_000), "nested more than 8 deep"},
		"a text that is too large": {many("# x\n", 300_000), "more than 1048576 bytes"},
		"words without end":        {many("x\n", 200_000), "more than 100000 words"},
		"mistakes without end":     {". {\n" + many("kubernetesss\n", 50_000) + "}\n", `did you mean "kubernetes"?`},
		"keys without end":         {many("10.0.0.0/9 ", 50_000) + "{\n}\n", "more than 256 keys"},
		"zones without end":        {". {\nkubernetes " + many("a ", 40_000) + "\ncache {\n" + many("disable success b\n", 10_000) + "}\n}\n", "more than 256 zones"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := firstProblem(c.text); !strings.Contains(got, c.want) {
				t.Errorf("%.200s; want %s", got, c.want)
			}
		})
	}
}
