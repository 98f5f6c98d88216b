package agent

import (
	"context"
	"net/netip"
	"testing"
	"time"

	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/fairlead-net/fairlead/internal/l7/accesslog"
	"github.com/fairlead-net/fairlead/internal/l7/http1"
	"github.com/fairlead-net/fairlead/internal/l7/proxy"
	"github.com/fairlead-net/fairlead/internal/l7/tracing"
)

// tracedRequest is a request that was sent to two endpoints.
func tracedRequest(r *http1.Request, begin time.Time) *proxy.Traced {
	return &proxy.Traced{
		Entry: &accesslog.Entry{
			Begin: begin, Took: time.Second, Request: r, Protocol: "HTTP/2.0", Scheme: "https", ServerPort: "443", Status: 502, Reason: "no backend answers",
			Client: netip.MustParseAddr("203.0.113.9"), Namespace: "shop", Name: "web", Service: accesslog.Service{Namespace: "shop", Name: "web", Port: "http"},
			Tries: []accesslog.Try{
				{Address: netip.MustParseAddrPort("10.0.0.1:80"), Asked: time.Millisecond, Took: 2 * time.Millisecond, Status: 502},
				{Host: "up.example", Port: 8080, Asked: 5 * time.Millisecond, Took: 10 * time.Millisecond, Status: 200},
			},
		},
		Context: tracing.Context{Trace: tracing.TraceID{1}, Parent: tracing.SpanID{2}, Span: tracing.SpanID{3}, Sampled: true},
		Spans:   []tracing.SpanID{{4}, {5}},
	}
}

// TestSpans holds that the spans of a request have its IDs, and what they say of it.
func TestSpans(t *testing.T) {
	exporter := tracetest.NewInMemoryExporter()
	s := spansTo(sdk.WithSyncer(exporter))
	r := new(http1.Request)
	if _, err := r.Parse([]byte("BREW /pot?a=b HTTP/1.1\r\nHost: Shop.example\r\n\r\n"), &http1.Limits{Line: 100, Head: 1000, Fields: 10}); err != nil {
		t.Fatal(err)
	}
	begin := time.Unix(1000, 0)
	s.record(tracedRequest(r, begin))
	got := exporter.GetSpans()
	if len(got) != 3 {
		t.Fatalf("%d spans, want 3", len(got))
	}
	for i, want := range []struct {
		span, parent byte
		remote       bool
		kind         trace.SpanKind
		from, to     time.Duration
		attributes   map[string]string
	}{
		{3, 2, true, trace.SpanKindServer, 0, time.Second, map[string]string{
			"http.request.method": "_OTHER", "http.request.method_original": "BREW", "url.path": "/pot", "url.query": "a=b", "url.scheme": "https",
			"server.address": "shop.example", "client.address": "203.0.113.9", "network.protocol.version": "2", "http.response.status_code": "502", "error.type": "502",
		}},
		{4, 3, false, trace.SpanKindClient, time.Millisecond, 3 * time.Millisecond, map[string]string{"server.address": "10.0.0.1", "server.port": "80", "error.type": "502"}},
		{5, 3, false, trace.SpanKindClient, 5 * time.Millisecond, 15 * time.Millisecond, map[string]string{
			"server.address": "up.example", "http.request.resend_count": "1", "k8s.service.name": "web", "http.response.status_code": "200",
		}},
	} {
		span := got[i]
		if span.SpanContext.TraceID() != (trace.TraceID{1}) || span.SpanContext.SpanID() != (trace.SpanID{want.span}) || span.Parent.SpanID() != (trace.SpanID{want.parent}) || span.Parent.IsRemote() != want.remote {
			t.Errorf("span %d: %v of %v", i, span.SpanContext, span.Parent)
		}
		if span.SpanKind != want.kind || span.StartTime.Sub(begin) != want.from || span.EndTime.Sub(begin) != want.to {
			t.Errorf("span %d: %v from %v to %v", i, span.SpanKind, span.StartTime, span.EndTime)
		}
		said := map[string]string{}
		for _, a := range span.Attributes {
			said[string(a.Key)] = a.Value.String()
		}
		for name, value := range want.attributes {
			if said[name] != value {
				t.Errorf("span %d: %s is %q, want %q", i, name, said[name], value)
			}
		}
	}
	for _, a := range got[0].Resource.Attributes() {
		if a.Key == "service.name" && a.Value.AsString() != "fairlead-gateway" {
			t.Errorf("service.name is %v", a.Value)
		}
	}
	if err := s.provider.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
}
