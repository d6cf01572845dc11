package syncer

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/hybridgateway/gateway/libs/telemetry"
	"github.com/hybridgateway/gateway/services/route-sync/internal/plan"
)

// Names of log fields of this service.
const (
	keyTable       = "route_table"
	keyDestination = "destination"
	keyTarget      = "target"
	keyState       = "state"
	keyOutcome     = "outcome"
)

// takeover is the span from the leadership event to convergence.
type takeover struct {
	epoch uint64
	began time.Time
	span  trace.Span // nil when none is open
}

// context is ctx within the open takeover, if there is one.
func (t *takeover) context(ctx context.Context) context.Context {
	if t.span == nil {
		return ctx
	}
	return trace.ContextWithSpan(ctx, t.span)
}

func (t *takeover) abandon(reason string) {
	if t.span != nil {
		t.span.SetStatus(codes.Error, reason)
		t.span.End()
		t.span = nil
	}
}

// follow opens a takeover when the gateway becomes active under a new epoch, and abandons one when that is over.
// cause carries the trace of the leadership event.
func (l *Loop) follow(cause context.Context, epoch uint64, until time.Duration) {
	active := until > 0
	if l.takeover.epoch != epoch || !active {
		l.takeover.abandon("leadership was lost")
	}
	if !active || l.takeover.epoch == epoch {
		return
	}
	routes := len(l.c.Plan.Tables) * len(l.c.Plan.Destinations)
	_, span := l.c.Tracer.Start(cause, "routes.takeover", trace.WithAttributes(
		attribute.String(telemetry.KeyShard, l.c.Plan.Shard),
		attribute.Int64(telemetry.KeyEpoch, int64(epoch)),
		attribute.Int("routes", routes),
	))
	l.takeover = takeover{epoch: epoch, began: time.Now(), span: span}
	l.c.Log.Info("takeover begins", telemetry.KeyShard, l.c.Plan.Shard, telemetry.KeyEpoch, epoch, "routes", routes)
}

// converged tells when all routes are in place, and when that is no longer so.
func (l *Loop) converged(ctx context.Context) {
	epoch := l.state.Converged()
	if epoch == l.toldOver {
		return
	}
	l.toldOver = epoch
	ctx = l.takeover.context(ctx)
	l.c.Publish(ctx, ConvergenceKey(l.c.Plan.Shard), Convergence{Shard: l.c.Plan.Shard, Epoch: epoch})
	if epoch == 0 || l.takeover.span == nil {
		return
	}
	took := time.Since(l.takeover.began)
	l.takeover.span.End()
	l.takeover.span = nil
	l.c.Metrics.tookOver(ctx, took)
	l.c.Log.Info("routes converged", telemetry.KeyShard, l.c.Plan.Shard, telemetry.KeyEpoch, epoch, "took", took.String())
}

// publish tells the routes of which the status changed.
func (l *Loop) publish(ctx context.Context) {
	for _, status := range l.state.Changed() {
		before, known := l.told[status.Key]
		if known && before == status {
			continue
		}
		l.told[status.Key] = status
		l.c.Metrics.moved(before.Condition, status.Condition, known)
		l.c.Publish(l.takeover.context(ctx), RouteKey(status.Key), Route{Status: status, Shard: l.c.Plan.Shard})
		if before.Condition != status.Condition || before.Detail != status.Detail {
			l.logStatus(status)
		}
	}
}

func (l *Loop) logStatus(s plan.Status) {
	if s.Condition == plan.Conflict || s.Condition == plan.Errored {
		l.c.Log.Warn("route is not in place", keyTable, s.Table, keyDestination, s.Destination.String(), keyState, s.Condition.String(),
			keyTarget, s.Target, telemetry.KeyReason, s.Detail)
	}
}
