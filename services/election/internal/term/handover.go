package term

import (
	"fmt"
	"time"
)

const (
	// acceptance is how long a gateway that was given the record may take to write it: many times what a watch and
	// a write take.
	acceptance = time.Second
	// rest is the time after a hand-over of our own accord that failed, until the next.
	rest = 15 * time.Second
	// settled is how long the preferred gateway must be fit before it is given the record.
	settled = 5 * time.Second
)

// handing is a hand-over that is under way. The leader has stopped to lead by then.
type handing struct {
	// to is the wanted successor; empty for any.
	to string
	// leaves is true when this gateway ends after it, asked when a Transfer waits for its end.
	leaves, asked bool
	// by is when it ends at the latest.
	by time.Duration
	// given is true once the record is not ours any more.
	given bool
	// outlasted is true when this gateway led on after it was told to stop, and nobody came.
	outlasted bool
	// refused are those that were given the record and did not take it.
	refused map[string]bool
}

func (t *Term) leaving() bool { return t.lasting != nil || t.handing != nil && t.handing.leaves }

// stop begins to hand over for good.
func (t *Term) stop() {
	switch {
	case t.leaving():
	case t.leading && t.outlasts():
		t.last()
	case t.handing != nil:
		// What was begun goes on, and this gateway leaves at its end.
		t.handing.to, t.handing.leaves = "", true
		t.answer(Transferred{Problem: "this gateway leaves"})
		t.handing.asked = false
		t.handing.by = t.now + t.config.HandoverTimeout
	default:
		t.begin(handing{leaves: true})
	}
}

// transfer begins to hand over as an operator asks.
func (t *Term) transfer(r Transfer) {
	var problem string
	switch to, known := t.others.find(r.To); {
	case t.handing != nil || t.lasting != nil:
		problem = HandoverUnderWay
	case !t.leading:
		problem = "this gateway does not lead; " + orNobody(t.record.Holder.ID) + " does"
	case r.To == t.config.ID:
		problem = "this gateway leads already"
	case r.To != "" && !known:
		problem = fmt.Sprintf("no gateway %q was ever heard", r.To)
	case r.To != "" && !to.heard():
		problem = fmt.Sprintf("gateway %s is not heard any more", r.To)
	case r.To != "" && to.Condition == Deaf:
		problem = fmt.Sprintf("gateway %s is heard, and does not hear this one", r.To)
	case r.To != "" && !to.fit():
		problem = fmt.Sprintf("gateway %s does not stand for election", r.To)
	case r.To == "" && t.successor(nil) == nil:
		problem = "no other gateway is heard that stands for election"
	}
	if problem != "" {
		t.do(Transferred{Refused: true, Problem: problem})
		return
	}
	t.begin(handing{to: r.To, asked: true})
}

// handOnOwnAccord begins to hand over when this gateway is not whole, or another one is preferred.
func (t *Term) handOnOwnAccord() {
	if !t.leading || !t.present || t.leaving() {
		return
	}
	at := t.handOnOwnAccordAt()
	if at == 0 || t.now < at {
		return
	}
	h := handing{}
	if p := t.preferred(); t.local.Standing && p != nil {
		h.to = p.Gateway.ID
	}
	t.begin(h)
}

// handOnOwnAccordAt is when a leader hands over unasked; zero when it has no reason to.
func (t *Term) handOnOwnAccordAt() time.Duration {
	switch {
	case t.handing != nil || t.lasting != nil:
	case !t.local.Standing && (t.config.Blind && !t.local.Reserve || t.successor(nil) != nil):
		return max(t.unwhole+t.config.UnhealthyGrace, t.handAgain)
	case t.local.Standing && !t.config.prefers(t.self()) && t.record.converged():
		if p := t.preferred(); p != nil {
			return max(t.others.fitSince[p.Gateway.ID]+settled, t.handAgain)
		}
	}
	return 0
}

// preferred is the first peer that shall and can lead, nil when there is none.
func (t *Term) preferred() *Peer {
	for i := range t.others.peers {
		if p := &t.others.peers[i]; p.fit() && t.config.prefers(p.Gateway) {
			return p
		}
	}
	return nil
}

func (t *Term) begin(h handing) {
	h.by = t.now + t.config.HandoverTimeout
	h.refused = make(map[string]bool)
	t.handing = &h
	if t.leading {
		t.leading = false
		t.cause = HandedOver
	}
}

// successor is who is to be given the record, nil when nobody can: the wanted one, or else the first by order.
func (t *Term) successor(h *handing) *Peer {
	var best *Peer
	for i := range t.others.peers {
		p := &t.others.peers[i]
		switch {
		case !p.fit() || h != nil && h.refused[p.Gateway.ID]:
		case h != nil && h.to != "" && h.to != p.Gateway.ID:
		case best == nil || t.config.prefers(p.Gateway) && !t.config.prefers(best.Gateway):
			best = p
		}
	}
	return best
}

// offered tells whether the record is as we gave it to another gateway, which has not written it.
func (t *Term) offered() bool {
	r := t.record
	return t.present && r.Handover != nil && r.Holder.ID != "" && r.Incarnation == t.config.Incarnation
}

// declined tells whether who was given the record will not take it.
func (t *Term) declined() bool {
	p, _ := t.others.find(t.record.Holder.ID)
	return t.offered() && (t.now >= t.changed+acceptance || !p.fit())
}

// releasable tells whether the record is ours to give up.
func (t *Term) releasable() bool { return t.mine() || t.inherited || t.declined() }

// hand gives the record up if it is ours, waits for the successor, and ends.
func (t *Term) hand() {
	h := t.handing
	switch {
	case !t.known:
		t.finish("the record was never read", false)
	case t.now >= h.by:
		t.finish("the hand-over took too long", false)
	case t.attempt != nil:
	case t.releasable():
		t.giveUp()
	case !h.given:
		t.finish("there is nothing to hand over", false)
	case t.record.Holder.ID == "" && h.outlasted && t.others.allGone():
		t.finish("no other gateway is left", false)
	case t.record.Holder.ID == "":
		// Who has become whole again has no reason to wait for others any longer.
		if t.now >= t.changed+t.config.LeaseDuration || !h.leaves && t.local.Standing {
			t.finish("nobody took the record", false)
		}
	case t.record.converged() || t.successorSays():
		t.finish("the successor has converged", true)
	}
}

// successorSays tells whether the holder's heartbeats say that its routes are in place, which may be sooner
// than the record does.
func (t *Term) successorSays() bool {
	p, _ := t.others.find(t.record.Holder.ID)
	return !t.offered() && t.record.Epoch != 0 && p.Converged >= t.record.Epoch && p.Converged < maxFloor
}

// giveUp writes the record that gives it up, once it is time.
func (t *Term) giveUp() {
	h := t.handing
	if t.offered() {
		h.refused[t.record.Holder.ID] = true
	}
	to := t.successor(h)
	if to == nil && h.leaves && !h.outlasted && t.offered() && t.outlasts() {
		// Who was given the record was told to stop as well.
		t.handing = nil
		t.last()
		t.decide()
		return
	}
	if to == nil && !h.leaves && (!t.config.Blind || t.local.Standing) {
		t.finish("no gateway that was to have the record took it", false)
		return
	}
	if t.now < max(t.retryAt(Release), t.retryAt(Give)) {
		return
	}
	c := CompareAndSwap{Record: Record{Epoch: t.record.Epoch, Handover: &Handover{From: t.config.ID}}, Purpose: Release}
	if to != nil {
		c.Record.Holder, c.Record.Epoch, c.Purpose = to.Gateway, max(t.highest, t.floor)+1, Give
	}
	t.write(c)
}

// nextHanding is when the hand-over goes on without any input.
func (t *Term) nextHanding() time.Duration {
	switch {
	case t.releasable():
		return max(t.retryAt(Release), t.retryAt(Give))
	case t.offered():
		return t.changed + acceptance
	}
	return t.changed + t.config.LeaseDuration
}

// finish ends the hand-over.
func (t *Term) finish(reason string, converged bool) {
	h := t.handing
	if h.leaves {
		t.end(reason)
		return
	}
	var r Transferred
	if converged {
		r.Holder, r.Epoch = t.record.Holder, t.record.Epoch
	} else {
		r.Problem = reason
		t.handAgain = t.now + rest
	}
	t.do(r)
	t.handing = nil
	// What there is to do besides is decided at once.
	t.publish()
	t.decide()
}

func (t *Term) answer(r Transferred) {
	if t.handing.asked {
		t.do(r)
	}
}
