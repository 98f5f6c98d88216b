package acme

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/kube"
	"github.com/fairlead-net/fairlead/internal/l7"
)

var rewrite = flag.Bool("update", false, "rewrite what the stories in testdata expect")

// TestStories compares what each story's manifests want, and what is said of them. A
// line of its file "settings" is a word: "default", "dnsWebhook", or "foreign
// NAMESPACE/NAME", a Secret that somebody else made.
func TestStories(t *testing.T) {
	stories, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(stories) == 0 {
		t.Fatalf("no stories: %v", err)
	}
	for _, story := range stories {
		t.Run(strings.TrimSuffix(filepath.Base(story), ".txtar"), func(t *testing.T) { tell(t, story) })
	}
}

func tell(t *testing.T, path string) {
	archive, err := txtar.ParseFile(path)
	if err != nil {
		t.Fatal(err)
	}
	parts := map[string]string{}
	for _, file := range archive.Files {
		parts[file.Name] = string(file.Data)
	}
	config, foreign := Config{Challenge: HTTP01}, map[string]bool{}
	for line := range strings.Lines(parts["settings"]) {
		word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch word {
		case "default":
			config.Default = true
		case "dnsWebhook":
			config.Webhook.URL = "https://dns.example.com"
		case "foreign":
			foreign[rest] = true
		default:
			t.Fatalf("unknown setting %q", line)
		}
	}
	m, err := kube.ParseManifests([]byte(parts["manifests.yaml"]))
	if err != nil {
		t.Fatal(err)
	}
	state, _ := desired.Build(m.Objects, desired.Node{}, nil)
	table, _ := l7.Compile(state, l7.Table{}, l7.Config{})
	wants, said := Wanted(&table, config, func(id l7.CertificateID) bool { return foreign[id.String()] })
	var wanted, reasons strings.Builder
	for _, w := range wants {
		fmt.Fprintf(&wanted, "%s: %s, for %v\n", w.Secret, strings.Join(w.Hosts, " "), w.Ingresses)
	}
	for _, r := range said {
		fmt.Fprintf(&reasons, "%s: %s: %s\n", r.Object, r.Code, r.Message)
	}
	if *rewrite {
		archive.Files = []txtar.File{
			{Name: "settings", Data: []byte(parts["settings"])}, {Name: "manifests.yaml", Data: []byte(parts["manifests.yaml"])},
			{Name: "wanted", Data: []byte(wanted.String())}, {Name: "reasons", Data: []byte(reasons.String())},
		}
		if err := os.WriteFile(path, txtar.Format(archive), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	for name, got := range map[string]string{"wanted": wanted.String(), "reasons": reasons.String()} {
		if diff := cmp.Diff(parts[name], got); diff != "" {
			t.Errorf("%s: run with -update if this is meant (-want +got):\n%s", name, diff)
		}
	}
}
