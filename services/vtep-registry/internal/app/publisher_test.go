package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/metric/noop"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/hybridgateway/gateway/libs/feed"
	"github.com/hybridgateway/gateway/libs/netaddr"
	"github.com/hybridgateway/gateway/services/vtep-registry/internal/api"
	"github.com/hybridgateway/gateway/services/vtep-registry/internal/cilium"
	"github.com/hybridgateway/gateway/services/vtep-registry/internal/publish"
	"github.com/hybridgateway/gateway/services/vtep-registry/internal/registry"
)

// apiServer is a CiliumVTEPConfig with a version, which calls may find away.
type apiServer struct {
	mu      sync.Mutex
	object  *publish.Object
	version int
	away    bool
	slow    time.Duration
	calls   int
	hold    chan struct{} // when not nil, answers to writes wait until it is closed
}

func (a *apiServer) Write(ctx context.Context, t cilium.Target, d publish.Decision) (publish.Object, error) {
	o, err := a.write(ctx, t.Key(), d)
	if a.hold != nil {
		<-a.hold
	}
	return o, err
}

func (a *apiServer) write(ctx context.Context, name string, d publish.Decision) (publish.Object, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.calls++
	select {
	case <-ctx.Done():
		return publish.Object{}, ctx.Err()
	case <-time.After(a.slow):
	}
	switch {
	case a.away:
		return publish.Object{}, errors.New("connection refused")
	case (d.Verdict == publish.Create) != (a.object == nil), a.object != nil && a.object.Version != d.Version:
		return publish.Object{}, cilium.ErrStale
	}
	a.put(publish.Object{Name: name, Epoch: strconv.FormatUint(d.Content.Epoch, 10), Gateway: d.Content.Gateway, Endpoints: d.Content.Endpoints})
	return *a.object, nil
}

func (a *apiServer) put(o publish.Object) {
	a.version++
	o.Version = strconv.Itoa(a.version)
	a.object = &o
}

func (a *apiServer) Read(context.Context, cilium.Target) (*publish.Object, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.away {
		return nil, errors.New("connection refused")
	}
	return a.object, nil
}

func (a *apiServer) set(change func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	change()
}

// bench is a loop and a writer with a faked API server and a faked clock (synctest's).
type bench struct {
	t     *testing.T
	loop  *loop
	api   *apiServer
	spans *tracetest.SpanRecorder
	birth time.Time
}

func (b *bench) now() time.Duration { return time.Since(b.birth) }

// inBubble runs a test in a synctest bubble, with an empty API server that was listed.
func inBubble(t *testing.T, test func(*bench)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := &bench{t: t, api: &apiServer{version: 10}, spans: tracetest.NewSpanRecorder(), birth: time.Now().Add(-time.Hour)}
		m, err := newMetrics(noop.Meter{})
		if err != nil {
			t.Fatal(err)
		}
		log := slog.New(slog.NewTextHandler(io.Discard, nil))
		tracer := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(b.spans)).Tracer("test")
		b.loop = &loop{
			nodes: make(chan cilium.Event[registry.Node], queue), configs: make(chan cilium.Event[publish.Object], queue),
			leadership: make(chan feed.Update[api.Leadership], queue), results: make(chan result), calls: make(chan func(context.Context)),
			registry: registry.New(registry.Scope{}), vteps: feed.NewLog[registry.VTEP](8),
			publisher: &publisher{shard: "default", vpc: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/16")},
				now: b.now, requests: make(chan request, 1), progress: publish.NewProgress(), log: log, tracer: tracer, metrics: m},
			known: map[registry.Source]bool{}, keeper: &keeper{}, ready: newReadiness(log, m, func(bool) {}, false), log: log, tracer: tracer, metrics: m,
		}
		w := &writer{configs: b.api, now: b.now, requests: b.loop.publisher.requests, results: b.loop.results, tracer: tracer, metrics: m}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { _ = b.loop.run(ctx) })
		wg.Go(func() { _ = w.run(ctx) })
		defer wg.Wait()
		defer cancel()
		b.loop.configs <- cilium.Event[publish.Object]{Whole: true, Dialect: cilium.Dialect{Version: "v2", Form: cilium.Named}}
		test(b)
	})
}

func (b *bench) active(epoch uint64, valid time.Duration) api.Leadership {
	return api.Leadership{ValidUntil: b.now() + valid, Holder: publish.Leadership{Epoch: epoch, Active: true, Gateway: "gw-a",
		VTEP: netip.MustParseAddr("10.0.1.10"), MAC: netaddr.MAC{2, 0x68, 10, 0, 1, 10}}}
}

func (b *bench) lead(l api.Leadership, cause feed.Trace) {
	e := feed.Event[api.Leadership]{Kind: feed.Upsert, Key: "default", Value: l, Trace: cause}
	b.loop.leadership <- feed.Update[api.Leadership]{Change: &e, Trace: cause}
}

func (b *bench) watched(o publish.Object) {
	b.loop.configs <- cilium.Event[publish.Object]{Name: o.Name, Value: o}
}

// after lets time pass and checks what the API server then has.
func (b *bench) after(d time.Duration, want string, calls int) {
	b.t.Helper()
	time.Sleep(d)
	synctest.Wait()
	b.api.set(func() {
		got := "none"
		if o := b.api.object; o != nil {
			got = fmt.Sprintf("%s %s", o.Epoch, o.Gateway)
		}
		if got != want || b.api.calls != calls {
			b.t.Errorf("the API server has %q after %d calls, want %q after %d", got, b.api.calls, want, calls)
		}
	})
}

func TestWritesOnlyWhileValid(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.after(time.Minute, "none", 0)
		l := b.active(3, time.Second)
		l.Holder.Active = false
		b.lead(l, feed.Trace{})
		b.after(time.Millisecond, "none", 0)
		b.lead(b.active(3, 0), feed.Trace{})
		b.after(time.Millisecond, "none", 0)
		b.api.set(func() { b.api.away = true })
		b.lead(b.active(3, time.Second), feed.Trace{})
		b.after(time.Millisecond, "none", 1)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		b.api.set(func() {
			if b.api.calls > 10 {
				t.Errorf("%d calls, some of them after the validity", b.api.calls)
			}
			b.api.away, b.api.calls = false, 0
		})
		b.after(time.Minute, "none", 0)
		b.lead(b.active(3, time.Second), feed.Trace{})
		b.after(time.Millisecond, "3 gw-a", 1)
	})
}

func TestCallEndsWithTheValidity(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.api.set(func() { b.api.slow = 900 * time.Millisecond })
		b.lead(b.active(3, 500*time.Millisecond), feed.Trace{})
		b.after(10*time.Second, "none", 1)
		b.lead(b.active(3, 2*time.Second), feed.Trace{})
		b.after(time.Second, "3 gw-a", 2)
	})
}

func TestRetriesUntilItSucceeds(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.api.set(func() { b.api.away = true })
		b.lead(b.active(3, time.Hour), feed.Trace{})
		time.Sleep(time.Minute)
		b.api.set(func() {
			if b.api.calls < 40 || b.api.calls > 150 {
				t.Errorf("%d calls in a minute", b.api.calls)
			}
			b.api.away, b.api.calls = false, 0
		})
		b.after(2*time.Second, "3 gw-a", 1)
	})
}

func TestAnotherWriterInTheWay(t *testing.T) {
	inBubble(t, func(b *bench) {
		// It exists, but the watch has not said so.
		b.api.set(func() { b.api.put(publish.Object{Name: "hybrid-gateway", Epoch: "2", Gateway: "gw-b"}) })
		b.lead(b.active(3, time.Hour), feed.Trace{})
		b.after(time.Second, "3 gw-a", 2)
		// It is of a newer epoch, but the watch has not said so.
		b.api.set(func() { b.api.put(publish.Object{Name: "hybrid-gateway", Epoch: "5", Gateway: "gw-b"}) })
		b.lead(b.active(4, time.Hour), feed.Trace{})
		b.after(time.Minute, "5 gw-b", 3)
		// It was deleted, but the watch has not said so.
		b.api.set(func() { b.api.object = nil })
		b.lead(b.active(6, time.Hour), feed.Trace{})
		b.after(time.Second, "6 gw-a", 5)
	})
}

// The watch may say what was before our own write only after the write's answer.
func TestLateWatchEventIsIgnored(t *testing.T) {
	inBubble(t, func(b *bench) {
		old := publish.Object{Name: "hybrid-gateway", Epoch: "2", Gateway: "gw-b", Version: "9"}
		b.lead(b.active(3, time.Hour), feed.Trace{})
		b.after(time.Second, "3 gw-a", 1)
		b.watched(old)
		b.loop.configs <- cilium.Event[publish.Object]{Name: old.Name, Value: old, Deleted: true}
		b.after(time.Minute, "3 gw-a", 1)
	})
}

// The watch may as well say what happened after our own write before the write's answer.
func TestAnswerAfterTheWatchIsIgnored(t *testing.T) {
	for _, deleted := range []bool{false, true} {
		inBubble(t, func(b *bench) {
			b.api.set(func() { b.api.hold = make(chan struct{}) })
			b.lead(b.active(3, time.Hour), feed.Trace{})
			synctest.Wait() // the write is done, its answer is on the way
			b.api.set(func() {
				b.api.put(publish.Object{Name: "hybrid-gateway", Epoch: "3", Gateway: "x"})
				o := *b.api.object
				if deleted {
					b.api.object = nil
				}
				b.loop.configs <- cilium.Event[publish.Object]{Name: o.Name, Value: o, Deleted: deleted}
			})
			synctest.Wait()
			close(b.api.hold)
			b.after(time.Second, "3 gw-a", 2)
		})
	}
}

// Somebody changes the object each time we repair it.
func TestRepairsAreBounded(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.lead(b.active(3, time.Hour), feed.Trace{})
		b.after(time.Second, "3 gw-a", 1)
		for range 1000 { // ten seconds
			b.api.set(func() {
				if b.api.object.Gateway == "gw-a" {
					b.api.put(publish.Object{Name: "hybrid-gateway", Epoch: "3", Gateway: "x"})
					b.watched(*b.api.object)
				}
			})
			time.Sleep(10 * time.Millisecond)
		}
		b.api.set(func() {
			if b.api.calls < 10 || b.api.calls > 50 {
				t.Errorf("%d writes in ten seconds", b.api.calls)
			}
		})
	})
}

func TestOlderEpochIsDropped(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.lead(b.active(3, time.Hour), feed.Trace{})
		b.after(time.Second, "3 gw-a", 1)
		b.lead(b.active(2, time.Hour), feed.Trace{})
		b.after(time.Second, "3 gw-a", 1)
		b.loop.leadership <- feed.Update[api.Leadership]{Lost: errors.New("away")}
		b.api.set(func() {
			b.api.put(publish.Object{Name: "hybrid-gateway", Epoch: "3", Gateway: "x"})
			b.watched(*b.api.object)
		})
		b.after(time.Second, "3 gw-a", 2) // a lost stream ends nothing
		b.loop.leadership <- feed.Update[api.Leadership]{Snapshot: map[string]api.Leadership{}}
		b.api.set(func() {
			b.api.put(publish.Object{Name: "hybrid-gateway", Epoch: "3", Gateway: "x"})
			b.watched(*b.api.object)
		})
		b.after(time.Second, "3 x", 2)
	})
}

// The first write under an epoch belongs to the trace of the change of leaders; a later
// repair has a trace of its own.
func TestPublishIsPartOfTheTakeoversTrace(t *testing.T) {
	inBubble(t, func(b *bench) {
		cause := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{7}, SpanID: trace.SpanID{8}, TraceFlags: trace.FlagsSampled})
		b.lead(b.active(3, time.Hour), feed.TraceOf(trace.ContextWithSpanContext(t.Context(), cause)))
		b.lead(b.active(3, time.Hour), feed.Trace{}) // a renewal
		b.after(time.Second, "3 gw-a", 1)
		b.api.set(func() {
			b.api.put(publish.Object{Name: "hybrid-gateway", Epoch: "3", Gateway: "x"})
			b.watched(*b.api.object)
		})
		b.after(time.Second, "3 gw-a", 2)
		var published []sdktrace.ReadOnlySpan
		for _, s := range b.spans.Ended() {
			if s.Name() == "vtep.publish" {
				published = append(published, s)
			}
		}
		if len(published) != 2 || published[0].Parent().SpanID() != cause.SpanID() || published[1].Parent().IsValid() {
			t.Fatalf("got %v", published)
		}
		attributes := map[string]string{}
		for _, a := range published[0].Attributes() {
			attributes[string(a.Key)] = a.Value.String()
		}
		if attributes["epoch"] != "3" || attributes["endpoints"] != "1" || attributes["outcome"] != "ok" {
			t.Errorf("got %v", attributes)
		}
	})
}

// What Cilium has taken is a part of the takeover's trace, whether it is told before or
// after the answer to the write.
func TestTakenIsPartOfTheTakeoversTrace(t *testing.T) {
	for _, before := range []bool{false, true} {
		inBubble(t, func(b *bench) {
			old := publish.Object{Name: "hybrid-gateway", Epoch: "2", Gateway: "gw-b", Reports: []publish.Report{{Endpoint: "vpc-gateway", Synced: true, Time: "12:00:00"}}}
			b.api.set(func() { b.api.put(old); old = *b.api.object; b.watched(old) })
			synctest.Wait()
			if before {
				b.api.set(func() { b.api.hold = make(chan struct{}) })
			}
			cause := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{7}, SpanID: trace.SpanID{8}, TraceFlags: trace.FlagsSampled})
			b.lead(b.active(3, time.Hour), feed.TraceOf(trace.ContextWithSpanContext(t.Context(), cause)))
			time.Sleep(40 * time.Millisecond)
			synctest.Wait()
			b.api.set(func() {
				o := *b.api.object
				o.Reports = []publish.Report{{Endpoint: "vpc-gateway", Synced: true, Time: "12:00:07"}}
				b.api.put(o)
				b.watched(*b.api.object)
			})
			synctest.Wait()
			if before {
				close(b.api.hold)
				synctest.Wait()
			}
			var taken []sdktrace.ReadOnlySpan
			for _, s := range b.spans.Ended() {
				if s.Name() == "vtep.taken" {
					taken = append(taken, s)
				}
			}
			if len(taken) != 1 || taken[0].Parent().SpanID() != cause.SpanID() || taken[0].EndTime().Sub(taken[0].StartTime()) != 40*time.Millisecond {
				t.Fatalf("told before the answer: %v: got %v", before, taken)
			}
		})
	}
}
