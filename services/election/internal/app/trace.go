package app

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/hybridgateway/gateway/libs/feed"
	"github.com/hybridgateway/gateway/libs/telemetry"
	"github.com/hybridgateway/gateway/services/election/internal/term"
)

// tracing makes one trace of each take-over: the span "takeover" begins when the last
// holder gave its last sign of life, or gave the record up, and ends when this gateway's
// routes are in place. Its context goes with the leadership events, so that what
// the other services do is in it. A planned hand-over begins at the old leader, with the
// span "handover", whose context comes in the record.
type tracing struct {
	tracer trace.Tracer
	shard  string

	takeover    trace.Span // nil when there is none
	takeoverCtx context.Context
	attempts    int
	handover    trace.Span
	handoverCtx context.Context
}

// write begins the span of a write, and returns the write as it is to be carried out and the function
// that ends the span. Plain renewals have none.
func (t *tracing) write(ctx context.Context, c term.CompareAndSwap, now time.Duration) (context.Context, term.CompareAndSwap, func(term.Outcome, error)) {
	if h := c.Record.Handover; h != nil && t.handover != nil {
		c.Record.Handover = &term.Handover{From: h.From, Traceparent: feed.TraceOf(t.handoverCtx).Parent}
	}
	switch {
	case c.Purpose == term.TakeOver:
		t.startTakeover(ctx, c, now)
		ctx = trace.ContextWithSpan(ctx, t.takeover)
	case c.Record.Handover != nil && t.handover != nil:
		ctx = trace.ContextWithSpan(ctx, t.handover)
	case c.Purpose == term.Converge && t.takeover != nil:
		ctx = trace.ContextWithSpan(ctx, t.takeover)
	default:
		return ctx, c, func(term.Outcome, error) {}
	}
	t.attempts++
	ctx, span := t.tracer.Start(ctx, "record.compare-and-swap", trace.WithAttributes(
		attribute.String(keyPurpose, c.Purpose.String()),
		attribute.Int64(telemetry.KeyEpoch, int64(c.Record.Epoch)),
		attribute.Int("attempt", t.attempts)))
	return ctx, c, func(o term.Outcome, err error) {
		span.SetAttributes(attribute.String(keyOutcome, o.String()))
		if err != nil {
			span.SetStatus(codes.Error, err.Error())
		}
		span.End()
	}
}

func (t *tracing) startTakeover(ctx context.Context, c term.CompareAndSwap, now time.Duration) {
	if t.takeover != nil {
		return
	}
	var about []trace.SpanStartOption
	if c.LastSign != 0 {
		about = append(about, trace.WithTimestamp(time.Now().Add(c.LastSign-now)))
	}
	if h := c.Previous.Handover; h != nil {
		ctx = feed.Trace{Parent: h.Traceparent}.Context(ctx)
	}
	about = append(about, trace.WithAttributes(
		attribute.String(telemetry.KeyShard, t.shard),
		attribute.String(keyCause, c.Cause.String()),
		attribute.Int64(telemetry.KeyEpoch, int64(c.Record.Epoch)),
		attribute.String("previous_holder", previousHolder(c.Previous))))
	t.takeoverCtx, t.takeover = t.tracer.Start(ctx, "takeover", about...)
	t.attempts = 0
	t.takeover.AddEvent("take-over possible")
}

func previousHolder(r term.Record) string {
	if r.Handover != nil {
		return r.Handover.From
	}
	return r.Holder.ID
}

// published notes in the open span what is published, and returns the context to publish
// it with.
func (t *tracing) published(ctx context.Context, before, now term.Leadership) context.Context {
	if t.handover != nil {
		switch {
		case now.Holder.ID != "" && before.Holder.ID != now.Holder.ID:
			t.handover.AddEvent("successor took the record")
		case now.Cause == term.Converged:
			t.handover.AddEvent("successor converged")
		}
		return t.handoverCtx
	}
	if t.takeover == nil {
		return ctx
	}
	ctx = t.takeoverCtx
	switch {
	case now.Role == term.Active && (before.Role != term.Active || before.Epoch != now.Epoch):
		t.takeover.AddEvent("leadership published")
		t.takeover.SetAttributes(attribute.Int64(telemetry.KeyEpoch, int64(now.Epoch)))
	case now.Role == term.Active && now.Converged:
		t.takeover.AddEvent("converged")
		t.endTakeover()
	case now.Role != term.Active && before.Role == term.Active:
		t.takeover.SetStatus(codes.Error, "leadership was lost before the routes were in place")
		t.endTakeover()
	case now.Role != term.Active && now.Holder.ID != "" && now.Holder.ID != before.Holder.ID:
		t.takeover.SetStatus(codes.Error, "another gateway took the record")
		t.endTakeover()
	}
	return ctx
}

func (t *tracing) endTakeover() {
	t.takeover.End()
	t.takeover = nil
}

// startHandover begins the span of a hand-over.
func (t *tracing) startHandover(ctx context.Context, epoch uint64) {
	t.handoverCtx, t.handover = t.tracer.Start(ctx, "handover", trace.WithNewRoot(), trace.WithAttributes(
		attribute.String(telemetry.KeyShard, t.shard),
		attribute.Int64(telemetry.KeyEpoch, int64(epoch))))
}

func (t *tracing) endHandover(reason string) {
	if t.handover == nil {
		return
	}
	t.handover.SetAttributes(attribute.String(telemetry.KeyReason, reason))
	t.handover.End()
	t.handover = nil
}

// abandon ends what is open when the process ends.
func (t *tracing) abandon() {
	if t.takeover != nil {
		t.takeover.SetStatus(codes.Error, "the process ended before the routes were in place")
		t.endTakeover()
	}
	t.endHandover("the process ended")
}
