package kube

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"sync/atomic"
	"time"

	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// Access says how to reach the API server. The zero value means the usual
// environment of a pod, else the user's kubeconfig.
type Access struct {
	// Kubeconfig is a file; empty means $KUBECONFIG or ~/.kube/config.
	Kubeconfig string
	// Context is one of the kubeconfig's; empty means its current one.
	Context string
	// Servers are https://HOST:PORT addresses of API servers that are reached
	// without any Service. They replace the address in the kubeconfig or in the
	// environment; the next one is tried when one does not answer.
	Servers []string
	// UserAgent names the process to the API server.
	UserAgent string
}

// apiServerName is in the certificate of every API server that follows kubeadm,
// whatever its address is.
const apiServerName = "kubernetes.default.svc"

// Client talks to one cluster.
type Client struct {
	clientset kubernetes.Interface
	// dynamic is for kinds of other API groups, which travel as JSON.
	dynamic dynamic.Interface
	rest    *rest.Config
}

// NewClient returns a client; it does not connect yet.
func NewClient(a Access) (*Client, error) {
	config, err := a.config()
	if err != nil {
		return nil, err
	}
	config.UserAgent = a.UserAgent
	config.ContentType = "application/vnd.kubernetes.protobuf"
	config.AcceptContentTypes = "application/vnd.kubernetes.protobuf,application/json"
	// Enough for the first sync of a large cluster: a thousand Services get their addresses by
	// 5,000 requests, one after the other. The API server defends itself (KEP-1040).
	config.QPS, config.Burst = 200, 400
	clientset, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("API server %s: %w", config.Host, err)
	}
	other, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("API server %s: %w", config.Host, err)
	}
	return &Client{clientset: clientset, dynamic: other, rest: config}, nil
}

func (a Access) config() (*rest.Config, error) {
	var config *rest.Config
	err := rest.ErrNotInCluster
	if a.Kubeconfig == "" && a.Context == "" {
		config, err = rest.InClusterConfig()
	}
	if errors.Is(err, rest.ErrNotInCluster) {
		rules := clientcmd.NewDefaultClientConfigLoadingRules()
		rules.ExplicitPath = a.Kubeconfig
		config, err = clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules,
			&clientcmd.ConfigOverrides{CurrentContext: a.Context}).ClientConfig()
	}
	if err != nil {
		return nil, fmt.Errorf("no way to the API server: %w; name a kubeconfig with --kubeconfig or $KUBECONFIG", err)
	}
	return config, a.direct(config)
}

// direct points config at Servers. With several of them the connection goes to
// any, so the certificate is checked against the name that all of them share.
func (a Access) direct(config *rest.Config) error {
	if len(a.Servers) == 0 {
		return nil
	}
	var addresses []string
	for _, server := range a.Servers {
		u, err := url.Parse(server)
		if err != nil || u.Scheme != "https" || u.Host == "" {
			return fmt.Errorf("API server %q is not of the form https://HOST:PORT; correct apiServers in the configuration", server)
		}
		host, port := u.Hostname(), u.Port()
		if port == "" {
			port = "443"
		}
		addresses = append(addresses, net.JoinHostPort(host, port))
	}
	config.Host = "https://" + addresses[0]
	if len(addresses) > 1 {
		config.TLSClientConfig.ServerName = apiServerName
		config.Dial = (&dialer{addresses: addresses}).dial
	}
	return nil
}

// dialer connects to the first address that answers, starting with the one
// that did so last.
type dialer struct {
	addresses []string
	last      atomic.Int64
}

func (d *dialer) dial(ctx context.Context, network, _ string) (net.Conn, error) {
	start := int(d.last.Load())
	var failed error
	for i := range d.addresses {
		at := (start + i) % len(d.addresses)
		conn, err := (&net.Dialer{Timeout: 3 * time.Second, KeepAlive: 15 * time.Second}).DialContext(ctx, network, d.addresses[at])
		if err == nil {
			d.last.Store(int64(at))
			return conn, nil
		}
		failed = errors.Join(failed, err)
	}
	return nil, failed
}
