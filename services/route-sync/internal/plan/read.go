package plan

import (
	"slices"
	"time"
)

// reading is when to read.
type reading struct {
	busy bool
	// at is when the next read is due at the latest; verify are further times, ascending.
	at       time.Duration
	verify   []time.Duration
	failures int
	failure  string
}

// want asks for a read at the given time or earlier.
func (r *reading) want(at time.Duration) { r.at = min(r.at, at) }

func (r *reading) wake() time.Duration {
	switch {
	case r.busy:
		return never
	case len(r.verify) > 0:
		return min(r.at, r.verify[0])
	}
	return r.at
}

func (r *reading) start(now, interval time.Duration) bool {
	if now < r.wake() {
		return false
	}
	r.busy, r.at = true, now+interval
	r.verify = slices.DeleteFunc(r.verify, func(at time.Duration) bool { return at <= now })
	return true
}

// ReadDone takes the end of a read.
func (s *State) ReadDone(read Read, result ReadResult, now time.Duration) {
	s.read.busy = false
	s.readEnded(result.Result, now)
	for _, t := range result.Absent {
		s.missing[t] = true
	}
	for t := range result.Tables {
		delete(s.missing, t)
	}
	for _, r := range s.routes {
		if slices.Contains(result.Absent, r.key.Table) {
			r.placed, r.rewrite, r.known, r.seen = false, false, false, Route{}
			s.touch(r)
			continue
		}
		table, was := result.Tables[r.key.Table]
		if !was || r.writing || read.Began < max(r.endedAt, s.readsFrom) {
			continue
		}
		s.see(r, table[r.key.Destination], read.Began, now)
	}
	s.lookup.want(s.unclear(now), now)
}

func (s *State) readEnded(result Result, now time.Duration) {
	before := s.read.failure
	s.read.failure = result.Detail
	if result.Outcome == Done {
		s.read.failures, s.read.failure = 0, ""
	} else {
		s.read.failures++
		wait := backoff{250 * time.Millisecond, s.config.Interval}
		s.read.at = now + wait.after(s.read.failures)
	}
	if s.read.failure != before {
		s.allChanged = true
	}
}

// see takes what a read that began at began says about a route.
func (s *State) see(r *route, seen Route, began, now time.Duration) {
	here := seen.Kind == Interface && seen.Target == s.config.Interface && !seen.Blackhole
	changed := !r.known || r.seen != seen
	switch {
	case s.acting == 0:
		r.placed = r.placed && here
		r.seen, r.known, r.existsUntil = seen, true, 0
	case r.placed && here:
		r.differs, r.blackholes, r.epoch = 0, 0, s.epoch
		changed = true
	case r.placed:
		s.differs(r, seen, began, now)
		return
	case here && began >= s.heldSince:
		r.blackholes = 0
		s.place(r, now)
		return
	case seen.Kind == Absent && now < r.existsUntil:
		r.doubts++
		s.read.want(now + backoff{100 * time.Millisecond, time.Second}.after(r.doubts))
		return
	default:
		r.seen, r.known, r.existsUntil = seen, true, 0
	}
	if changed {
		s.touch(r)
	}
}

// differs takes a read that contradicts what was placed.
func (s *State) differs(r *route, seen Route, began, now time.Duration) {
	r.differs++
	recent := began < r.placedAt+settling
	if recent && r.differs < 2 {
		return
	}
	r.differs = 0
	class, _ := s.classify(seen)
	dead := seen.Target == s.config.Interface && seen.Blackhole
	if recent && !dead && (class == absent || class == ours) {
		// Either the read is stale or an older write came late. To write again is right in both
		// cases, and no news.
		r.seen, r.rewrite, r.reason, r.attempt = seen, true, Reassert, 0
		return
	}
	r.forgiveExceptBlackholes()
	r.placed, r.rewrite, r.seen, r.reason = false, false, seen, Drift
	if dead {
		if r.blackholes++; r.blackholes > 1 {
			r.failures = r.blackholes - 2
			s.fail(r, "the route points to this gateway's interface "+s.config.Interface+
				" and is a blackhole: the interface is detached or its instance does not run", now, stubborn())
		}
	}
	s.touch(r)
}

func (r *route) forgiveExceptBlackholes() {
	n := r.blackholes
	r.forgive()
	r.blackholes = n
}
