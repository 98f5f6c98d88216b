package charts_test

import (
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structural "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/fairlead-net/fairlead/api/metallb"
	"github.com/fairlead-net/fairlead/internal/install"
)

type props = apiextensionsv1.JSONSchemaProps

// metallbTypes are the kinds that the chart has CRDs for, and their Go types.
func metallbTypes() map[string]reflect.Type {
	return map[string]reflect.Type{
		"IPAddressPool":    reflect.TypeFor[metallb.IPAddressPool](),
		"L2Advertisement":  reflect.TypeFor[metallb.L2Advertisement](),
		"BGPAdvertisement": reflect.TypeFor[metallb.BGPAdvertisement](),
		"Community":        reflect.TypeFor[metallb.Community](),
		"BGPPeer":          reflect.TypeFor[metallb.BGPPeer](),
		"BFDProfile":       reflect.TypeFor[metallb.BFDProfile](),
		"ServiceL2Status":  reflect.TypeFor[metallb.ServiceL2Status](),
		"ServiceBGPStatus": reflect.TypeFor[metallb.ServiceBGPStatus](),
	}
}

// readCRDs returns the CRDs that Helm finds in the embedded chart, by kind.
func readCRDs(t *testing.T) map[string]*apiextensionsv1.CustomResourceDefinition {
	t.Helper()
	chart, err := install.Chart()
	if err != nil {
		t.Fatal(err)
	}
	byKind := map[string]*apiextensionsv1.CustomResourceDefinition{}
	for _, file := range chart.CRDObjects() {
		crd := &apiextensionsv1.CustomResourceDefinition{}
		if err := yaml.UnmarshalStrict(file.File.Data, crd); err != nil {
			t.Fatalf("%s: %v", file.Name, err)
		}
		if want := "crds/" + crd.Name + ".yaml"; file.Name != want {
			t.Errorf("%s has the CRD %s, which belongs in %s", file.Name, crd.Name, want)
		}
		byKind[crd.Spec.Names.Kind] = crd
	}
	return byKind
}

// schemaOf returns the schema of a version; that of the stored one if version is
// empty.
func schemaOf(t *testing.T, crd *apiextensionsv1.CustomResourceDefinition, version string) *props {
	t.Helper()
	for _, v := range crd.Spec.Versions {
		if v.Name == version || version == "" && v.Storage {
			return v.Schema.OpenAPIV3Schema
		}
	}
	t.Fatalf("%s has no version %q", crd.Name, version)
	return nil
}

func structuralOf(t *testing.T, schema *props) *structural.Structural {
	t.Helper()
	internal := &apiextensions.JSONSchemaProps{}
	if err := apiextensionsv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(schema, internal, nil); err != nil {
		t.Fatal(err)
	}
	s, err := structural.NewStructural(internal)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// eachProperty calls visit for all properties below a schema, with their paths.
func eachProperty(path string, s *props, visit func(path string, s *props)) {
	if s.Items != nil {
		eachProperty(path, s.Items.Schema, visit)
	}
	for name, child := range s.Properties {
		visit(path+"."+name, &child)
		eachProperty(path+"."+name, &child, visit)
	}
}

// TestHelmInstallsCRDs holds that Helm finds a CRD of each kind, which serves the
// version that Fairlead uses, and which the API server can serve.
func TestHelmInstallsCRDs(t *testing.T) {
	crds, types := readCRDs(t), metallbTypes()
	if got, want := slices.Sorted(maps.Keys(crds)), slices.Sorted(maps.Keys(types)); !slices.Equal(got, want) {
		t.Fatalf("CRDs of %v, want %v", got, want)
	}
	for kind, crd := range crds {
		names, resource := crd.Spec.Names, metallb.Resource(crd.Spec.Names.Plural)
		if crd.Name != names.Plural+"."+metallb.Group || crd.Spec.Group != metallb.Group || names.ListKind != kind+"List" ||
			names.Singular != strings.ToLower(kind) || crd.Spec.Scope != apiextensionsv1.NamespaceScoped {
			t.Errorf("%s: name, names, group or scope do not fit", crd.Name)
		}
		if known, ok := metallb.ResourceOf(kind); ok && known != resource {
			t.Errorf("%s is %v, of which the package of the types says %v", kind, resource, known)
		}
		if crd.Labels["app.kubernetes.io/name"] != "fairlead" {
			t.Errorf("%s lacks the label that says whose it is", crd.Name)
		}
		for _, v := range crd.Spec.Versions {
			if v.Storage != (v.Name == resource.Version) || !v.Served || v.Deprecated == v.Storage || v.Subresources == nil || v.Subresources.Status == nil {
				t.Errorf("%s of %s: only %s is stored, others are deprecated, and all are served, with a status", v.Name, crd.Name, resource.Version)
			}
			if err := structural.ValidateStructural(nil, structuralOf(t, v.Schema.OpenAPIV3Schema)).ToAggregate(); err != nil {
				t.Errorf("%s of %s: %v", v.Name, crd.Name, err)
			}
			eachProperty(kind, v.Schema.OpenAPIV3Schema, func(path string, s *props) {
				if s.Description == "" && strings.Count(path, ".") > 1 {
					t.Errorf("%s: %s has no description", v.Name, path)
				}
			})
		}
	}
}

// TestCRDsHaveTheFieldsOfTheTypes holds that what the API server keeps of an
// object is what Fairlead reads and writes.
func TestCRDsHaveTheFieldsOfTheTypes(t *testing.T) {
	// What MetalLB has and the types do not.
	unread := map[string]bool{}
	crds := readCRDs(t)
	for kind, typ := range metallbTypes() {
		compareFields(t, kind, typ, schemaOf(t, crds[kind], ""), unread)
	}
	for path := range unread {
		t.Errorf("%s is missing in the schema, or is no longer missing in the type", path)
	}
}

func compareFields(t *testing.T, path string, typ reflect.Type, s *props, unread map[string]bool) {
	t.Helper()
	for typ.Kind() == reflect.Pointer {
		typ = typ.Elem()
	}
	want := ""
	switch typ.Kind() {
	case reflect.String:
		want = "string"
	case reflect.Bool:
		want = "boolean"
	case reflect.Int, reflect.Int32, reflect.Int64, reflect.Uint16, reflect.Uint32:
		want = "integer"
	case reflect.Slice:
		want = "array"
		if s.Items != nil {
			compareFields(t, path, typ.Elem(), s.Items.Schema, unread)
		}
	case reflect.Map:
		want = "object"
		if s.AdditionalProperties == nil || s.AdditionalProperties.Schema.Type != "string" {
			t.Errorf("%s is a map of strings in the type, and not in the schema", path)
		}
	case reflect.Struct:
		want = "object"
		switch typ {
		case reflect.TypeFor[metav1.Duration]():
			want = "string"
		case reflect.TypeFor[metav1.ObjectMeta]():
		default:
			compareStructs(t, path, typ, s, unread)
		}
	}
	if s.Type != want {
		t.Errorf("%s is %s in the type, for which the schema has %q in place of %q", path, typ, s.Type, want)
	}
}

func compareStructs(t *testing.T, path string, typ reflect.Type, s *props, unread map[string]bool) {
	t.Helper()
	fields, required := map[string]reflect.Type{}, []string{}
	var collect func(typ reflect.Type)
	collect = func(typ reflect.Type) {
		for field := range typ.Fields() {
			name, options, _ := strings.Cut(field.Tag.Get("json"), ",")
			if name == "" {
				collect(field.Type) // inline
				continue
			}
			fields[name] = field.Type
			if options == "" {
				required = append(required, name)
			}
		}
	}
	collect(typ)
	for name, field := range fields {
		if child, ok := s.Properties[name]; ok {
			compareFields(t, path+"."+name, field, &child, unread)
		} else {
			t.Errorf("%s.%s is missing in the schema", path, name)
		}
	}
	for name, child := range s.Properties {
		at := path + "." + name
		_, known := fields[name]
		switch {
		case known:
		case unread[at]:
			delete(unread, at)
		case child.Type == "object" && child.Properties == nil && path == typ.Name():
			// A spec or status that is always empty.
		default:
			t.Errorf("%s is missing in the type", at)
		}
	}
	if got := slices.Sorted(slices.Values(s.Required)); !slices.Equal(got, slices.Sorted(slices.Values(required))) {
		t.Errorf("%s: the schema requires %v, the type %v", path, got, required)
	}
}

// TestRulesAreThere holds that the rules in CEL are those that MetalLB has, and say
// what is wrong. The API server evaluates them.
func TestRulesAreThere(t *testing.T) {
	fixed := "self == oldSelf"
	want := map[string]string{
		"BGPAdvertisement.spec": "!has(self.serviceSelectors) || size(self.serviceSelectors) == 0 || " +
			"(!has(self.aggregationLength) || self.aggregationLength == 32) && (!has(self.aggregationLengthV6) || self.aggregationLengthV6 == 128)",
		"BGPPeer.spec.connectTime": "duration(self) >= duration('1s') && duration(self) < duration('65536s'); " +
			"duration(self).getMilliseconds() % 1000 == 0",
		"BGPPeer.spec.enableGracefulRestart":       fixed,
		"ServiceL2Status.status.node":              fixed,
		"ServiceL2Status.status.serviceName":       fixed,
		"ServiceL2Status.status.serviceNamespace":  fixed,
		"ServiceBGPStatus.status.node":             fixed,
		"ServiceBGPStatus.status.serviceName":      fixed,
		"ServiceBGPStatus.status.serviceNamespace": fixed,
	}
	got := map[string]string{}
	for kind, crd := range readCRDs(t) {
		eachProperty(kind, schemaOf(t, crd, ""), func(path string, s *props) {
			var rules []string
			for _, rule := range s.XValidations {
				rules = append(rules, rule.Rule)
				if rule.Message == "" {
					t.Errorf("%s: a rule has no message", path)
				}
			}
			if rules != nil {
				got[path] = strings.Join(rules, "; ")
			}
		})
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("rules (-want +got):\n%s", diff)
	}
}

// TestOldPeersNeedNoConversion holds that each BGPPeer of v1beta1 is one of v1beta2
// as it stands, as the CRD says that nothing converts them.
func TestOldPeersNeedNoConversion(t *testing.T) {
	crd := readCRDs(t)["BGPPeer"]
	if crd.Spec.Conversion == nil || crd.Spec.Conversion.Strategy != apiextensionsv1.NoneConverter {
		t.Fatal("the CRD does not say that nothing converts BGPPeers")
	}
	var wider func(path string, from, to *props)
	wider = func(path string, from, to *props) {
		under := func(a, b *float64) bool { return a == nil || b != nil && *a <= *b }
		if from.Type != to.Type || from.Format != to.Format || len(to.Enum)+len(to.XValidations) > 0 || to.MinItems != nil ||
			!under(to.Minimum, from.Minimum) || to.Maximum != nil && !under(from.Maximum, to.Maximum) {
			t.Errorf("%s: v1beta2 does not take all that v1beta1 does", path)
		}
		for _, name := range to.Required {
			if !slices.Contains(from.Required, name) {
				t.Errorf("%s.%s is required in v1beta2 alone", path, name)
			}
		}
		for name, child := range from.Properties {
			if other, ok := to.Properties[name]; ok {
				wider(path+"."+name, &child, &other)
			} else {
				t.Errorf("%s.%s is not in v1beta2", path, name)
			}
		}
		if from.Items != nil {
			wider(path, from.Items.Schema, to.Items.Schema)
		}
		if from.AdditionalProperties != nil {
			wider(path, from.AdditionalProperties.Schema, to.AdditionalProperties.Schema)
		}
	}
	wider("BGPPeer", schemaOf(t, crd, "v1beta1"), schemaOf(t, crd, "v1beta2"))
}
