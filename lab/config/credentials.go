package config

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/fairlead-net/fairlead/lab/pki"
	"github.com/fairlead-net/fairlead/lab/plan"
)

// Credentials are all certificates and keys of a cluster. Three authorities, as kubeadm has them: who may
// speak to the API server may not speak to etcd.
type Credentials struct {
	Cluster, Etcd, FrontProxy pki.Pair // the authorities
	ServiceAccounts           pki.Pair

	APIServer, APIServerToKubelet, APIServerToEtcd pki.Pair
	EtcdServer, FrontProxyClient                   pki.Pair
	Admin, ControllerManager, Scheduler            pki.Pair
	// Nodes are the kubelets' certificates by node name: client and server in one.
	Nodes map[string]pki.Pair
}

// NewCredentials makes the credentials of a planned cluster.
func NewCredentials(p plan.Plan, now time.Time) (Credentials, error) {
	issuer := &issuer{now: now}
	cluster, etcd, front := issuer.authority("fairlead-lab"), issuer.authority("fairlead-lab-etcd"), issuer.authority("fairlead-lab-front-proxy")
	if issuer.err != nil {
		return Credentials{}, issuer.err
	}
	loopback := []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.IPv6Loopback()}
	first := p.Nodes[0]
	c := Credentials{Cluster: cluster.Pair, Etcd: etcd.Pair, FrontProxy: front.Pair, Nodes: map[string]pki.Pair{}}
	c.APIServer = issuer.issue(cluster, pki.Request{
		Name: "kube-apiserver",
		Hosts: []string{"localhost", first.Name, "kubernetes", "kubernetes.default", "kubernetes.default.svc",
			"kubernetes.default.svc." + Domain},
		Addrs: append([]netip.Addr{first.Addr.V4, first.Addr.V6, p.Kubernetes.V4, p.Kubernetes.V6}, loopback...),
	})
	c.APIServerToKubelet = issuer.issue(cluster, pki.Request{Name: "kube-apiserver-kubelet-client", Groups: []string{"system:masters"}})
	c.APIServerToEtcd = issuer.issue(etcd, pki.Request{Name: "kube-apiserver-etcd-client"})
	c.EtcdServer = issuer.issue(etcd, pki.Request{Name: "etcd", Hosts: []string{"localhost"}, Addrs: loopback})
	c.FrontProxyClient = issuer.issue(front, pki.Request{Name: "front-proxy-client"})
	c.Admin = issuer.issue(cluster, pki.Request{Name: "kubernetes-admin", Groups: []string{"system:masters"}})
	c.ControllerManager = issuer.issue(cluster, pki.Request{Name: "system:kube-controller-manager"})
	c.Scheduler = issuer.issue(cluster, pki.Request{Name: "system:kube-scheduler"})
	for _, n := range p.Nodes {
		// The node authorizer goes by exactly this user and group.
		c.Nodes[n.Name] = issuer.issue(cluster, pki.Request{
			Name: "system:node:" + n.Name, Groups: []string{"system:nodes"},
			Hosts: []string{n.Name}, Addrs: []netip.Addr{n.Addr.V4, n.Addr.V6},
		})
	}
	service, err := pki.SigningKey()
	if err != nil {
		return Credentials{}, err
	}
	c.ServiceAccounts = service
	return c, issuer.err
}

// issuer keeps the first error, so that a list of certificates reads as a list.
type issuer struct {
	now time.Time
	err error
}

func (i *issuer) authority(name string) *pki.Authority {
	a, err := pki.NewAuthority(name, i.now)
	i.keep(err)
	return a
}

func (i *issuer) issue(a *pki.Authority, r pki.Request) pki.Pair {
	if i.err != nil {
		return pki.Pair{}
	}
	pair, err := a.Issue(r, i.now)
	i.keep(err)
	return pair
}

func (i *issuer) keep(err error) {
	if i.err == nil && err != nil {
		i.err = fmt.Errorf("make the cluster's credentials: %w", err)
	}
}
