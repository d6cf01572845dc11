package syncer

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/hybridgateway/gateway/libs/feed"
	"github.com/hybridgateway/gateway/libs/telemetry"
	"github.com/hybridgateway/gateway/services/route-sync/internal/plan"
)

// EC2 carries calls out. Its methods may be called by several goroutines at once and end soon after their
// context does.
type EC2 interface {
	// ReadTables reads route tables.
	ReadTables(ctx context.Context, ids []string) plan.ReadResult
	// Owners looks network interfaces up.
	Owners(ctx context.Context, ids []string) (map[string]plan.Owner, plan.Result)
	// ReadLists reads prefix lists by id, and those that gateways made by name. There is one such call at a time.
	ReadLists(ctx context.Context, ids, names []string) ([]plan.PrefixList, plan.Result)
	// Inspect looks up whether a network interface exists and its source/destination check is on.
	Inspect(ctx context.Context, eni string) (exists, on bool, result plan.Result)
	// Probe asks whether a permission is there.
	Probe(ctx context.Context, p plan.Probe) plan.Result

	// Write writes one route, WriteList one prefix list, SwitchOff the check of an interface, if open still says
	// yes at the last moment.
	Write(ctx context.Context, w plan.Write, open func() bool) plan.Result
	WriteList(ctx context.Context, w plan.WriteList, open func() bool) (id string, result plan.Result)
	SwitchOff(ctx context.Context, w plan.SwitchOff, open func() bool) plan.Result

	// Warm makes n connections ready to use.
	Warm(ctx context.Context, n int) error
}

// Config is what a Loop works with.
type Config struct {
	Plan plan.Config
	EC2  EC2
	// Now reads CLOCK_BOOTTIME.
	Now func() time.Duration
	// Self says who this gateway is.
	Self Interface
	// Publish tells an item's new value, Retract that there is none any more. The trace of ctx goes with it.
	Publish func(ctx context.Context, key string, item Item)
	Retract func(ctx context.Context, key string)
	// Readable is called when a read of the tables has ended, with the reason if it failed.
	Readable func(failure string)
	Log      *slog.Logger
	Tracer   trace.Tracer
	Metrics  *Metrics
}

// Loop owns the state of the routes.
type Loop struct {
	c     Config
	state *plan.State
	// ended carries what is left to do by the loop when a call has ended.
	ended    chan func(now time.Duration)
	calls    sync.WaitGroup
	tenure   *tenure
	takeover takeover
	told     map[plan.Key]plan.Status
	toldOver Convergence
	toldSelf Interface
	toldLack map[plan.Permission]bool
	warming  bool
	requests chan func()
	purges   []chan<- Purged
	departed func() // nil unless somebody waits for the end of a departure
	stopped  chan struct{}
}

// tenure is the time in which this gateway may write under one epoch.
type tenure struct {
	epoch uint64
	ctx   context.Context
	end   context.CancelFunc
	until atomic.Int64 // CLOCK_BOOTTIME in nanoseconds
	now   func() time.Duration
}

// open tells whether a write may be sent now.
func (t *tenure) open() bool {
	return t.ctx.Err() == nil && t.now() < time.Duration(t.until.Load())
}

// New makes a loop and publishes the state of the routes, of which nothing is known yet.
func New(ctx context.Context, c Config) *Loop {
	l := &Loop{
		c:        c,
		state:    plan.New(c.Plan),
		ended:    make(chan func(time.Duration), c.Plan.Parallel),
		told:     make(map[plan.Key]plan.Status),
		toldLack: make(map[plan.Permission]bool),
		requests: make(chan func()),
		stopped:  make(chan struct{}),
	}
	l.publish(ctx)
	l.toldOver = Convergence{Shard: c.Plan.Shard}
	c.Publish(ctx, ConvergenceKey(c.Plan.Shard), l.toldOver)
	l.self(ctx)
	return l
}

// Run works until ctx ends. Routes stay as they are then.
func (l *Loop) Run(ctx context.Context, leadership <-chan feed.Update[plan.Leadership]) error {
	ctx, cancel := context.WithCancel(ctx)
	defer close(l.stopped)
	defer l.calls.Wait()
	defer cancel()
	defer func() { l.takeover.abandon("the process stops") }()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case u := <-leadership:
			l.observe(ctx, u)
		case done := <-l.ended:
			done(l.c.Now())
			l.drain()
		case request := <-l.requests:
			request()
		case <-timer.C:
		}
		l.step(ctx)
		timer.Reset(max(0, min(l.state.Wake()-l.c.Now(), time.Hour)))
	}
}

// drain takes over all calls that have ended meanwhile, so that one step answers them all.
func (l *Loop) drain() {
	for {
		select {
		case done := <-l.ended:
			done(l.c.Now())
		default:
			return
		}
	}
}

// step starts what is due and tells what changed.
func (l *Loop) step(ctx context.Context) {
	for _, action := range l.state.Next(l.c.Now()) {
		l.start(ctx, action)
	}
	l.publish(ctx)
	l.converged(ctx)
	l.self(ctx)
	l.permissions(ctx)
	l.answerPurges()
	l.answerDeparture()
}

func (l *Loop) start(ctx context.Context, action plan.Action) {
	switch a := action.(type) {
	case plan.Write:
		l.write(ctx, a)
	case plan.Read:
		l.call(l.takeover.context(ctx), func(ctx context.Context) func(time.Duration) {
			result := l.c.EC2.ReadTables(ctx, a.Tables)
			return func(now time.Duration) { l.read(ctx, a, result, now) }
		})
	case plan.Lookup:
		l.call(ctx, func(ctx context.Context) func(time.Duration) {
			owners, result := l.c.EC2.Owners(ctx, a.Interfaces)
			return func(now time.Duration) { l.state.LookupDone(a, owners, result, now) }
		})
	case plan.ReadLists:
		l.call(l.takeover.context(ctx), func(ctx context.Context) func(time.Duration) {
			lists, result := l.c.EC2.ReadLists(ctx, a.IDs, a.Names)
			return func(now time.Duration) {
				l.state.ReadListsDone(a, lists, result, now)
				l.failed("prefix lists could not be read", result)
				l.warm(ctx)
			}
		})
	case plan.Inspect:
		l.call(l.takeover.context(ctx), func(ctx context.Context) func(time.Duration) {
			exists, on, result := l.c.EC2.Inspect(ctx, a.Interface)
			return func(now time.Duration) {
				l.state.InspectDone(a, exists, on, result, now)
				l.failed("network interface could not be read", result)
			}
		})
	case plan.Probe:
		l.call(ctx, func(ctx context.Context) func(time.Duration) {
			result := l.c.EC2.Probe(ctx, a)
			return func(now time.Duration) { l.state.ProbeDone(a, result, now) }
		})
	case plan.WriteList:
		l.act(ctx, a.Epoch, func(ctx context.Context, open func() bool) func(time.Duration) {
			id, result := l.c.EC2.WriteList(ctx, a, open)
			return func(now time.Duration) {
				l.state.WriteListDone(a, id, result, now)
				l.wroteList(a, result)
			}
		})
	case plan.SwitchOff:
		l.act(ctx, a.Epoch, func(ctx context.Context, open func() bool) func(time.Duration) {
			result := l.c.EC2.SwitchOff(ctx, a, open)
			return func(now time.Duration) {
				l.state.SwitchOffDone(a, result, now)
				l.failed("source/destination check could not be switched off", result)
			}
		})
	case plan.Cancel:
		if l.tenure != nil && l.tenure.epoch == a.Epoch {
			l.tenure.end()
		}
	}
}

// call runs do beside the loop, and what do returns in the loop.
func (l *Loop) call(ctx context.Context, do func(context.Context) func(time.Duration)) {
	l.calls.Go(func() {
		select {
		case l.ended <- do(ctx):
		case <-ctx.Done():
		}
	})
}

func (l *Loop) write(ctx context.Context, w plan.Write) {
	l.act(ctx, w.Epoch, func(within context.Context, open func() bool) func(time.Duration) {
		result := l.c.EC2.Write(within, w, open)
		return func(now time.Duration) {
			l.state.WriteDone(w, result, now)
			l.wrote(ctx, w, result)
		}
	})
}

// act is call for what changes something, which ends when the epoch does. open says whether it may still begin.
func (l *Loop) act(ctx context.Context, epoch uint64, do func(ctx context.Context, open func() bool) func(time.Duration)) {
	t := l.tenureOf(ctx, epoch)
	within := l.takeover.context(t.ctx)
	l.call(ctx, func(context.Context) func(time.Duration) { return do(within, t.open) })
}

// tenureOf is the tenure of the epoch under which the plan acts now.
func (l *Loop) tenureOf(ctx context.Context, epoch uint64) *tenure {
	_, until := l.state.Validity()
	if t := l.tenure; t == nil || t.epoch != epoch || t.ctx.Err() != nil {
		if t != nil {
			t.end()
		}
		t = &tenure{epoch: epoch, now: l.c.Now}
		t.ctx, t.end = context.WithCancel(ctx)
		l.tenure = t
	}
	l.tenure.until.Store(int64(until))
	return l.tenure
}

func (l *Loop) wrote(ctx context.Context, w plan.Write, result plan.Result) {
	switch {
	case result.Outcome == plan.Done && w.Reason == plan.Drift:
		l.c.Metrics.repaired(ctx)
		l.c.Log.Warn("route was changed by somebody else, put back", keyTable, w.Table, keyDestination, w.Destination.String(), telemetry.KeyEpoch, w.Epoch)
	case result.Outcome.Failure():
		l.c.Log.Debug("route could not be written", keyTable, w.Table, keyDestination, w.Destination.String(),
			telemetry.KeyEpoch, w.Epoch, keyOutcome, result.Outcome.String(), telemetry.KeyError, result.Detail)
	}
}

func (l *Loop) wroteList(w plan.WriteList, result plan.Result) {
	l.failed("prefix list could not be changed", result)
	if result.Outcome == plan.Done {
		l.c.Log.Info("prefix list is being changed", "change", w.String(), telemetry.KeyEpoch, w.Epoch)
	}
}

// failed tells of a call that did not succeed.
func (l *Loop) failed(what string, result plan.Result) {
	if result.Outcome.Failure() {
		l.c.Log.Warn(what, keyOutcome, result.Outcome.String(), telemetry.KeyError, result.Detail)
	}
}

func (l *Loop) read(ctx context.Context, r plan.Read, result plan.ReadResult, now time.Duration) {
	l.state.ReadDone(r, result, now)
	l.c.Readable(result.Detail)
	if result.Outcome != plan.Done {
		l.c.Log.Warn("route tables could not be read", telemetry.KeyError, result.Detail)
		return
	}
	l.warm(ctx)
}

// warm prepares the connections of a takeover while this gateway stands by.
func (l *Loop) warm(ctx context.Context) {
	epoch, until := l.state.Validity()
	n := min(l.c.Plan.Parallel, l.state.Wanted())
	if n == 0 || l.warming || epoch != 0 && l.c.Now() < until {
		return
	}
	l.warming = true
	l.call(ctx, func(ctx context.Context) func(time.Duration) {
		err := l.c.EC2.Warm(ctx, n)
		return func(time.Duration) {
			l.warming = false
			if err != nil {
				l.c.Log.Debug("connections could not be kept warm", telemetry.KeyError, err)
			}
		}
	})
}

// observe takes what the Leadership stream says.
func (l *Loop) observe(ctx context.Context, u feed.Update[plan.Leadership]) {
	switch {
	case u.Lost != nil:
		l.state.Disconnect()
		l.c.Log.Warn("leadership stream is down, routes stay as they are", telemetry.KeyError, u.Lost)
	case u.Snapshot != nil:
		if _, known := u.Snapshot[l.c.Plan.Shard]; !known {
			l.state.Forget()
		}
		for _, leadership := range u.Snapshot {
			l.state.Observe(leadership, l.c.Now())
		}
	case u.Change != nil && u.Change.Kind == feed.Upsert:
		l.state.Observe(u.Change.Value, l.c.Now())
	case u.Change != nil && u.Change.Key == l.c.Plan.Shard:
		l.state.Forget()
	}
	epoch, until := l.state.Validity()
	if l.tenure != nil && l.tenure.epoch == epoch {
		l.tenure.until.Store(int64(until))
	}
	l.follow(u.Trace.Context(ctx), epoch, until)
}
