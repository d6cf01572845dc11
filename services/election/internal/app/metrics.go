package app

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/hybridgateway/gateway/libs/telemetry"
	"github.com/hybridgateway/gateway/services/election/internal/peers"
	"github.com/hybridgateway/gateway/services/election/internal/peers/session"
	"github.com/hybridgateway/gateway/services/election/internal/term"
)

type metrics struct {
	epoch       metric.Int64Gauge
	transitions metric.Int64Counter
	duration    metric.Float64Histogram
	failures    metric.Int64Counter

	shard metric.MeasurementOption
	// held counts the shards whose record this gateway holds.
	held *atomic.Int64
}

// newMetrics makes the metrics, without any shard yet.
func newMetrics(m metric.Meter, gateway string) (*metrics, error) {
	n := &metrics{held: &atomic.Int64{}}
	var err error
	check := func(e error) {
		if err == nil && e != nil {
			err = fmt.Errorf("make a metric: %w", e)
		}
	}
	var e error
	pod := metric.WithAttributes(attribute.String("pod", gateway))
	_, e = m.Int64ObservableGauge(telemetry.MetricLeaseHolder,
		metric.WithDescription("Number of shards whose leadership record the gateway holds: with one shard 1 on the active gateway, else 0."),
		metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			o.Observe(n.held.Load(), pod)
			return nil
		}))
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
	return n, nil
}

// of is the same about one shard.
func (m *metrics) of(shard string) *metrics {
	n := *m
	n.shard = metric.WithAttributes(attribute.String(telemetry.KeyShard, shard))
	return &n
}

func (m *metrics) published(ctx context.Context, before, now term.Leadership) {
	was, is := before.Role == term.Active, now.Role == term.Active
	switch {
	case is && !was:
		m.held.Add(1)
	case was && !is:
		m.held.Add(-1)
	}
	m.epoch.Record(ctx, int64(now.Epoch), m.shard)
	if was != is || is && before.Epoch != now.Epoch {
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

// peerMetrics are about the other gateways.
type peerMetrics struct {
	meter   metric.Meter
	changes metric.Int64Counter
	falsely metric.Int64Counter
	up      metric.Int64ObservableGauge
	dropped metric.Int64ObservableCounter
}

func newPeerMetrics(m metric.Meter) (*peerMetrics, error) {
	n := &peerMetrics{meter: m}
	var errs [4]error
	n.changes, errs[0] = m.Int64Counter(telemetry.MetricPeerChanges, metric.WithDescription("Changes of what is known of another gateway, such as up, suspected, recovered."))
	n.up, errs[1] = m.Int64ObservableGauge(telemetry.MetricPeerUp, metric.WithDescription("1 while the other gateway and this one hear each other, else 0."))
	n.dropped, errs[2] = m.Int64ObservableCounter(telemetry.MetricHeartbeatsDropped, metric.WithDescription("Heartbeats that were not taken for a sign of life, by reason."))
	n.falsely, errs[3] = m.Int64Counter(telemetry.MetricPeerFalseSuspicions, metric.WithDescription("Suspicions of another gateway that was then heard again as the same process."))
	if err := errors.Join(errs[:]...); err != nil {
		return nil, fmt.Errorf("make a metric: %w", err)
	}
	return n, nil
}

// observe reads the node whenever metrics are read.
func (m *peerMetrics) observe(node *peers.Node) error {
	_, err := m.meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		for _, p := range peersOf(node.Peers(), "").Peers {
			up := int64(0)
			if p.Condition == term.Hearing {
				up = 1
			}
			o.ObserveInt64(m.up, up, metric.WithAttributes(attribute.String(keyPeer, p.Gateway.ID)))
		}
		for reason, n := range node.Stats().Dropped {
			o.ObserveInt64(m.dropped, int64(n), metric.WithAttributes(attribute.String(telemetry.KeyReason, reason.String())))
		}
		return nil
	}, m.up, m.dropped)
	if err != nil {
		return fmt.Errorf("make a metric: %w", err)
	}
	return nil
}

func (m *peerMetrics) changed(e peers.Event) {
	peer := attribute.String(keyPeer, e.Peer.Self.ID)
	m.changes.Add(context.Background(), 1, metric.WithAttributes(peer, attribute.String(keyChange, e.Change.String())))
	switch {
	case e.Falsely:
		m.falsely.Add(context.Background(), 1, metric.WithAttributes(peer))
	case e.Change == session.CameUp:
		// A counter that is not there yet looks like a target that is not scraped.
		m.falsely.Add(context.Background(), 0, metric.WithAttributes(peer))
	}
}
