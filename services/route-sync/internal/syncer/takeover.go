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
	routes := l.state.Wanted()
	_, span := l.c.Tracer.Start(cause, "routes.takeover", trace.WithAttributes(
		attribute.String(telemetry.KeyShard, l.c.Plan.Shard),
		attribute.Int64(telemetry.KeyEpoch, int64(epoch)),
		attribute.Int("routes", routes),
	))
	l.takeover = takeover{epoch: epoch, began: time.Now(), span: span}
	l.c.Log.Info("takeover begins", telemetry.KeyShard, l.c.Plan.Shard, telemetry.KeyEpoch, epoch, "routes", routes)
}

// converged tells when all routes are in place, or removed, and when that is no longer so.
func (l *Loop) converged(ctx context.Context) {
	now := Convergence{Shard: l.c.Plan.Shard, Epoch: l.state.Converged()}
	if removed := l.state.Removed(); removed != 0 {
		now.Epoch, now.Removed = removed, true
	}
	if now == l.toldOver {
		return
	}
	l.toldOver = now
	l.c.Publish(l.takeover.context(ctx), ConvergenceKey(now.Shard), now)
	switch {
	case now.Removed:
		l.c.Log.Info("all that is the gateways' own was removed", telemetry.KeyShard, now.Shard, telemetry.KeyEpoch, now.Epoch)
		fallthrough
	case now.Epoch == 0, l.takeover.span == nil:
		return
	}
	took := time.Since(l.takeover.began)
	l.c.Metrics.tookOver(l.takeover.context(ctx), took)
	l.takeover.span.End()
	l.takeover.span = nil
	l.c.Log.Info("routes converged", telemetry.KeyShard, now.Shard, telemetry.KeyEpoch, now.Epoch, "took", took.String())
}

// self tells what is known about this gateway's interface.
func (l *Loop) self(ctx context.Context) {
	now := l.c.Self
	now.Check, now.Problem = l.state.Self()
	l.c.Metrics.checked(l.c.Plan.Shard, now.Problem != "" && !l.state.SwitchesOff())
	if now == l.toldSelf {
		return
	}
	if now.Problem != "" && now.Problem != l.toldSelf.Problem {
		l.c.Log.Warn("this gateway's network interface is not as it must be", "eni", now.ID, telemetry.KeyReason, now.Problem)
	}
	l.toldSelf = now
	l.c.Publish(ctx, InterfaceKey, now)
}

// permissions tells which permissions are missing.
func (l *Loop) permissions(ctx context.Context) {
	missing := make(map[plan.Permission]bool)
	for _, p := range l.state.Missing() {
		missing[p] = true
		if !l.toldLack[p] {
			l.c.Log.Warn("permission is missing", "action", p.Action, "resource", p.Resource)
			l.c.Publish(ctx, PermissionKey(p), Permission(p))
			l.c.Metrics.lacks(p, 1)
		}
	}
	for p := range l.toldLack {
		if !missing[p] {
			l.c.Retract(ctx, PermissionKey(p))
			l.c.Metrics.lacks(p, -1)
		}
	}
	l.toldLack = missing
}

// publish tells the routes of which the status changed.
func (l *Loop) publish(ctx context.Context) {
	for _, status := range l.state.Changed() {
		before, known := l.told[status.Key]
		if known && before == status {
			continue
		}
		if status.Gone {
			if known {
				delete(l.told, status.Key)
				l.c.Metrics.left(before.Condition)
				l.c.Retract(l.takeover.context(ctx), RouteKey(status.Key))
			}
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
