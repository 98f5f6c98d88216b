package agent

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"sync"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/fairlead-net/fairlead/internal/config"
	"github.com/fairlead-net/fairlead/internal/l7/accesslog"
	"github.com/fairlead-net/fairlead/internal/l7/proxy"
	"github.com/fairlead-net/fairlead/internal/l7/tracing"
)

// spans tells a collector of OpenTelemetry about requests, by OTLP. The names are those of
// the semantic conventions for HTTP.
type spans struct {
	provider *sdk.TracerProvider
	tracer   trace.Tracer
}

// lastSpans is how long the end of the process waits for the collector.
const lastSpans = 2 * time.Second

// newSpans returns what sends to a collector. The collector need not be there: spans that
// it does not take in time are dropped.
func newSpans(t config.Tracing, log *slog.Logger) (*spans, error) {
	exporter, err := otlptracegrpc.New(context.Background(), otlptracegrpc.WithEndpointURL(t.Endpoint))
	if err != nil {
		return nil, err
	}
	otel.SetErrorHandler(&complaints{log: log})
	return spansTo(sdk.WithBatcher(exporter)), nil
}

func spansTo(where sdk.TracerProviderOption) *spans {
	// OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES go before.
	about, err := resource.Merge(resource.NewSchemaless(attribute.String("service.name", "fairlead-gateway")), resource.Environment())
	if err != nil {
		about = resource.Default()
	}
	p := sdk.NewTracerProvider(where, sdk.WithResource(about), sdk.WithSampler(sdk.AlwaysSample()), sdk.WithIDGenerator(given{}))
	return &spans{provider: p, tracer: p.Tracer("github.com/fairlead-net/fairlead")}
}

// Close sends what waits.
func (s *spans) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), lastSpans)
	defer cancel()
	return s.provider.Shutdown(ctx)
}

// ids are those of a span that is about to be made, in its context.
type ids struct{}

type spanIDs struct {
	trace trace.TraceID
	span  trace.SpanID
}

// given gives spans the IDs that their requests have had already.
type given struct{}

// NewIDs implements sdk.IDGenerator.
func (given) NewIDs(ctx context.Context) (trace.TraceID, trace.SpanID) {
	i, _ := ctx.Value(ids{}).(spanIDs)
	return i.trace, i.span
}

// NewSpanID implements sdk.IDGenerator.
func (given) NewSpanID(ctx context.Context, _ trace.TraceID) trace.SpanID {
	i, _ := ctx.Value(ids{}).(spanIDs)
	return i.span
}

// record makes a span of a request, and one of each endpoint that was asked.
func (s *spans) record(t *proxy.Traced) {
	e, c := t.Entry, &t.Context
	at := e.Begin
	server := s.begin(c.Trace, c.Parent, true, c.Span, methodOf(e), trace.SpanKindServer, at, serverAttributes(e))
	end(server, e.Status, 500, e.Reason, at.Add(e.Took))
	for i := range e.Tries {
		try := &e.Tries[i]
		at := e.Begin.Add(try.Asked)
		client := s.begin(c.Trace, c.Span, false, t.Spans[i], methodOf(e), trace.SpanKindClient, at, clientAttributes(e, try, i))
		end(client, try.Status, 400, "", at.Add(try.Took))
	}
}

func (s *spans) begin(of tracing.TraceID, parent tracing.SpanID, remote bool, own tracing.SpanID, name string, kind trace.SpanKind, at time.Time, attributes []attribute.KeyValue) trace.Span {
	ctx := context.WithValue(context.Background(), ids{}, spanIDs{trace.TraceID(of), trace.SpanID(own)})
	if parent != (tracing.SpanID{}) {
		ctx = trace.ContextWithSpanContext(ctx, trace.NewSpanContext(trace.SpanContextConfig{
			TraceID: trace.TraceID(of), SpanID: trace.SpanID(parent), TraceFlags: trace.FlagsSampled, Remote: remote,
		}))
	}
	_, span := s.tracer.Start(ctx, name, trace.WithSpanKind(kind), trace.WithTimestamp(at), trace.WithAttributes(attributes...))
	return span
}

// end ends a span. Statuses from some number on are errors, as the conventions have it.
func end(span trace.Span, status, errorFrom int, reason string, at time.Time) {
	if status > 0 {
		span.SetAttributes(attribute.Int("http.response.status_code", status))
	}
	if status >= errorFrom {
		span.SetAttributes(attribute.String("error.type", strconv.Itoa(status)))
		span.SetStatus(codes.Error, reason)
	}
	span.End(trace.WithTimestamp(at))
}

// methodOf returns a method that is known; what else clients may say is _OTHER.
func methodOf(e *accesslog.Entry) string {
	switch method := string(e.Request.Method); method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return method
	}
	return "_OTHER"
}

// attributeList are attributes, without those that are empty.
type attributeList []attribute.KeyValue

func (t *attributeList) add(name, value string) {
	if value != "" {
		*t = append(*t, attribute.String(name, value))
	}
}

func serverAttributes(e *accesslog.Entry) []attribute.KeyValue {
	r := e.Request
	t := attributeList{attribute.Int64("http.request.size", e.Received), attribute.Int64("http.response.size", e.Sent)}
	t.add("http.request.method", methodOf(e))
	if methodOf(e) == "_OTHER" {
		t.add("http.request.method_original", string(r.Method))
	}
	t.add("url.path", string(r.Path))
	t.add("url.query", string(r.Query))
	t.add("url.scheme", e.Scheme)
	t.add("server.address", string(r.Host))
	if port, err := strconv.Atoi(e.ServerPort); err == nil {
		t = append(t, attribute.Int("server.port", port))
	}
	t.add("client.address", e.Client.String())
	t.add("network.peer.address", e.Peer.String())
	t.add("network.protocol.name", "http")
	t.add("network.protocol.version", version(e.Protocol))
	t.add("user_agent.original", string(r.Get("user-agent")))
	t.add("tls.protocol.version", e.TLSVersion)
	t.add("k8s.namespace.name", e.Namespace)
	t.add("fairlead.route", e.Name)
	t.add("fairlead.rule", e.Rule)
	t.add("fairlead.request_id", string(e.ID))
	t.add("fairlead.reason", e.Reason)
	return t
}

func clientAttributes(e *accesslog.Entry, try *accesslog.Try, n int) []attribute.KeyValue {
	host, port := try.Host, int(try.Port)
	t := attributeList{attribute.Int64("http.response.body.size", try.Received)}
	if host == "" {
		host, port = try.Address.Addr().String(), int(try.Address.Port())
		t.add("network.peer.address", host)
	}
	t = append(t, attribute.Int("server.port", port))
	t.add("server.address", host)
	t.add("http.request.method", methodOf(e))
	if n > 0 {
		t = append(t, attribute.Int("http.request.resend_count", n))
	}
	service := e.Service
	if e.Alternative.Name != "" {
		service = e.Alternative
	}
	t.add("k8s.namespace.name", service.Namespace)
	t.add("k8s.service.name", service.Name)
	return t
}

// version is a protocol's without its name.
func version(protocol string) string {
	switch protocol {
	case "HTTP/2.0":
		return "2"
	case "HTTP/1.0":
		return "1.0"
	case "HTTP/1.1":
		return "1.1"
	}
	return ""
}

// complaints logs what goes wrong with a collector, now and then.
type complaints struct {
	log  *slog.Logger
	mu   sync.Mutex
	last time.Time
}

// Handle implements otel.ErrorHandler.
func (c *complaints) Handle(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := time.Now(); !errors.Is(err, context.Canceled) && now.Sub(c.last) > time.Minute {
		c.last = now
		c.log.Warn("traces cannot be sent; look whether the collector at gateway.tracing.endpoint is there", "error", err)
	}
}
