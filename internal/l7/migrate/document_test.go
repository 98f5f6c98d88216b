package migrate

import (
	stdcmp "cmp"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fairlead-net/fairlead/internal/l7/nginx"
	"github.com/fairlead-net/fairlead/internal/testkit"
)

const document = "../../../docs/migration-ingress-nginx.md"

// TestDocument holds that the tables of the document are those that annotations, keys
// and flags are read by; -update writes them.
func TestDocument(t *testing.T) {
	content, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	text := string(content)
	for name, table := range map[string]string{"annotations": annotationTable(), "flags": settingTable(flags())} {
		begin, end := "<!-- "+name+": written by go test ./internal/l7/migrate -update -->\n", "<!-- end of "+name+" -->\n"
		before, rest, ok := strings.Cut(text, begin)
		has, after, closed := strings.Cut(rest, end)
		if !ok || !closed {
			t.Fatalf("%s has no table %s", document, name)
		}
		if testkit.Update() {
			text = before + begin + table + end + after
		} else if diff := cmp.Diff(has, table); diff != "" {
			t.Errorf("table %s: run with -update if this is meant (-want +got):\n%s", name, diff)
		}
	}
	if testkit.Update() {
		if err := os.WriteFile(document, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// row is what is said of several names.
type row struct {
	rank  int
	says  string
	names []string
}

func rows(all []row, rank int, says, name string) []row {
	at := slices.IndexFunc(all, func(r row) bool { return r.rank == rank && r.says == says })
	if at < 0 {
		all = append(all, row{rank: rank, says: says})
		at = len(all) - 1
	}
	all[at].names = append(all[at].names, "`"+name+"`")
	return all
}

// table writes rows; those with the most names first among their like.
func table(all []row, head string) string {
	for _, r := range all {
		slices.Sort(r.names)
	}
	slices.SortStableFunc(all, func(a, b row) int {
		return stdcmp.Or(stdcmp.Compare(a.rank, b.rank), stdcmp.Compare(len(b.names), len(a.names)), stdcmp.Compare(a.names[0], b.names[0]))
	})
	var out strings.Builder
	fmt.Fprintf(&out, "| %s | here |\n|---|---|\n", head)
	for _, r := range all {
		fmt.Fprintf(&out, "| %s | %s |\n", strings.Join(r.names, ", "), strings.ReplaceAll(r.says, "|", `\|`))
	}
	return out.String()
}

func annotationTable() string {
	var all []row
	ranks := []nginx.Standing{nginx.Followed, nginx.Needless, nginx.Differs, nginx.LeftOut, nginx.Refused}
	for _, a := range nginx.Annotations() {
		says := string(a.Standing)
		if a.Note != "" {
			says += ": " + a.Note
		}
		all = rows(all, slices.Index(ranks, a.Standing), says, a.Name)
	}
	return table(all, "annotations, after `nginx.ingress.kubernetes.io/`")
}

func settingTable(of map[string]setting) string {
	var all []row
	ranks := []Verdict{Same, Differs, Refused}
	for name, s := range of {
		says := string(s.verdict)
		if s.text != "" {
			says += ": " + s.text
		}
		if usual := strings.Join(slices.DeleteFunc(slices.Clone(s.usual), func(v string) bool { return v == "" }), ", "); usual != "" && s.verdict != Same {
			says += " (nothing changes if it is " + usual + ")"
		}
		all = rows(all, slices.Index(ranks, s.verdict), says, "--"+name)
	}
	return table(all, "flags")
}
