package app

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/hybridgateway/gateway/libs/feed"
	"github.com/hybridgateway/gateway/libs/telemetry"
	"github.com/hybridgateway/gateway/services/vtep-registry/internal/api"
	"github.com/hybridgateway/gateway/services/vtep-registry/internal/cilium"
	"github.com/hybridgateway/gateway/services/vtep-registry/internal/publish"
)

const (
	firstRetry = 20 * time.Millisecond
	lastRetry  = time.Second
	// repairInterval bounds how often we write against somebody who changes the object
	// as often.
	repairInterval = 250 * time.Millisecond
	// mostSpans bounds what one takeover's trace tells of Cilium's progress.
	mostSpans = 64
)

// publisher keeps the CiliumVTEPConfig right while this gateway leads. It belongs to the
// loop and does no I/O: writes go to the writer, one at a time.
type publisher struct {
	name  string // as the operator wants it; empty for the dialect's
	shard string
	vpc   []netip.Prefix
	now   func() time.Duration // CLOCK_BOOTTIME

	leadership api.Leadership
	// cause is the trace of the event that made this gateway active, until the first write
	// under that epoch has succeeded.
	cause feed.Trace

	target  cilium.Target // unknown while the API server serves nothing to write to
	listed  bool          // objects are all there are
	objects map[string]publish.Object
	// progress is what Cilium makes of what was written; wished and wishedBy are when, and by
	// what, it was wanted.
	progress *publish.Progress
	wished   time.Time
	wishedBy feed.Trace
	spans    int // made of progress since then
	// version is the newest that is known of our object, or of its deletion: a watch and
	// the answers to calls overtake one another.
	version string

	requests chan request
	writing  bool
	// retry fires when the next attempt is due; nil when none waits.
	retry <-chan time.Time
	wait  *backoff.ExponentialBackOff

	log     *slog.Logger
	tracer  trace.Tracer
	metrics *metrics
	// trouble, and conflicts, are what was logged last, so that each is logged once.
	trouble   string
	conflicts string
}

// follow takes what election says.
func (p *publisher) follow(u feed.Update[api.Leadership]) {
	switch {
	case u.Snapshot != nil:
		p.lead(u.Snapshot[p.shard], u.Trace)
	case u.Change != nil && u.Change.Key == p.shard && u.Change.Kind == feed.Delete:
		p.leadership = api.Leadership{}
	case u.Change != nil && u.Change.Key == p.shard:
		if u.Change.Value.Holder.Epoch < p.leadership.Holder.Epoch {
			p.log.Warn("leadership of an older epoch ignored", telemetry.KeyShard, p.shard, telemetry.KeyEpoch, u.Change.Value.Holder.Epoch)
			return
		}
		p.lead(u.Change.Value, u.Trace)
	case u.Lost != nil:
		// What is known stays, and ends by itself when its validity does.
		p.log.Warn("leadership stream lost", telemetry.KeyError, u.Lost)
	}
}

func (p *publisher) lead(l api.Leadership, t feed.Trace) {
	if l.Holder.Active && (!p.leadership.Holder.Active || l.Holder.Epoch != p.leadership.Holder.Epoch) {
		p.cause = t
		p.retry, p.wait = nil, nil // a new leader does not wait out an old one's failures
	}
	p.leadership = l
}

// see takes what the API server says.
func (p *publisher) see(e cilium.Event[publish.Object]) {
	ours := e.Name == p.target.Key()
	switch {
	case e.Whole:
		p.turn(e.Dialect)
		if !e.Dialect.Known() {
			return
		}
		p.listed, p.version, p.objects = true, e.Version, make(map[string]publish.Object, len(e.Snapshot))
		for _, o := range e.Snapshot {
			p.objects[o.Name] = o
		}
	case ours && older(e.Value.Version, p.version):
		return // the answer to a call of ours overtook it
	case !p.listed:
		return // the last words of a dialect that is no longer served
	case e.Deleted:
		delete(p.objects, e.Name)
	default:
		p.objects[e.Name] = e.Value
	}
	if ours {
		p.version = e.Value.Version
	}
	p.listen()
	p.compare()
}

// turn changes to another dialect. What was known in the former one means nothing.
func (p *publisher) turn(d cilium.Dialect) {
	target := d.Target(p.name)
	if target == p.target && p.listed {
		return
	}
	p.listed, p.objects, p.version = false, nil, ""
	if d != p.target.Dialect && d.Known() {
		p.log.Info("the form of CiliumVTEPConfig is known", "api_version", d.APIVersion(), "object", target.Key())
	}
	if target != p.target {
		p.progress = publish.NewProgress()
		p.metrics.standing(p.progress)
	}
	p.target = target
}

// listen takes what Cilium reports in our object.
func (p *publisher) listen() {
	if p.target.Dialect.Form == cilium.PerNode {
		return // said elsewhere
	}
	p.tell(p.progress.Say("", p.objects[p.target.Key()].Reports))
	p.metrics.standing(p.progress)
}

// hear takes what agents report in objects of their own.
func (p *publisher) hear(e cilium.Event[cilium.NodeReports]) {
	if p.target.Dialect.Form != cilium.PerNode {
		return
	}
	switch {
	case e.Whole:
		listed := make(map[string]bool, len(e.Snapshot))
		for _, n := range e.Snapshot {
			listed[n.Node] = true
			p.tell(p.progress.Say(n.Node, n.Reports))
		}
		for _, s := range p.progress.All() {
			if !listed[s.Node] {
				p.progress.Say(s.Node, nil)
			}
		}
	case e.Deleted:
		p.progress.Say(e.Name, nil)
	default:
		p.tell(p.progress.Say(e.Name, e.Value.Reports))
	}
	p.metrics.standing(p.progress)
}

// tell makes Cilium's progress known: as a part of the takeover's trace, as a duration, and
// in the log what cannot be taken.
func (p *publisher) tell(news []publish.Standing) {
	for _, s := range news {
		if s.State == publish.Failed {
			p.log.Error("Cilium cannot use an endpoint", telemetry.KeyNode, s.Node, "endpoint", s.Endpoint, telemetry.KeyError, s.Error)
			continue
		}
		if p.wished.IsZero() {
			continue // taken before this life
		}
		p.metrics.took(time.Since(p.wished))
		if p.spans++; p.spans <= mostSpans {
			_, span := p.tracer.Start(p.wishedBy.Context(context.Background()), "vtep.taken", trace.WithTimestamp(p.wished), trace.WithAttributes(
				attribute.String(telemetry.KeyNode, s.Node), attribute.String("endpoint", s.Endpoint),
				attribute.Int64(telemetry.KeyEpoch, int64(p.leadership.Holder.Epoch))))
			span.End()
		}
	}
}

// compare looks for objects that claim what ours does.
func (p *publisher) compare() {
	conflicts := publish.Conflicts(p.target.Key(), p.vpc, slices.Collect(maps.Values(p.objects)))
	p.metrics.conflicts(len(conflicts))
	var lines []string
	for _, c := range conflicts {
		lines = append(lines, c.String())
	}
	text := strings.Join(lines, "; ")
	if text != p.conflicts && text != "" {
		p.log.Error("another CiliumVTEPConfig claims the VPC: delete one of the two", telemetry.KeyReason, text)
	}
	p.conflicts = text
}

// older compares two resourceVersions, which are numbers that grow. Versions that are no
// numbers are never older.
func older(a, b string) bool {
	x, errA := strconv.ParseUint(a, 10, 64)
	y, errB := strconv.ParseUint(b, 10, 64)
	return errA == nil && errB == nil && x < y
}

// step starts a write if one is due.
func (p *publisher) step() {
	if p.writing || p.retry != nil || !p.listed {
		return
	}
	l := p.leadership.Holder
	l.Active = l.Active && p.now() < p.leadership.ValidUntil
	var actual *publish.Object
	if o, exists := p.objects[p.target.Key()]; exists {
		actual = &o
	}
	d := publish.Decide(l, p.vpc, actual)
	switch d.Verdict {
	case publish.Create, publish.Update:
		p.writing = true
		if d.Fresh {
			p.progress.Begin()
			p.wished, p.wishedBy, p.spans = time.Now(), p.cause, 0
		}
		p.requests <- request{target: p.target, decision: d, validUntil: p.leadership.ValidUntil, cause: p.cause, wished: time.Now()}
	case publish.Newer:
		p.complain("the CiliumVTEPConfig is of a newer epoch and is left alone; delete it if no gateway has written it", d.Reason)
	case publish.Incomplete:
		p.complain("the CiliumVTEPConfig cannot be written", d.Reason)
	case publish.Nothing:
		p.trouble = ""
	}
}

// wrote takes what became of a write.
func (p *publisher) wrote(r result) {
	p.writing = false
	if r.target != p.target {
		return // it was written in a dialect that is no longer served
	}
	switch {
	case r.err == nil:
		p.learn(r.object)
		p.listen()
		p.log.Info("CiliumVTEPConfig written", "object", p.target.Key(), telemetry.KeyEpoch, r.decision.Content.Epoch, "verdict", r.decision.Verdict.String(), telemetry.KeyReason, r.decision.Reason)
		p.cause, p.trouble, p.wait = feed.Trace{}, "", nil
		p.retry = time.After(repairInterval)
		p.compare()
		return
	case errors.Is(r.err, errExpired):
		return // the next leadership event says whether to go on
	case r.read:
		p.learn(r.object)
	}
	if !errors.Is(r.err, cilium.ErrStale) {
		p.complain("the CiliumVTEPConfig could not be written, trying again", r.err.Error())
	}
	if p.wait == nil {
		p.wait = &backoff.ExponentialBackOff{InitialInterval: firstRetry, RandomizationFactor: 0.5, Multiplier: 2, MaxInterval: lastRetry}
		p.wait.Reset()
	}
	p.retry = time.After(p.wait.NextBackOff())
}

// learn takes our object as a call returned it; nil is none. What the watch has told since
// then is newer.
func (p *publisher) learn(o *publish.Object) {
	switch {
	case o == nil:
		delete(p.objects, p.target.Key())
	case !older(o.Version, p.version):
		p.objects[p.target.Key()], p.version = *o, o.Version
	}
}

// complain logs each trouble once.
func (p *publisher) complain(message, reason string) {
	if p.trouble != reason {
		p.trouble = reason
		p.log.Error(message, telemetry.KeyEpoch, p.leadership.Holder.Epoch, telemetry.KeyReason, reason)
	}
}
