package app

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/hybridgateway/gateway/libs/feed"
	"github.com/hybridgateway/gateway/libs/telemetry"
	"github.com/hybridgateway/gateway/services/vtep-registry/internal/cilium"
	"github.com/hybridgateway/gateway/services/vtep-registry/internal/publish"
)

// callTimeout bounds one call to the API server.
const callTimeout = 2 * time.Second

// errExpired says that the time in which this gateway might write passed before it did.
var errExpired = errors.New("the epoch is no longer valid")

// request asks for one write of the CiliumVTEPConfig.
type request struct {
	target     cilium.Target
	decision   publish.Decision
	validUntil time.Duration
	cause      feed.Trace
	wished     time.Time
}

// result is what became of a request.
type result struct {
	target   cilium.Target
	decision publish.Decision
	err      error
	// object is the one written or, when read is true, the one found after the write was
	// refused; nil when there is none.
	object *publish.Object
	read   bool
}

// configStore is the API server.
type configStore interface {
	Write(ctx context.Context, t cilium.Target, d publish.Decision) (publish.Object, error)
	Read(ctx context.Context, t cilium.Target) (*publish.Object, error)
}

// writer carries requests out. No call starts, or goes on, when the epoch it is made
// under is no longer valid.
type writer struct {
	configs  configStore
	now      func() time.Duration // CLOCK_BOOTTIME
	requests <-chan request
	results  chan<- result
	tracer   trace.Tracer
	metrics  *metrics
}

func (w *writer) run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case q := <-w.requests:
			r := w.carryOut(ctx, q)
			select {
			case <-ctx.Done():
				return ctx.Err()
			case w.results <- r:
			}
		}
	}
}

func (w *writer) carryOut(ctx context.Context, q request) result {
	ctx, span := w.tracer.Start(q.cause.Context(ctx), "vtep.publish", trace.WithTimestamp(q.wished), trace.WithAttributes(
		attribute.Int64(telemetry.KeyEpoch, int64(q.decision.Content.Epoch)),
		attribute.String("object", q.target.Key()),
		attribute.String("api_version", q.target.Dialect.APIVersion()),
		attribute.Int("endpoints", len(q.decision.Content.Endpoints)),
		attribute.String("verdict", q.decision.Verdict.String()),
		attribute.String(telemetry.KeyReason, q.decision.Reason),
	))
	defer span.End()
	r := w.write(ctx, q)
	outcome := "ok"
	switch {
	case r.err == nil:
	case errors.Is(r.err, errExpired):
		outcome = "expired"
	case errors.Is(r.err, cilium.ErrStale):
		outcome = "stale"
	default:
		outcome = "error"
	}
	if r.err != nil {
		span.SetStatus(codes.Error, r.err.Error())
	}
	span.SetAttributes(attribute.String("outcome", outcome))
	w.metrics.published(ctx, outcome, time.Since(q.wished))
	return r
}

func (w *writer) write(ctx context.Context, q request) result {
	r := result{target: q.target, decision: q.decision}
	left := q.validUntil - w.now()
	if left <= 0 {
		r.err = errExpired
		return r
	}
	writing, cancel := context.WithTimeout(ctx, min(left, callTimeout))
	defer cancel()
	written, err := w.configs.Write(writing, q.target, q.decision)
	if err == nil {
		r.object = &written
		return r
	}
	r.err = err
	if errors.Is(err, cilium.ErrStale) {
		reading, cancel := context.WithTimeout(ctx, callTimeout)
		defer cancel()
		found, err := w.configs.Read(reading, q.target)
		r.object, r.read = found, err == nil
	}
	return r
}
