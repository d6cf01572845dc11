package plan

import "time"

// writes returns the writes to start now, and notes when the next one is due.
func (s *State) writes(now time.Duration) []Action {
	var actions []Action
	s.writeAt = never
	open := false
	for _, r := range s.routes {
		if r.placed && !r.rewrite {
			continue
		}
		if r.writing {
			open = open || !r.placed
			continue
		}
		if s.writing >= s.config.Parallel {
			// The end of a write is what happens next.
			s.writeAt = never
			return actions
		}
		writable, conflict := s.writable(r)
		open = open || !r.placed && !conflict
		if !writable {
			continue
		}
		if at := max(r.retryAt, s.pace.next); at > now {
			s.writeAt = min(s.writeAt, at)
			continue
		}
		actions = append(actions, s.write(r, now))
	}
	if len(actions) == 0 && s.writeAt == never && s.writing == 0 {
		s.pace.idle(now)
	}
	if !open && !s.converged {
		s.converged = true
		for _, after := range verifications() {
			s.read.verify = append(s.read.verify, now+after)
		}
	}
	return actions
}

// writable tells whether the route may be written as far as its target goes, or is in conflict.
func (s *State) writable(r *route) (writable, conflict bool) {
	if !r.known || s.missing[r.key.Table] {
		return false, false
	}
	class, _ := s.classify(r.seen)
	switch class {
	case absent, ours:
		return true, false
	case foreign:
		return false, true
	}
	return false, false
}

func (s *State) write(r *route, now time.Duration) Write {
	r.writing, r.startedAt = true, now
	r.attempt++
	s.writing++
	s.pace.started(now)
	w := Write{Key: r.key, Interface: s.config.Interface, Epoch: s.acting, Attempt: r.attempt, Reason: r.reason}
	if r.seen.Kind == Absent && !r.insist {
		w.Verb = Create
	}
	return w
}

// WriteDone takes the end of a write.
func (s *State) WriteDone(w Write, result Result, now time.Duration) {
	r := s.byKey[w.Key]
	r.writing = false
	s.writing--
	if result.Outcome == Fenced {
		return
	}
	r.endedAt = now
	if result.Outcome == Throttled {
		s.pace.throttled(r.startedAt, now)
	} else {
		s.pace.accepted(r.startedAt)
	}
	if w.Epoch != s.epoch {
		// It says nothing about what was written since under the newer epoch.
		return
	}
	switch result.Outcome {
	case Done:
		s.place(r, now)
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
	case Denied, Quota, NoInterface:
		s.fail(r, result.Detail, now, stubborn())
	default:
		s.fail(r, result.Detail, now, transient())
	}
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
