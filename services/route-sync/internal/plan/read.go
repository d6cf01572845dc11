package plan

import (
	"cmp"
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

// readWake is when the next read may begin.
func (s *State) readWake() time.Duration {
	due := s.read.at
	switch {
	case s.read.busy:
		return never
	case len(s.read.verify) > 0:
		due = min(due, s.read.verify[0])
	}
	return max(due, s.reads.ready(0))
}

func (s *State) startRead(now time.Duration) bool {
	if now < s.readWake() {
		return false
	}
	s.reads.spend(now)
	wait := s.config.Interval
	if s.reads.ready(reserveTakeovers) > now {
		wait *= 2 // some reads are kept for the next takeover
	}
	s.read.busy, s.read.at = true, now+wait
	s.read.verify = slices.DeleteFunc(s.read.verify, func(at time.Duration) bool { return at <= now })
	return true
}

// ReadDone takes the end of a read.
func (s *State) ReadDone(read Read, result ReadResult, now time.Duration) {
	s.read.busy = false
	s.readEnded(result.Result, now)
	for _, t := range result.Absent {
		s.missing[t] = true
	}
	for t, table := range result.Tables {
		delete(s.missing, t)
		if read.Began >= s.readsFrom {
			s.tables[t] = table
		}
	}
	s.account = cmp.Or(result.Account, s.account)
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
		if r.wanted {
			s.see(r, table[r.key.Destination], read.Began, now)
		} else {
			s.seeLeftover(r, table[r.key.Destination], read.Began, now)
		}
	}
	s.noticeLists(now)
	s.planProbes(now)
	s.arrange(now)
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
		r.proven = r.proven || began >= s.heldSince+settling
		changed = true
	case r.placed:
		s.differs(r, seen, began, now)
		return
	case here && began >= s.heldSince:
		r.blackholes = 0
		s.place(r, began >= s.heldSince+settling, now)
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

// seeLeftover takes what a read says about a route that is not wanted.
func (s *State) seeLeftover(r *route, seen Route, began, now time.Duration) {
	stale := seen.Kind != Absent && r.goneAt != 0 && began < r.goneAt+settling ||
		r.placed && seen.Target != s.config.Interface && began < r.placedAt+settling
	if stale && r.differs == 0 {
		// It takes two reads to believe that a write of a moment ago does not stand.
		r.differs++
		s.read.want(now + time.Second)
		return
	}
	changed := !r.known || r.seen != seen
	r.differs, r.goneAt = 0, 0
	r.seen, r.known = seen, true
	r.placed = r.placed && r.here(s.config.Interface)
	if changed {
		s.touch(r)
	}
}

// noticeLists looks for prefix lists that tables have routes to and of which nothing is known yet.
func (s *State) noticeLists(now time.Duration) {
	strays := s.strays()
	for _, id := range strays {
		if _, known := s.lists.known[id]; !known && !slices.Contains(s.lists.strays, id) {
			s.lists.at = min(s.lists.at, now)
		}
	}
	s.lists.strays = strays
}

func (r *route) forgiveExceptBlackholes() {
	n := r.blackholes
	r.forgive()
	r.blackholes = n
}
