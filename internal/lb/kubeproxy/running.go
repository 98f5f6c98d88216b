package kubeproxy

import (
	"context"
	"io"
	"net/http"
	"strings"
	"time"
)

// MetricsAddress is where kube-proxy serves its metrics and configuration unless
// told otherwise.
const MetricsAddress = "127.0.0.1:10249"

// Running tells whether a kube-proxy answers at an address: it would write anew
// what is removed. One that has another address, or none, is not noticed.
func Running(ctx context.Context, address string) bool {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/configz", http.NoBody)
	if err != nil {
		return false
	}
	response, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(request)
	if err != nil {
		return false
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(response.Body, 64<<10))
	return err == nil && response.StatusCode == http.StatusOK && strings.Contains(string(body), `"kubeproxy.config.k8s.io"`)
}
