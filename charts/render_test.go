package charts_test

import (
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/fairlead-net/fairlead/internal/config"
	"github.com/fairlead-net/fairlead/internal/install"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// rendered are the objects of one rendering, decoded strictly.
type rendered struct {
	text     string
	notes    string
	byName   map[string]any // Kind NAMESPACE/NAME
	daemons  []*appsv1.DaemonSet
	configs  []*corev1.ConfigMap
	roles    []*rbacv1.ClusterRole
	services []*corev1.Service
}

// values parses the text of a values file.
func values(t *testing.T, text string) map[string]any {
	t.Helper()
	parsed := map[string]any{}
	if err := yaml.Unmarshal([]byte(text), &parsed); err != nil {
		t.Fatal(err)
	}
	return parsed
}

func render(t *testing.T, text, namespace, version string) rendered {
	t.Helper()
	manifest, notes, err := install.Render(values(t, text), namespace, version)
	if err != nil {
		t.Fatal(err)
	}
	r := rendered{text: manifest, notes: notes, byName: map[string]any{}}
	for document := range strings.SplitSeq(manifest, "\n---\n") {
		r.decode(t, strings.TrimPrefix(document, "---\n"))
	}
	return r
}

func (r *rendered) decode(t *testing.T, document string) {
	t.Helper()
	var meta metav1.PartialObjectMetadata
	if err := yaml.Unmarshal([]byte(document), &meta); err != nil {
		t.Fatalf("%v in\n%s", err, document)
	}
	kinds := map[string]func() any{
		"DaemonSet":           func() any { o := &appsv1.DaemonSet{}; r.daemons = append(r.daemons, o); return o },
		"Deployment":          func() any { return &appsv1.Deployment{} },
		"ConfigMap":           func() any { o := &corev1.ConfigMap{}; r.configs = append(r.configs, o); return o },
		"Service":             func() any { o := &corev1.Service{}; r.services = append(r.services, o); return o },
		"Namespace":           func() any { return &corev1.Namespace{} },
		"ServiceAccount":      func() any { return &corev1.ServiceAccount{} },
		"ClusterRole":         func() any { o := &rbacv1.ClusterRole{}; r.roles = append(r.roles, o); return o },
		"ClusterRoleBinding":  func() any { return &rbacv1.ClusterRoleBinding{} },
		"Secret":              func() any { return &corev1.Secret{} },
		"Role":                func() any { return &rbacv1.Role{} },
		"RoleBinding":         func() any { return &rbacv1.RoleBinding{} },
		"PodDisruptionBudget": func() any { return &policyv1.PodDisruptionBudget{} },
		"IngressClass":        func() any { return &networkingv1.IngressClass{} },

		"HorizontalPodAutoscaler": func() any { return &autoscalingv2.HorizontalPodAutoscaler{} },
	}
	make, ok := kinds[meta.Kind]
	if !ok {
		t.Fatalf("unexpected kind %q in\n%s", meta.Kind, document)
	}
	object := make()
	if err := yaml.UnmarshalStrict([]byte(document), object); err != nil {
		t.Fatalf("%s %s: %v", meta.Kind, meta.Name, err)
	}
	name := meta.Kind + " " + meta.Namespace + "/" + meta.Name
	if r.byName[name] != nil {
		t.Errorf("%s is rendered twice", name)
	}
	r.byName[name] = object
}

// TestGolden shows what is applied to a cluster. Review the files when a
// template changes, and rewrite them with -update.
func TestGolden(t *testing.T) {
	for name, c := range map[string]struct{ namespace, version, values string }{
		"default": {"fairlead-system", "v1.37.2", "{discovered: {apiServers: ['https://192.0.2.1:6443', 'https://[2001:db8::1]:6443'], clusterIPs: [10.96.0.10, 'fd00:96::a']}, node: {probeKey: key}}"},
		"cleanup": {"fairlead-system", "v1.37.2", "{discovered: {clusterIPs: [10.96.0.10]}, node: {cleanup: true, probeKey: key}}"},
		"gateway": {"fairlead-system", "v1.37.2", "{discovered: {clusterIPs: [10.96.0.10]}, node: {probeKey: key}, config: {migration: {ingressNginx: true}}, gateway: {enabled: true, tcp: {9000: 'db/postgres:5432::PROXY'}, udp: {53: 'kube-system/kube-dns:dns'}, defaultClass: true, autoscaling: {enabled: true}, ticketKey: 0123456789abcdef0123456789abcdef0123456789a, service: {annotations: {metallb.io/loadBalancerIPs: 192.0.2.80}}}}"},
		"custom":  {"kube-system", "v1.31.0", "{image: {tag: dev, pullSecrets: [{name: registry}]}, namespace: {create: true}, config: {logLevel: debug, apiServers: ['https://192.0.2.9:6443'], dns: {corefile: /etc/coredns/Corefile, listen: ['0.0.0.0:5353'], upstreams: ['192.0.2.53:53']}}, dns: {clusterIPs: [10.0.0.10], keepService: true, nodeSelector: {dns: 'yes'}}, node: {httpPort: 20256, probeKey: key, nodeSelector: {zone: a}}, controller: {replicas: 1, nodeSelector: {zone: a}}}"},
	} {
		t.Run(name, func(t *testing.T) {
			r := render(t, c.values, c.namespace, c.version)
			got := r.text + "\n---\n# NOTES\n" + r.notes + "\n"
			path := filepath.Join("testdata", name+".golden")
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("rewrite with -update if this is meant (-want +got):\n%s", diff)
			}
		})
	}
}

// TestConfigIsAccepted holds that the process accepts the file that the chart
// makes, and that values.yaml repeats the process's own defaults.
func TestConfigIsAccepted(t *testing.T) {
	r := render(t, "discovered: {apiServers: ['https://192.0.2.1:6443']}", "elsewhere", "v1.37.2")
	if len(r.configs) != 2 || r.configs[0].Data["fairlead.yaml"] != r.configs[1].Data["fairlead.yaml"] {
		t.Fatalf("want the same ConfigMap in two namespaces, got %d", len(r.configs))
	}
	got, err := config.Parse([]byte(r.configs[0].Data["fairlead.yaml"]))
	if err != nil {
		t.Fatal(err)
	}
	want := config.Default()
	want.APIServers = []string{"https://192.0.2.1:6443"}
	want.Status.LeaseNamespace = "elsewhere"
	want.LB.NodeService = "elsewhere/fairlead-node"
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty(), cmp.Comparer(func(a, b interface{ String() string }) bool { return a.String() == b.String() })); diff != "" {
		t.Errorf("(-default +chart):\n%s", diff)
	}
	if _, ok := r.byName["Role elsewhere/fairlead-controller"]; !ok {
		t.Error("the lease's Role is not in the lease's namespace")
	}
}

// TestConfigChangeRestarts holds that pods see a change of the configuration.
func TestConfigChangeRestarts(t *testing.T) {
	sum := func(text string) string {
		return render(t, text, "fairlead-system", "v1.37.2").daemons[0].Spec.Template.Annotations["checksum/config"]
	}
	if sum("{}") == sum("config: {logLevel: debug}") || sum("{}") != sum("node: {httpPort: 1}") {
		t.Error("checksum/config does not follow the configuration")
	}
}

// TestPodsSelected holds that workloads and kube-dns select the pods that are
// made, by labels that the command line looks for.
func TestPodsSelected(t *testing.T) {
	r := render(t, "{}", "fairlead-system", "v1.37.2")
	for _, daemon := range r.daemons {
		made := daemon.Spec.Template.Labels
		selector, err := metav1.LabelSelectorAsSelector(daemon.Spec.Selector)
		if err != nil || !selector.Matches(labelSet(made)) {
			t.Errorf("%s does not select its pods: %v", daemon.Name, err)
		}
		if made["app.kubernetes.io/name"] != "fairlead" || "fairlead-"+made["app.kubernetes.io/component"] != daemon.Name {
			t.Errorf("%s: pods have labels %v", daemon.Name, made)
		}
	}
	dns := r.byName["DaemonSet kube-system/fairlead-dns"].(*appsv1.DaemonSet)
	for k, v := range r.services[0].Spec.Selector {
		if dns.Spec.Template.Labels[k] != v {
			t.Errorf("Service kube-dns selects %s=%s, which the DNS pods lack", k, v)
		}
	}
}

type labelSet map[string]string

func (l labelSet) Has(key string) bool              { _, ok := l[key]; return ok }
func (l labelSet) Get(key string) string            { return l[key] }
func (l labelSet) Lookup(key string) (string, bool) { v, ok := l[key]; return v, ok }

// TestPrivileges holds what each process may do.
func TestPrivileges(t *testing.T) {
	r := render(t, "gateway: {enabled: true}", "fairlead-system", "v1.37.2")
	for _, role := range r.roles {
		for _, rule := range role.Rules {
			for _, resource := range rule.Resources {
				// Addresses are the controller's alone to give.
				gives := role.Name == "fairlead-controller" && (resource == "services/status" || resource == "ipaddresses")
				// Gateways read Ingresses and Secrets; that Ingresses are served the controller writes.
				serves := role.Name == "fairlead-gateway" && (resource == "configmaps" || resource == "secrets" || resource == "ingresses" || resource == "ingressclasses")
				gives = gives || role.Name == "fairlead-controller" && resource == "ingresses/status"
				serves = serves || role.Name == "fairlead-controller" && (resource == "ingresses" || resource == "ingressclasses" || resource == "configmaps" && len(rule.ResourceNames) > 0)
				if !gives && !serves && !regexp.MustCompile(`^(services|namespaces|endpointslices|servicecidrs|nodes|events)$`).MatchString(resource) {
					t.Errorf("%s may use %s", role.Name, resource)
				}
				for _, verb := range rule.Verbs {
					if resource == "events" && (role.Name == "fairlead-dns" || role.Name == "fairlead-gateway" && verb != "create") || verb == "*" || (verb == "delete" || verb == "update") && !gives {
						t.Errorf("%s may %s %s", role.Name, verb, resource)
					}
				}
			}
		}
	}
	told := r.byName["Role metallb-system/fairlead-loadbalancer-node"].(*rbacv1.Role)
	for _, rule := range told.Rules {
		writes := slices.ContainsFunc(rule.Verbs, func(verb string) bool { return verb != "get" && verb != "list" && verb != "watch" })
		for _, resource := range rule.Resources {
			if kind, _, _ := strings.Cut(resource, "/"); writes && kind != "servicel2statuses" && kind != "servicebgpstatuses" {
				t.Errorf("a node may %v %s", rule.Verbs, resource)
			}
		}
	}
	for name, object := range r.byName {
		var pod corev1.PodSpec
		switch o := object.(type) {
		case *appsv1.DaemonSet:
			pod = o.Spec.Template.Spec
		case *appsv1.Deployment:
			pod = o.Spec.Template.Spec
		default:
			continue
		}
		c := pod.Containers[0].SecurityContext
		if !*c.ReadOnlyRootFilesystem || *c.AllowPrivilegeEscalation || c.Privileged != nil || c.Capabilities.Drop[0] != "ALL" {
			t.Errorf("%s: security context %+v", name, c)
		}
		isNode := strings.HasSuffix(name, "fairlead-node")
		if isNode != pod.HostNetwork || isNode != (len(c.Capabilities.Add) > 0) || isNode == (pod.SecurityContext.RunAsNonRoot != nil) {
			t.Errorf("%s: privileges that it should not have, or lacks", name)
		}
		if pod.PriorityClassName == "" || pod.Containers[0].ReadinessProbe == nil || pod.Containers[0].LivenessProbe == nil || pod.Containers[0].Resources.Requests == nil {
			t.Errorf("%s: lacks a priority class, a probe or resources", name)
		}
	}
}

// TestReadWhereConfigured holds that only DNS may read pods and ServiceImports,
// and only where its configuration needs them.
func TestReadWhereConfigured(t *testing.T) {
	for settings, resource := range map[string]string{
		"{pods: insecure}": "", "{pods: disabled, multiclusterZones: []}": "",
		"{pods: verified}": "pods", "{multiclusterZones: [clusterset.local]}": "serviceimports",
	} {
		var readers, want []string
		for _, role := range render(t, "config: {dns: "+settings+"}", "fairlead-system", "v1.37.2").roles {
			for _, rule := range role.Rules {
				for _, read := range rule.Resources {
					if read == "pods" || read == "serviceimports" {
						readers = append(readers, role.Name+" "+read)
					}
				}
			}
		}
		if resource != "" {
			want = []string{"fairlead-dns " + resource}
		}
		if !slices.Equal(readers, want) {
			t.Errorf("%s: %v may be read, want %v", settings, readers, want)
		}
	}
}

// TestTrafficDistribution holds that every API server gets a value it knows.
func TestTrafficDistribution(t *testing.T) {
	for version, want := range map[string]string{"v1.30.4": "", "v1.31.0": "PreferClose", "v1.34.1": "PreferSameNode", "v1.37.2-gke.1": "PreferSameNode"} {
		got := ""
		if p := render(t, "{}", "fairlead-system", version).services[0].Spec.TrafficDistribution; p != nil {
			got = *p
		}
		if got != want {
			t.Errorf("%s: %q, want %q", version, got, want)
		}
	}
}

// TestMessages holds what a user reads who made a mistake.
func TestMessages(t *testing.T) {
	for text, want := range map[string]string{
		"node: {htpPort: 3}":               "node.htpPort: there is no such value",
		"controler: {replicas: 3}":         "controler: there is no such value",
		"config: {logLevel: loud}":         "config.logLevel: value must be one of 'debug', 'info', 'warn', 'error'",
		"config: {apiServers: [10.0.0.1]}": "config.apiServers.0: '10.0.0.1' does not match pattern '^https://[^/]+$'",
		"node: {httpPort: 70000}":          "node.httpPort: maximum: got 70,000, want 65,535",
		"controller: {replicas: many}":     "controller.replicas: got string, want integer",
	} {
		_, _, err := install.Render(values(t, text), "fairlead-system", "v1.37.2")
		if err == nil || !strings.HasPrefix(err.Error(), want+"\n") {
			t.Errorf("%s:\n got %v\nwant %s", text, err, want)
		}
	}
	if _, _, err := install.Render(nil, "fairlead-system", "v1.29.9"); err == nil || !strings.Contains(err.Error(), "kubeVersion: >=1.30") {
		t.Errorf("an old cluster: %v", err)
	}
}

// TestDNSOverHTTPS holds that it takes the same certificate and a port, and is refused
// without a certificate.
func TestDNSOverHTTPS(t *testing.T) {
	for text, want := range map[string]bool{"dns: {tlsSecret: dns-cert}": false, "dns: {tlsSecret: dns-cert, https: true}": true} {
		r := render(t, text, "elsewhere", "v1.37.2")
		c, err := config.Parse([]byte(r.configs[0].Data["fairlead.yaml"]))
		if err != nil {
			t.Fatal(err)
		}
		listens := slices.Equal(c.DNS.HTTPS.Listen, []netip.AddrPort{netip.MustParseAddrPort("[::]:443")})
		serves := false
		for _, d := range r.daemons {
			serves = serves || d.Name == "fairlead-dns" && slices.ContainsFunc(d.Spec.Template.Spec.Containers[0].Ports, func(p corev1.ContainerPort) bool { return p.ContainerPort == 443 })
		}
		kubeDNS := r.byName["Service kube-system/kube-dns"].(*corev1.Service)
		leads := slices.ContainsFunc(kubeDNS.Spec.Ports, func(p corev1.ServicePort) bool { return p.Port == 443 && p.TargetPort.IntValue() == 443 })
		if listens != want || serves != want || leads != want {
			t.Errorf("%s: listens %t, port of the pod %t, of the Service %t; want %t", text, listens, serves, leads, want)
		}
	}
}

// TestDNSOverTLS holds that a Secret is all it takes: it is mounted where the
// configuration says, and the port is there on the pod and the Service.
func TestDNSOverTLS(t *testing.T) {
	for text, want := range map[string]bool{"{}": false, "dns: {tlsSecret: dns-cert}": true} {
		r := render(t, text, "elsewhere", "v1.37.2")
		c, err := config.Parse([]byte(r.configs[0].Data["fairlead.yaml"]))
		if err != nil {
			t.Fatal(err)
		}
		listens := slices.Equal(c.DNS.TLS.Listen, []netip.AddrPort{netip.MustParseAddrPort("[::]:853")})
		var pod corev1.PodSpec
		for _, d := range r.daemons {
			if d.Name == "fairlead-dns" {
				pod = d.Spec.Template.Spec
			}
		}
		mounted := ""
		for _, v := range pod.Volumes {
			for _, m := range pod.Containers[0].VolumeMounts {
				// Without the Secret the pod has to start all the same.
				if v.Secret != nil && v.Secret.Optional != nil && *v.Secret.Optional && m.Name == v.Name && strings.HasPrefix(c.DNS.TLS.Certificate, m.MountPath+"/") && strings.HasPrefix(c.DNS.TLS.Key, m.MountPath+"/") {
					mounted = v.Secret.SecretName
				}
			}
		}
		serves := slices.ContainsFunc(pod.Containers[0].Ports, func(p corev1.ContainerPort) bool { return p.ContainerPort == 853 })
		kubeDNS := r.byName["Service kube-system/kube-dns"].(*corev1.Service)
		leads := slices.ContainsFunc(kubeDNS.Spec.Ports, func(p corev1.ServicePort) bool { return p.Port == 853 && p.TargetPort.IntValue() == 853 })
		if listens != want || (mounted == "dns-cert") != want || serves != want || leads != want {
			t.Errorf("%s: listens %t, mounted %q, port of the pod %t, of the Service %t; want %t", text, listens, mounted, serves, leads, want)
		}
	}
}
