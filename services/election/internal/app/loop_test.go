package app

import (
	"context"
	"io"
	"log/slog"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric/noop"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/hybridgateway/gateway/libs/feed"
	"github.com/hybridgateway/gateway/libs/netaddr"
	"github.com/hybridgateway/gateway/libs/telemetry"
	"github.com/hybridgateway/gateway/services/election/internal/api"
	"github.com/hybridgateway/gateway/services/election/internal/config"
	"github.com/hybridgateway/gateway/services/election/internal/term"
)

// memory is a register whose writes take some milliseconds and always succeed.
type memory struct {
	version uint64
	writes  chan term.CompareAndSwap
}

func (m *memory) CompareAndSwap(_ context.Context, c term.CompareAndSwap) (term.Result, error) {
	time.Sleep(5 * time.Millisecond) // of the bubble's time
	m.version++
	if c.Purpose != term.Renew {
		m.writes <- c
	}
	return term.Result{Write: c.Record.Write, Outcome: term.Swapped, Version: m.version}, nil
}

func (m *memory) Read(context.Context) {}

func (m *memory) Follow(ctx context.Context, _ chan<- term.Observation) error {
	<-ctx.Done()
	return ctx.Err()
}

func (m *memory) Close() {}

// traced is a loop whose spans are recorded.
type traced struct {
	*loop
	memory *memory
	spans  *tracetest.SpanRecorder
}

func newTraced(t *testing.T, id string, version uint64) *traced {
	t.Helper()
	spans := tracetest.NewSpanRecorder()
	tel := &telemetry.Telemetry{
		Log:    slog.New(slog.NewTextHandler(t.Output(), nil)),
		Tracer: sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans)).Tracer("election"),
		Meter:  noop.NewMeterProvider().Meter("election"),
	}
	c, err := config.Parse([]string{"--gateway-id=" + id}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	m, err := newMetrics(tel.Meter, id)
	if err != nil {
		t.Fatal(err)
	}
	r := &memory{version: version, writes: make(chan term.CompareAndSwap, 64)}
	x := &traced{loop: newLoop(c, c.Shards[0], tel, m, r, feed.NewLog[api.Leadership](1024)), memory: r, spans: spans}
	began := time.Now()
	x.now = func() time.Duration { return time.Hour + time.Since(began) }
	x.known = x.leadership.MarkSynced
	x.candidate.routesHealth, x.candidate.registry = nil, nil // they serve
	return x
}

// start runs the loop until the returned function is called, which waits for its end.
func (x *traced) start(t *testing.T, stop <-chan struct{}) (end func()) {
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		x.run(ctx, stop)
	}()
	return func() {
		cancel()
		<-ended
	}
}

// whole makes the gateway one that can lead.
func (x *traced) whole() {
	x.tunnels <- feed.Update[api.Tunnel]{Snapshot: map[string]api.Tunnel{
		"hybrid_vxlan0": {Ready: true, VTEP: netip.MustParseAddr("10.0.0.10"), MAC: netaddr.MAC{2, 0, 10, 0, 0, 10}},
	}}
	x.routes <- feed.Update[api.Routes]{Snapshot: map[string]api.Routes{"interface": {Interface: &api.Interface{ENI: "eni-1"}}}}
}

func (x *traced) converge(epoch uint64) {
	x.routes <- feed.Update[api.Routes]{Change: &feed.Event[api.Routes]{
		Kind: feed.Upsert, Key: "convergence/default",
		Value: api.Routes{Convergence: &api.Convergence{Shard: "default", Epoch: epoch}},
	}}
}

func (x *traced) span(t *testing.T, name string) sdktrace.ReadOnlySpan {
	t.Helper()
	for _, s := range x.spans.Ended() {
		if s.Name() == name {
			return s
		}
	}
	t.Fatalf("no span %q has ended", name)
	return nil
}

func events(s sdktrace.ReadOnlySpan) []string {
	var names []string
	for _, e := range s.Events() {
		names = append(names, e.Name)
	}
	return names
}

func attributeOf(s sdktrace.ReadOnlySpan, key string) attribute.Value {
	for _, a := range s.Attributes() {
		if string(a.Key) == key {
			return a.Value
		}
	}
	return attribute.Value{}
}

// A take-over after the holder's silence is one trace, which begins at the holder's last
// sign of life and ends when the routes are in place; leadership events are in it.
func TestTakeoverIsOneTrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newTraced(t, "gw1", 100)
		end := x.start(t, nil)
		x.whole()
		lastSign := time.Now()
		x.observations <- term.Observation{Version: 7, Present: true, Record: term.Record{
			Holder: term.Gateway{ID: "gw2"}, Epoch: 4, Incarnation: "other", Write: 9, Duration: 3 * time.Second,
		}}
		time.Sleep(3100 * time.Millisecond)
		synctest.Wait()
		l, _ := x.leadership.Get("default")
		if l.Role != term.Active || l.Epoch != 5 {
			t.Fatalf("after the lease: %+v", l)
		}
		x.converge(5)
		time.Sleep(time.Second)
		end()

		root := x.span(t, "takeover")
		if root.Parent().IsValid() || root.Status().Description != "" {
			t.Errorf("the root has parent %v and status %v", root.Parent(), root.Status())
		}
		if off := root.StartTime().Sub(lastSign); off < -time.Millisecond || off > time.Millisecond {
			t.Errorf("the trace begins %v after the last sign of life", off)
		}
		if got := events(root); len(got) != 3 || got[0] != "take-over possible" || got[1] != "leadership published" || got[2] != "converged" {
			t.Errorf("the events are %q", got)
		}
		if attributeOf(root, "cause").AsString() != "expired" || attributeOf(root, "previous_holder").AsString() != "gw2" {
			t.Errorf("the attributes are %v", root.Attributes())
		}
		writes := 0
		for _, s := range x.spans.Ended() {
			if s.Name() == "record.compare-and-swap" {
				writes++
				if s.Parent().SpanID() != root.SpanContext().SpanID() {
					t.Errorf("%v is no child of the root", s.Attributes())
				}
			}
		}
		if writes != 2 {
			t.Errorf("%d writes are traced, want the take-over and the convergence", writes)
		}
	})
}

func TestLeadershipEventsCarryTheTrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newTraced(t, "gw1", 100)
		end := x.start(t, nil)
		x.whole()
		x.observations <- term.Observation{Version: 7}
		time.Sleep(time.Second)
		synctest.Wait()
		subscription, err := x.leadership.Subscribe(t.Context(), feed.Position{})
		if err != nil {
			t.Fatal(err)
		}
		// A subscriber that comes before the routes are in place is told the trace too.
		for {
			e, err := subscription.Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if e.Kind == feed.Synced {
				break
			}
			if e.Kind == feed.Upsert && e.Trace.Parent == "" {
				t.Errorf("%+v carries no trace", e.Value)
			}
		}
		end()
		if s := x.span(t, "takeover"); s.Status().Description == "" {
			t.Error("a take-over that did not converge ends without saying so")
		}
	})
}

// A hand-over is one trace over both gateways: its context goes through the record.
func TestHandoverIsOneTrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old, next := newTraced(t, "gw1", 100), newTraced(t, "gw2", 1000)
		stop := make(chan struct{})
		endOld, endNext := old.start(t, stop), next.start(t, nil)
		old.whole()
		next.whole()
		old.observations <- term.Observation{Version: 7}
		taken := <-old.memory.writes
		old.converge(taken.Record.Epoch)
		<-old.memory.writes

		close(stop)
		released := <-old.memory.writes
		if released.Purpose != term.Release {
			t.Fatalf("wrote %v", released)
		}
		next.observations <- term.Observation{Version: 1000, Present: true, Record: released.Record}
		successor := <-next.memory.writes
		next.converge(successor.Record.Epoch)
		converged := <-next.memory.writes
		old.observations <- term.Observation{Version: 1001, Present: true, Record: successor.Record}
		old.observations <- term.Observation{Version: 1002, Present: true, Record: converged.Record}
		time.Sleep(time.Second)
		endOld()
		endNext()

		handover, takeover := old.span(t, "handover"), next.span(t, "takeover")
		if takeover.Parent().SpanID() != handover.SpanContext().SpanID() || takeover.SpanContext().TraceID() != handover.SpanContext().TraceID() {
			t.Errorf("the take-over's parent is %v, want %v", takeover.Parent(), handover.SpanContext())
		}
		if got := events(handover); len(got) != 2 || got[0] != "successor took the record" || got[1] != "successor converged" {
			t.Errorf("the events are %q", got)
		}
		if got := attributeOf(handover, "reason").AsString(); got != "the successor has converged" {
			t.Errorf("the hand-over ended because %q", got)
		}
		if got := attributeOf(takeover, "previous_holder").AsString(); got != "gw1" {
			t.Errorf("the previous holder is %q", got)
		}
	})
}

// Two operators ask for a transfer at the same time: the second is refused at once, and the answer that ends the
// first one's is the first one's.
func TestTransfersAtTheSameTime(t *testing.T) {
	first := transfer{answer: make(chan term.Transferred, 1)}
	l := &loop{asked: &first}
	second := transfer{answer: make(chan term.Transferred, 1)}
	l.transfer(t.Context(), second)
	if a := <-second.answer; !a.Refused || a.Problem != "a hand-over is under way" {
		t.Errorf("the second got %+v", a)
	}
	l.answer(term.Transferred{Epoch: 7})
	select {
	case a := <-first.answer:
		if a.Epoch != 7 {
			t.Errorf("the first got %+v", a)
		}
	default:
		t.Error("the first got no answer")
	}
}

// An operator asks for a shard that is handed over already, while another shard of this gateway still is not: that is refused at once.
func TestTransferAfterTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newTraced(t, "gw1", 100)
		x.start(t, nil)()
		if a, err := x.requestTransfer(t.Context(), ""); err != nil || !a.Refused || a.Problem != "this gateway leaves" {
			t.Errorf("got %+v, %v", a, err)
		}
	})
}
