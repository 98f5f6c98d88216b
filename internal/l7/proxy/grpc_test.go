package proxy

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/fairlead-net/fairlead/internal/l7"
)

// calls is a server of gRPC. Its one stream sends back what it gets, in any order of
// reading and writing that a client likes; its unary call too.
type calls struct {
	// began counts calls, gone those whose client has given up.
	began, gone atomic.Int64
}

func (s *calls) echo(_ any, stream grpc.ServerStream) error {
	s.began.Add(1)
	stream.SetTrailer(metadata.Pairs("x-trailer", "end"))
	if err := stream.SendHeader(metadata.Pairs("x-header", "begin")); err != nil {
		return err
	}
	for {
		m := new(wrapperspb.BytesValue)
		err := stream.RecvMsg(m)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			s.gone.Add(1)
			return err
		case string(m.Value) == "fail":
			return status.Error(codes.FailedPrecondition, "as asked")
		}
		if err := stream.SendMsg(m); err != nil {
			return err
		}
	}
}

// serveGRPC runs a server of gRPC.
func serveGRPC(t testing.TB) (*calls, netip.AddrPort) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := new(calls)
	server := grpc.NewServer(grpc.MaxRecvMsgSize(64<<20), grpc.UnknownServiceHandler(s.echo))
	go server.Serve(l)
	t.Cleanup(server.Stop)
	return s, l.Addr().(*net.TCPAddr).AddrPort()
}

// grpcRoute is to the one backend, by gRPC.
func grpcRoute() *l7.Route {
	route := *toBackend()(nil)
	route.Upstream.Protocol = l7.UpstreamGRPC
	route.MaxBody = -1
	return &route
}

func to(route *l7.Route) router { return func(*l7.Request) *l7.Route { return route } }

func dialGRPC(t testing.TB, p *Proxy) *grpc.ClientConn {
	conn, err := grpc.NewClient(p.Addresses("web")[0].String(), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64<<20)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func contextFor(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// TestUnaryCalls holds that calls go through with what comes before and after their
// messages, whatever these' size, many at a time.
func TestUnaryCalls(t *testing.T) {
	_, up := serveGRPC(t)
	conn := dialGRPC(t, start(t, Config{}, tableFor(up), to(grpcRoute())))
	var wait sync.WaitGroup
	for i := range 60 {
		wait.Go(func() {
			in := &wrapperspb.BytesValue{Value: bytes.Repeat([]byte{byte(i)}, []int{0, 100, 10_000, 200_000, 2_000_000}[i%5])}
			out := new(wrapperspb.BytesValue)
			var header, trailer metadata.MD
			err := conn.Invoke(contextFor(t, 20*time.Second), "/shop.Cart/Echo", in, out, grpc.Header(&header), grpc.Trailer(&trailer))
			if err != nil || !bytes.Equal(in.Value, out.Value) || header.Get("x-header")[0] != "begin" || trailer.Get("x-trailer")[0] != "end" {
				t.Errorf("%d bytes: %d bytes, %v, %v, error %v", len(in.Value), len(out.Value), header, trailer, err)
			}
		})
	}
	wait.Wait()
	err := conn.Invoke(contextFor(t, 20*time.Second), "/shop.Cart/Echo", &wrapperspb.BytesValue{Value: []byte("fail")}, new(wrapperspb.BytesValue))
	if s := status.Convert(err); s.Code() != codes.FailedPrecondition || s.Message() != "as asked" {
		t.Error(err)
	}
}

// TestStreams holds that both sides of a call can speak by turns.
func TestStreams(t *testing.T) {
	_, up := serveGRPC(t)
	conn := dialGRPC(t, start(t, Config{}, tableFor(up), to(grpcRoute())))
	stream, err := conn.NewStream(contextFor(t, 20*time.Second), &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, "/shop.Cart/Chat")
	if err != nil {
		t.Fatal(err)
	}
	if header, err := stream.Header(); err != nil || header.Get("x-header")[0] != "begin" {
		t.Fatal(header, err)
	}
	for i := range 200 {
		in, out := &wrapperspb.BytesValue{Value: bytes.Repeat([]byte{byte(i)}, i*100)}, new(wrapperspb.BytesValue)
		if err := stream.SendMsg(in); err != nil {
			t.Fatal(err)
		}
		if err := stream.RecvMsg(out); err != nil || !bytes.Equal(in.Value, out.Value) {
			t.Fatal(i, len(out.Value), err)
		}
	}
	if err := stream.CloseSend(); err != nil {
		t.Error(err)
	}
	if err := stream.RecvMsg(new(wrapperspb.BytesValue)); !errors.Is(err, io.EOF) || stream.Trailer().Get("x-trailer")[0] != "end" {
		t.Error(err, stream.Trailer())
	}
}

// TestGivenUp holds that an endpoint learns that a client has given up a call, or has
// not got an answer in time.
func TestGivenUp(t *testing.T) {
	s, up := serveGRPC(t)
	p := start(t, Config{}, tableFor(up), to(grpcRoute()))
	conn := dialGRPC(t, p)
	desc := &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}
	begin := func(ctx context.Context) (grpc.ClientStream, error) {
		stream, err := conn.NewStream(ctx, desc, "/shop.Cart/Chat")
		if err != nil {
			return nil, err
		}
		_, err = stream.Header()
		return stream, err
	}
	ends := func(stream grpc.ClientStream, want codes.Code) {
		t.Helper()
		if err := stream.RecvMsg(new(wrapperspb.BytesValue)); status.Code(err) != want {
			t.Error(err)
		}
	}
	ctx, cancel := context.WithCancel(contextFor(t, 20*time.Second))
	stream, err := begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	ends(stream, codes.Canceled)
	until(t, func() bool { return s.gone.Load() == 1 && p.streams.Load() == 0 })
	// On a busy machine the first tries may be too short for the call to begin.
	for timeout := 50 * time.Millisecond; ; timeout *= 4 {
		stream, err = begin(contextFor(t, timeout))
		if err == nil {
			break
		}
		if status.Code(err) != codes.DeadlineExceeded || timeout > 10*time.Second {
			t.Fatal(err)
		}
	}
	ends(stream, codes.DeadlineExceeded)
	until(t, func() bool { return s.gone.Load() >= 2 && p.streams.Load() == 0 })
}

// until waits for something that has to come true.
func until(t testing.TB, true func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !true(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it does not come true")
		}
	}
}

// TestOwnStatuses holds that a client of gRPC gets a status of gRPC where the proxy
// answers, and others their page.
func TestOwnStatuses(t *testing.T) {
	_, up := serveGRPC(t)
	route := grpcRoute()
	route.MaxBody = 1000
	p := start(t, Config{}, tableFor(up), func(q *l7.Request) *l7.Route {
		switch q.Path {
		case "/shop.Cart/None":
			return &l7.Route{}
		case "/shop.Cart/Large":
			return route
		}
		return nil
	})
	conn := dialGRPC(t, p)
	for method, want := range map[string]codes.Code{"None": codes.Unavailable, "Large": codes.ResourceExhausted, "Unknown": codes.Unimplemented} {
		err := conn.Invoke(contextFor(t, 10*time.Second), "/shop.Cart/"+method, &wrapperspb.BytesValue{Value: make([]byte, 2000)}, new(wrapperspb.BytesValue))
		if status.Code(err) != want {
			t.Errorf("%s: %v", method, err)
		}
	}
	response, err := client2(t).Get(p.url())
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != 404 {
		t.Error(response.Status)
	}
}
