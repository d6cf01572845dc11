package app

import (
	"context"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/hybridgateway/gateway/libs/feed"
	"github.com/hybridgateway/gateway/libs/telemetry"
	"github.com/hybridgateway/gateway/services/vtep-registry/internal/api"
	"github.com/hybridgateway/gateway/services/vtep-registry/internal/cilium"
	"github.com/hybridgateway/gateway/services/vtep-registry/internal/publish"
	"github.com/hybridgateway/gateway/services/vtep-registry/internal/registered"
	"github.com/hybridgateway/gateway/services/vtep-registry/internal/registry"
	"github.com/hybridgateway/gateway/services/vtep-registry/internal/state"
)

// manyChanges is the size of a batch of which the good news is not logged one by one.
const manyChanges = 20

// remembrance is how long the API server may take at the start before what an earlier life
// held is served. It is short, for nothing is forwarded by a gateway that was rebooted; and
// long enough that an API server which is there is heard first.
const remembrance = 2 * time.Second

// loop owns the state.
type loop struct {
	nodes      chan cilium.Event[registry.Node]
	configs    chan cilium.Event[publish.Object]
	reports    chan cilium.Event[cilium.NodeReports]
	operators  chan registered.All
	settings   chan cilium.Event[cilium.Settings]
	agents     chan cilium.Event[cilium.Agent]
	leadership chan feed.Update[api.Leadership]
	results    chan result
	calls      chan func(context.Context)

	registry *registry.Registry
	vteps    *feed.Log[registry.VTEP]
	// known are the sources that have told all they have.
	known map[registry.Source]bool
	// registrations is the newest version that is known of the registered VTEPs.
	registrations string
	publisher     *publisher
	watcher       *watcher         // nil but in the floating mode
	notes         chan cilium.Note // dropped when nobody takes them
	gateway       string

	keeper *keeper
	// keep fires when what is held is to be written to disk; nil when the disk is up to date.
	keep <-chan time.Time
	// complete is true once all sources have told all they have.
	complete bool
	// forget fires when the API server has had its time; nil when nothing is remembered.
	forget <-chan time.Time

	ready   *readiness
	log     *slog.Logger
	tracer  trace.Tracer
	metrics *metrics
}

func (l *loop) run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case e := <-l.nodes:
			l.admit(ctx, e)
		case e := <-l.configs:
			l.publisher.see(e)
			if e.Whole && e.Dialect.Known() {
				l.ready.synced(configs)
			}
		case all := <-l.operators:
			l.register(ctx, all)
			l.ready.synced(registrations)
		case e := <-l.settings:
			l.watcher.set(e)
		case e := <-l.agents:
			l.watcher.run(e)
		case f := <-l.calls:
			f(ctx)
		case e := <-l.reports:
			l.publisher.hear(e)
		case u := <-l.leadership:
			l.publisher.follow(u)
		case r := <-l.results:
			l.publisher.wrote(r)
		case <-l.publisher.retry:
			l.publisher.retry = nil
		case <-l.keep:
			l.handOver()
		case <-l.forget:
			l.forget = nil
			if !l.whole() {
				l.log.Warn("the API server has not answered: what is remembered is served", "vteps", l.registry.Admitted())
				l.vteps.MarkSynced()
				l.ready.remembering()
			}
		}
		l.publisher.step()
	}
}

// remember takes what an earlier life held. The API server is heard first, if it answers.
func (l *loop) remember(ctx context.Context, s state.State) {
	if len(s.VTEPs) == 0 {
		return
	}
	for _, c := range l.registry.Remember(s.VTEPs) {
		l.vteps.Set(ctx, c.VTEP.Node, c.VTEP)
	}
	l.log.Info("VTEPs of an earlier life are remembered", "vteps", l.registry.Admitted(), "written", s.Written)
	l.metrics.counted(ctx, l.registry.Admitted(), l.registry.Stale(), l.registry.Refused())
	l.forget = time.After(remembrance)
}

// whole tells whether all sources have told all they have.
func (l *loop) whole() bool { return l.known[registry.CiliumNode] && l.known[registry.Registered] }

// admit settles the event and those that wait behind it as one batch, and tells what
// changed.
func (l *loop) admit(ctx context.Context, e cilium.Event[registry.Node]) {
	ctx, span := l.tracer.Start(ctx, "vtep.change")
	defer span.End()
	var changes []registry.Change
	var batch []registry.Event
	whole := false
	for waiting := len(l.nodes); ; waiting-- {
		if e.Whole {
			// What came before the snapshot is in it, or is gone.
			whole, batch = true, nil
			changes = append(changes, l.registry.Reset(registry.CiliumNode, e.Snapshot)...)
		} else {
			e.Value.Name = e.Name
			batch = append(batch, registry.Event{Node: e.Value, Deleted: e.Deleted})
		}
		if waiting == 0 {
			break
		}
		e = <-l.nodes // the loop alone reads, so it does not block
	}
	changes = append(changes, l.registry.Apply(batch...)...)
	if whole {
		l.known[registry.CiliumNode] = true
	}
	l.tellAll(ctx, changes)
	span.SetAttributes(attribute.Int("changes", len(changes)), attribute.Int("vteps", l.registry.Admitted()))
	if whole {
		l.log.Info("all nodes are known", "vteps", l.registry.Admitted(), "changes", len(changes))
		l.ready.synced(nodes)
	}
}

// tellAll gives changes to the followers, to the log, to the nodes' owners and to the disk.
func (l *loop) tellAll(ctx context.Context, changes []registry.Change) {
	level := slog.LevelInfo
	if len(changes) > manyChanges {
		level = slog.LevelDebug
	}
	for _, c := range changes {
		l.tell(ctx, level, c)
	}
	l.metrics.counted(ctx, l.registry.Admitted(), l.registry.Stale(), l.registry.Refused())
	if !l.whole() {
		return
	}
	l.vteps.MarkSynced()
	// The disk is never given less than all: it has that already.
	news := len(changes) > 0 || !l.complete
	l.complete = true
	if news && l.keep == nil && l.keeper.path != "" {
		l.keep = time.After(keepDelay)
	}
}

// handOver gives what is held to the keeper, later if it is busy.
func (l *loop) handOver() {
	select {
	case l.keeper.held <- l.registry.Held():
		l.keep = nil
	default:
		l.keep = time.After(keepDelay)
	}
}

// finish writes what the keeper was not given yet. It is called when all tasks have ended.
func (l *loop) finish() {
	if l.keep != nil {
		l.keeper.save(l.registry.Held())
	}
}

// tell gives a change to the followers and to the log; level is that of good news.
func (l *loop) tell(ctx context.Context, level slog.Level, c registry.Change) {
	node := slog.String(telemetry.KeyNode, c.VTEP.Node)
	if c.Deleted {
		l.vteps.Delete(ctx, c.VTEP.Node)
		l.log.LogAttrs(ctx, level, "VTEP deleted", node)
		return
	}
	before, _ := l.vteps.Get(c.VTEP.Node)
	l.vteps.Set(ctx, c.VTEP.Node, c.VTEP)
	l.note(before, c.VTEP)
	address, networks := slog.String("address", c.VTEP.Address.String()), slog.Any("pod_cidrs", c.VTEP.PodCIDRs)
	reason := slog.String(telemetry.KeyReason, c.VTEP.Reason())
	switch {
	case !c.VTEP.Admitted:
		l.log.LogAttrs(ctx, slog.LevelWarn, "node quarantined", node, reason)
	case len(c.VTEP.Refusals) > 0:
		l.log.LogAttrs(ctx, slog.LevelWarn, "VTEP admitted without some of what its node claims", node, address, networks, reason)
	default:
		l.log.LogAttrs(ctx, level, "VTEP admitted", node, address, networks)
	}
}

// note asks for an Event on the node's object, if the change deserves one.
func (l *loop) note(before, now registry.VTEP) {
	warning, reason, message := noteOn(before, now)
	if reason == "" || now.Stale || now.Source != registry.CiliumNode {
		return
	}
	n, _ := l.registry.Node(now.Node)
	select {
	case l.notes <- cilium.Note{
		Node: n.Name, UID: n.UID, Generation: n.Generation,
		Warning: warning, Reason: reason, Message: message, Time: time.Now(), Gateway: l.gateway,
	}:
	default:
		l.metrics.noted("dropped")
	}
}
