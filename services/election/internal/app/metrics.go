package app

import (
	"context"
	"fmt"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/hybridgateway/gateway/libs/telemetry"
	"github.com/hybridgateway/gateway/services/election/internal/term"
)

type metrics struct {
	holder      metric.Int64Gauge
	epoch       metric.Int64Gauge
	transitions metric.Int64Counter
	duration    metric.Float64Histogram
	failures    metric.Int64Counter

	pod, shard metric.MeasurementOption
}

func newMetrics(m metric.Meter, gateway, shard string) (*metrics, error) {
	n := &metrics{
		pod:   metric.WithAttributes(attribute.String("pod", gateway)),
		shard: metric.WithAttributes(attribute.String("shard", shard)),
	}
	var err error
	check := func(e error) {
		if err == nil && e != nil {
			err = fmt.Errorf("make a metric: %w", e)
		}
	}
	var e error
	n.holder, e = m.Int64Gauge(telemetry.MetricLeaseHolder, metric.WithDescription("1 on the gateway that holds the leadership record, else 0."))
	check(e)
	n.epoch, e = m.Int64Gauge(telemetry.MetricLeaseEpoch, metric.WithDescription("Transitions of the leadership record, as last seen."))
	check(e)
	n.transitions, e = m.Int64Counter(telemetry.MetricLeaseTransitions, metric.WithDescription("Leaderships that this gateway began or lost, by cause."))
	check(e)
	n.duration, e = m.Float64Histogram(telemetry.MetricLeaseWriteDuration, metric.WithUnit("s"), metric.WithDescription("Time a write of the leadership record took, by purpose and outcome."))
	check(e)
	n.failures, e = m.Int64Counter(telemetry.MetricLeaseWriteFailures, metric.WithDescription("Writes of the leadership record that did not succeed, by purpose and outcome."))
	check(e)
	if err != nil {
		return nil, err
	}
	n.holder.Record(context.Background(), 0, n.pod)
	return n, nil
}

func (m *metrics) published(ctx context.Context, before, now term.Leadership) {
	held := int64(0)
	if now.Role == term.Active {
		held = 1
	}
	m.holder.Record(ctx, held, m.pod)
	m.epoch.Record(ctx, int64(now.Epoch), m.shard)
	if (before.Role == term.Active) != (now.Role == term.Active) || held == 1 && before.Epoch != now.Epoch {
		m.transitions.Add(ctx, 1, m.shard, metric.WithAttributes(attribute.String("cause", now.Cause.String())))
	}
}

func (m *metrics) wrote(ctx context.Context, p term.Purpose, o term.Outcome, took time.Duration) {
	about := metric.WithAttributes(attribute.String("purpose", p.String()), attribute.String("outcome", o.String()))
	m.duration.Record(ctx, took.Seconds(), about)
	if o != term.Swapped {
		m.failures.Add(ctx, 1, about)
	}
}
