package api

import (
	"context"
	"errors"
	"time"

	"github.com/cenkalti/backoff/v5"
	"google.golang.org/grpc"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
)

// ErrNotServing is why a service that answers does not serve.
var ErrNotServing = errors.New("it answers that it is not ready")

// FollowHealth sends why the service behind conn does not serve, or nil when it does: at first, and whenever that
// may have changed; to every receiver, in turn. It works until ctx ends; a stream that breaks is opened again after
// 20 ms to 1 s.
func FollowHealth(ctx context.Context, conn grpc.ClientConnInterface, receivers ...chan<- error) error {
	client := healthv1.NewHealthClient(conn)
	wait := &backoff.ExponentialBackOff{
		InitialInterval:     20 * time.Millisecond,
		RandomizationFactor: 0.5,
		Multiplier:          2,
		MaxInterval:         time.Second,
	}
	wait.Reset()
	for {
		stream, err := client.Watch(ctx, &healthv1.HealthCheckRequest{})
		for err == nil {
			var m *healthv1.HealthCheckResponse
			if m, err = stream.Recv(); err != nil {
				break
			}
			wait.Reset()
			var state error
			if m.GetStatus() != healthv1.HealthCheckResponse_SERVING {
				state = ErrNotServing
			}
			if !tell(ctx, receivers, state) {
				return ctx.Err()
			}
		}
		if !tell(ctx, receivers, err) {
			return ctx.Err()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait.NextBackOff()):
		}
	}
}

// tell sends, unless ctx ends.
func tell[V any](ctx context.Context, receivers []chan<- V, state V) bool {
	for _, out := range receivers {
		if ctx.Err() != nil {
			return false
		}
		select {
		case out <- state:
		case <-ctx.Done():
			return false
		}
	}
	return true
}
