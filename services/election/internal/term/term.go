package term

import "time"

// Term is the state of one shard as this gateway knows it. It is not safe for
// concurrent use.
type Term struct {
	config Config
	// now is the time of the current step.
	now time.Duration

	// known is true once the register was read for the first time.
	known   bool
	version uint64
	// present and record are the register at version; record is zero when there is none.
	present bool
	record  Record
	// changed is when the record last gave a sign of life.
	changed time.Duration
	// held is true once any holder was seen.
	held bool
	// inherited is true while the record is the one that was found at the start with our
	// own ID in it: its writer is dead, since we are running in its place.
	inherited bool
	// highest is the greatest epoch ever seen, in the record or as that of this gateway's routes. floor
	// is the greatest one that a peer told, or that the register may have held: there may be a record
	// that was not seen yet.
	highest, floor uint64
	// reigned is when the record was first seen under its present epoch.
	reigned time.Duration

	local Candidacy
	// unwhole is when this gateway stopped to stand.
	unwhole time.Duration
	others  others
	// routes is the epoch under which our routes last converged, and announce asks to
	// record so without waiting for the next renewal.
	routes   uint64
	announce bool

	leading    bool
	epoch      uint64
	validUntil time.Duration

	// writes counts the writes of this incarnation. attempt is the last one, until it is
	// known what became of it.
	writes  uint64
	attempt *attempt
	// started holds the start of the last write for each purpose that had one.
	started map[Purpose]time.Duration

	// handing is the hand-over that is under way, nil when none is.
	handing *handing
	// lasting is set while this gateway, told to stop, leads on since no other stays.
	lasting *lasting
	// handAgain is when a hand-over may be begun of our own accord after one that failed.
	handAgain time.Duration

	// cause is why the step changes what is published, if it does.
	cause     Cause
	published Leadership
	timer     time.Duration
	done      bool
	actions   []Action
}

// attempt is a write whose outcome is not settled.
type attempt struct {
	purpose Purpose
	cause   Cause
	record  Record
	start   time.Duration
	// base is the version that was known when the write started. Once a newer one is
	// known the write can no longer be applied.
	base uint64
	// unresolved is set when the reply did not say whether the write was applied.
	unresolved bool
}

// New makes a Term that knows nothing yet.
func New(c Config) *Term {
	return &Term{config: c, started: make(map[Purpose]time.Duration)}
}

// Step takes one input at the time now and returns what is to be done, in order.
// A time before that of an earlier step counts as that one's.
func (t *Term) Step(now time.Duration, in Input) []Action {
	if t.done {
		return nil
	}
	t.now = max(t.now, now)
	t.actions = nil
	t.endValidity()
	switch in := in.(type) {
	case Observation:
		t.observe(in)
	case Result:
		t.settle(in)
	case Candidacy:
		t.stand(in)
	case Peers:
		t.hear(in)
	case RoutesConverged:
		t.converge(in)
	case RoutesRemoved:
		t.removed()
	case Transfer:
		t.transfer(in)
	case Stop:
		t.stop()
	case Tick:
		t.timer = 0
	}
	t.handOnOwnAccord()
	t.endLasting()
	// Others are told that we stopped before the record is given up.
	t.publish()
	t.decide()
	t.lookAgain()
	t.setTimer()
	return t.actions
}

func (t *Term) do(a Action) { t.actions = append(t.actions, a) }

// endValidity ends a leadership that was not renewed in time.
func (t *Term) endValidity() {
	if t.leading && t.now >= t.validUntil {
		t.leading = false
		t.cause = Lost
	}
}

// observe takes note of what the register holds.
func (t *Term) observe(o Observation) {
	t.floor = max(t.floor, o.EpochFloor)
	if t.known && !o.Rollback && o.Version <= t.version {
		if o.Version == t.version && t.attempt != nil && t.attempt.unresolved {
			// The write was not applied. Should it be applied later, the next one will find a
			// conflict, and then our own record.
			t.attempt = nil
		}
		return
	}
	first, before := !t.known, t.record
	t.see(o.Version, o.Present, o.Record)
	t.inherited = first && t.record.Holder.ID == t.config.ID && t.record.Incarnation != t.config.Incarnation ||
		t.inherited && t.record.sameSignOfLife(before)

	switch a := t.attempt; {
	case a != nil && t.present && t.record.Incarnation == t.config.Incarnation && t.record.Write == a.record.Write:
		t.attempt = nil
		t.applied(a)
	case a != nil && a.unresolved:
		t.attempt = nil
	}
	switch {
	case t.leading && t.present && (!t.mine() || t.record.Epoch != t.epoch):
		t.leading = false
		t.cause = Lost
		// We could still write: whoever took the record was wrong about us, or we are hard to hear.
		t.others.wrong(t.now)
	case t.cause != 0:
	case t.record.converged() && t.record.Epoch == before.Epoch && !before.converged():
		t.cause = Converged
	case t.record.Handover != nil:
		t.cause = HandedOver
	}
}

// see makes the given state of the register the known one.
func (t *Term) see(version uint64, present bool, record Record) {
	if !present {
		record = Record{}
	}
	if !t.known || present != t.present || !record.sameSignOfLife(t.record) {
		t.changed = t.now
	}
	if !t.known || record.Epoch != t.record.Epoch || record.Holder.ID != t.record.Holder.ID {
		t.reigned = t.now
	}
	t.known, t.version, t.present, t.record = true, version, present, record
	t.held = t.held || record.Holder.ID != ""
	t.highest = max(t.highest, record.Epoch)
}

// mine tells whether this incarnation wrote the record and holds it.
func (t *Term) mine() bool {
	return t.present && t.record.Holder.ID == t.config.ID && t.record.Incarnation == t.config.Incarnation
}

// settle takes note of what became of a write.
func (t *Term) settle(r Result) {
	a := t.attempt
	if a == nil || a.record.Write != r.Write {
		return // an observation has already settled it
	}
	superseded := t.version > a.base
	switch {
	case r.Outcome == Swapped:
		t.attempt = nil
		if r.Version > t.version {
			t.see(r.Version, true, a.record)
			t.inherited = false
			t.applied(a)
		}
	case r.Outcome == Failed || superseded:
		t.attempt = nil
	default:
		a.unresolved = true
		t.do(Read{})
	}
}

// applied draws the consequences of a write that is known to be in the register.
func (t *Term) applied(a *attempt) {
	until := a.start + t.config.RenewDeadline
	switch a.purpose {
	case TakeOver:
		// When it took too long to learn of the success, the record is ours but we do not
		// lead; it is taken once more.
		if until > t.now && t.handing == nil {
			t.leading, t.epoch, t.validUntil = true, a.record.Epoch, until
			t.cause = a.cause
			if !t.local.Standing {
				t.unwhole = t.now // whoever shall have it instead is sought after the grace
			}
		}
	case Renew, Converge:
		if t.leading && t.epoch == a.record.Epoch {
			t.validUntil = max(t.validUntil, until)
			t.cause = Renewed
			if a.purpose == Converge {
				t.cause = Converged
			}
		}
	case Release, Give:
		if t.handing != nil {
			t.handing.given = true
		}
		t.cause = HandedOver
	}
}

func (t *Term) stand(c Candidacy) {
	if !c.Standing && (t.local.Standing || t.config.Blind && t.local.Reserve && !c.Reserve) {
		t.unwhole = t.now
	}
	if !c.Standing && !c.Reserve {
		c.Gateway = t.local.Gateway
	}
	t.local = c
	t.local.Gateway.ID = t.config.ID
}

func (t *Term) converge(c RoutesConverged) {
	t.highest = max(t.highest, c.Epoch)
	if c.Epoch != t.routes {
		t.routes, t.announce = c.Epoch, true
	}
}

// publish tells the others what has changed, if anything has.
func (t *Term) publish() {
	if !t.known {
		return
	}
	l := Leadership{
		Shard:     t.config.Shard,
		Epoch:     t.highest,
		Holder:    t.record.Holder,
		Role:      Observer,
		Converged: t.record.converged(),
	}
	switch {
	case t.leading:
		l.Role, l.Epoch, l.ValidUntil = Active, t.epoch, t.validUntil
		if !t.present { // deleted, and about to be made anew
			l.Holder, l.Converged = t.published.Holder, t.published.Converged
		}
	case t.local.Standing && !t.leaving():
		l.Role = Standby
	}
	switch {
	case t.lasting != nil && t.leading && t.others.allGone():
		l.Departure = Last
	case t.leaving():
		l.Departure = Leaving
	}
	cause := t.cause
	t.cause = 0
	switch {
	case cause != 0:
	case t.leading && t.published.Role == Active:
		cause = t.published.Cause // only its departure is new
	default:
		cause = Observed
	}
	l.Cause = t.published.Cause
	if l == t.published {
		return
	}
	l.Cause = cause
	t.published = l
	t.do(Publish{l})
}

func (t *Term) setTimer() {
	next := t.nextTimer()
	if t.done || next == t.timer {
		return
	}
	t.timer = next
	t.do(SetTimer{next})
}

// nextTimer is the next time at which something is due without any input; zero when
// nothing is.
func (t *Term) nextTimer() time.Duration {
	var next time.Duration
	consider := func(at time.Duration) {
		if at > t.now && (next == 0 || at < next) {
			next = at
		}
	}
	if t.leading {
		consider(t.validUntil)
		consider(t.handOnOwnAccordAt())
	}
	if t.handing != nil {
		consider(t.handing.by)
	}
	if t.lasting != nil {
		consider(t.lasting.by)
	}
	consider(t.lookAgainAt())
	if !t.known || t.attempt != nil {
		return next
	}
	switch {
	case t.handing != nil:
		consider(t.nextHanding())
	case t.leading && t.present:
		consider(t.renewAt())
	default:
		if at, _, ok := t.takeable(); ok {
			consider(max(at, t.retryAt(TakeOver)))
		}
	}
	return next
}
