package kube

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"path"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes/scheme"
	strictyaml "sigs.k8s.io/yaml"

	"github.com/fairlead-net/fairlead/api/metallb"
	"github.com/fairlead-net/fairlead/internal/desired"
	"github.com/fairlead-net/fairlead/internal/pmap"
)

// Manifests is what a folder of manifests holds.
type Manifests struct {
	Objects desired.Objects
	// Data are Secrets and ConfigMaps.
	Data pmap.Map[DataName, *Data]
	// Containers are those of Deployments and DaemonSets.
	Containers []Container
	// Ignored counts, per kind, the objects that Fairlead does not read.
	Ignored map[string]int
}

// ReadManifests reads every .yaml, .yml and .json file in dir and below, in
// order of their names, as kubectl apply would. A Namespace that objects name
// but that is not there is taken to exist. The error names the file, the
// document in it, and what is wrong.
func ReadManifests(dir fs.FS) (Manifests, error) {
	m := Manifests{Objects: desired.Objects{Synced: true}, Ignored: map[string]int{}}
	err := fs.WalkDir(dir, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !slices.Contains([]string{".yaml", ".yml", ".json"}, path.Ext(name)) {
			return err
		}
		content, err := fs.ReadFile(dir, name)
		if err != nil {
			return err
		}
		if err := m.read(content); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return nil
	})
	return m, err
}

// ParseManifests reads the documents of one YAML or JSON text.
func ParseManifests(content []byte) (Manifests, error) {
	m := Manifests{Objects: desired.Objects{Synced: true}, Ignored: map[string]int{}}
	return m, m.read(content)
}

func (m *Manifests) read(content []byte) error {
	documents := yaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(content)))
	for number := 1; ; number++ {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = m.document(document)
		}
		if err != nil {
			return fmt.Errorf("document %d: %w", number, err)
		}
	}
}

func (m *Manifests) document(content []byte) error {
	if blank(content) {
		return nil
	}
	// The decoder takes what begins with a brace for JSON, which YAML may too.
	content, err := strictyaml.YAMLToJSONStrict(content)
	if err != nil {
		return err
	}
	strict := serializer.NewCodecFactory(scheme.Scheme, serializer.EnableStrict).UniversalDeserializer()
	object, _, err := strict.Decode(content, nil, nil)
	if runtime.IsNotRegisteredError(err) {
		// The decoder says only in its error which kind it does not know.
		var o unstructured.Unstructured
		if err := o.UnmarshalJSON(content); err != nil {
			return err
		}
		return m.addOther(&o)
	}
	if err != nil {
		return err
	}
	return m.add(object)
}

func (m *Manifests) add(object runtime.Object) error {
	switch o := object.(type) {
	case *corev1.Service:
		o.Namespace = m.namespace(o.Namespace)
		m.Objects.Services = m.Objects.Services.Set(namespacedName(o), desired.ParseService(o))
	case *discoveryv1.EndpointSlice:
		o.Namespace = m.namespace(o.Namespace)
		m.Objects.Slices = m.Objects.Slices.Set(namespacedName(o), desired.ParseSlice(o))
	case *corev1.Namespace:
		m.Objects.Namespaces = m.Objects.Namespaces.Set(o.Name, parseNamespace(o))
	case *corev1.Pod:
		o.Namespace = m.namespace(o.Namespace)
		m.Objects.Pods = m.Objects.Pods.Set(podID(o), desired.ParsePod(o))
	case *networkingv1.ServiceCIDR:
		m.Objects.ServiceCIDRs = m.Objects.ServiceCIDRs.Set(o.Name, stripServiceCIDR(o))
	case *corev1.Secret:
		o.Namespace = m.namespace(o.Namespace)
		for key, text := range o.StringData {
			if o.Data == nil {
				o.Data = map[string][]byte{}
			}
			o.Data[key] = []byte(text)
		}
		m.Data = m.Data.Set(DataName{Name: namespacedName(o)}, parseSecret(o))
	case *corev1.ConfigMap:
		o.Namespace = m.namespace(o.Namespace)
		m.Data = m.Data.Set(DataName{ConfigMap: true, Name: namespacedName(o)}, parseConfigMap(o))
		m.Objects.ConfigMaps = m.Objects.ConfigMaps.Set(namespacedName(o), desired.ParseConfigMap(o))
	case *networkingv1.Ingress:
		o.Namespace = m.namespace(o.Namespace)
		m.Objects.Ingresses = m.Objects.Ingresses.Set(namespacedName(o), desired.ParseIngress(o))
	case *networkingv1.IngressClass:
		m.Objects.IngressClasses = m.Objects.IngressClasses.Set(o.Name, desired.ParseIngressClass(o))
	case *appsv1.Deployment, *appsv1.DaemonSet:
		m.addContainers(o)
	case *corev1.List:
		for i := range o.Items {
			if err := m.document(o.Items[i].Raw); err != nil {
				return fmt.Errorf("item %d: %w", i+1, err)
			}
		}
	default:
		m.Ignored[object.GetObjectKind().GroupVersionKind().Kind]++
	}
	return nil
}

// addOther adds an object of a kind that is not Kubernetes' own.
func (m *Manifests) addOther(o *unstructured.Unstructured) error {
	if o.GetKind() == "ServiceImport" && o.GroupVersionKind().Group == serviceImports().Group {
		o.SetNamespace(m.namespace(o.GetNamespace()))
		m.Objects.Imports = m.Objects.Imports.Set(namespacedName(o), parseImport(o, slog.Default()))
		return nil
	}
	if _, known := metallb.ResourceOf(o.GetKind()); !known || o.GroupVersionKind().Group != metallb.Group {
		m.Ignored[o.GetKind()]++
		return nil
	}
	o.SetNamespace(m.namespace(o.GetNamespace()))
	var err error
	a := &m.Objects.Addressing
	switch o.GetKind() {
	case "IPAddressPool":
		err = addMetalLB(&a.Pools, o, desired.ParsePool)
	case "L2Advertisement":
		err = addMetalLB(&a.L2Advertisements, o, desired.ParseL2Advertisement)
	case "BGPAdvertisement":
		err = addMetalLB(&a.BGPAdvertisements, o, desired.ParseBGPAdvertisement)
	case "Community":
		err = addMetalLB(&a.Communities, o, desired.ParseCommunityNames)
	case "BGPPeer":
		err = addMetalLB(&a.Peers, o, desired.ParsePeer)
	case "BFDProfile":
		err = addMetalLB(&a.BFDProfiles, o, desired.ParseBFDProfile)
	}
	return err
}

func addMetalLB[T any, V comparable](to *pmap.Map[desired.Name, V], o *unstructured.Unstructured, parse func(*T) V) error {
	typed, err := metallb.Read[T](o)
	if err == nil {
		*to = to.Set(namespacedName(o), parse(typed))
	}
	return err
}

// AddIngressClasses adds the IngressClasses that installing Fairlead makes, if there are
// none: fairlead, which is the default one, and nginx if that is taken over. A folder
// that has none means these.
func (m *Manifests) AddIngressClasses(nginx bool) {
	all := &m.Objects.IngressClasses
	if all.Len() > 0 {
		return
	}
	*all = all.Set("fairlead", &desired.IngressClass{Name: "fairlead", Controller: "fairlead.dev/ingress", Default: true})
	if nginx {
		*all = all.Set("nginx", &desired.IngressClass{Name: "nginx", Controller: "k8s.io/ingress-nginx"})
	}
}

// namespace returns the namespace that an object without one lands in, and
// makes sure that it exists.
func (m *Manifests) namespace(name string) string {
	if name == "" {
		name = corev1.NamespaceDefault
	}
	if _, ok := m.Objects.Namespaces.Get(name); !ok {
		m.Objects.Namespaces = m.Objects.Namespaces.Set(name, &desired.Namespace{})
	}
	return name
}

// blank tells whether a document holds nothing but comments.
func blank(document []byte) bool {
	for line := range bytes.Lines(document) {
		text := strings.TrimSpace(string(line))
		if text != "" && text != "---" && !strings.HasPrefix(text, "#") {
			return false
		}
	}
	return true
}
