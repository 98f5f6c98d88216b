package compile

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/dns"
	"github.com/fairlead-net/fairlead/internal/kube"
	"github.com/fairlead-net/fairlead/internal/lb"
)

var update = flag.Bool("update", false, "rewrite what the stories expect")

// TestStories reads one story per file: manifests in, what every plane gets
// out. The comment tells the story; a line "node: NAME ZONE" in it sets the
// node. Run with -update after a change, and commit only what you understand.
func TestStories(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no stories: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) { story(t, file) })
	}
}

func story(t *testing.T, file string) {
	archive, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var node desired.Node
	for line := range strings.Lines(string(archive.Comment)) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[0] == "node:" {
			node = desired.Node{Name: fields[1], Zone: fields[2]}
		}
	}
	parts := map[string][]byte{}
	for _, f := range archive.Files {
		parts[f.Name] = f.Data
	}
	m, err := kube.ParseManifests(parts["manifests.yaml"])
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	if err := All(m.Objects, node, lb.Options{}, dns.Config{}).Print(&got); err != nil {
		t.Fatal(err)
	}
	if *update {
		archive.Files = []txtar.File{{Name: "manifests.yaml", Data: parts["manifests.yaml"]}, {Name: "want", Data: got.Bytes()}}
		if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(string(parts["want"]), got.String()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
