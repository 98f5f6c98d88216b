package shop

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// longest keeps a mistyped delay from looking like a hang.
const longest = time.Minute

// Switches make a service slow or failing while it runs.
type Switches struct {
	slow atomic.Int64 // nanoseconds
	fail atomic.Int64 // HTTP status, zero for none
}

// NewSwitches starts in the given positions.
func NewSwitches(slow time.Duration, fail int) *Switches {
	s := &Switches{}
	s.slow.Store(int64(slow))
	s.fail.Store(int64(fail))
	return s
}

// ServeHTTP shows the positions on GET and sets them from the query on POST: slow=2s, fail=503, fail=0.
func (s *Switches) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPost {
		slow, fail, err := read(r.URL.Query(), time.Duration(s.slow.Load()), int(s.fail.Load()))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		s.slow.Store(int64(slow))
		s.fail.Store(int64(fail))
	}
	fmt.Fprintf(w, "slow=%s fail=%d\n", time.Duration(s.slow.Load()), s.fail.Load())
}

// Wrap applies the switches to every request; the request's own query can set them for itself.
func (s *Switches) Wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		slow, fail, err := read(r.URL.Query(), time.Duration(s.slow.Load()), int(s.fail.Load()))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		if !wait(r.Context(), slow) {
			return
		}
		if fail != 0 {
			http.Error(w, "switched to fail", fail)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// Intercept applies the switches to gRPC calls.
func (s *Switches) Intercept(ctx context.Context, req any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	if !wait(ctx, time.Duration(s.slow.Load())) {
		return nil, status.FromContextError(ctx.Err()).Err()
	}
	if s.fail.Load() != 0 {
		return nil, status.Error(codes.Unavailable, "switched to fail")
	}
	return handler(ctx, req)
}

func read(query url.Values, slow time.Duration, fail int) (time.Duration, int, error) {
	if text := query.Get("slow"); text != "" {
		d, err := time.ParseDuration(text)
		if err != nil || d < 0 || d > longest {
			return 0, 0, fmt.Errorf("slow=%q: use a duration up to %s, such as 2s", text, longest)
		}
		slow = d
	}
	if text := query.Get("fail"); text != "" {
		code, err := strconv.Atoi(text)
		if err != nil || code != 0 && (code < 400 || code > 599) {
			return 0, 0, fmt.Errorf("fail=%q: use an HTTP status from 400 to 599, or 0", text)
		}
		fail = code
	}
	return slow, fail, nil
}

func wait(ctx context.Context, d time.Duration) bool {
	if d == 0 {
		return true
	}
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}
