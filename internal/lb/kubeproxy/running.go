package kubeproxy

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// MetricsAddresses are where kube-proxy serves its metrics and configuration
// unless told otherwise.
func MetricsAddresses() []string { return []string{"127.0.0.1:10249", "[::1]:10249"} }

// Answer is who answers at kube-proxy's address.
type Answer int

// The Answers; the later one says more.
const (
	// Nobody answers, or it is Fairlead.
	Nobody Answer = iota
	// Somebody else answers: whether there is a kube-proxy cannot be known.
	Somebody
	// KubeProxy answers; it would write anew what is removed.
	KubeProxy
)

// Server is what Fairlead calls itself, in the HTTP header of this name, where it
// has kube-proxy's address.
const Server = "fairlead"

// Running tells who answers at any of these addresses. A kube-proxy that has
// another address, or none, is not noticed.
func Running(ctx context.Context, addresses ...string) Answer {
	found := Nobody
	for _, address := range addresses {
		found = max(found, ask(ctx, address))
	}
	return found
}

func ask(ctx context.Context, address string) Answer {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/configz", http.NoBody)
	if err != nil {
		return Somebody
	}
	response, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(request)
	switch {
	case refused(err):
		return Nobody
	case err != nil:
		return Somebody // it accepts connections, or a firewall keeps quiet
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, 64<<10))
	switch {
	case err == nil && response.StatusCode == http.StatusOK && strings.Contains(string(body), `"kubeproxy.config.k8s.io"`):
		return KubeProxy
	case response.Header.Get("Server") == Server:
		return Nobody
	}
	return Somebody
}

// refused tells whether nobody listens, or the node has no such address.
func refused(err error) bool {
	return errors.Is(err, unix.ECONNREFUSED) || errors.Is(err, unix.EADDRNOTAVAIL) || errors.Is(err, unix.ENETUNREACH) || errors.Is(err, unix.EAFNOSUPPORT)
}
