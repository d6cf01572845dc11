package tunnel

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/hybridgateway/gateway/libs/telemetry"
	"github.com/hybridgateway/gateway/services/dataplane/internal/plan"
)

// Metrics are the dataplane's.
type Metrics struct {
	ops      metric.Int64Counter
	errors   metric.Int64Counter
	duration metric.Float64Histogram

	mu       sync.Mutex // guards what the gauges show
	ready    bool
	entries  map[string]int
	problems map[plan.FindingKind]int
}

// NewMetrics makes the instruments. counters is asked for the device's counters at each scrape, drops for what the guard dropped, by
// reason.
func NewMetrics(meter metric.Meter, counters func() (c plan.Counters, ok bool, err error), drops func() (map[string]uint64, error)) (*Metrics, error) {
	m := &Metrics{entries: map[string]int{}, problems: map[plan.FindingKind]int{}}
	var errs [9]error
	m.ops, errs[0] = meter.Int64Counter(telemetry.MetricTunnelOps, metric.WithDescription("Changes made to the kernel, by kind."))
	m.errors, errs[1] = meter.Int64Counter(telemetry.MetricTunnelOpErrors, metric.WithDescription("Changes of and reads from the kernel that failed, by kind."))
	m.duration, errs[2] = meter.Float64Histogram(telemetry.MetricTunnelApplyDuration, metric.WithUnit("s"),
		metric.WithDescription("Time from an event to the kernel being programmed."),
		metric.WithExplicitBucketBoundaries(.001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5))
	ready, err := meter.Int64ObservableGauge(telemetry.MetricTunnelReady, metric.WithDescription("1 when the device is up and programmed from a whole list of VTEPs."))
	errs[3] = err
	entries, err := meter.Int64ObservableGauge(telemetry.MetricTunnelEntries, metric.WithDescription("Entries in the kernel that are ours, by kind."))
	errs[4] = err
	problems, err := meter.Int64ObservableGauge(telemetry.MetricTunnelProblems, metric.WithDescription("What cannot or must not be programmed, by kind."))
	errs[5] = err
	packets, err := meter.Int64ObservableCounter(telemetry.MetricVxlanPackets, metric.WithDescription("Packets through the tunnel device."))
	errs[6] = err
	bytes, err := meter.Int64ObservableCounter(telemetry.MetricVxlanBytes, metric.WithDescription("Bytes through the tunnel device."))
	errs[7] = err
	dropped, err := meter.Int64ObservableCounter(telemetry.MetricGuardDropped, metric.WithDescription("Packets that the guard did not let out of the tunnel, by reason."))
	errs[8] = err
	if err := errors.Join(errs[:]...); err != nil {
		return nil, fmt.Errorf("make the metrics: %w", err)
	}
	observe := func(_ context.Context, o metric.Observer) error {
		m.observe(o, ready, entries, problems)
		byReason, unread := drops()
		for reason, n := range byReason {
			o.ObserveInt64(dropped, int64(n), metric.WithAttributes(attribute.String("reason", reason)))
		}
		c, ok, err := counters()
		if err != nil || !ok {
			return errors.Join(unread, err)
		}
		rx, tx := metric.WithAttributes(attribute.String("dir", "rx")), metric.WithAttributes(attribute.String("dir", "tx"))
		o.ObserveInt64(packets, int64(c.RxPackets), rx)
		o.ObserveInt64(packets, int64(c.TxPackets), tx)
		o.ObserveInt64(bytes, int64(c.RxBytes), rx)
		o.ObserveInt64(bytes, int64(c.TxBytes), tx)
		return unread
	}
	if _, err := meter.RegisterCallback(observe, ready, entries, problems, packets, bytes, dropped); err != nil {
		return nil, fmt.Errorf("register the metrics: %w", err)
	}
	return m, nil
}

func (m *Metrics) observe(o metric.Observer, ready, entries, problems metric.Int64Observable) {
	m.mu.Lock()
	defer m.mu.Unlock()
	value := int64(0)
	if m.ready {
		value = 1
	}
	o.ObserveInt64(ready, value)
	for kind, n := range m.entries {
		o.ObserveInt64(entries, int64(n), byKind(kind))
	}
	for _, kind := range []plan.FindingKind{plan.Blocking, plan.Refused, plan.Conflict, plan.Warning} {
		o.ObserveInt64(problems, int64(m.problems[kind]), byKind(kind.String()))
	}
}

func byKind(kind string) metric.MeasurementOption {
	return metric.WithAttributes(attribute.String("kind", kind))
}

func (m *Metrics) applied(ctx context.Context, ops []plan.Op, failures []plan.Failure, took time.Duration) {
	count := map[string]int64{}
	for _, op := range ops {
		count[plan.Kind(op)]++
	}
	for kind, n := range count {
		m.ops.Add(ctx, n, byKind(kind))
	}
	for _, f := range failures {
		m.failed(ctx, plan.Kind(f.Op))
	}
	m.duration.Record(ctx, took.Seconds())
}

func (m *Metrics) failed(ctx context.Context, kind string) { m.errors.Add(ctx, 1, byKind(kind)) }

func (m *Metrics) found(findings []plan.Finding) {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.problems)
	for _, f := range findings {
		m.problems[f.Kind]++
	}
}

func (m *Metrics) state(s State, a plan.Actual) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ready = s.Ready
	m.entries["fdb"], m.entries["neighbour"], m.entries["route"] = len(a.FDB), len(a.Neighbours), s.Routes
}
