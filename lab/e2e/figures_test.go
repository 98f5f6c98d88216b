//go:build e2e

package e2e

import (
	"flag"
	"fmt"
	"os"
	"testing"
)

var (
	figures = flag.String("figures", "", "append what is measured to this file, as lines of a report in docs/benchmarks")
	rounds  = flag.Int("rounds", 1, "how often to do what is measured by its worst case")
)

// figure notes what was measured.
func figure(t *testing.T, name, value, unit, detail string) {
	t.Helper()
	t.Logf("figure %s %s %s (%s)", name, value, unit, detail)
	if *figures == "" {
		return
	}
	file, err := os.OpenFile(*figures, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := fmt.Fprintf(file, "figure %s %s %s\n\n    %s\n\n", name, value, unit, detail); err != nil {
		t.Fatal(err)
	}
}

// seconds writes milliseconds as seconds.
func seconds(millis int64) string { return fmt.Sprintf("%.2f", float64(millis)/1000) }
