package app

import (
	"errors"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v5"

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
)

// publisher keeps the CiliumVTEPConfig right while this gateway leads. It belongs to the
// loop and does no I/O: writes go to the writer, one at a time.
type publisher struct {
	name  string
	shard string
	vpc   []netip.Prefix
	now   func() time.Duration // CLOCK_BOOTTIME

	leadership api.Leadership
	// cause is the trace of the event that made this gateway active, until the first write
	// under that epoch has succeeded.
	cause feed.Trace

	listed  bool // objects are all there are
	objects map[string]publish.Object
	// version is the newest that is known of our object, or of its deletion: a watch and
	// the answers to calls overtake one another.
	version string

	requests chan request
	writing  bool
	// retry fires when the next attempt is due; nil when none waits.
	retry <-chan time.Time
	wait  *backoff.ExponentialBackOff

	log     *slog.Logger
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
	ours := e.Name == p.name
	switch {
	case e.Whole:
		p.listed, p.version, p.objects = true, e.Version, make(map[string]publish.Object, len(e.Snapshot))
		for _, o := range e.Snapshot {
			p.objects[o.Name] = o
		}
	case ours && older(e.Value.Version, p.version):
		return // the answer to a call of ours overtook it
	case e.Deleted:
		delete(p.objects, e.Name)
	default:
		p.objects[e.Name] = e.Value
	}
	if ours {
		p.version = e.Value.Version
	}
	p.compare()
}

// compare looks for objects that claim what ours does.
func (p *publisher) compare() {
	conflicts := publish.Conflicts(p.name, p.vpc, slices.Collect(maps.Values(p.objects)))
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
	if o, exists := p.objects[p.name]; exists {
		actual = &o
	}
	d := publish.Decide(l, p.vpc, actual)
	switch d.Verdict {
	case publish.Create, publish.Update:
		p.writing = true
		p.requests <- request{decision: d, validUntil: p.leadership.ValidUntil, cause: p.cause, wished: time.Now()}
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
	switch {
	case r.err == nil:
		p.learn(r.object)
		p.log.Info("CiliumVTEPConfig written", telemetry.KeyEpoch, r.decision.Content.Epoch, "verdict", r.decision.Verdict.String(), telemetry.KeyReason, r.decision.Reason)
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
		delete(p.objects, p.name)
	case !older(o.Version, p.version):
		p.objects[p.name], p.version = *o, o.Version
	}
}

// complain logs each trouble once.
func (p *publisher) complain(message, reason string) {
	if p.trouble != reason {
		p.trouble = reason
		p.log.Error(message, telemetry.KeyEpoch, p.leadership.Holder.Epoch, telemetry.KeyReason, reason)
	}
}
