package syncer

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/hybridgateway/gateway/libs/telemetry"
	"github.com/hybridgateway/gateway/services/route-sync/internal/plan"
)

// Metrics are route-sync's.
type Metrics struct {
	calls    metric.Int64Counter
	errors   metric.Int64Counter
	drift    metric.Int64Counter
	duration metric.Float64Histogram

	mu     sync.Mutex // guards what the gauges show
	routes [len(conditions)]int64
	// amiss are the shards to which something is wrong with the interface; lacking counts those that lack a permission.
	amiss   map[string]bool
	lacking map[plan.Permission]int
}

var conditions = [...]plan.Condition{plan.Unowned, plan.InSync, plan.Pending, plan.Conflict, plan.Errored}

// NewMetrics makes the instruments.
func NewMetrics(meter metric.Meter) (*Metrics, error) {
	m := &Metrics{amiss: make(map[string]bool), lacking: make(map[plan.Permission]int)}
	var errs [7]error
	m.calls, errs[0] = meter.Int64Counter(telemetry.MetricRouteCalls, metric.WithDescription("Calls to EC2, by action and outcome."))
	m.errors, errs[1] = meter.Int64Counter(telemetry.MetricRouteReconcileErrors, metric.WithDescription("Failed reads and writes of routes and of the prefix lists they lead to."))
	m.drift, errs[2] = meter.Int64Counter(telemetry.MetricRouteDriftRepairs, metric.WithDescription("Routes put back after somebody changed or deleted them."))
	m.duration, errs[3] = meter.Float64Histogram(telemetry.MetricRouteTakeover, metric.WithUnit("s"),
		metric.WithDescription("Time from the leadership event until all routes are in place."),
		metric.WithExplicitBucketBoundaries(.01, .02, .05, .1, .2, .3, .5, 1, 1.5, 2, 5, 10, 30, 60))
	routes, err := meter.Int64ObservableGauge(telemetry.MetricRoutes, metric.WithDescription("Routes that are wanted, by state."))
	errs[4] = err
	problem, err := meter.Int64ObservableGauge(telemetry.MetricInterfaceProblem,
		metric.WithDescription("1 while the gateway's network interface is not as it must be, or that cannot be told."))
	errs[5] = err
	permissions, err := meter.Int64ObservableGauge(telemetry.MetricMissingPermissions, metric.WithDescription("Permissions that the gateways' role lacks."))
	errs[6] = err
	if err := errors.Join(errs[:]...); err != nil {
		return nil, fmt.Errorf("make the metrics: %w", err)
	}
	observe := func(_ context.Context, o metric.Observer) error {
		m.mu.Lock()
		defer m.mu.Unlock()
		for i, n := range m.routes {
			o.ObserveInt64(routes, n, metric.WithAttributes(attribute.String("state", conditions[i].String())))
		}
		o.ObserveInt64(problem, int64(min(1, len(m.amiss))))
		o.ObserveInt64(permissions, int64(len(m.lacking)))
		return nil
	}
	if _, err := meter.RegisterCallback(observe, routes, problem, permissions); err != nil {
		return nil, fmt.Errorf("register the metrics: %w", err)
	}
	// A counter that is not there yet looks like a target that is not scraped.
	m.errors.Add(context.Background(), 0)
	m.drift.Add(context.Background(), 0)
	return m, nil
}

// Called counts a call to EC2.
func (m *Metrics) Called(action string, outcome plan.Outcome) {
	m.calls.Add(context.Background(), 1, metric.WithAttributes(
		attribute.String("action", action), attribute.String("outcome", outcome.String())))
	if ofRoutes(action) && outcome.Failure() {
		m.errors.Add(context.Background(), 1)
	}
}

// ofRoutes tells whether a call is for routes, or for the prefix lists that they lead to. What is amiss with
// interfaces and permissions is told by items of their own, and leaves the routes as they are.
func ofRoutes(action string) bool {
	switch action {
	case plan.DescribeRouteTables, plan.ReplaceRoute, plan.CreateRoute, plan.DeleteRoute,
		plan.DescribeManagedPrefixLists, plan.GetManagedPrefixListEntries,
		plan.CreateManagedPrefixList, plan.ModifyManagedPrefixList, plan.DeleteManagedPrefixList:
		return true
	}
	return false
}

func (m *Metrics) repaired(ctx context.Context) { m.drift.Add(ctx, 1) }

func (m *Metrics) tookOver(ctx context.Context, took time.Duration) {
	m.duration.Record(ctx, took.Seconds())
}

// moved notes that a route went from one state to another; it was not counted before unless known.
func (m *Metrics) moved(from, to plan.Condition, known bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if known {
		m.routes[from]--
	}
	m.routes[to]++
}

// left notes that a route in a state is no longer of interest.
func (m *Metrics) left(from plan.Condition) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.routes[from]--
}

// checked notes whether something is wrong with the gateway's interface, as a shard sees it.
func (m *Metrics) checked(shard string, amiss bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if amiss {
		m.amiss[shard] = true
	} else {
		delete(m.amiss, shard)
	}
}

// lacks notes that one more shard lacks a permission, or one less.
func (m *Metrics) lacks(p plan.Permission, more int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.lacking[p] += more; m.lacking[p] == 0 {
		delete(m.lacking, p)
	}
}
