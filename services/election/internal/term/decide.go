package term

import "time"

// decide starts the write that is due, if one is and none is under way.
func (t *Term) decide() {
	switch {
	case t.handing != nil:
		t.hand()
	case !t.known || t.attempt != nil:
	case t.leading && t.present:
		if t.now >= t.renewAt() {
			t.renew()
		}
	default:
		at, cause, ok := t.takeable()
		if ok && t.now >= max(at, t.retryAt(TakeOver)) {
			t.takeOver(cause)
		}
	}
}

// takeable tells from when on, and why, this gateway may take the record; ok is false
// when it may not, however long it waits.
func (t *Term) takeable() (at time.Duration, cause Cause, ok bool) {
	switch {
	case t.leading && !t.present:
		// Somebody deleted the record under us; others leave it alone for a while.
		return t.now, Vacant, true
	case t.offered():
		// Nobody else could lead after all. We led until now, whole or not, and do again.
		return t.now, Restarted, true
	case !t.local.Standing && !t.local.Reserve:
		return 0, 0, false
	}
	at, cause = t.free()
	switch soon, suspected := t.suspicion(); {
	case cause == Restarted:
	case !t.local.Standing:
		at += t.config.LeaseDuration // whoever stands comes first
	case cause == Expired && suspected && soon < at:
		return soon, Suspected, true
	}
	return at, cause, true
}

// free tells from when on, and why, a gateway that stands may take the record by what is in it.
func (t *Term) free() (at time.Duration, cause Cause) {
	switch r := t.record; {
	case !t.present && !t.held && !t.others.led:
		return t.changed, Vacant
	case !t.present:
		// Its last holder may not know yet that it was deleted, or it is a peer that has led.
		return t.changed + t.config.LeaseDuration, Vacant
	case r.Holder.ID == "" && r.Handover != nil:
		return t.changed, HandedOver
	case r.Holder.ID == "":
		return t.changed, Vacant
	case r.Handover != nil && r.Holder.ID == t.config.ID:
		return t.changed, HandedOver
	case t.mine() || t.inherited:
		return t.changed, Restarted
	default:
		stated := min(r.Duration, maxForeignDuration)
		return t.changed + max(t.config.LeaseDuration, stated), Expired
	}
}

func (t *Term) takeOver(cause Cause) {
	c := CompareAndSwap{
		Record:  Record{Holder: t.local.Gateway, Epoch: max(t.highest, t.floor) + 1},
		Purpose: TakeOver,
		Cause:   cause,
	}
	switch cause {
	case Expired:
		c.LastSign = t.changed
	case Suspected:
		c.LastSign = t.others.accuse(t.record.Holder.ID)
	}
	t.write(c)
}

// renewAt is when the leader's next renewal is due.
func (t *Term) renewAt() time.Duration {
	if t.announce && t.routes == t.epoch {
		return t.now
	}
	return max(t.retryAt(TakeOver), t.retryAt(Renew), t.retryAt(Converge))
}

func (t *Term) renew() {
	t.announce = false
	c := CompareAndSwap{
		Record:  Record{Holder: t.local.Gateway, Epoch: t.epoch},
		Purpose: Renew,
	}
	if t.routes == t.epoch {
		c.Record.Converged = t.epoch
		if !t.record.converged() {
			c.Purpose = Converge
		}
	}
	t.write(c)
}

// retryAt is when a write of the given purpose may start again.
func (t *Term) retryAt(p Purpose) time.Duration {
	start, tried := t.started[p]
	if !tried {
		return t.now
	}
	return start + t.config.RetryPeriod
}

// write completes the write and starts it.
func (t *Term) write(c CompareAndSwap) {
	t.writes++
	c.Record.Incarnation = t.config.Incarnation
	c.Record.Write = t.writes
	c.Record.Duration = t.config.LeaseDuration
	c.Previous = t.record
	c.Timeout = t.config.RenewDeadline / 2
	if t.present {
		c.Expected = t.version
	}
	t.started[c.Purpose] = t.now
	t.attempt = &attempt{purpose: c.Purpose, cause: c.Cause, record: c.Record, start: t.now, base: t.version}
	t.do(c)
}

func (t *Term) end(reason string) {
	t.done = true
	t.do(Done{reason})
}
