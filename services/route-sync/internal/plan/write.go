package plan

import (
	"slices"
	"time"
)

// step is what is to be done about one route.
type step struct {
	due     bool
	verb    Verb
	reason  Reason
	reserve float64
	// open says that the route does not lead where it shall, and nobody else is to blame.
	open bool
}

// writes returns the writes to start now, and notes when the next one is due.
func (s *State) writes(now time.Duration) []Action {
	var actions []Action
	s.writeAt, s.stalled = never, false
	open, full, due := s.uncarried && !s.retired, false, 0
	first := open // a route is not in place and has not failed
	for _, r := range s.order() {
		next := s.step(r)
		open = open || next.open
		first = first || next.open && r.failures == 0 && (next.due || s.unseen(r))
		if r.writing || !next.due {
			continue
		}
		due++
		at := max(r.retryAt, s.writable(next.reserve))
		switch soonest := s.writable(reserveTakeover); {
		case full:
		case s.writing >= s.config.Parallel:
			full, s.writeAt = true, never // the end of a write is what happens next
		case soonest > now:
			full, s.writeAt = true, soonest
		case at > now:
			s.writeAt = min(s.writeAt, at)
		default:
			actions = append(actions, s.write(r, next, now))
		}
		if full && open && first {
			return actions // nothing more to find out
		}
	}
	if due == 0 && s.writing == 0 {
		s.pace.idle(now)
	}
	s.stalled = open && !first
	s.concluded(open, now)
	return actions
}

// unseen tells whether a route waits for the first look at it, or at what it leads to.
func (s *State) unseen(r *route) bool {
	if !r.known {
		return !s.missing[r.key.Table]
	}
	class, _ := s.judge(r)
	_, looked := s.owners[r.seen.Target]
	return class == unclear && !looked && s.lookup.failures == 0
}

// concluded notes that nothing is left to be done, unless something is open, or nothing but what has failed. From then
// on it looks again, so that no table waits for another.
func (s *State) concluded(open bool, now time.Duration) {
	switch {
	case s.retired:
		_, lists := s.listRemoval()
		busy := s.lists.writing || s.ownListBusy() || s.config.Lists.used() && !s.lists.read
		s.removed = !open && !lists && !busy
	case s.converged:
	case !open:
		s.converged = true
		s.verifyFrom(now)
	case s.stalled && !s.stalledBefore:
		s.stalledBefore = true
		s.verifyFrom(now)
	}
}

// order is the routes as they are to be written: the tables take turns, so that none holds the others up; but one
// table after the other when there are not tokens enough for all of them at once, so that the first tables, which
// ought to be the busiest, are whole soon.
func (s *State) order() []*route {
	if s.budget.Burst == 0 || s.converged {
		return s.routes
	}
	due := 0.0
	for _, r := range s.routes {
		if !r.writing && s.step(r).due {
			if due++; due > s.budget.tokens {
				return s.byTable
			}
		}
	}
	return s.routes
}

// step decides about one route.
func (s *State) step(r *route) step {
	if r.wanted && r.placed && !r.rewrite && !s.retired && !s.missing[r.key.Table] {
		return step{}
	}
	class, _ := s.judge(r)
	switch {
	case s.missing[r.key.Table]:
		return step{open: r.wanted && !s.retired}
	case s.retired:
		return s.removal(r, class)
	case !r.wanted:
		return s.leftover(r, class)
	case !r.known:
		return step{open: !r.placed}
	}
	next := step{due: class == absent || class == ours, reason: r.reason, open: !r.placed && class != foreign}
	if (r.seen.Kind == Absent || r.seen.Propagated) && !r.insist {
		next.verb = Create
	}
	if r.reason != Takeover {
		next.reserve = reserveDrift
	}
	return next
}

// removal decides when the gateways leave for good.
func (s *State) removal(r *route, class class) step {
	return step{
		due: r.known && class == ours, verb: Delete, reason: Purge,
		open: !r.known || class == ours || class == unclear,
	}
}

// leftover decides about a route that is not wanted. It goes once other routes of ours carry all of its traffic, and
// until then leads here like them.
func (s *State) leftover(r *route, class class) step {
	here := r.here(s.config.Interface)
	switch {
	case !r.known:
		return step{open: true}
	case class == unclear:
		return step{open: true}
	case class != ours:
		return step{}
	case r.covered && !slices.ContainsFunc(r.covers, func(c *route) bool { return !c.placed || !c.proven }):
		gone := step{due: true, verb: Delete, reason: Leftover, reserve: reserveOther}
		if !here {
			gone.reserve, gone.open = reserveTakeover, true // its traffic goes to the gateway before
		}
		return gone
	case here:
		return step{}
	case r.covered && !slices.ContainsFunc(r.covers, func(c *route) bool { return !s.promising(c) }):
		return step{open: true} // about to go
	}
	return step{due: true, verb: Replace, reason: r.reason, open: true}
}

// promising tells whether a wanted route is, or is about to be, in place.
func (s *State) promising(r *route) bool {
	class, _ := s.judge(r)
	return r.placed || r.known && r.failures == 0 && !s.missing[r.key.Table] && (class == absent || class == ours)
}

func (s *State) write(r *route, next step, now time.Duration) Write {
	r.writing, r.startedAt = true, now
	r.attempt++
	s.writing++
	s.spend(now)
	return Write{
		Key: r.key, Verb: next.verb, Interface: s.config.Interface, Epoch: s.acting, Attempt: r.attempt, Reason: next.reason,
		// When all writes under way were made again, the bucket would still not be empty.
		Hedge: s.budget.Burst == 0 || s.budget.tokens >= float64(s.writing),
	}
}

// WriteDone takes the end of a write.
func (s *State) WriteDone(w Write, result Result, now time.Duration) {
	r := s.byKey[w.Key]
	r.writing = false
	s.writing--
	s.budget.extra(result.Hedges, now)
	if result.Outcome == Fenced {
		return
	}
	r.endedAt = now
	if result.Outcome == Throttled {
		s.throttled(r.startedAt, now)
	} else {
		s.pace.accepted(r.startedAt)
	}
	if w.Epoch != s.epoch {
		// It says nothing about what was written since under the newer epoch.
		return
	}
	if w.Verb == Delete && (result.Outcome == Done || result.Outcome == NoRoute) {
		r.forgive()
		r.placed, r.rewrite, r.adopted = false, false, ""
		r.seen, r.known, r.goneAt, r.differs = Route{}, true, now, 0
		s.touch(r)
		return
	}
	switch result.Outcome {
	case Done:
		s.place(r, true, now)
	case NoRoute:
		s.noRoute(r, now)
	case Exists:
		s.exists(r, now)
	case NoTable:
		s.missing[w.Table] = true
		s.fail(r, result.Detail, now, stubborn())
		s.allChanged = true
	case Throttled:
		r.attempt-- // EC2 has not even looked at it
	case NoList:
		s.fail(r, result.Detail, now, transient())
		s.noList(w.Destination.List, now)
	case Denied, Quota, NoInterface:
		s.fail(r, result.Detail, now, stubborn())
	default:
		s.fail(r, result.Detail, now, transient())
	}
}

// noList: a prefix list is gone. What is known of lists is old.
func (s *State) noList(id string, now time.Duration) {
	if s.lists.known[id].own {
		delete(s.lists.known, id)
		s.arrange(now)
		s.allChanged = true
	}
	s.lists.at = min(s.lists.at, now)
}

// noRoute: there was nothing to replace, so the next call creates it.
func (s *State) noRoute(r *route, now time.Duration) {
	r.seen = Route{}
	if r.insist {
		// Replace, create, replace: EC2 contradicts itself. Look again.
		r.insist, r.missed, r.known = false, false, false
		s.fail(r, "EC2 says both that the route exists and that it does not", now, transient())
		s.read.want(r.retryAt)
		return
	}
	r.missed = true
	s.touch(r)
}

// exists: something is there already.
func (s *State) exists(r *route, now time.Duration) {
	switch {
	case r.placed:
		// A read that did not show the route was stale.
		r.rewrite, r.differs = false, 0
	case r.missed:
		// It was a gateway's when it was last seen, so "nothing to replace" was stale.
		r.missed, r.insist = false, true
	default:
		r.known, r.doubts = false, 0
		r.existsUntil = now + settling
		s.read.want(now)
	}
	s.touch(r)
}
