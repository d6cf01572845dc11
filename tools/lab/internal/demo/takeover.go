package demo

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/hybridgateway/gateway/tools/lab/internal/lab"
	"github.com/hybridgateway/gateway/tools/lab/internal/timeline"
)

// SpanTakeover is the name of the root of a takeover's trace, which election makes.
const SpanTakeover = "takeover"

// Takeover is the root of the trace of the takeover of a shard that a gateway completed
// first after a moment. It waits for the span to arrive, which it does some seconds after
// it has ended.
func Takeover(ctx context.Context, l *lab.Lab, by, shard string, since time.Time) (timeline.Span, error) {
	roots, err := l.Traces.Wait(ctx, func(s timeline.Span) bool {
		return s.Name == SpanTakeover && s.Gateway == by && s.Attributes["shard"] == shard && s.End.After(since)
	})
	if err != nil {
		return timeline.Span{}, fmt.Errorf("no trace of the takeover of shard %s by %s arrived: %w", shard, by, err)
	}
	return first(roots), nil
}

// first is the root that ended first: a leader whose authority ran out takes its own
// record again, which is another takeover. roots must not be empty.
func first(roots []timeline.Span) timeline.Span {
	return slices.MinFunc(roots, func(a, b timeline.Span) int { return a.End.Compare(b.End) })
}

// CheckSuspected returns an error unless a gateway took over a shard, after a moment, because
// the old leader's heartbeats had stopped. It waits as Takeover does.
func CheckSuspected(ctx context.Context, l *lab.Lab, by, shard string, since time.Time) error {
	root, err := Takeover(ctx, l, by, shard, since)
	if err != nil {
		return err
	}
	return suspected(root)
}

// suspected tells from the root of a takeover's trace whether the old leader's heartbeats
// had stopped; the error says what was the cause instead.
func suspected(root timeline.Span) error {
	const want = "suspected" // as election's metrics and traces name it
	if cause := root.Attributes["cause"]; cause != want {
		return fmt.Errorf("%s took over from %s with cause %q, want %q: heartbeats should have shown it first",
			root.Gateway, root.Attributes["previous_holder"], cause, want)
	}
	return nil
}
