package tunnel

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	metricnoop "go.opentelemetry.io/otel/metric/noop"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/hybridgateway/gateway/libs/feed"
	"github.com/hybridgateway/gateway/libs/netaddr"
	"github.com/hybridgateway/gateway/services/dataplane/internal/plan"
)

var local = netip.MustParseAddr("10.0.1.10")

// fakeKernel is a kernel as package plan pictures it. Tests look at it and change it in do.
type fakeKernel struct {
	mu       sync.Mutex
	actual   plan.Actual
	dumps    int
	dumpErr  error
	refuse   func(plan.Op) error
	counters plan.Counters
}

func (k *fakeKernel) do(f func()) {
	synctest.Wait()
	k.mu.Lock()
	defer k.mu.Unlock()
	f()
}

func newFakeKernel() *fakeKernel {
	return &fakeKernel{actual: plan.Actual{Host: plan.Host{NIC: &plan.NIC{Name: "eth0", MTU: 9001, Forwarding: true}, Forwarding: true}}}
}

func (k *fakeKernel) Dump() (plan.Actual, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.dumps++
	return k.actual.Clone(), k.dumpErr
}

func (k *fakeKernel) Apply(ops []plan.Op) (failures []plan.Failure) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, op := range ops {
		if k.refuse != nil {
			if err := k.refuse(op); err != nil {
				failures = append(failures, plan.Failure{Op: op, Err: err})
				continue
			}
		}
		k.actual.Apply(op)
	}
	return failures
}

func (k *fakeKernel) Counters() (plan.Counters, bool, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.counters, k.actual.Link != nil, nil
}

// routes lists our routes as "network via address".
func (k *fakeKernel) routes() string {
	var out []string
	k.do(func() { out = k.routeList() })
	return strings.Join(out, ", ")
}

func (k *fakeKernel) routeList() (out []string) {
	for dst, routes := range k.actual.Routes {
		for _, r := range routes {
			if r.Ours() {
				out = append(out, dst.String()+" via "+r.Via.String())
			}
		}
	}
	slices.Sort(out)
	return out
}

// bench is a running loop with everything around it, in a synctest bubble.
type bench struct {
	*fakeKernel
	updates chan feed.Update[Item]
	changes chan plan.Change
	states  []State
	traces  []feed.Trace
	spans   *tracetest.SpanRecorder
	logs    *strings.Builder
}

func start(t *testing.T, k *fakeKernel) *bench {
	t.Helper()
	b := &bench{fakeKernel: k, updates: make(chan feed.Update[Item], 64), changes: make(chan plan.Change, 64),
		spans: tracetest.NewSpanRecorder(), logs: &strings.Builder{}}
	metrics, err := NewMetrics(metricnoop.Meter{}, k.Counters, func() (map[string]uint64, error) { return nil, nil })
	if err != nil {
		t.Fatal(err)
	}
	loop := NewLoop(Config{
		Device: plan.Device{Name: "hybrid_vxlan0", VNI: 2, Port: 8472, Local: local, MAC: netaddr.VTEPMAC(local)},
		Source: local, Kernel: k,
		Publish: func(ctx context.Context, s State) {
			k.mu.Lock()
			defer k.mu.Unlock()
			b.states, b.traces = append(b.states, s), append(b.traces, feed.TraceOf(ctx))
		},
		Log:     slog.New(slog.NewTextHandler(b.logs, nil)),
		Tracer:  sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(b.spans)).Tracer("test"),
		Metrics: metrics,
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- loop.Run(ctx, b.updates, b.changes) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("the loop ended with %v", err)
		}
	})
	synctest.Wait()
	return b
}

func (b *bench) last() (s State) {
	b.do(func() { s = b.states[len(b.states)-1] })
	return s
}

func (b *bench) dumpCount() (n int) {
	b.do(func() { n = b.dumps })
	return n
}

func item(node, underlay string, cidrs ...string) Item {
	v := plan.VTEP{Node: node, Underlay: netip.MustParseAddr(underlay)}
	for _, c := range cidrs {
		v.PodCIDRs = append(v.PodCIDRs, netip.MustParsePrefix(c))
	}
	return Item{VTEP: v, Admitted: true}
}

func (b *bench) snapshot(items ...Item) {
	m := map[string]Item{}
	for _, i := range items {
		m[i.VTEP.Node] = i
	}
	b.send(feed.Update[Item]{Snapshot: m})
}

func (b *bench) upsert(i Item) {
	b.send(feed.Update[Item]{Change: &feed.Event[Item]{Kind: feed.Upsert, Key: i.VTEP.Node, Value: i}})
}

func (b *bench) remove(node string) {
	b.send(feed.Update[Item]{Change: &feed.Event[Item]{Kind: feed.Delete, Key: node}})
}

func (b *bench) send(u feed.Update[Item]) {
	b.updates <- u
	synctest.Wait()
}

func within(t *testing.T, b *bench, d time.Duration, what string, ok func() bool) {
	t.Helper()
	for start := time.Now(); ; {
		synctest.Wait()
		if ok() {
			return
		}
		if time.Since(start) >= d {
			t.Fatalf("not within %v: %s\nroutes %s\nlogs %s", d, what, b.routes(), b.logs)
		}
		time.Sleep(10 * time.Millisecond) // fake time
	}
}

func TestLifeOfATunnel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newFakeKernel()
		b := start(t, k)
		if k.actual.Link == nil || !k.actual.Link.Up || b.last().Ready || !strings.Contains(b.last().Reason, "vtep-registry") {
			t.Fatalf("before the first snapshot the device is there and the tunnel is not ready: %+v", b.last())
		}
		b.snapshot(item("a", "192.168.1.11", "100.64.1.0/24"), Item{VTEP: plan.VTEP{Node: "q"}})
		if s := b.last(); !s.Ready || s.VTEPs != 1 || s.Routes != 1 || s.MTU != 1450 || s.MAC != netaddr.VTEPMAC(local) {
			t.Fatalf("after the snapshot: %+v", s)
		}
		b.upsert(item("b", "192.168.1.12", "100.64.2.0/24"))
		if got := b.routes(); got != "100.64.1.0/24 via 192.168.1.11, 100.64.2.0/24 via 192.168.1.12" {
			t.Fatal(got)
		}
		b.remove("a")
		b.upsert(Item{VTEP: plan.VTEP{Node: "b"}}) // quarantined
		if b.routes() != "" || len(k.actual.FDB) > 0 || len(k.actual.Neighbours) > 0 || !b.last().Ready {
			t.Fatalf("left behind: %+v", k.actual)
		}
	})
}

func TestAnEventCostsNoDump(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, newFakeKernel())
		b.snapshot()
		time.Sleep(time.Second)
		synctest.Wait()
		before := b.dumpCount()
		for i := range 50 {
			b.upsert(item(fmt.Sprint("n", i), fmt.Sprintf("192.168.1.%d", 10+i), fmt.Sprintf("100.64.%d.0/24", i)))
		}
		if b.dumpCount() != before || b.last().Routes != 50 {
			t.Errorf("%d dumps for 50 events, %d routes", b.dumpCount()-before, b.last().Routes)
		}
	})
}

// TestBurst: more updates than fit into the queue come faster than they are taken; each counts.
func TestBurst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, newFakeKernel())
		b.snapshot()
		const n = 5000
		for i := range n {
			node := fmt.Sprint("n", i)
			b.updates <- feed.Update[Item]{Change: &feed.Event[Item]{Kind: feed.Upsert, Key: node,
				Value: item(node, fmt.Sprintf("192.168.%d.%d", i/250, 1+i%250), fmt.Sprintf("100.%d.%d.0/24", 64+i/250, i%250))}}
		}
		if s := b.last(); s.VTEPs != n || s.Routes != n {
			t.Errorf("%d VTEPs, %d routes, want %d", s.VTEPs, s.Routes, n)
		}
	})
}

func TestLostStreamChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, newFakeKernel())
		b.snapshot(item("a", "192.168.1.11", "100.64.1.0/24"), item("b", "192.168.1.12", "100.64.2.0/24"))
		b.send(feed.Update[Item]{Lost: errors.New("gone")})
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if !b.last().Ready || b.last().Routes != 2 {
			t.Fatalf("got %+v", b.last())
		}
		b.send(feed.Update[Item]{Connected: true})
		b.snapshot(item("b", "192.168.1.12", "100.64.2.0/24")) // the registry started anew: this is the whole truth
		if got := b.routes(); got != "100.64.2.0/24 via 192.168.1.12" {
			t.Fatal(got)
		}
	})
}

// TestRestart: what an earlier process programmed stays until the snapshot says otherwise.
func TestRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newFakeKernel()
		earlier := []plan.VTEP{item("a", "192.168.1.11", "100.64.1.0/24").VTEP, item("b", "192.168.1.12", "100.64.2.0/24").VTEP}
		device := plan.Device{Name: "hybrid_vxlan0", VNI: 2, Port: 8472, Local: local, MAC: netaddr.VTEPMAC(local)}
		k.Apply(plan.Plan(plan.Desired{Device: device, Source: local, VTEPs: earlier, Complete: true}, k.actual).Ops)
		b := start(t, k)
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if got := b.routes(); got != "100.64.1.0/24 via 192.168.1.11, 100.64.2.0/24 via 192.168.1.12" || b.last().Ready {
			t.Fatalf("before the snapshot: %s, ready %v", got, b.last().Ready)
		}
		b.snapshot(item("b", "192.168.1.12", "100.64.2.0/24"))
		if got := b.routes(); got != "100.64.2.0/24 via 192.168.1.12" || !b.last().Ready {
			t.Fatalf("after the snapshot: %s, ready %v", got, b.last().Ready)
		}
	})
}

func TestForeignHands(t *testing.T) {
	a := item("a", "192.168.1.11", "100.64.1.0/24")
	synctest.Test(t, func(t *testing.T) {
		k := newFakeKernel()
		b := start(t, k)
		b.snapshot(a)
		time.Sleep(time.Second)
		synctest.Wait()
		route := k.actual.Routes[a.VTEP.PodCIDRs[0]][0]
		k.do(func() { k.actual.Apply(plan.DeleteRoute{Route: route}) })
		b.changes <- plan.Change{Kind: plan.ChangeRoute, Gone: true, Route: route}
		within(t, b, time.Second, "a reported change is repaired", func() bool { return b.routes() != "" })

		k.do(func() { k.actual.Apply(plan.DeleteNeighbour{Addr: a.VTEP.Underlay}) })
		within(t, b, time.Minute, "a change that nobody reported is repaired", func() (ok bool) {
			k.do(func() { ok = len(k.actual.Neighbours) == 1 })
			return ok
		})

		// A program that removes the route again each time it sees it: bounded cost, and no damage to the others.
		before := b.dumpCount()
		for range 1000 {
			k.do(func() { k.actual.Apply(plan.DeleteRoute{Route: route}) })
			b.changes <- plan.Change{Kind: plan.ChangeRoute, Gone: true, Route: route}
			time.Sleep(time.Millisecond)
			synctest.Wait()
		}
		if n := b.dumpCount() - before; n > 12 {
			t.Errorf("%d dumps in a second", n)
		}
	})
}

func TestFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newFakeKernel()
		bad := netip.MustParsePrefix("100.64.1.0/24")
		k.refuse = func(op plan.Op) error {
			if r, ok := op.(plan.AddRoute); ok && r.Route.Dst == bad {
				return errors.New("no")
			}
			return nil
		}
		b := start(t, k)
		b.snapshot(item("a", "192.168.1.11", "100.64.1.0/24"), item("b", "192.168.1.12", "100.64.2.0/24"))
		if s := b.last(); !s.Ready || s.Routes != 1 || len(s.Problems) != 1 || !strings.Contains(s.Problems[0], "route add 100.64.1.0/24") {
			t.Fatalf("one VTEP that fails must not stop the others: %+v", s)
		}
		before := b.dumpCount()
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := b.dumpCount() - before; n < 5 || n > 40 {
			t.Errorf("%d attempts in a minute, want a few, with back-off", n)
		}
		if n := strings.Count(b.logs.String(), "problem found"); n != 1 {
			t.Errorf("the problem was logged %d times", n)
		}
		k.do(func() { k.refuse = nil })
		within(t, b, time.Minute, "it is tried again", func() bool { return b.last().Routes == 2 && len(b.last().Problems) == 0 })
	})
}

func TestDeviceFailureIsNotReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newFakeKernel()
		k.refuse = func(op plan.Op) error {
			if _, ok := op.(plan.SetUp); ok {
				return errors.New("the UDP port is in use")
			}
			return nil
		}
		b := start(t, k)
		b.snapshot()
		if s := b.last(); s.Ready || !strings.Contains(s.Reason, "the UDP port is in use") {
			t.Fatalf("got %+v", s)
		}
		k.do(func() { k.refuse = nil })
		within(t, b, 15*time.Second, "ready when it works", func() bool { return b.last().Ready })
	})
}

func TestBlockedAndFreed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newFakeKernel()
		b := start(t, k)
		b.snapshot(item("a", "192.168.1.11", "100.64.1.0/24"))
		time.Sleep(time.Second)
		var nic *plan.NIC
		k.do(func() { nic, k.actual.Host.NIC = k.actual.Host.NIC, nil })
		b.changes <- plan.Change{Kind: plan.ChangeHost, Gone: true, Addr: local}
		within(t, b, time.Second, "not ready", func() bool { return !b.last().Ready && strings.Contains(b.last().Reason, "--node-ip") })
		if b.routes() == "" {
			t.Error("what is there must stay")
		}
		k.do(func() { k.actual.Host.NIC = nic })
		b.changes <- plan.Change{Kind: plan.ChangeHost, Addr: local}
		within(t, b, time.Second, "ready", func() bool { return b.last().Ready })
	})
}

func TestUnreadableKernel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newFakeKernel()
		b := start(t, k)
		b.snapshot(item("a", "192.168.1.11", "100.64.1.0/24"))
		time.Sleep(time.Second)
		k.do(func() { k.dumpErr = errors.New("interrupted") })
		b.changes <- plan.Change{Kind: plan.ChangeLost}
		within(t, b, time.Second, "a first failure", func() bool { return strings.Contains(b.logs.String(), "could not be read") })
		if !b.last().Ready {
			t.Error("one failure must not make it unready")
		}
		within(t, b, time.Minute, "not ready", func() bool { return !b.last().Ready })
		k.do(func() { k.dumpErr = nil })
		within(t, b, time.Minute, "ready again", func() bool { return b.last().Ready })
	})
}

func TestCountersAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newFakeKernel()
		b := start(t, k)
		b.snapshot()
		time.Sleep(5 * time.Second)
		synctest.Wait()
		n := len(b.states)
		k.do(func() { k.counters.RxPackets = 7 })
		within(t, b, 5*time.Second, "told", func() bool { return b.last().Counters.RxPackets == 7 })
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := len(b.states); got != n+1 {
			t.Errorf("%d states published for one change", got-n)
		}
	})
}

func TestTraceGoesThrough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := start(t, newFakeKernel())
		b.snapshot()
		const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
		i := item("a", "192.168.1.11", "100.64.1.0/24")
		b.send(feed.Update[Item]{Change: &feed.Event[Item]{Kind: feed.Upsert, Key: "a", Value: i}, Trace: feed.Trace{Parent: parent}})
		spans := b.spans.Ended()
		span := spans[len(spans)-1]
		if span.Name() != "tunnel.apply" || span.Parent().SpanID().String() != "b7ad6b7169203331" {
			t.Errorf("span %s has parent %s", span.Name(), span.Parent().SpanID())
		}
		told := trace.SpanContextFromContext(b.traces[len(b.traces)-1].Context(t.Context()))
		if told.SpanID() != span.SpanContext().SpanID() {
			t.Errorf("the state carries span %s, want %s", told.SpanID(), span.SpanContext().SpanID())
		}
	})
}

// TestRememberedList: what an earlier dataplane programmed stays while the registry only remembers its list, however long the API
// server is away; what is on the list is programmed, and what has really gone goes once the list is confirmed.
func TestRememberedList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newFakeKernel()
		device := plan.Device{Name: "hybrid_vxlan0", VNI: 2, Port: 8472, Local: local, MAC: netaddr.VTEPMAC(local)}
		earlier := []plan.VTEP{item("came-since", "192.168.1.11", "100.64.1.0/24").VTEP, item("gone", "192.168.1.12", "100.64.2.0/24").VTEP}
		k.Apply(plan.Plan(plan.Desired{Device: device, Source: local, VTEPs: earlier, Complete: true}, k.actual).Ops)
		stale := func(i Item) Item { i.Stale = true; return i }
		known := item("known", "192.168.1.13", "100.64.3.0/24")
		b := start(t, k)
		b.snapshot(stale(known), stale(item("renumbered", "192.168.1.14", "100.64.4.0/24")))
		time.Sleep(time.Hour)
		synctest.Wait()
		all := "100.64.1.0/24 via 192.168.1.11, 100.64.2.0/24 via 192.168.1.12, 100.64.3.0/24 via 192.168.1.13, 100.64.4.0/24 via "
		if got := b.routes(); got != all+"192.168.1.14" || !b.last().Ready || len(b.last().Problems) != 1 {
			t.Fatalf("while the API server is away: %s, state %+v", got, b.last())
		}
		// The API server answers; the registry tells of it in an order that has the last remembered item before the new one.
		b.upsert(item("renumbered", "192.168.1.15", "100.64.4.0/24"))
		b.upsert(known)
		if got := b.routes(); got != all+"192.168.1.15" {
			t.Fatalf("while the list settles: %s", got)
		}
		b.upsert(item("came-since", "192.168.1.11", "100.64.1.0/24"))
		within(t, b, 2*time.Second, "what has gone is removed", func() bool {
			return b.routes() == "100.64.1.0/24 via 192.168.1.11, 100.64.3.0/24 via 192.168.1.13, 100.64.4.0/24 via 192.168.1.15"
		})
		if len(k.actual.FDB) != 3 || len(k.actual.Neighbours) != 3 || !b.last().Ready || len(b.last().Problems) != 0 {
			t.Errorf("afterwards: %+v, state %+v", k.actual, b.last())
		}
	})
}

// TestRememberedListAgain: a registry that starts anew and only remembers makes a list that settles, or was whole, a remembered one.
func TestRememberedListAgain(t *testing.T) {
	a, b := item("a", "192.168.1.11", "100.64.1.0/24"), item("b", "192.168.1.12", "100.64.2.0/24")
	stale := a
	stale.Stale = true
	both, one := "100.64.1.0/24 via 192.168.1.11, 100.64.2.0/24 via 192.168.1.12", "100.64.1.0/24 via 192.168.1.11"
	synctest.Test(t, func(t *testing.T) {
		d := start(t, newFakeKernel())
		d.snapshot(a, b)
		for range 2 {
			d.snapshot(stale)
			time.Sleep(time.Minute)
			if got := d.routes(); got != both {
				t.Fatalf("a remembered list removed something: %s", got)
			}
			d.upsert(a)
			time.Sleep(settleTime / 2)
		}
		time.Sleep(settleTime)
		if got := d.routes(); got != one {
			t.Fatalf("after it was confirmed: %s", got)
		}
	})
}
