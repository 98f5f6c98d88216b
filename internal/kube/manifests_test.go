package kube

import (
	"errors"
	"io/fs"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/fairlead-net/fairlead/internal/desired"
)

func folder(files ...string) fs.FS {
	dir := fstest.MapFS{}
	for i := 0; i < len(files); i += 2 {
		dir[files[i]] = &fstest.MapFile{Data: []byte(files[i+1])}
	}
	return dir
}

const shopManifest = `# the shop
apiVersion: v1
kind: Service
metadata: {namespace: demo, name: shop, annotations: {note: dropped}}
spec: {clusterIP: 10.96.0.20, ports: [{port: 80}]}
`

func TestReadManifests(t *testing.T) {
	m, err := ReadManifests(folder(
		"10-shop.yaml", shopManifest,
		"20-again/shop.yml", strings.ReplaceAll(shopManifest, "10.96.0.20", "10.96.0.21"),
		"30-list.json", `{"apiVersion": "v1", "kind": "List", "items": [
			{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "nowhere"}},
			{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}},
			{"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4", "endpoints": [],
			 "metadata": {"namespace": "demo", "name": "shop-1", "labels": {"kubernetes.io/service-name": "shop", "x": "y"}}}]}`,
		"40-others.yaml", "# only words\n---\n---\n# and more\n\n---\n"+
			"apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: shop}\n---\n"+
			"apiVersion: example.com/v1\nkind: Widget\nanything: [goes]\n---\n"+
			"apiVersion: example.com/v1\nkind: Widget\n---\n"+
			"apiVersion: v1\nkind: Namespace\nmetadata: {name: empty, uid: kept}\n",
		"README.md", "not: [a manifest", "values.yaml.bak", "}{",
	))
	if err != nil {
		t.Fatal(err)
	}
	if want := map[string]int{"Widget": 2}; !maps.Equal(m.Ignored, want) {
		t.Errorf("ignored %v", m.Ignored)
	}
	var names []string
	for name := range m.Objects.Services.All() {
		names = append(names, name.String())
	}
	slices.Sort(names)
	if !slices.Equal(names, []string{"default/nowhere", "demo/shop"}) || !m.Objects.Synced {
		t.Errorf("Services %v, synced %t", names, m.Objects.Synced)
	}
	shop, _ := m.Objects.Services.Get(desired.Name{Namespace: "demo", Name: "shop"})
	if shop == nil || !slices.Equal(shop.Addresses, []netip.Addr{netip.MustParseAddr("10.96.0.21")}) {
		t.Errorf("the last of two files does not count: %+v", shop)
	}
	slice, _ := m.Objects.Slices.Get(desired.Name{Namespace: "demo", Name: "shop-1"})
	if slice == nil || slice.Service() != (desired.Name{Namespace: "demo", Name: "shop"}) {
		t.Errorf("slice %+v", slice)
	}
	namespaces := slices.Sorted(func(yield func(string) bool) {
		for name := range m.Objects.Namespaces.All() {
			if !yield(name) {
				return
			}
		}
	})
	if !slices.Equal(namespaces, []string{"default", "demo", "empty"}) {
		t.Errorf("namespaces %v", namespaces)
	}
}

// TestManifestMistakes expects each error to name the file, the document in it
// and what is wrong there.
func TestManifestMistakes(t *testing.T) {
	for name, want := range map[string]struct {
		content string
		texts   []string
	}{
		"unknown field":   {shopManifest + "---\n" + strings.ReplaceAll(shopManifest, "ports:", "prots:"), []string{"document 2: ", `unknown field "spec.prots"`}},
		"duplicate field": {"apiVersion: v1\nkind: Service\nkind: Service\n", []string{"document 1: ", `"kind" already set`}},
		"wrong type":      {strings.ReplaceAll(shopManifest, "port: 80", "port: web"), []string{"document 1: ", "port"}},
		"not YAML":        {"# x\n---\n# y\n---\na: [\n", []string{"document 3: ", "yaml"}},
		"no kind":         {"apiVersion: v1\n", []string{"document 1: ", "Kind"}},
		"no version":      {"kind: Service\n", []string{"document 1: ", "apiVersion"}},
		"text":            {"just words\n", []string{"document 1: "}},
		"in a list":       {`{"apiVersion": "v1", "kind": "List", "items": [{"apiVersion": "v1", "kind": "Service"}, {"apiVersion": "v1", "kind": "Service", "spce": 1}]}`, []string{"document 1: item 2: ", `"spce"`}},
		"not an object":   {`{"apiVersion": "v1", "kind": "List", "items": [1]}`, []string{"document 1: ", "item"}},
	} {
		_, err := ReadManifests(folder("a.yaml", shopManifest, "sub/b.yaml", want.content))
		if err == nil {
			t.Errorf("%s: no error", name)
			continue
		}
		for _, text := range append(want.texts, "sub/b.yaml: ") {
			if !strings.Contains(err.Error(), text) {
				t.Errorf("%s: %q is missing in %q", name, text, err)
			}
		}
	}
}

type unreadable struct{ fs.FS }

func (u unreadable) Open(name string) (fs.File, error) {
	if strings.HasSuffix(name, ".yaml") {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
	}
	return u.FS.Open(name)
}

func TestManifestsUnreadable(t *testing.T) {
	if _, err := ReadManifests(unreadable{folder("a.yaml", shopManifest)}); !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "a.yaml") {
		t.Errorf("a file without permission: %v", err)
	}
	if m, err := ReadManifests(folder("notes.txt", "x")); err != nil || m.Objects.Services.Len() != 0 || !m.Objects.Synced {
		t.Errorf("a folder without manifests: %+v, %v", m, err)
	}
}

// FuzzParseManifests expects no text to crash the reader, and each object read
// to lie under its own name in a namespace that exists.
func FuzzParseManifests(f *testing.F) {
	for _, seed := range []string{
		shopManifest, "", "---", "# only words", "a: [", "[]", "null", "1", `{"apiVersion":"v1","kind":"List","items":[{},null]}`,
		`{"apiVersion":"v1","kind":"List","items":[{"apiVersion":"v1","kind":"List","items":[{"apiVersion":"v1","kind":"Service"}]}]}`,
		"apiVersion: v1\nkind: List\nitems: null\n", "apiVersion: v1\nkind: ServiceList\nitems: [{metadata: {name: a}}]\n",
		"apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nendpoints: [{addresses: [a], targetRef: null}]\n",
		"apiVersion: /\nkind: x\n", "apiVersion: a/b/c\nkind: x\n", "apiVersion: v1\nkind: Status\n", "k8s\x00",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, content []byte) {
		m, err := ParseManifests(content)
		if err != nil && !strings.HasPrefix(err.Error(), "document ") {
			t.Errorf("the error does not say which document: %v", err)
		}
		for name, o := range m.Objects.Services.All() {
			if _, ok := m.Objects.Namespaces.Get(name.Namespace); !ok || o.Name != name {
				t.Errorf("Service %s as %s", o.Name, name)
			}
		}
		for name, o := range m.Objects.Slices.All() {
			if _, ok := m.Objects.Namespaces.Get(name.Namespace); !ok || o.Name != name {
				t.Errorf("EndpointSlice %s as %s", o.Name, name)
			}
		}
	})
}

// TestFlowStyle reads YAML that begins with a brace and is no JSON, as kubectl
// does.
func TestFlowStyle(t *testing.T) {
	m, err := ParseManifests([]byte(`{apiVersion: v1, kind: Service, metadata: {name: shop}, spec: {ports: [{port: 80}]}}`))
	if err != nil || m.Objects.Services.Len() != 1 {
		t.Errorf("%d Services, %v", m.Objects.Services.Len(), err)
	}
	if _, err := ParseManifests([]byte(`{apiVersion: v1, kind: Service, kind: Service}`)); err == nil {
		t.Error("a key that is there twice went unnoticed")
	}
}
