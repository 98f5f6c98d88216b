package proxy

import (
	"bytes"
	"net/http"
	"strconv"

	"github.com/fairlead-net/fairlead/internal/l7/http1"
)

// isGRPC reports whether a request is a call of gRPC, whose client looks for a status
// of gRPC.
func isGRPC(r *http1.Request) bool {
	rest, ok := bytes.CutPrefix(r.Get("content-type"), []byte("application/grpc"))
	return ok && (len(rest) == 0 || rest[0] == '+' || rest[0] == ';')
}

// The statuses of gRPC that the proxy answers with.
const (
	grpcUnknown          = 2
	grpcPermissionDenied = 7
	grpcExhausted        = 8
	grpcUnimplemented    = 12
	grpcInternal         = 13
	grpcUnavailable      = 14
	grpcUnauthenticated  = 16
)

// statusOfGRPC returns what a client of gRPC makes of a status of HTTP
// (https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md), and of
// what is too large what servers of gRPC say of that.
func statusOfGRPC(status int) int {
	switch status {
	case http.StatusBadRequest:
		return grpcInternal
	case http.StatusUnauthorized:
		return grpcUnauthenticated
	case http.StatusForbidden:
		return grpcPermissionDenied
	case http.StatusNotFound:
		return grpcUnimplemented
	case http.StatusRequestEntityTooLarge, http.StatusRequestHeaderFieldsTooLarge:
		return grpcExhausted
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return grpcUnavailable
	}
	return grpcUnknown
}

// sayStatus answers a call of gRPC with nothing but a status.
func (w *work) sayStatus(to downstream, status int, reason string, closes bool) {
	w.response.Make(http.StatusOK, "OK")
	w.response.Add("Content-Type", "application/grpc")
	w.response.Add("Grpc-Status", strconv.Itoa(statusOfGRPC(status)))
	w.response.Add("Grpc-Message", reason) // plain text, in which nothing needs to be escaped
	w.say(to, nil, closes)
}
