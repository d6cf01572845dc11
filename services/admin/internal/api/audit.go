package api

import (
	"context"
	"log/slog"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/hybridgateway/gateway/libs/clip"
	"github.com/hybridgateway/gateway/libs/telemetry"
)

// longestArgument is how many bytes of an argument the log keeps. What names a shard, a
// gateway, a route table or a destination is shorter.
const longestArgument = 256

// audit logs one line for each operator's call: who, from where, what with which arguments,
// and how it ended.
func audit(log *slog.Logger) []grpc.ServerOption {
	line := func(ctx context.Context, method string, arguments []slog.Attr, err error) {
		c := callerOf(ctx)
		attrs := []slog.Attr{
			slog.String("operator", c.subject), slog.String("from", c.from),
			slog.String("method", method), slog.String("code", status.Code(err).String()),
		}
		if len(arguments) > 0 {
			attrs = append(attrs, slog.GroupAttrs("arguments", arguments...))
		}
		if err != nil {
			attrs = append(attrs, slog.String(telemetry.KeyError, status.Convert(err).Message()))
		}
		log.LogAttrs(ctx, slog.LevelInfo, "operator call", attrs...)
	}
	return []grpc.ServerOption{
		grpc.ChainUnaryInterceptor(func(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
			answer, err := next(ctx, req)
			line(ctx, info.FullMethod, argumentsOf(req), err)
			return answer, err
		}),
		grpc.ChainStreamInterceptor(func(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
			err := next(srv, stream)
			line(stream.Context(), info.FullMethod, nil, err)
			return err
		}),
	}
}

// argumentsOf are a request's fields in the order of the contract, empty ones left out.
func argumentsOf(req any) []slog.Attr {
	m, ok := req.(proto.Message)
	if !ok {
		return nil
	}
	var attrs []slog.Attr
	r := m.ProtoReflect()
	fields := r.Descriptor().Fields()
	for i := range fields.Len() {
		if f := fields.Get(i); r.Has(f) {
			attrs = append(attrs, slog.String(string(f.Name()), argument(f, r.Get(f))))
		}
	}
	return attrs
}

// argument is a value as text; of a list, joined by commas.
func argument(f protoreflect.FieldDescriptor, v protoreflect.Value) string {
	text := v.String()
	if f.IsList() {
		items := make([]string, v.List().Len())
		for i := range items {
			items[i] = v.List().Get(i).String()
		}
		text = strings.Join(items, ",")
	}
	return clip.Text(text, longestArgument)
}
