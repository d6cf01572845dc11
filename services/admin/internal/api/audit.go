package api

import (
	"context"
	"log/slog"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
)

// Audit are the server options that log one line for each operator's call: who, from
// where, what, and how it ended.
func Audit(log *slog.Logger) []grpc.ServerOption {
	line := func(ctx context.Context, method string, err error) {
		operator, from := caller(ctx)
		log.Info("operator call", "operator", operator, "from", from, "method", method, "code", status.Code(err).String())
	}
	return []grpc.ServerOption{
		grpc.ChainUnaryInterceptor(func(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
			answer, err := next(ctx, req)
			line(ctx, info.FullMethod, err)
			return answer, err
		}),
		grpc.ChainStreamInterceptor(func(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
			err := next(srv, stream)
			line(stream.Context(), info.FullMethod, err)
			return err
		}),
	}
}

// caller is the subject of the operator's certificate and the address it comes from.
func caller(ctx context.Context) (subject, from string) {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return "", ""
	}
	if p.Addr != nil {
		from = p.Addr.String()
	}
	if info, ok := p.AuthInfo.(credentials.TLSInfo); ok && len(info.State.PeerCertificates) > 0 {
		subject = info.State.PeerCertificates[0].Subject.String()
	}
	return subject, from
}
