package tunnel

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/hybridgateway/gateway/libs/feed"
	"github.com/hybridgateway/gateway/services/dataplane/internal/plan"
)

const (
	// checkInterval is how often the kernel is compared without a reason.
	checkInterval = time.Minute
	// checkSpacing is the least time between two checks that changes of the kernel ask for, and checkShare how many times what a
	// check takes: so a program that fights us costs a bounded share of a processor.
	checkSpacing = 100 * time.Millisecond
	checkShare   = 4
	// counterInterval is how often the device's counters are told to the others.
	counterInterval = 2 * time.Second
	// After a failure the next attempt comes after retryFirst, doubling up to retryLast.
	retryFirst = 100 * time.Millisecond
	retryLast  = 10 * time.Second
	// settleTime is how long a list of VTEPs settles, see trust.
	settleTime = time.Second
	// dumpFailures in a row make the tunnel not ready. A single one may be due to a table that never stops changing.
	dumpFailures = 3
)

// Kernel is the network that the tunnel is in.
type Kernel interface {
	Dump() (plan.Actual, error)
	Apply(ops []plan.Op) []plan.Failure
	Counters() (c plan.Counters, ok bool, err error)
}

// Config is what a Loop needs.
type Config struct {
	Device      plan.Device
	UnderlayMTU int  // bytes; 0 is automatic
	Carry       bool // see plan.Desired
	Source      netip.Addr
	OuterDF     bool // see plan.Desired
	ClampMSS    bool // see plan.Desired
	Guard       bool // see plan.Desired
	Kernel      Kernel
	// Publish is called with each new state; the context carries the trace of what caused it.
	Publish func(context.Context, State)
	Log     *slog.Logger
	Tracer  trace.Tracer
	Metrics *Metrics
}

// Loop keeps one tunnel.
type Loop struct {
	Config
	list   list
	settle *time.Timer // runs while the list settles
	ledger *plan.Ledger
	purges chan chan purged
	ended  chan struct{} // closed when Run has ended
	stale  bool          // the ledger's picture of the kernel must be read anew
	// What the last attempt found: reasons why the tunnel does not work, and what else is wrong.
	blocked   []string
	problems  map[string]bool
	failures  []plan.Failure
	dumpFails int

	state     State
	published bool
	check     *time.Timer // next check that something asked for
	lastCheck time.Time
	checkCost time.Duration // how long reading the kernel took
	retry     time.Duration
}

// NewLoop makes a loop.
func NewLoop(c Config) *Loop {
	return &Loop{Config: c, list: list{items: map[string]Item{}}, stale: true, problems: map[string]bool{}, retry: retryFirst, purges: make(chan chan purged), ended: make(chan struct{}),
		ledger: plan.NewLedger(plan.Desired{Device: c.Device, UnderlayMTU: c.UnderlayMTU, Carry: c.Carry, Source: c.Source,
			OuterDF: c.OuterDF, ClampMSS: c.ClampMSS, Guard: c.Guard})}
}

// Run works until ctx ends; the error is ctx's. It programs the device at once, and VTEPs as updates tell them.
func (l *Loop) Run(ctx context.Context, updates <-chan feed.Update[Item], changes <-chan plan.Change) error {
	defer close(l.ended)
	l.check = time.NewTimer(0)
	defer l.check.Stop()
	l.settle = time.NewTimer(settleTime)
	defer l.settle.Stop()
	regular := time.NewTicker(checkInterval)
	defer regular.Stop()
	counters := time.NewTicker(counterInterval)
	defer counters.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case u := <-updates:
			l.onUpdates(ctx, u, updates)
		case c := <-changes:
			l.onChanges(c, changes)
		case done := <-l.purges:
			done <- l.purge(ctx)
		case <-l.check.C:
			l.reconcile(ctx, "check")
		case <-l.settle.C:
			l.onSettled(ctx)
		case <-regular.C:
			l.stale = true
			l.reconcile(ctx, "regular check")
		case <-counters.C:
			l.publish(ctx)
		}
	}
}

// onUpdates takes in an update and those that have queued up behind it, so that a burst is one plan.
func (l *Loop) onUpdates(ctx context.Context, first feed.Update[Item], more <-chan feed.Update[Item]) {
	cause, changed := first.Trace, l.takeIn(first)
	for _, u := range queued(more) {
		if u.Trace.Parent != "" {
			cause = u.Trace
		}
		changed = l.takeIn(u) || changed
	}
	if !changed {
		return
	}
	if l.list.judge() {
		l.settle.Reset(settleTime)
	}
	l.ledger.SetComplete(l.list.trust == whole)
	l.reconcile(cause.Context(ctx), "vteps")
}

// onSettled removes what a list that was only remembered at first does not name.
func (l *Loop) onSettled(ctx context.Context) {
	if !l.list.settled() {
		return
	}
	l.Log.Info("the API server has confirmed the VTEPs", "vteps", len(l.list.items))
	l.ledger.SetComplete(true)
	l.reconcile(ctx, "vteps confirmed")
}

// queued takes what waits in a channel, at most as much as fits into it.
func queued[T any](from <-chan T) []T {
	var out []T
	for len(out) < cap(from) {
		select {
		case v := <-from:
			out = append(out, v)
		default:
			return out
		}
	}
	return out
}

func (l *Loop) takeIn(u feed.Update[Item]) (changed bool) {
	switch {
	case u.Snapshot != nil:
		l.Log.Info("vtep snapshot received", "vteps", len(u.Snapshot))
	case u.Lost != nil:
		l.Log.Warn("vtep stream lost, everything stays as it is", "error", u.Lost)
	case u.Connected:
		l.Log.Info("vtep stream resumed")
	}
	return l.list.take(u, l.ledger)
}

// onChanges looks at the kernel's notifications and asks for a check when one of them is news.
func (l *Loop) onChanges(first plan.Change, more <-chan plan.Change) {
	for _, c := range append([]plan.Change{first}, queued(more)...) {
		if l.stale || l.ledger.Explains(c) {
			continue
		}
		l.Log.Debug("kernel changed", "kind", c.Kind.String(), "device", c.Device, "gone", c.Gone)
		l.stale = true
		l.checkIn(max(0, max(checkSpacing, checkShare*l.checkCost)-time.Since(l.lastCheck)))
	}
}

func (l *Loop) checkIn(d time.Duration) { l.check.Reset(d) }

// reconcile brings the kernel to the target, or to what can be had of it, and publishes the outcome.
func (l *Loop) reconcile(ctx context.Context, cause string) {
	start := time.Now()
	if l.stale && !l.readKernel(ctx, start) {
		return
	}
	r := l.ledger.Plan()
	var failures []plan.Failure
	if len(r.Ops) > 0 {
		ctx, failures = l.apply(ctx, start, cause, r.Ops)
	}
	l.ledger.Applied(r.Ops)
	l.failures = failures
	l.judge(r, failures)
	if len(failures) == 0 {
		l.retry = retryFirst
	} else if l.readKernel(ctx, time.Now()) {
		l.again()
	}
	l.publish(ctx)
}

func (l *Loop) readKernel(ctx context.Context, start time.Time) bool {
	actual, err := l.Kernel.Dump()
	l.lastCheck, l.checkCost = time.Now(), time.Since(start)
	if err != nil {
		l.dumpFails++
		l.Log.Warn("kernel could not be read", "error", err, "failures", l.dumpFails)
		l.Metrics.failed(ctx, "dump")
		if l.dumpFails >= dumpFailures || !l.published {
			l.blocked = []string{fmt.Sprintf("the kernel's network cannot be read: %v", err)}
			l.publish(ctx)
		}
		l.again()
		return false
	}
	l.ledger.See(actual)
	l.stale, l.dumpFails = false, 0
	return true
}

// again asks for another attempt, later each time.
func (l *Loop) again() {
	l.stale = true
	l.checkIn(l.retry)
	l.retry = min(2*l.retry, retryLast)
}
