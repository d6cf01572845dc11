package api

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/peer"
	reflectionv1 "google.golang.org/grpc/reflection/grpc_reflection_v1"
	reflectionv1alpha "google.golang.org/grpc/reflection/grpc_reflection_v1alpha"
	"google.golang.org/grpc/status"

	adminv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/admin/v1"
)

// largestRequest bounds what admin reads of one call, in bytes; requests are names.
const largestRequest = 64 << 10

// Door are the options of the server that operators call: whoever has a certificate of
// their authority may read, and only whose certificate carries one of the organisations
// may call anything else. Every call is logged, refused ones too.
func Door(log *slog.Logger, organisations []string) []grpc.ServerOption {
	options := append(audit(log), grpc.MaxRecvMsgSize(largestRequest))
	return append(options,
		grpc.ChainUnaryInterceptor(func(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
			if err := authorise(callerOf(ctx), info.FullMethod, organisations); err != nil {
				return nil, err
			}
			return next(ctx, req)
		}),
		grpc.ChainStreamInterceptor(func(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
			if err := authorise(callerOf(stream.Context()), info.FullMethod, organisations); err != nil {
				return err
			}
			return next(srv, stream)
		}))
}

// reads tells whether a method changes nothing. A method that is not named here does: one
// that is added to the contract is closed until somebody thought about it.
func reads(method string) bool {
	switch method {
	case adminv1.AdminService_GetStatus_FullMethodName,
		adminv1.AdminService_WatchStatus_FullMethodName,
		adminv1.AdminService_GetIamPolicy_FullMethodName,
		adminv1.AdminService_GetPublication_FullMethodName,
		healthv1.Health_Check_FullMethodName,
		healthv1.Health_List_FullMethodName,
		healthv1.Health_Watch_FullMethodName,
		reflectionv1.ServerReflection_ServerReflectionInfo_FullMethodName,
		reflectionv1alpha.ServerReflection_ServerReflectionInfo_FullMethodName:
		return true
	}
	return false
}

func authorise(c caller, method string, organisations []string) error {
	if reads(method) || slices.ContainsFunc(c.organisations, func(o string) bool { return o != "" && slices.Contains(organisations, o) }) {
		return nil
	}
	has := "no organisation"
	if len(c.organisations) > 0 {
		has = fmt.Sprintf("the organisation %q", strings.Join(c.organisations, ", "))
	}
	return status.Errorf(codes.PermissionDenied, "%q may only read: the certificate carries %s, and one of --operators=%s is needed for %s",
		c.subject, has, strings.Join(organisations, ","), method[strings.LastIndex(method, "/")+1:])
}

// caller is who calls, as the verified certificate says.
type caller struct {
	subject       string
	organisations []string
	from          string
}

func callerOf(ctx context.Context) caller {
	var c caller
	p, ok := peer.FromContext(ctx)
	if !ok {
		return c
	}
	if p.Addr != nil {
		c.from = p.Addr.String()
	}
	info, ok := p.AuthInfo.(credentials.TLSInfo)
	if ok && len(info.State.VerifiedChains) > 0 && len(info.State.VerifiedChains[0]) > 0 {
		subject := info.State.VerifiedChains[0][0].Subject
		c.subject, c.organisations = subject.String(), subject.Organization
	}
	return c
}
