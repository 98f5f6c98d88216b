package dns

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"sigs.k8s.io/yaml"

	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/testkit"
)

// TestStories compiles the manifests of each story and compares what every
// question in its file "answers" gets. A question is a line "? NAME TYPE"; a
// line "! SETTING; SETTING..." changes how the following ones are asked, and
// "! rest" goes back. A line "*" lists all records.
func TestStories(t *testing.T) { testkit.Stories(t, tell) }

func tell(t *testing.T, story *txtar.Archive) []txtar.File {
	var objects desired.Objects
	objects.Synced = true
	var files []txtar.File
	for _, file := range story.Files {
		if strings.HasSuffix(file.Name, ".yaml") {
			read(t, file.Data, &objects)
		} else {
			file.Data = []byte(ask(t, objects, string(file.Data)))
		}
		files = append(files, file)
	}
	return files
}

// ask returns the text with every answer as it is now.
func ask(t *testing.T, objects desired.Objects, text string) string {
	config := Config{
		Server: desired.Name{Namespace: "kube-system", Name: "kube-dns"},
	}
	var out strings.Builder
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		switch {
		case len(fields) == 0:
			continue
		case fields[0] == "!":
			objects.Synced, config = true, Config{Server: config.Server}
			for setting := range strings.SplitSeq(line[1:], ";") {
				set(t, strings.Fields(setting), &config, &objects)
			}
			out.WriteString("\n" + line)
		case fields[0] == "?" || fields[0] == "*":
			state, _ := desired.Build(objects, desired.Node{}, nil)
			table, reasons := Compile(state, Table{}, config)
			if len(reasons) > 0 {
				t.Errorf("unexpected reasons: %v", reasons)
			}
			if fields[0] == "*" {
				fmt.Fprintf(&out, "\n%s", line)
				for record := range table.Records() {
					fmt.Fprintf(&out, "  %s\n", record)
				}
				continue
			}
			fmt.Fprintf(&out, "\n%s%s", line, render(table, Question{fields[1], parseType(t, fields[2]), ClassIN}))
		}
	}
	return strings.TrimPrefix(out.String(), "\n")
}

// set changes the configuration by one setting of a story.
func set(t *testing.T, words []string, config *Config, objects *desired.Objects) {
	switch value := strings.Join(words[1:], " "); words[0] {
	case "rest":
	case "unsynced":
		objects.Synced = false
	case "ttl":
		config.ZeroTTL = value == "0"
		if _, err := fmt.Sscan(value, &config.TTL); err != nil {
			t.Fatal(err)
		}
	case "pods":
		config.Pods = Pods(value)
	case "endpointPodNames":
		config.EndpointPodNames = true
	case "noEndpoints":
		config.NoEndpoints = true
	case "ignoreEmpty":
		config.IgnoreEmpty = true
	case "namespaces":
		config.Namespaces = words[1:]
	case "namespaceLabels":
		config.NamespaceLabels = value
	case "labels":
		config.Labels = value
	case "external":
		config.External.Zones = words[1:]
	case "zonal":
		config.Zonal = true
	case "multicluster":
		config.Multicluster = words[1:]
	case "apex":
		config.External.Apex = value
	case "headless":
		config.External.Headless = true
	case "fallthrough":
		config.External.Fallthrough = true
	default:
		t.Fatalf("unknown setting %q", words)
	}
	if _, err := config.Complete(); err != nil {
		t.Fatal(err)
	}
}

func parseType(t *testing.T, text string) Type {
	for n := range Type(260) {
		if n.String() == text {
			return n
		}
	}
	t.Fatalf("unknown type %q", text)
	return 0
}

func render(table Table, q Question) string {
	answer, trace := table.Explain(q)
	if diff := cmp.Diff(table.Answer(q), answer, equateAddresses); diff != "" {
		return "Answer and Explain differ: " + diff
	}
	var out strings.Builder
	switch {
	case answer.Forward:
		out.WriteString("  FORWARD\n")
	case answer.Authoritative:
		fmt.Fprintf(&out, "  %s authoritative\n", answer.Rcode)
	default:
		fmt.Fprintf(&out, "  %s\n", answer.Rcode)
	}
	sections := map[string][]Record{"an": answer.Answer, "au": answer.Authority, "ad": answer.Additional}
	for _, section := range []string{"an", "au", "ad"} {
		for _, record := range sections[section] {
			fmt.Fprintf(&out, "  %s %s\n", section, record)
		}
	}
	if answer.Chase != "" {
		fmt.Fprintf(&out, "  chase %s\n", answer.Chase)
	}
	if answer.Error != nil {
		fmt.Fprintf(&out, "  error %d %s\n", answer.Error.Code, answer.Error.Text)
	}
	for _, line := range trace {
		fmt.Fprintf(&out, "  # %s\n", line)
	}
	return out.String()
}

// read adds the objects of a YAML text.
func read(t *testing.T, text []byte, objects *desired.Objects) {
	t.Helper()
	for _, document := range bytes.Split(text, []byte("---\n")) {
		var head struct {
			Kind string `json:"kind"`
		}
		decode(t, document, &head, yaml.Unmarshal)
		switch head.Kind {
		case "Namespace":
			o := new(corev1.Namespace)
			decode(t, document, o, yaml.UnmarshalStrict)
			objects.Namespaces = objects.Namespaces.Set(o.Name, &desired.Namespace{Labels: o.Labels})
		case "Service":
			o := new(corev1.Service)
			decode(t, document, o, yaml.UnmarshalStrict)
			s := desired.ParseService(o)
			s.Labels = o.Labels
			objects.Services = objects.Services.Set(s.Name, s)
		case "EndpointSlice":
			o := new(discoveryv1.EndpointSlice)
			decode(t, document, o, yaml.UnmarshalStrict)
			s := desired.ParseSlice(o)
			s.Labels = o.Labels
			objects.Slices = objects.Slices.Set(s.Name, s)
		case "ServiceImport":
			o := new(desired.ServiceImport)
			decode(t, document, o, yaml.Unmarshal)
			s := desired.ParseServiceImport(o)
			objects.Imports = objects.Imports.Set(s.Name, s)
		case "Pod":
			o := new(corev1.Pod)
			decode(t, document, o, yaml.UnmarshalStrict)
			objects.Pods = objects.Pods.Set(desired.NewPodID(desired.Name{Namespace: o.Namespace, Name: o.Name}), desired.ParsePod(o))
		default:
			t.Fatalf("unknown kind %q in\n%s", head.Kind, document)
		}
	}
}

func decode(t *testing.T, text []byte, into any, unmarshal func([]byte, any, ...yaml.JSONOpt) error) {
	t.Helper()
	if err := unmarshal(text, into); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
}
