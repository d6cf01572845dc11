package app

import (
	"context"
	"fmt"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/hybridgateway/gateway/libs/telemetry"
	"github.com/hybridgateway/gateway/services/vtep-registry/internal/publish"
	"github.com/hybridgateway/gateway/services/vtep-registry/internal/registry"
)

// metrics are the service's instruments.
type metrics struct {
	vteps, refusals, overlapping metric.Int64Gauge
	stale, endpoints             metric.Int64Gauge
	problems, behind             metric.Int64Gauge
	stateWrites                  metric.Int64Counter
	publishes, errors, notes     metric.Int64Counter
	duration, taken              metric.Float64Histogram

	mu sync.Mutex
	// reasons are those that refusals has a value for.
	reasons map[registry.Reason]bool
}

func newMetrics(meter metric.Meter) (*metrics, error) {
	m := &metrics{reasons: make(map[registry.Reason]bool)}
	var err error
	note := func(e error) {
		if err == nil && e != nil {
			err = fmt.Errorf("make metrics: %w", e)
		}
	}
	gauge := func(name, description string) metric.Int64Gauge {
		g, e := meter.Int64Gauge(name, metric.WithDescription(description))
		note(e)
		return g
	}
	counter := func(name, description string) metric.Int64Counter {
		c, e := meter.Int64Counter(name, metric.WithDescription(description))
		note(e)
		return c
	}
	m.vteps = gauge(telemetry.MetricVtepCount, "Admitted VTEPs.")
	m.stale = gauge(telemetry.MetricVtepStale, "VTEPs known only from the state file.")
	m.endpoints = gauge(telemetry.MetricVtepEndpoints, "Endpoints that Cilium reports on.")
	m.problems = gauge(telemetry.MetricVtepCiliumProblems, "Settings in cilium-config that are not as the floating mode needs them.")
	m.behind = gauge(telemetry.MetricVtepAgentsBehind, "Agents of Cilium that run since before cilium-config was changed.")
	m.stateWrites = counter(telemetry.MetricVtepStateWrites, "Writes of the state file.")
	m.refusals = gauge(telemetry.MetricVtepRefusals, "Claims of nodes that are refused now.")
	m.overlapping = gauge(telemetry.MetricVtepConfigConflicts, "Endpoints of other CiliumVTEPConfigs that overlap the VPC.")
	m.publishes = counter(telemetry.MetricVtepPublishes, "Writes of the CiliumVTEPConfig.")
	m.notes = counter(telemetry.MetricVtepEvents, "Events on CiliumNodes.")
	m.errors = counter(telemetry.MetricKubernetesErrors, "Failed list and watch calls.")
	histogram := func(name, description string) metric.Float64Histogram {
		h, e := meter.Float64Histogram(name, metric.WithUnit("s"), metric.WithDescription(description),
			metric.WithExplicitBucketBoundaries(.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30))
		note(e)
		return h
	}
	m.duration = histogram(telemetry.MetricVtepPublishDuration, "Time from the wish to write the CiliumVTEPConfig to the answer.")
	m.taken = histogram(telemetry.MetricVtepTakenDuration, "Time from the wish to write the CiliumVTEPConfig until Cilium reports that it uses what was written.")
	return m, err
}

func (m *metrics) counted(ctx context.Context, admitted, stale int, refused map[registry.Reason]int) {
	m.vteps.Record(ctx, int64(admitted))
	m.stale.Record(ctx, int64(stale))
	m.mu.Lock()
	defer m.mu.Unlock()
	for reason := range refused {
		m.reasons[reason] = true
	}
	for reason := range m.reasons {
		m.refusals.Record(ctx, int64(refused[reason]), metric.WithAttributes(attribute.String(telemetry.KeyReason, string(reason))))
	}
}

func (m *metrics) conflicts(n int) { m.overlapping.Record(context.Background(), int64(n)) }

// standing tells how many endpoints are in which state.
func (m *metrics) standing(p *publish.Progress) {
	for _, s := range []publish.State{publish.Pending, publish.Synced, publish.Failed} {
		m.endpoints.Record(context.Background(), int64(p.Count(s)), metric.WithAttributes(attribute.String("state", s.String())))
	}
}

// setUp tells how Cilium is set up for the floating mode.
func (m *metrics) setUp(problems, behind int) {
	m.problems.Record(context.Background(), int64(problems))
	m.behind.Record(context.Background(), int64(behind))
}

func (m *metrics) took(d time.Duration) { m.taken.Record(context.Background(), d.Seconds()) }

func (m *metrics) published(ctx context.Context, outcome string, took time.Duration) {
	m.publishes.Add(ctx, 1, metric.WithAttributes(attribute.String("outcome", outcome)))
	m.duration.Record(ctx, took.Seconds(), metric.WithAttributes(attribute.String("outcome", outcome)))
}

func (m *metrics) kept(ok bool) {
	outcome := "ok"
	if !ok {
		outcome = "failed"
	}
	m.stateWrites.Add(context.Background(), 1, metric.WithAttributes(attribute.String("outcome", outcome)))
}

func (m *metrics) noted(outcome string) {
	m.notes.Add(context.Background(), 1, metric.WithAttributes(attribute.String("outcome", outcome)))
}

func (m *metrics) failed(resource string) {
	m.errors.Add(context.Background(), 1, metric.WithAttributes(attribute.String("resource", resource)))
}
