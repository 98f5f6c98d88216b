package proxy

import (
	"math/rand/v2"

	"github.com/fairlead-net/fairlead/internal/l7/accesslog"
	"github.com/fairlead-net/fairlead/internal/l7/tracing"
)

// Tracing says which requests are recorded as traces, and by whom.
type Tracing struct {
	Sampler *tracing.Sampler
	// Record is called with each request that is, from many goroutines. What it gets is
	// valid until it returns, and it must not wait.
	Record func(*Traced)
}

// Traced is a request that is recorded.
type Traced struct {
	Entry   *accesslog.Entry
	Context tracing.Context
	// Spans are those of Entry.Tries.
	Spans []tracing.SpanID
}

// trace finds out which trace the request belongs to.
func (x *exchange) trace() {
	t := x.proxy.settings().Tracing
	if x.record.tracing = t; t != nil {
		x.record.trace = tracing.Start(&x.request, t.Sampler, rand.Uint64)
	}
}

// traceOnward says to the endpoint that is asked which trace that is. If nothing is
// traced, what the client says of it is passed on as it is.
func (x *exchange) traceOnward() []byte {
	if x.record.tracing == nil {
		return nil
	}
	r := &x.record
	span := &r.spans[max(r.count-1, 0)]
	*span = tracing.NewSpan(rand.Uint64)
	r.lines = r.trace.AppendFields(r.lines[:0], *span)
	return r.lines
}
