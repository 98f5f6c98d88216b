package charts_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	structural "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apimachinery/pkg/runtime"
	apiyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/kube-openapi/pkg/validation/spec"
	"k8s.io/kube-openapi/pkg/validation/strfmt"
	"k8s.io/kube-openapi/pkg/validation/validate"

	"github.com/fairlead-net/fairlead/api/metallb"
)

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
	crds := readCRDs(t)
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
		found := problems(t, schemaOf(t, crds[test.kind], test.version), readObject(t, test.object))
		if !strings.Contains(found, test.want) {
			t.Errorf("%s %s: %q, want %q", test.kind, test.object, found, test.want)
		}
	}
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
