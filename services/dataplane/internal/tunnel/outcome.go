package tunnel

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/hybridgateway/gateway/services/dataplane/internal/plan"
)

// apply carries out ops in a span of their own. The returned context carries the span.
func (l *Loop) apply(ctx context.Context, start time.Time, cause string, ops []plan.Op) (context.Context, []plan.Failure) {
	ctx, span := l.Tracer.Start(ctx, "tunnel.apply", trace.WithTimestamp(start), trace.WithAttributes(
		attribute.String("cause", cause), attribute.Int("ops", len(ops))))
	defer span.End()
	debug := l.Log.Enabled(ctx, slog.LevelDebug) // printing tens of thousands takes longer than carrying them out
	for _, op := range ops {
		if plan.ForDevice(op) {
			l.Log.InfoContext(ctx, "device operation", "op", op.String())
		} else if debug {
			l.Log.DebugContext(ctx, "entry operation", "op", op.String())
		}
	}
	failures := l.Kernel.Apply(ops)
	for _, op := range ops {
		// The kernel decides details of a new device that the picture does not know.
		l.stale = l.stale || plan.ForDevice(op)
	}
	if l.stale {
		l.checkIn(checkSpacing)
	}
	if len(failures) > 0 {
		span.SetStatus(codes.Error, failures[0].Error())
	}
	span.SetAttributes(attribute.Int("failures", len(failures)))
	l.Metrics.applied(ctx, ops, failures, time.Since(start))
	l.Log.InfoContext(ctx, "tunnel programmed", "cause", cause, "ops", len(ops), "failures", len(failures),
		"milliseconds", time.Since(start).Milliseconds())
	return ctx, failures
}

// judge turns the result of an attempt into what blocks the tunnel and what is wrong besides. Each problem is logged when it
// appears and when it is gone, however often it is met.
func (l *Loop) judge(r plan.Result, failures []plan.Failure) {
	l.blocked = r.Blocked()
	if f, ok := l.list.finding(); ok {
		r.Findings = append(r.Findings, f)
	}
	now := make(map[string]bool, len(r.Findings)+len(failures))
	for _, f := range r.Findings {
		now[f.String()] = true
	}
	for _, f := range failures {
		now["failed "+f.Error()] = true
		if plan.ForDevice(f.Op) {
			l.blocked = append(l.blocked, f.Error())
		}
	}
	for p := range now {
		if !l.problems[p] {
			l.Log.Warn("problem found", "problem", p)
		}
	}
	for p := range l.problems {
		if !now[p] {
			l.Log.Info("problem gone", "problem", p)
		}
	}
	l.problems = now
	l.Metrics.found(r.Findings)
}

// publish tells the others the state when it has changed.
func (l *Loop) publish(ctx context.Context) {
	s := l.currentState()
	if l.published && s.equal(l.state) {
		return
	}
	if l.published && s.Ready != l.state.Ready || !l.published {
		l.Log.InfoContext(ctx, "tunnel state", "ready", s.Ready, "reason", s.Reason)
	}
	l.state, l.published = s, true
	l.Metrics.state(s, l.ledger.Actual())
	l.Publish(ctx, s)
}

func (l *Loop) currentState() State {
	s := State{Status: Status{Device: l.Device.Name, Local: l.Device.Local, MAC: l.Device.MAC, VNI: l.Device.VNI, Port: l.Device.Port}}
	link := l.ledger.Actual().Link
	if link != nil {
		s.MTU, s.MAC = link.MTU, link.MAC
	}
	s.VTEPs, s.Routes = l.ledger.Programmed()
	if c, ok, err := l.Kernel.Counters(); err != nil {
		l.Log.Warn("counters could not be read", "error", err)
		s.Counters = l.state.Counters
	} else if ok {
		s.Counters = c
	}
	switch {
	case l.ledger.Retired():
		s.Reason = "purged: what is the gateway's is removed from this node, and made again when the dataplane is started again"
	case len(l.blocked) > 0:
		s.Reason = strings.Join(l.blocked, "; ")
	case link == nil || !link.Up:
		s.Reason = "device " + l.Device.Name + " is not there yet"
	case l.list.trust == unheard:
		s.Reason = "no complete list of VTEPs yet: waiting for vtep-registry"
	default:
		s.Ready = true
	}
	s.Problems = slices.Sorted(maps.Keys(l.problems))
	s.Problems = s.Problems[:min(len(s.Problems), maxProblems)]
	return s
}
