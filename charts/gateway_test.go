package charts_test

import (
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/fairlead-net/fairlead/internal/config"
	"github.com/fairlead-net/fairlead/internal/install"
)

// TestConfigMapsRead holds which ConfigMaps the controller may read: those that are named,
// where they are; and where nobody has said that there is such a namespace, those of
// ingress-nginx's names. It has to be allowed all that it reads.
func TestConfigMapsRead(t *testing.T) {
	for text, want := range map[string]string{
		"{}":                       "",
		"gateway: {enabled: true}": "",
		"config: {gateway: {nginxConfigMap: a/settings}}":                                                                                                          "", // nobody serves Ingresses
		"{gateway: {enabled: true}, config: {gateway: {nginxConfigMap: a/settings}}}":                                                                              "a settings",
		"{gateway: {enabled: true}, config: {migration: {ingressNginx: true}}}":                                                                                    "* ingress-nginx-controller, * tcp-services, * udp-services",
		"{gateway: {enabled: true, tcp: {9000: 'db/postgres:5432'}}, config: {migration: {ingressNginx: true}}}":                                                   "* ingress-nginx-controller, * udp-services, elsewhere fairlead-gateway-tcp",
		"{gateway: {enabled: true}, config: {migration: {ingressNginx: true}, gateway: {nginxConfigMap: a/settings, tcpServices: a/ports, udpServices: b/ports}}}": "a ports, a settings, b ports",
		"{config: {gateway: {service: other/gateway, udpServices: b/ports}}}":                                                                                      "b ports",
	} {
		r := render(t, text, "elsewhere", "v1.37.2")
		var may []string
		add := func(namespace string, rules []rbacv1.PolicyRule) {
			for _, rule := range rules {
				if !slices.Contains(rule.Resources, "configmaps") {
					continue
				}
				if len(rule.ResourceNames) == 0 || !slices.Equal(rule.Verbs, []string{"get", "list", "watch"}) {
					t.Errorf("%s: %+v", text, rule)
				}
				for _, name := range rule.ResourceNames {
					may = append(may, namespace+" "+name)
				}
			}
		}
		for name, object := range r.byName {
			switch o := object.(type) {
			case *rbacv1.ClusterRole:
				if o.Name == "fairlead-controller" {
					add("*", o.Rules)
				}
			case *rbacv1.Role:
				add(o.Namespace, o.Rules)
				bound, ok := r.byName["RoleBinding "+strings.TrimPrefix(name, "Role ")].(*rbacv1.RoleBinding)
				if !ok || bound.RoleRef.Name != o.Name || !strings.Contains(name, "fairlead-loadbalancer") && (bound.Subjects[0].Name != "fairlead-controller" || bound.Subjects[0].Namespace != "elsewhere") {
					t.Errorf("%s: %s is bound by %+v", text, name, bound)
				}
			}
		}
		slices.Sort(may)
		if got := strings.Join(may, ", "); got != want {
			t.Errorf("%s:\n got %s\nwant %s", text, got, want)
		}
		c, err := config.Parse([]byte(r.configs[0].Data["fairlead.yaml"]))
		if err != nil {
			t.Fatal(err)
		}
		settings, tcp, udp := c.ConfigMaps()
		for _, name := range []string{settings, tcp, udp} {
			namespace, name, _ := strings.Cut(name, "/")
			if c.Gateway.Service != "" && name != "" && !slices.Contains(may, namespace+" "+name) && !slices.Contains(may, "* "+name) {
				t.Errorf("%s: ConfigMap %s/%s is read, but may not be", text, namespace, name)
			}
		}
	}
}

// TestGatewayPortTaken holds that the Service does not lead to the port of health and
// metrics, while the same number of UDP is nobody's.
func TestGatewayPortTaken(t *testing.T) {
	_, _, err := install.Render(values(t, "gateway: {enabled: true, tcp: {9153: 'db/postgres:5432'}}"), "elsewhere", "v1.37.2")
	if err == nil || !strings.Contains(err.Error(), "gateway.tcp: port 9153 is where gateways have health, metrics and status") || !strings.Contains(err.Error(), "use another port") {
		t.Error(err)
	}
	r := render(t, "gateway: {enabled: true, tcp: {9154: 'db/postgres:5432'}, udp: {9153: 'db/postgres:dns'}}", "elsewhere", "v1.37.2")
	service := r.byName["Service elsewhere/fairlead-gateway"].(*corev1.Service)
	for _, p := range service.Spec.Ports {
		if p.TargetPort.String() == "metrics" || p.Port == 9153 && p.Protocol == corev1.ProtocolTCP {
			t.Errorf("%+v", p)
		}
	}
}

// TestSessionTicketsFound holds that the Secret is where gateways look for it: in the
// namespace of the lease, wherever the release is.
func TestSessionTicketsFound(t *testing.T) {
	for text, want := range map[string]string{
		"gateway: {enabled: true}": "elsewhere",
		"{gateway: {enabled: true}, config: {status: {leaseNamespace: shared}}}": "shared",
	} {
		r := render(t, text, "elsewhere", "v1.37.2")
		c, err := config.Parse([]byte(r.configs[0].Data["fairlead.yaml"]))
		if err != nil {
			t.Fatal(err)
		}
		if c.Status.LeaseNamespace != want || r.byName["Secret "+want+"/fairlead-session-tickets"] == nil || r.byName["Role "+want+"/fairlead-controller"] == nil {
			t.Errorf("%q: gateways look for it in %s, where it is not", text, c.Status.LeaseNamespace)
		}
	}
}
