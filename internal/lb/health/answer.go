package health

import (
	"encoding/json"
	"net/http"
	"strconv"
	"sync/atomic"

	"github.com/fairlead-net/fairlead/internal/desired"
)

// answer is what a port says of its Service.
type answer struct {
	service   desired.Name
	endpoints int
}

// check is the handler of one listener. Its answer may change at any time.
type check struct {
	healthy func() bool
	answer  atomic.Pointer[answer]
}

// ServeHTTP answers any request alike: load balancers are configured with all
// kinds of paths.
func (c *check) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	a, healthy := c.answer.Load(), c.healthy()
	// Load balancers that can weigh nodes read this instead of the body.
	w.Header().Set("X-Load-Balancing-Endpoint-Weight", strconv.Itoa(a.endpoints))
	reply(w, a.endpoints > 0 && healthy, struct {
		Service             desired.Name `json:"service"`
		LocalEndpoints      int          `json:"localEndpoints"`
		ServiceProxyHealthy bool         `json:"serviceProxyHealthy"`
	}{a.service, a.endpoints, healthy})
}

// reply sends a body as JSON, with status 200 if all is well and 503 if not. It
// returns the status.
func reply(w http.ResponseWriter, well bool, body any) int {
	status := http.StatusOK
	if !well {
		status = http.StatusServiceUnavailable
	}
	content, err := json.Marshal(body)
	if err != nil {
		status, content = http.StatusInternalServerError, nil
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(content) // whoever asked has gone, if it fails
	return status
}
