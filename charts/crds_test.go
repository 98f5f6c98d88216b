package charts_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	apiextensions "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structural "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	apiyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/kube-openapi/pkg/validation/spec"
	"k8s.io/kube-openapi/pkg/validation/strfmt"
	"k8s.io/kube-openapi/pkg/validation/validate"
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
			t.Fatalf("%s: %v", file.Filename, err)
		}
		if want := "crds/" + crd.Name + ".yaml"; file.Filename != want {
			t.Errorf("%s has the CRD %s, which belongs in %s", file.Filename, crd.Name, want)
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
	// What MetalLB has and the types do not: the API server would refuse MetalLB's
	// YAML without it.
	unread := map[string]bool{"L2Advertisement.spec.preferredNodeSelectors": true, "BGPPeer.spec.localASN": true}
	for kind, typ := range metallbTypes() {
		compareFields(t, kind, typ, schemaOf(t, readCRDs(t)[kind], ""), unread)
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

// readObject decodes YAML as the API server does: whole numbers are int64.
func readObject(t *testing.T, text string) map[string]any {
	t.Helper()
	object := map[string]any{}
	if err := apiyaml.Unmarshal([]byte(text), &object); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	return object
}

// problems returns what the API server has against an object when it is applied:
// fields it does not know, and values that the schema does not allow. The rules in
// CEL are left out.
func problems(t *testing.T, schema *props, object map[string]any) string {
	t.Helper()
	var found []string
	options := structural.UnknownFieldPathOptions{TrackUnknownFieldPaths: true}
	for _, path := range pruning.PruneWithOptions(runtime.DeepCopyJSON(object), structuralOf(t, schema), true, options) {
		found = append(found, "unknown field "+path)
	}
	data, err := json.Marshal(schema)
	if err != nil {
		t.Fatal(err)
	}
	var open spec.Schema
	if err := json.Unmarshal(data, &open); err != nil {
		t.Fatal(err)
	}
	for _, err := range validate.NewSchemaValidator(&open, nil, "", strfmt.Default).Validate(object).Errors {
		found = append(found, err.Error())
	}
	return strings.Join(found, "\n")
}

// TestMetalLBObjectsAreAccepted holds that objects with every field that MetalLB
// has pass the schema and become values of the types.
func TestMetalLBObjectsAreAccepted(t *testing.T) {
	crds := readCRDs(t)
	unset := map[string]bool{}
	for kind, crd := range crds {
		for _, v := range crd.Spec.Versions {
			eachProperty(v.Name+" "+kind, v.Schema.OpenAPIV3Schema, func(path string, s *props) {
				unset[path] = s.Type != "object" || s.Properties != nil
			})
		}
	}
	var mark func(path string, value any)
	mark = func(path string, value any) {
		unset[path] = false
		switch value := value.(type) {
		case map[string]any:
			for name, child := range value {
				mark(path+"."+name, child)
			}
		case []any:
			for _, child := range value {
				mark(path, child)
			}
		}
	}
	for _, text := range strings.Split(metallbObjects, "---\n") {
		object := readObject(t, text)
		kind := fmt.Sprint(object["kind"])
		group, version, _ := strings.Cut(fmt.Sprint(object["apiVersion"]), "/")
		if group != metallb.Group || crds[kind] == nil {
			t.Fatalf("not an object of MetalLB's:\n%s", text)
		}
		mark(version+" "+kind, object)
		// What an old version takes must be an object of the stored one, too.
		for _, version := range []string{version, ""} {
			if found := problems(t, schemaOf(t, crds[kind], version), object); found != "" {
				t.Errorf("%s, version %q, is refused: %s\n%s", kind, version, found, text)
			}
		}
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object, reflect.New(metallbTypes()[kind]).Interface()); err != nil {
			t.Errorf("%v in\n%s", err, text)
		}
	}
	for path, missing := range unset {
		if missing {
			t.Errorf("no object here has %s", path)
		}
	}
}

// TestWrongObjectsAreRefused holds that the schema names the field that is wrong.
func TestWrongObjectsAreRefused(t *testing.T) {
	selector := "{matchExpressions: [{key: zone, operator: Exists, values: []}]}"
	for _, test := range []struct{ version, kind, object, want string }{
		{"", "IPAddressPool", `{}`, "spec in body is required"},
		{"", "IPAddressPool", `spec: {}`, "spec.addresses in body is required"},
		{"", "IPAddressPool", `spec: {addresses: 10.0.0.0/24}`, "spec.addresses in body must be of type array"},
		{"", "IPAddressPool", `spec: {addresses: [], autoAsign: true}`, "unknown field spec.autoAsign"},
		{"", "IPAddressPool", `spec: {addresses: [], avoidBuggyIPs: "yes"}`, "spec.avoidBuggyIPs"},
		{"", "IPAddressPool", `spec: {addresses: [], serviceAllocation: {namespaceSelectors: [{matchLabels: {a: 1}}]}}`, "matchLabels.a"},
		{"", "IPAddressPool", `{spec: {addresses: []}, status: {assignedIPv4: 1}}`, "status.availableIPv6 in body is required"},
		{"", "L2Advertisement", `spec: {interfaces: eth0}`, "spec.interfaces"},
		{"", "L2Advertisement", `spec: {nodeSelectors: [{matchExpressions: [{key: zone}]}]}`, "operator in body is required"},
		{"", "L2Advertisement", `spec: {preferredNodeSelectors: [{weight: 1}]}`, "preference in body is required"},
		{"", "L2Advertisement", `spec: {preferredNodeSelectors: [{weight: 101, preference: {}}]}`, "less than or equal to 100"},
		{"", "BGPAdvertisement", `spec: {aggregationLength: 0}`, "spec.aggregationLength"},
		{"", "BGPAdvertisement", `spec: {localPref: -1}`, "spec.localPref"},
		{"", "BGPAdvertisement", `spec: {localPref: 4294967296}`, "spec.localPref"},
		{"", "BGPAdvertisement", `spec: {localpref: 1}`, "unknown field spec.localpref"},
		{"", "BGPAdvertisement", `spec: {communities: [65535]}`, "spec.communities"},
		{"", "Community", `spec: {communities: [{name: 1}]}`, "spec.communities[0].name"},
		{"", "BGPPeer", `spec: {}`, "spec.myASN in body is required"},
		{"", "BGPPeer", `spec: {myASN: 4294967296}`, "spec.myASN"},
		{"", "BGPPeer", `spec: {myASN: 1, localASN: 0}`, "spec.localASN"},
		{"", "BGPPeer", `spec: {myASN: 1, dynamicASN: any}`, "spec.dynamicASN"},
		{"", "BGPPeer", `spec: {myASN: 1, peerPort: 16385}`, "spec.peerPort"},
		{"", "BGPPeer", `spec: {myASN: 1, holdTime: 90}`, "spec.holdTime"},
		{"", "BGPPeer", `spec: {myASN: 1, passwordSecret: tor}`, "spec.passwordSecret"},
		{"v1beta1", "BGPPeer", `spec: {myASN: 1, peerAddress: 10.0.0.1}`, "spec.peerASN in body is required"},
		{"v1beta1", "BGPPeer", `spec: {myASN: 1, peerASN: 1, peerAddress: 10.0.0.1, vrf: red}`, "unknown field spec.vrf"},
		{"v1beta1", "BGPPeer", `spec: {myASN: 1, peerASN: 1, peerAddress: 10.0.0.1, nodeSelectors: [` + selector + `]}`, "at least 1 items"},
		{"", "BFDProfile", `spec: {receiveInterval: 9}`, "spec.receiveInterval"},
		{"", "BFDProfile", `spec: {transmitInterval: 60001}`, "spec.transmitInterval"},
		{"", "BFDProfile", `spec: {echoInterval: 9}`, "spec.echoInterval"},
		{"", "BFDProfile", `spec: {detectMultiplier: 1}`, "spec.detectMultiplier"},
		{"", "BFDProfile", `spec: {minimumTtl: 255}`, "spec.minimumTtl"},
		{"", "ServiceL2Status", `status: {interfaces: [eth0]}`, "status.interfaces[0]"},
		{"", "ServiceBGPStatus", `status: {peers: tor}`, "status.peers"},
	} {
		found := problems(t, schemaOf(t, readCRDs(t)[test.kind], test.version), readObject(t, test.object))
		if !strings.Contains(found, test.want) {
			t.Errorf("%s %s: %q, want %q", test.kind, test.object, found, test.want)
		}
	}
}

// TestRulesAreThere holds which fields have rules in CEL, all of which MetalLB has.
// The API server evaluates them.
func TestRulesAreThere(t *testing.T) {
	want := map[string]int{
		"BGPAdvertisement.spec": 1, "BGPPeer.spec.connectTime": 2, "BGPPeer.spec.enableGracefulRestart": 1,
		"ServiceL2Status.status.node": 1, "ServiceL2Status.status.serviceName": 1, "ServiceL2Status.status.serviceNamespace": 1,
		"ServiceBGPStatus.status.node": 1, "ServiceBGPStatus.status.serviceName": 1, "ServiceBGPStatus.status.serviceNamespace": 1,
	}
	got := map[string]int{}
	for kind, crd := range readCRDs(t) {
		eachProperty(kind, schemaOf(t, crd, ""), func(path string, s *props) {
			if n := len(s.XValidations); n > 0 {
				got[path] = n
			}
		})
	}
	if !maps.Equal(got, want) {
		t.Errorf("rules of %v, want %v", got, want)
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

// metallbObjects are what users of MetalLB write, and what it writes itself; each
// field is somewhere in them.
const metallbObjects = `
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: production, namespace: metallb-system, labels: {tier: public}}
spec:
  addresses: [192.0.2.0/25, 198.51.100.10-198.51.100.20, "2001:db8:1::/120"]
  autoAssign: false
  avoidBuggyIPs: true
  serviceAllocation:
    priority: 50
    namespaces: [web, shop]
    namespaceSelectors:
      - matchLabels: {team: web}
      - matchExpressions: [{key: env, operator: NotIn, values: [test, dev]}, {key: legacy, operator: DoesNotExist}]
    serviceSelectors:
      - matchLabels: {expose: "true"}
        matchExpressions: [{key: app, operator: In, values: [shop]}]
status: {assignedIPv4: 3, assignedIPv6: 0, availableIPv4: 134, availableIPv6: 256}
---
apiVersion: metallb.io/v1beta1
kind: L2Advertisement
metadata: {name: everything, namespace: metallb-system}
---
apiVersion: metallb.io/v1beta1
kind: L2Advertisement
metadata: {name: racks, namespace: metallb-system}
spec:
  ipAddressPools: [production]
  ipAddressPoolSelectors: [{matchLabels: {tier: public}, matchExpressions: [{key: tier, operator: In, values: [public]}]}]
  nodeSelectors: [{matchLabels: {kubernetes.io/hostname: a}, matchExpressions: [{key: edge, operator: In, values: ["1"]}]}]
  preferredNodeSelectors:
    - weight: 100
      preference: {matchLabels: {rack: "1"}, matchExpressions: [{key: disk, operator: In, values: [ssd]}]}
  serviceSelectors: [{matchLabels: {app: shop}, matchExpressions: [{key: app, operator: In, values: [shop]}]}]
  interfaces: [eth0, bond0.100]
status: {}
---
apiVersion: metallb.io/v1beta1
kind: BGPAdvertisement
metadata: {name: local, namespace: metallb-system}
spec:
  aggregationLength: 32
  aggregationLengthV6: 128
  localPref: 4294967295
  communities: ["65535:65282", "large:64512:1:2", vpn-only]
  ipAddressPools: [production]
  ipAddressPoolSelectors: [{matchLabels: {tier: public}, matchExpressions: [{key: tier, operator: In, values: [public]}]}]
  nodeSelectors: [{matchLabels: {kubernetes.io/hostname: a}, matchExpressions: [{key: edge, operator: In, values: ["1"]}]}]
  serviceSelectors: [{matchLabels: {app: shop}, matchExpressions: [{key: app, operator: In, values: [shop]}]}]
  peers: [tor-1, tor-2]
---
apiVersion: metallb.io/v1beta1
kind: Community
metadata: {name: communities, namespace: metallb-system}
spec:
  communities: [{name: vpn-only, value: "1234:1"}, {name: no-advertise, value: "65535:65282"}]
---
apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata: {name: tor-1, namespace: metallb-system}
spec:
  myASN: 4200000001
  localASN: 64999
  peerASN: 4294967295
  peerAddress: 10.0.0.1
  sourceAddress: 10.0.0.2
  peerPort: 1179
  holdTime: 1m30s
  keepaliveTime: 30s
  connectTime: 5s
  routerID: 10.10.10.10
  nodeSelectors: [{matchLabels: {rack: "1"}, matchExpressions: [{key: kubernetes.io/hostname, operator: In, values: [a, b]}]}]
  password: secret
  bfdProfile: fast
  enableGracefulRestart: true
  ebgpMultiHop: true
  vrf: red
  disableMP: false
  dualStackAddressFamily: true
---
apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata: {name: unnumbered, namespace: metallb-system}
spec: {myASN: 64512, dynamicASN: external, interface: eth1, passwordSecret: {name: tor, namespace: metallb-system}}
---
apiVersion: metallb.io/v1beta1
kind: BGPPeer
metadata: {name: old, namespace: metallb-system}
spec:
  myASN: 64512
  peerASN: 64512
  peerAddress: 10.0.0.3
  peerPort: 0
  sourceAddress: 10.0.0.2
  holdTime: 0s
  keepaliveTime: 0s
  routerID: 10.10.10.10
  nodeSelectors: [{matchLabels: {rack: "1"}, matchExpressions: [{key: rack, operator: In, values: ["2"]}]}]
  password: secret
  bfdProfile: fast
  ebgpMultiHop: false
---
apiVersion: metallb.io/v1beta1
kind: BFDProfile
metadata: {name: fast, namespace: metallb-system}
spec: {receiveInterval: 10, transmitInterval: 60000, detectMultiplier: 2, echoInterval: 50, echoMode: false, passiveMode: true, minimumTtl: 254}
---
apiVersion: metallb.io/v1beta1
kind: ServiceL2Status
metadata: {name: l2-abcde, namespace: metallb-system}
spec: {}
status: {node: a, serviceName: shop, serviceNamespace: web, interfaces: [{name: eth0}]}
---
apiVersion: metallb.io/v1beta1
kind: ServiceBGPStatus
metadata: {name: bgp-abcde, namespace: metallb-system}
spec: {}
status: {node: a, serviceName: shop, serviceNamespace: web, peers: [tor-1]}
`
