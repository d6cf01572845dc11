package plan

import "time"

// route is one route, as the shard's holder sees it.
type route struct {
	key Key
	// wanted says that it shall be; otherwise it is a leftover. covered says that all its traffic comes by covers
	// once it is gone and these are in place.
	wanted  bool
	covered bool
	covers  []*route
	// dropped says that there is nothing to tell about it any more.
	dropped bool
	// adopted is the foreign target that an operator gave up.
	adopted string
	// goneAt is when it was deleted by us.
	goneAt time.Duration

	// seen is what the table said last, or what was written since; known says that it means anything.
	seen  Route
	known bool

	// placed says that the route points here, by our own write or by a read under the epoch held;
	// placedAt is when.
	placed   bool
	placedAt time.Duration
	// proven says that no stale read made it placed, so that others' routes may go because of it.
	proven bool
	// epoch is the one under which it was last placed or seen in place.
	epoch uint64
	// differs counts the reads in a row that contradict placed.
	differs int
	// blackholes counts the times in a row that the route was found dead although it points here.
	blackholes int
	// rewrite asks for a write although placed.
	rewrite bool

	writing   bool
	startedAt time.Duration
	endedAt   time.Duration // when the last write ended
	attempt   int
	reason    Reason
	missed    bool // ReplaceRoute found nothing
	insist    bool // then CreateRoute found something: replace, whatever is seen
	// existsUntil is how long a read that does not show the route is taken for stale, because
	// CreateRoute found one.
	existsUntil time.Duration
	doubts      int

	failures int
	failure  string
	retryAt  time.Duration

	changed bool
}

// forgive drops the memory of failures, so that the next write is made at once.
func (r *route) forgive() {
	r.attempt, r.failures, r.failure, r.retryAt, r.blackholes = 0, 0, "", 0, 0
}

// place notes that the route points here. What a read says soon after this gateway took over may be what was before
// its predecessor, and proves nothing.
func (s *State) place(r *route, proven bool, now time.Duration) {
	r.proven = r.placed && r.proven || proven
	black := r.blackholes
	r.forgive()
	r.blackholes = black
	r.placed, r.placedAt, r.epoch = true, now, s.epoch
	r.seen, r.known = Route{Kind: Interface, Target: s.config.Interface}, true
	r.rewrite, r.insist, r.missed, r.existsUntil, r.doubts, r.differs = false, false, false, 0, 0, 0
	s.touch(r)
}

// fail notes why the route is not in place and when to try again.
func (s *State) fail(r *route, detail string, now time.Duration, wait backoff) {
	r.failures++
	r.placed, r.rewrite = false, false
	r.failure, r.retryAt = detail, now+wait.after(r.failures)
	s.touch(r)
}

func (s *State) touch(r *route) {
	if !r.changed {
		r.changed = true
		s.changed = append(s.changed, r)
	}
}

// here tells whether the route was last seen to lead to an interface, and alive.
func (r *route) here(eni string) bool {
	return r.seen.Kind == Interface && r.seen.Target == eni && !r.seen.Blackhole
}
