package charts_test

import (
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/fairlead-net/fairlead/charts"
)

func read(t *testing.T, path string) []byte {
	t.Helper()
	data, err := charts.Fairlead.ReadFile("fairlead/" + path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// schema is the part of a JSON schema that the tests look at.
type schema struct {
	Description          string            `json:"description"`
	Properties           map[string]schema `json:"properties"`
	AdditionalProperties any               `json:"additionalProperties"`
}

func readSchema(t *testing.T) schema {
	t.Helper()
	var root schema
	if err := json.Unmarshal(read(t, "values.schema.json"), &root); err != nil {
		t.Fatal(err)
	}
	delete(root.Properties, "global") // Helm's, in charts that depend on this one
	return root
}

// paths lists the values that the schema knows, with their descriptions;
// resources count as one value.
func (s schema) paths(prefix string, into map[string]string) {
	for name, child := range s.Properties {
		if child.Properties != nil && name != "resources" {
			child.paths(prefix+name+".", into)
			continue
		}
		into[prefix+name] = child.Description
	}
}

// TestSchemaIsStrict holds that a misspelt value is refused at every level.
func TestSchemaIsStrict(t *testing.T) {
	var check func(path string, s schema)
	check = func(path string, s schema) {
		if s.Description == "" {
			t.Errorf("%s has no description", path)
		}
		if s.Properties != nil && s.AdditionalProperties != false {
			t.Errorf("%s allows additional properties", path)
		}
		for name, child := range s.Properties {
			check(path+"."+name, child)
		}
	}
	check("values", readSchema(t))
}

// TestEveryValueIsDocumented holds that values.yaml, the schema and the table
// in the README name the same values, with the same defaults and words.
func TestEveryValueIsDocumented(t *testing.T) {
	known := map[string]string{}
	readSchema(t).paths("", known)

	var values map[string]any
	if err := yaml.Unmarshal(read(t, "values.yaml"), &values); err != nil {
		t.Fatal(err)
	}
	defaults := map[string]string{}
	flatten(t, values, known, "", defaults)

	row := regexp.MustCompile("(?m)^\\| `([a-zA-Z0-9.]+)` \\| `(.*?)` \\| (.*) \\|$")
	documented := map[string]bool{}
	for _, m := range row.FindAllStringSubmatch(string(read(t, "README.md")), -1) {
		path, byDefault, words := m[1], m[2], m[3]
		documented[path] = true
		if words != known[path] {
			t.Errorf("%s: the README says %q, the schema %q", path, words, known[path])
		}
		if want := defaults[path]; strings.ReplaceAll(byDefault, " ", "") != want && byDefault != strings.Trim(want, `"`) {
			t.Errorf("%s: the README's default is %s, that of values.yaml %s", path, byDefault, want)
		}
	}
	for _, path := range slices.Sorted(maps.Keys(known)) {
		if _, ok := defaults[path]; !ok {
			t.Errorf("%s is in the schema, not in values.yaml", path)
		}
		if !documented[path] {
			t.Errorf("%s is not in the README's table", path)
		}
	}
	for path := range defaults {
		if _, ok := known[path]; !ok {
			t.Errorf("%s is in values.yaml, not in the schema", path)
		}
	}
}

// flatten writes the values below prefix as JSON, down to the paths in stop.
func flatten(t *testing.T, values map[string]any, stop map[string]string, prefix string, into map[string]string) {
	t.Helper()
	for name, value := range values {
		path := prefix + name
		_, known := stop[path]
		if child, ok := value.(map[string]any); ok && !known {
			flatten(t, child, stop, path+".", into)
			continue
		}
		text, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		into[path] = string(text)
	}
}
