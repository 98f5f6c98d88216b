package demo

import (
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

func TestManifests(t *testing.T) {
	text, err := Manifests(Images{Shop: "shop:dev", ShopID: "sha256:1", Probe: "probe:dev", ProbeID: "sha256:2"})
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for document := range strings.SplitSeq(text, "\n---\n") {
		var object struct {
			Kind     string
			Metadata struct{ Name, Namespace string }
			Spec     map[string]any
		}
		if err := yaml.Unmarshal([]byte(document), &object); err != nil {
			t.Fatalf("%v\n%s", err, document)
		}
		found[strings.ToLower(object.Kind)+"/"+object.Metadata.Name] = true
		if object.Kind != "Namespace" && object.Metadata.Namespace != Namespace {
			t.Errorf("%s %s is in namespace %q", object.Kind, object.Metadata.Name, object.Metadata.Namespace)
		}
		if object.Kind == "Service" && object.Spec["ipFamilyPolicy"] != "PreferDualStack" {
			t.Errorf("Service %s has one family", object.Metadata.Name)
		}
	}
	for _, want := range append(Workloads(), "namespace/demo", "service/shop", "service/warehouse") {
		if !found[want] {
			t.Errorf("no %s in %v", want, found)
		}
	}
}
