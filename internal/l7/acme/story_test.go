package acme

import (
	"fmt"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/kube"
	"github.com/fairlead-net/fairlead/internal/l7"
	"github.com/fairlead-net/fairlead/internal/testkit"
)

// TestStories compares what each story's manifests want, and what is said of them. A
// line of its file "settings" is a word: "default", "dnsWebhook", or "foreign
// NAMESPACE/NAME", a Secret that somebody else made.
func TestStories(t *testing.T) { testkit.Stories(t, tell) }

func tell(t *testing.T, story *txtar.Archive) []txtar.File {
	parts := testkit.Parts(story.Files)
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
	return []txtar.File{
		testkit.File("settings", parts["settings"]), testkit.File("manifests.yaml", parts["manifests.yaml"]),
		testkit.File("wanted", wanted.String()), testkit.File("reasons", reasons.String()),
	}
}
