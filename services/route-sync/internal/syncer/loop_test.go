package syncer_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/attribute"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/hybridgateway/gateway/libs/feed"
	"github.com/hybridgateway/gateway/services/route-sync/internal/plan"
	"github.com/hybridgateway/gateway/services/route-sync/internal/syncer"
)

// cloud is EC2 as the loop sees it: one answer for every call, after a while.
type cloud struct {
	latency time.Duration
	// checked says that the source/destination check is on.
	checked bool
	lists   []plan.PrefixList

	mu     sync.Mutex
	target string
	sent   []string
	// warmed are the numbers of connections that were made warm.
	warmed []int
	// stall is how long a write waits between the decision and the last moment at which it may be given up.
	stall  time.Duration
	tracer trace.Tracer
}

func (c *cloud) ReadTables(ctx context.Context, ids []string) plan.ReadResult {
	wait(ctx, c.latency)
	c.mu.Lock()
	defer c.mu.Unlock()
	tables := map[string]plan.Table{}
	for _, id := range ids {
		tables[id] = plan.Table{plan.To(destination(0)): {Kind: plan.Interface, Target: c.target}}
	}
	return plan.ReadResult{Tables: tables}
}

func (c *cloud) Owners(context.Context, []string) (map[string]plan.Owner, plan.Result) {
	return nil, plan.Result{}
}

func (c *cloud) ReadLists(context.Context, []string, []string) ([]plan.PrefixList, plan.Result) {
	time.Sleep(2 * c.latency) // the tables are read sooner
	return c.lists, plan.Result{}
}

func (c *cloud) Inspect(context.Context, string) (exists, on bool, result plan.Result) {
	return true, c.checked, plan.Result{}
}

func (c *cloud) Probe(context.Context, plan.Probe) plan.Result { return plan.Result{} }

func (c *cloud) WriteList(_ context.Context, w plan.WriteList, open func() bool) (string, plan.Result) {
	return "pl-1", c.after(w.String(), open)
}

func (c *cloud) SwitchOff(_ context.Context, w plan.SwitchOff, open func() bool) plan.Result {
	return c.after(w.String(), open)
}

// after is what happens to a call after the decision to make it.
func (c *cloud) after(call string, open func() bool) plan.Result {
	time.Sleep(c.stall) // whatever happens: not even its context wakes it
	if !open() {
		return plan.Result{Outcome: plan.Fenced}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sent = append(c.sent, call)
	return plan.Result{}
}

func (c *cloud) Warm(_ context.Context, n int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.warmed = append(c.warmed, n)
	return nil
}

func (c *cloud) Write(ctx context.Context, w plan.Write, open func() bool) plan.Result {
	ctx, span := c.tracer.Start(ctx, "call")
	defer span.End()
	if result := c.after(w.String(), open); result.Outcome == plan.Fenced {
		return result
	}
	if !wait(ctx, c.latency) {
		return plan.Result{Outcome: plan.Unknown, Detail: "abandoned"}
	}
	c.mu.Lock()
	c.target = w.Interface
	c.mu.Unlock()
	return plan.Result{}
}

func (c *cloud) calls() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.sent)
}

func wait(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

const interval = 10 * time.Second

func destination(i int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{100, byte(64 + i), 0, 0}), 16)
}

// bench is a loop in a bubble of faked time.
type bench struct {
	*testing.T
	ec2        *cloud
	spans      *tracetest.SpanRecorder
	leadership chan feed.Update[plan.Leadership]
	began      time.Time

	mu        sync.Mutex
	published map[string]syncer.Item
	traces    map[string]trace.SpanContext
}

func run(t *testing.T, ec2 *cloud, body func(*bench)) {
	runWith(t, ec2, func(*plan.Config) {}, body)
}

func runWith(t *testing.T, ec2 *cloud, change func(*plan.Config), body func(*bench)) {
	synctest.Test(t, func(t *testing.T) {
		b := &bench{
			T: t, ec2: ec2, spans: tracetest.NewSpanRecorder(), leadership: make(chan feed.Update[plan.Leadership]), began: time.Now(),
			published: map[string]syncer.Item{}, traces: map[string]trace.SpanContext{},
		}
		provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(b.spans))
		ec2.tracer = provider.Tracer("")
		metrics, err := syncer.NewMetrics(metricnoop.NewMeterProvider().Meter(""))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		c := plan.Config{
			Shard: "default", Interface: "eni-a", Tables: []string{"rtb-1", "rtb-2", "rtb-3"}, Destinations: []netip.Prefix{destination(0)},
			Gateways: []string{"eni-b"}, Interval: interval, Parallel: 2,
		}
		change(&c)
		loop := syncer.New(ctx, syncer.Config{
			Plan: c,
			EC2:  ec2, Now: b.now, Publish: b.publish, Retract: b.retract, Readable: func(string) {},
			Log: slog.New(slog.DiscardHandler), Tracer: ec2.tracer, Metrics: metrics,
		})
		done := make(chan error)
		go func() { done <- loop.Run(ctx, b.leadership) }()
		body(b)
		cancel()
		<-done
	})
}

func (b *bench) now() time.Duration { return time.Hour + time.Since(b.began) }

func (b *bench) publish(ctx context.Context, key string, item syncer.Item) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.published[key], b.traces[key] = item, trace.SpanContextFromContext(ctx)
}

func (b *bench) retract(_ context.Context, key string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.published, key)
}

func (b *bench) convergence() uint64 {
	synctest.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.published["convergence/default"].(syncer.Convergence).Epoch
}

func (b *bench) lead(epoch uint64, valid time.Duration, span trace.SpanContext) {
	l := plan.Leadership{Shard: "default", Epoch: epoch}
	if valid > 0 {
		l.Active, l.ValidUntil = true, b.now()+valid
	}
	b.leadership <- feed.Update[plan.Leadership]{
		Change: &feed.Event[plan.Leadership]{Kind: feed.Upsert, Key: "default", Value: l},
		Trace:  feed.TraceOf(trace.ContextWithSpanContext(b.Context(), span)),
	}
	synctest.Wait()
}

// One failover is one trace: leadership event, takeover, a span per call, convergence.
func TestTakeoverIsOneTrace(t *testing.T) {
	run(t, &cloud{latency: 100 * time.Millisecond, target: "eni-b"}, func(b *bench) {
		cause := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, TraceFlags: trace.FlagsSampled})
		time.Sleep(time.Second)
		b.lead(1, 0, trace.SpanContext{})
		b.lead(2, time.Hour, cause)
		time.Sleep(time.Second)
		if b.convergence() != 2 {
			t.Fatal("not converged")
		}
		var takeover sdktrace.ReadOnlySpan
		calls := 0
		for _, s := range b.spans.Ended() {
			if s.Name() == "routes.takeover" {
				takeover = s
			}
		}
		if takeover == nil || takeover.Parent().SpanID() != cause.SpanID() || takeover.SpanContext().TraceID() != cause.TraceID() {
			t.Fatalf("the takeover is %v", takeover)
		}
		// Three calls, two at once, of 100 ms each.
		if took := takeover.EndTime().Sub(takeover.StartTime()); took != 200*time.Millisecond {
			t.Errorf("it took %s", took)
		}
		if !hasAttribute(takeover, attribute.Int64("epoch", 2)) || !hasAttribute(takeover, attribute.String("shard", "default")) {
			t.Errorf("attributes: %v", takeover.Attributes())
		}
		for _, s := range b.spans.Ended() {
			if s.Name() == "call" && s.Parent().SpanID() == takeover.SpanContext().SpanID() {
				calls++
			}
		}
		if calls != 3 {
			t.Errorf("%d calls are in the trace", calls)
		}
		if got := b.traces["convergence/default"]; got.SpanID() != takeover.SpanContext().SpanID() {
			t.Errorf("the convergence is in %v", got)
		}
		if got := b.traces["route/rtb-2/100.64.0.0/16"]; got.TraceID() != cause.TraceID() {
			t.Errorf("the route's event is in %v", got)
		}
	})
}

func hasAttribute(s sdktrace.ReadOnlySpan, want attribute.KeyValue) bool {
	for _, a := range s.Attributes() {
		if a == want {
			return true
		}
	}
	return false
}

// A leader that is stalled between the decision and the call, for longer than it is valid, does not make it.
func TestStalledLeaderSendsNothing(t *testing.T) {
	run(t, &cloud{latency: 100 * time.Millisecond, target: "eni-b", stall: 3 * time.Second}, func(b *bench) {
		time.Sleep(time.Second)
		b.lead(1, 0, trace.SpanContext{})
		b.lead(2, 2*time.Second, trace.SpanContext{})
		time.Sleep(time.Minute)
		if n := b.ec2.calls(); n != 0 {
			t.Errorf("sent: %v", b.ec2.sent)
		}
		if b.convergence() != 0 {
			t.Error("converged")
		}
	})
}

// Renewals that come while a write waits keep it good.
func TestRenewalReachesWritesUnderWay(t *testing.T) {
	run(t, &cloud{latency: 100 * time.Millisecond, target: "eni-b", stall: 3 * time.Second}, func(b *bench) {
		time.Sleep(time.Second)
		b.lead(1, 0, trace.SpanContext{})
		for range 20 {
			b.lead(2, 2*time.Second, trace.SpanContext{})
			time.Sleep(500 * time.Millisecond)
		}
		if n := b.ec2.calls(); n != 3 || b.convergence() != 2 {
			t.Errorf("sent: %v, converged under %d", b.ec2.sent, b.convergence())
		}
	})
}

// Losing leadership abandons the calls under way, starts no other, and ends the takeover's span.
func TestLostLeadershipAbandonsCalls(t *testing.T) {
	run(t, &cloud{latency: time.Second, target: "eni-b"}, func(b *bench) {
		time.Sleep(2 * time.Second)
		b.lead(1, 0, trace.SpanContext{})
		b.lead(2, time.Hour, trace.SpanContext{})
		time.Sleep(100 * time.Millisecond)
		b.lead(3, 0, trace.SpanContext{})
		if n := b.ec2.calls(); n != 2 {
			t.Errorf("sent: %v", b.ec2.sent)
		}
		time.Sleep(time.Minute)
		b.ec2.mu.Lock()
		defer b.ec2.mu.Unlock()
		if len(b.ec2.sent) != 2 || b.ec2.target != "eni-b" {
			t.Errorf("sent: %v", b.ec2.sent)
		}
		for _, s := range b.spans.Ended() {
			if s.Name() == "routes.takeover" {
				if s.Status().Description != "leadership was lost" {
					t.Errorf("the takeover ended with %v", s.Status())
				}
				return
			}
		}
		t.Error("the takeover's span is still open")
	})
}

// A gateway that stands by has as many connections ready as its takeover can use, as soon as it knows how many.
func TestConnectionsAreWarmInStandby(t *testing.T) {
	list := plan.PrefixList{ID: "pl-1", Name: "pods-ipv4", Version: 1, Entries: []netip.Prefix{destination(0)}, Max: 1, Tagged: true}
	for name, managed := range map[string]string{"routes": "", "routes to a list": "pods"} {
		t.Run(name, func(t *testing.T) {
			change := func(c *plan.Config) { c.Lists.Managed = managed }
			runWith(t, &cloud{latency: 100 * time.Millisecond, target: "eni-b", lists: []plan.PrefixList{list}}, change, func(b *bench) {
				b.lead(1, 0, trace.SpanContext{})
				time.Sleep(time.Second)
				warmed := func(want ...int) {
					t.Helper()
					synctest.Wait()
					b.ec2.mu.Lock()
					defer b.ec2.mu.Unlock()
					if !slices.Equal(b.ec2.warmed, want) {
						t.Errorf("connections were made warm: %d, want %d", b.ec2.warmed, want)
					}
				}
				warmed(2)
				time.Sleep(interval)
				warmed(2, 2)
				b.lead(2, time.Hour, trace.SpanContext{})
				time.Sleep(time.Minute)
				warmed(2, 2)
			})
		})
	}
}

// Election that forgot everything stops writes as well.
func TestEmptySnapshotStopsWrites(t *testing.T) {
	run(t, &cloud{latency: time.Second, target: "eni-b"}, func(b *bench) {
		time.Sleep(2 * time.Second)
		b.lead(1, 0, trace.SpanContext{})
		b.lead(2, time.Hour, trace.SpanContext{})
		b.leadership <- feed.Update[plan.Leadership]{Lost: fmt.Errorf("gone")}
		synctest.Wait()
		b.leadership <- feed.Update[plan.Leadership]{Snapshot: map[string]plan.Leadership{}}
		time.Sleep(time.Minute)
		if n := b.ec2.calls(); n != 2 {
			t.Errorf("sent: %v", b.ec2.sent)
		}
	})
}

// The same goes for what is not a route: lists and the check of the gateway's own interface.
func TestStalledLeaderChangesNothingElse(t *testing.T) {
	change := func(c *plan.Config) { c.Lists.Managed, c.ManageCheck = "pods", true }
	for name, stall := range map[string]time.Duration{"stalled": 3 * time.Second, "in time": time.Second} {
		t.Run(name, func(t *testing.T) {
			runWith(t, &cloud{latency: 100 * time.Millisecond, target: "eni-b", stall: stall, checked: true}, change, func(b *bench) {
				time.Sleep(time.Second)
				b.lead(1, 0, trace.SpanContext{})
				b.lead(2, 2*time.Second, trace.SpanContext{})
				time.Sleep(time.Minute)
				b.ec2.mu.Lock()
				defer b.ec2.mu.Unlock()
				lists, checks := 0, 0
				for _, call := range b.ec2.sent {
					if strings.HasPrefix(call, "create list") {
						lists++
					}
					if strings.HasPrefix(call, "switch off") {
						checks++
					}
				}
				if sent := lists > 0 && checks > 0; sent != (name == "in time") || name == "stalled" && len(b.ec2.sent) > 0 {
					t.Errorf("sent: %v", b.ec2.sent)
				}
			})
		})
	}
}

// While the stream from election is down nothing is begun, however long the validity lasts.
func TestLostStreamStopsWrites(t *testing.T) {
	run(t, &cloud{latency: time.Second, target: "eni-b"}, func(b *bench) {
		time.Sleep(2 * time.Second)
		b.lead(1, 0, trace.SpanContext{})
		b.lead(2, time.Hour, trace.SpanContext{})
		b.leadership <- feed.Update[plan.Leadership]{Lost: fmt.Errorf("gone")}
		time.Sleep(time.Minute)
		if n := b.ec2.calls(); n != 2 {
			t.Errorf("sent: %v", b.ec2.sent)
		}
		b.lead(2, time.Hour, trace.SpanContext{})
		time.Sleep(time.Minute)
		if b.convergence() != 2 {
			t.Error("it does not go on once the stream is back")
		}
	})
}
