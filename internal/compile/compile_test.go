package compile

import (
	"bytes"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/dns"
	"github.com/fairlead-net/fairlead/internal/kube"
	"github.com/fairlead-net/fairlead/internal/lb"
	"github.com/fairlead-net/fairlead/internal/testkit"
)

// TestStories reads one story per file: manifests in, what every plane gets
// out. The comment tells the story; a line "node: NAME ZONE" in it sets the
// node. Run with -update after a change, and commit only what you understand.
func TestStories(t *testing.T) { testkit.Stories(t, tell) }

func tell(t *testing.T, story *txtar.Archive) []txtar.File {
	var node desired.Node
	for line := range strings.Lines(string(story.Comment)) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[0] == "node:" {
			node = desired.Node{Name: fields[1], Zone: fields[2]}
		}
	}
	parts := testkit.Parts(story.Files)
	m, err := kube.ParseManifests([]byte(parts["manifests.yaml"]))
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	if err := All(m.Objects, node, lb.Options{}, dns.Config{}).Print(&got); err != nil {
		t.Fatal(err)
	}
	return []txtar.File{testkit.File("manifests.yaml", parts["manifests.yaml"]), testkit.File("want", got.String())}
}
