package shop

import (
	"context"
	"fmt"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// The payments service has one method, Charge(Int64Value cents) returns (StringValue receipt). Its
// messages are protobuf's well-known types, so that it needs no generated code.
const (
	paymentsService = "shop.Payments"
	chargeMethod    = "/" + paymentsService + "/Charge"
)

// charger is what the gRPC server calls.
type charger interface {
	Charge(ctx context.Context, cents *wrapperspb.Int64Value) (*wrapperspb.StringValue, error)
}

type payments struct{ config Config }

func (p payments) Charge(_ context.Context, cents *wrapperspb.Int64Value) (*wrapperspb.StringValue, error) {
	if cents.GetValue() <= 0 {
		return nil, status.Error(codes.InvalidArgument, "charge a positive number of cents")
	}
	return wrapperspb.String(fmt.Sprintf("%d cents taken by %s on %s", cents.GetValue(), p.config.Pod, p.config.Node)), nil
}

func servePayments(ctx context.Context, c Config, switches *Switches) error {
	var listen net.ListenConfig
	listener, err := listen.Listen(ctx, "tcp", GRPCAddress)
	if err != nil {
		return fmt.Errorf("serve gRPC: %w", err)
	}
	server := grpc.NewServer(grpc.UnaryInterceptor(switches.Intercept))
	server.RegisterService(paymentsDesc(), payments{c})
	healthpb.RegisterHealthServer(server, health.NewServer())
	stop := context.AfterFunc(ctx, server.GracefulStop)
	defer stop()
	if err := server.Serve(listener); err != nil {
		return fmt.Errorf("serve gRPC on %s: %w", GRPCAddress, err)
	}
	return nil
}

func paymentsDesc() *grpc.ServiceDesc {
	return &grpc.ServiceDesc{
		ServiceName: paymentsService,
		HandlerType: (*charger)(nil),
		Methods:     []grpc.MethodDesc{{MethodName: "Charge", Handler: handleCharge}},
	}
}

func handleCharge(server any, ctx context.Context, decode func(any) error, intercept grpc.UnaryServerInterceptor) (any, error) {
	cents := &wrapperspb.Int64Value{}
	if err := decode(cents); err != nil {
		return nil, err
	}
	call := func(ctx context.Context, req any) (any, error) {
		return server.(charger).Charge(ctx, req.(*wrapperspb.Int64Value))
	}
	if intercept == nil {
		return call(ctx, cents)
	}
	return intercept(ctx, cents, &grpc.UnaryServerInfo{Server: server, FullMethod: chargeMethod}, call)
}
