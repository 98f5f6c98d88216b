package migrate

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structural "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apimachinery/pkg/runtime"
	apiyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/kube-openapi/pkg/validation/spec"
	"k8s.io/kube-openapi/pkg/validation/strfmt"
	"k8s.io/kube-openapi/pkg/validation/validate"
	"sigs.k8s.io/yaml"
)

// schema is one kind's in the standard channel of Gateway API.
type schema struct {
	structural *structural.Structural
	validator  *validate.SchemaValidator
}

// schemas reads the CRDs of the module whose types are used, once.
var schemas = sync.OnceValues(func() (map[string]schema, error) {
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/gateway-api").Output()
	if err != nil {
		return nil, err
	}
	files, err := filepath.Glob(filepath.Join(strings.TrimSpace(string(dir)), "config", "crd", "standard", "gateway.networking.k8s.io_*s.yaml"))
	all := map[string]schema{}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		var crd apiextensionsv1.CustomResourceDefinition
		if err := yaml.Unmarshal(content, &crd); err != nil || crd.Spec.Names.Kind == "" {
			continue // not a CRD: the bundle has policies too
		}
		for _, v := range crd.Spec.Versions {
			if v.Name != "v1" {
				continue
			}
			made, err := read(v.Schema.OpenAPIV3Schema)
			if err != nil {
				return nil, err
			}
			all[crd.Spec.Names.Kind] = made
		}
	}
	return all, err
})

func read(of *apiextensionsv1.JSONSchemaProps) (schema, error) {
	var internal apiextensions.JSONSchemaProps
	if err := apiextensionsv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(of, &internal, nil); err != nil {
		return schema{}, err
	}
	made, err := structural.NewStructural(&internal)
	if err != nil {
		return schema{}, err
	}
	data, err := json.Marshal(of)
	if err != nil {
		return schema{}, err
	}
	var open spec.Schema
	if err := json.Unmarshal(data, &open); err != nil {
		return schema{}, err
	}
	return schema{made, validate.NewSchemaValidator(&open, nil, "", strfmt.Default)}, nil
}

// accepted fails a test if the API server would not take what Write has written: fields
// that it does not know, values that the schema does not allow. Of the rules in CEL,
// those about numbers and filters are checked here.
func accepted(t *testing.T, text string) {
	t.Helper()
	all, err := schemas()
	if err != nil || len(all) < 5 {
		t.Fatalf("%d CRDs: %v", len(all), err)
	}
	for document := range strings.SplitSeq(text, "---\n") {
		object := map[string]any{}
		if err := apiyaml.Unmarshal([]byte(document), &object); err != nil {
			t.Fatalf("%v in\n%s", err, document)
		}
		kind, _ := object["kind"].(string)
		s, ok := all[kind]
		if !ok {
			t.Errorf("there is no CRD for kind %q", kind)
			continue
		}
		options := structural.UnknownFieldPathOptions{TrackUnknownFieldPaths: true}
		for _, path := range pruning.PruneWithOptions(runtime.DeepCopyJSON(object), s.structural, true, options) {
			t.Errorf("unknown field %s in\n%s", path, document)
		}
		for _, err := range s.validator.Validate(object).Errors {
			t.Errorf("%v in\n%s", err, document)
		}
		if kind == "HTTPRoute" {
			rules(t, object)
		}
	}
}

// rules checks what CEL does of HTTPRoutes.
func rules(t *testing.T, object map[string]any) {
	t.Helper()
	matches := 0
	list, _ := object["spec"].(map[string]any)["rules"].([]any)
	for _, r := range list {
		rule := r.(map[string]any)
		of, _ := rule["matches"].([]any)
		matches += len(of)
		types := map[any]int{}
		filters, _ := rule["filters"].([]any)
		for _, f := range filters {
			types[f.(map[string]any)["type"]]++
		}
		for kind, n := range types {
			if n > 1 {
				t.Errorf("%d filters %s in %v", n, kind, rule)
			}
		}
		if types["URLRewrite"]+types["RequestRedirect"] > 1 {
			t.Errorf("a rewrite and a redirect in %v", rule)
		}
		text, _ := json.Marshal(rule)
		if strings.Contains(string(text), "replacePrefixMatch") && (len(of) != 1 || !strings.Contains(string(text), `"PathPrefix"`)) {
			t.Errorf("replacePrefixMatch without one prefix in %s", text)
		}
		if types["RequestRedirect"] > 0 && rule["backendRefs"] != nil {
			t.Errorf("a redirect with backends in %s", text)
		}
		for _, m := range of {
			path := m.(map[string]any)["path"].(map[string]any)
			value := path["value"].(string)
			if path["type"] != "RegularExpression" && (!strings.HasPrefix(value, "/") || strings.Contains(value, "//") || strings.Contains(value, "/../") || !valid.MatchString(value)) {
				t.Errorf("path %q", value)
			}
		}
	}
	if matches > 128 {
		t.Errorf("%d matches", matches)
	}
}
