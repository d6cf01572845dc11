// Package wire puts the events of package feed into the protobuf messages that all
// streams share, so that each stream has to translate only its own items.
package wire

import (
	"context"
	"errors"
	"fmt"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/hybridgateway/gateway/libs/feed"
	feedv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/feed/v1"
)

// Serve answers one Watch call: it sends the events of log after from until the
// subscriber leaves. encode makes the stream's message; it sets the item when the
// event's kind is Upsert. The error is a gRPC status.
func Serve[V, M any](stream grpc.ServerStreamingServer[M], log *feed.Log[V], from *feedv1.Position,
	encode func(*feedv1.Header, feed.Event[V]) *M,
) error {
	ctx := stream.Context()
	sub, err := log.Subscribe(ctx, feed.Position{Instance: from.GetInstanceId(), Revision: from.GetRevision()})
	if err != nil {
		return status.FromContextError(err).Err()
	}
	for {
		e, err := sub.Next(ctx)
		switch {
		case errors.Is(err, feed.ErrFellBehind):
			return status.Error(codes.DataLoss, err.Error())
		case err != nil:
			return status.FromContextError(err).Err()
		}
		if err := stream.Send(encode(header(e), e)); err != nil {
			return err
		}
	}
}

// Source makes a feed.Source of a generated client's Watch method. request puts the
// position into the call; decode takes a message apart: its header, and its item
// when the header's kind is KIND_UPSERT. An item that decode refuses breaks no
// stream: skipped is called with the reason and the event is delivered as a
// deletion of its key, since what the item was is no longer so.
func Source[V, Q, M any](
	watch func(context.Context, *Q, ...grpc.CallOption) (grpc.ServerStreamingClient[M], error),
	request func(*feedv1.Position) *Q,
	decode func(*M) (*feedv1.Header, func() (V, error)),
	skipped func(key string, err error),
) feed.Source[V] {
	return func(ctx context.Context, from feed.Position) (feed.Receiver[V], error) {
		stream, err := watch(ctx, request(&feedv1.Position{InstanceId: from.Instance, Revision: from.Revision}))
		if err != nil {
			return nil, err
		}
		return &receiver[V, M]{stream: stream, decode: decode, skipped: skipped}, nil
	}
}

type receiver[V, M any] struct {
	stream  grpc.ServerStreamingClient[M]
	decode  func(*M) (*feedv1.Header, func() (V, error))
	skipped func(key string, err error)
	opening bool
}

// Recv implements feed.Receiver.
func (r *receiver[V, M]) Recv() (feed.Event[V], error) {
	for {
		m, err := r.stream.Recv()
		if err != nil {
			return feed.Event[V]{}, err
		}
		h, item := r.decode(m)
		e, err := event[V](h)
		if err != nil {
			return feed.Event[V]{}, err
		}
		switch e.Kind {
		case feed.Reset:
			r.opening = true
		case feed.Synced:
			r.opening = false
		case feed.Upsert:
			if e.Value, err = item(); err != nil {
				r.skipped(e.Key, err)
				if r.opening {
					continue // a snapshot has no deletions
				}
				e.Kind = feed.Delete
			}
		}
		return e, nil
	}
}

func header[V any](e feed.Event[V]) *feedv1.Header {
	h := &feedv1.Header{
		Position: &feedv1.Position{InstanceId: e.Position.Instance, Revision: e.Position.Revision},
		Key:      e.Key,
		Kind:     feedv1.Kind(e.Kind),
	}
	if e.Trace.Parent != "" {
		h.Trace = &feedv1.TraceContext{Traceparent: e.Trace.Parent, Tracestate: e.Trace.State}
	}
	return h
}

func event[V any](h *feedv1.Header) (feed.Event[V], error) {
	kind := feed.Kind(h.GetKind())
	if kind < feed.Reset || kind > feed.Synced {
		return feed.Event[V]{}, fmt.Errorf("event of unknown kind %v", h.GetKind())
	}
	if h.GetPosition().GetInstanceId() == "" {
		return feed.Event[V]{}, fmt.Errorf("event of kind %v without the instance of its server", h.GetKind())
	}
	return feed.Event[V]{
		Position: feed.Position{Instance: h.GetPosition().GetInstanceId(), Revision: h.GetPosition().GetRevision()},
		Kind:     kind,
		Key:      h.GetKey(),
		Trace:    feed.Trace{Parent: h.GetTrace().GetTraceparent(), State: h.GetTrace().GetTracestate()},
	}, nil
}
