package config

import (
	"strings"

	"github.com/fairlead-net/fairlead/lab/machine"
	"github.com/fairlead-net/fairlead/lab/pki"
	"github.com/fairlead-net/fairlead/lab/plan"
)

const (
	etcdAddress  = "127.0.0.1:2379"
	etcdEndpoint = "https://" + etcdAddress

	auditPolicy = kubernetesDir + "audit.yaml"
	// AuditLog is the file, among the control plane's logs, with a line for each request that Fairlead makes
	// to the API server.
	AuditLog = "audit.log"
)

func addControlPlane(s *machine.Spec, p plan.Plan, n plan.Node, c Credentials) {
	for name, pair := range map[string]pki.Pair{
		"ca": c.Cluster, "etcd-ca": c.Etcd, "front-proxy-ca": c.FrontProxy, "sa": c.ServiceAccounts,
		"apiserver": c.APIServer, "apiserver-kubelet-client": c.APIServerToKubelet,
		"apiserver-etcd-client": c.APIServerToEtcd, "etcd": c.EtcdServer, "front-proxy-client": c.FrontProxyClient,
	} {
		addPair(s.Files, name, pair)
	}
	server := p.APIServer().String()
	for name, pair := range map[string]pki.Pair{
		"admin": c.Admin, "controller-manager": c.ControllerManager, "scheduler": c.Scheduler,
	} {
		s.Files[kubernetesDir+name+".conf"] = machine.File{Secret: true, Text: Kubeconfig(server, name, c.Cluster.Cert, pair)}
	}
	s.Files[auditPolicy] = machine.File{Text: render("audit.yaml", nil)}
	kube := machine.Programs + "/kube"
	s.Components = append(s.Components,
		machine.Component{Name: "etcd", Path: kube, Args: etcdArgs()},
		machine.Component{Name: "kube-apiserver", Path: kube, Args: apiServerArgs(p, n), After: []string{"tcp:" + etcdAddress}},
		machine.Component{Name: "kube-controller-manager", Path: kube, Args: controllerManagerArgs(), After: []string{"tcp:" + server}},
		machine.Component{Name: "kube-scheduler", Path: kube, Args: schedulerArgs(), After: []string{"tcp:" + server}},
	)
}

func etcdArgs() []string {
	return []string{
		flag("name", "lab"),
		flag("data-dir", "/var/lib/etcd"),
		flag("listen-client-urls", etcdEndpoint),
		flag("advertise-client-urls", etcdEndpoint),
		flag("listen-peer-urls", "http://127.0.0.1:2380"), // a single member: nobody calls
		flag("initial-advertise-peer-urls", "http://127.0.0.1:2380"),
		flag("initial-cluster", "lab=http://127.0.0.1:2380"),
		flag("trusted-ca-file", pkiDir+"etcd-ca.crt"),
		flag("cert-file", pkiDir+"etcd.crt"),
		flag("key-file", pkiDir+"etcd.key"),
		flag("client-cert-auth", true),
		flag("unsafe-no-fsync", true), // a lab's data may be lost with the host, and disks are slow
	}
}

func apiServerArgs(p plan.Plan, n plan.Node) []string {
	return []string{
		flag("advertise-address", n.Addr.V4),
		flag("bind-address", "::"),
		flag("secure-port", p.APIServer().Port()),
		flag("allow-privileged", true),
		flag("authorization-mode", "Node,RBAC"),
		flag("enable-admission-plugins", "NodeRestriction"),
		flag("client-ca-file", pkiDir+"ca.crt"),
		flag("tls-cert-file", pkiDir+"apiserver.crt"),
		flag("tls-private-key-file", pkiDir+"apiserver.key"),
		flag("etcd-servers", etcdEndpoint),
		flag("etcd-cafile", pkiDir+"etcd-ca.crt"),
		flag("etcd-certfile", pkiDir+"apiserver-etcd-client.crt"),
		flag("etcd-keyfile", pkiDir+"apiserver-etcd-client.key"),
		flag("kubelet-client-certificate", pkiDir+"apiserver-kubelet-client.crt"),
		flag("kubelet-client-key", pkiDir+"apiserver-kubelet-client.key"),
		flag("kubelet-certificate-authority", pkiDir+"ca.crt"),
		flag("kubelet-preferred-address-types", "InternalIP"), // names of nodes need no DNS
		flag("service-cluster-ip-range", strings.Join(p.Services.Strings(), ",")),
		flag("service-account-issuer", "https://kubernetes.default.svc."+Domain),
		flag("service-account-key-file", pkiDir+"sa.crt"),
		flag("service-account-signing-key-file", pkiDir+"sa.key"),
		flag("requestheader-client-ca-file", pkiDir+"front-proxy-ca.crt"),
		flag("requestheader-allowed-names", "front-proxy-client"),
		flag("requestheader-extra-headers-prefix", "X-Remote-Extra-"),
		flag("requestheader-group-headers", "X-Remote-Group"),
		flag("requestheader-username-headers", "X-Remote-User"),
		flag("proxy-client-cert-file", pkiDir+"front-proxy-client.crt"),
		flag("proxy-client-key-file", pkiDir+"front-proxy-client.key"),
		flag("audit-policy-file", auditPolicy),
		flag("audit-log-path", machine.Logs+"/"+AuditLog),
		flag("audit-log-maxsize", 100), // megabytes; what is older goes
		flag("audit-log-maxbackup", 1),
	}
}

func controllerManagerArgs() []string {
	const own = kubernetesDir + "controller-manager.conf"
	return []string{
		flag("kubeconfig", own),
		flag("authentication-kubeconfig", own),
		flag("authorization-kubeconfig", own),
		flag("bind-address", "127.0.0.1"),
		// There is only one, but it is to behave as one of three: without the lease
		// it would come out of an outage of the API server believing that all nodes
		// had died meanwhile.
		flag("leader-elect", true),
		flag("use-service-account-credentials", true),
		flag("service-account-private-key-file", pkiDir+"sa.key"),
		flag("root-ca-file", pkiDir+"ca.crt"),
		flag("cluster-signing-cert-file", pkiDir+"ca.crt"),
		flag("cluster-signing-key-file", pkiDir+"ca.key"),
		flag("client-ca-file", pkiDir+"ca.crt"),
		flag("requestheader-client-ca-file", pkiDir+"front-proxy-ca.crt"),
	}
}

func schedulerArgs() []string {
	const own = kubernetesDir + "scheduler.conf"
	return []string{
		flag("kubeconfig", own),
		flag("authentication-kubeconfig", own),
		flag("authorization-kubeconfig", own),
		flag("bind-address", "127.0.0.1"),
		flag("leader-elect", true),
	}
}
