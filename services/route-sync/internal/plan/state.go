package plan

import (
	"net/netip"
	"time"
)

const (
	// settling is how long after a write a read may still show what was before it.
	settling = 5 * time.Second
	// aftermath is how long after another gateway's takeover its routes are read.
	aftermath = time.Second
)

// verifications are the times after convergence at which the routes are read again, so that a
// late write of the previous holder does not stay.
func verifications() []time.Duration {
	return []time.Duration{time.Second, 2 * time.Second, 4 * time.Second}
}

// Config is what stays the same.
type Config struct {
	Shard string
	// Interface is this gateway's own network interface, where the routes shall point.
	Interface string
	// Every one of Destinations is wanted in every one of Tables.
	Tables       []string
	Destinations []netip.Prefix
	// Gateways are further network interfaces known to be gateways'.
	Gateways []string
	// Interval is the time between two reads.
	Interval time.Duration
	// Parallel is how many writes may be under way at once.
	Parallel int
}

// State is all that route-sync knows and intends for one shard.
type State struct {
	config Config
	// gateways are the interfaces whose routes may be replaced; it only grows.
	gateways map[string]bool
	// owners is what is known about other interfaces.
	owners map[string]verdict
	// routes are in the order in which they are written: the tables take turns.
	routes []*route
	byKey  map[Key]*route
	// missing are the tables that EC2 does not have.
	missing map[string]bool

	// epoch is the newest seen; active and validUntil are about it.
	epoch      uint64
	active     bool
	validUntil time.Duration
	// heldSince is when this gateway was told that it holds the record under epoch;
	// held is the epoch for which that was last so.
	heldSince time.Duration
	held      uint64
	converged bool
	// heard says that election has said anything; reads that began before readsFrom do not count.
	heard     bool
	readsFrom time.Duration
	// holderConverged is what was last heard about another holder.
	holderConverged bool
	// acting is the epoch under which writes are handed out, 0 for none.
	acting uint64

	writing int // writes under way
	writeAt time.Duration
	pace    pace
	read    reading
	lookup  looking

	changed    []*route
	allChanged bool
}

// route is one route, as it is wanted by the shard's holder.
type route struct {
	key Key
	// seen is what the table said last, or what was written since; known says that it means anything.
	seen  Route
	known bool

	// placed says that the route points here, by our own write or by a read under the epoch held;
	// placedAt is when.
	placed   bool
	placedAt time.Duration
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

// New is the state before anything is known.
func New(c Config) *State {
	s := &State{
		config:   c,
		gateways: map[string]bool{c.Interface: true},
		owners:   make(map[string]verdict),
		byKey:    make(map[Key]*route),
		missing:  make(map[string]bool),
		writeAt:  never,
	}
	for _, g := range c.Gateways {
		s.gateways[g] = true
	}
	for _, d := range c.Destinations {
		for _, t := range c.Tables {
			r := &route{key: Key{Table: t, Destination: d}}
			s.routes = append(s.routes, r)
			s.byKey[r.key] = r
		}
	}
	s.allChanged = true
	return s
}

// Observe takes what election says. Older epochs are ignored.
func (s *State) Observe(l Leadership, now time.Duration) {
	if l.Holder != "" && !s.gateways[l.Holder] {
		s.gateways[l.Holder] = true
		s.allChanged = true
	}
	if l.Shard != s.config.Shard || l.Epoch < s.epoch || l.Epoch == 0 {
		return
	}
	if l.Active && !s.heard {
		s.readFirst(now)
	}
	s.heard = true
	news := l.Epoch > s.epoch || l.Converged && !s.holderConverged
	s.epoch, s.holderConverged = l.Epoch, l.Converged
	s.active, s.validUntil = l.Active, l.ValidUntil
	switch {
	case l.Active && s.held != l.Epoch:
		s.takeOver(now)
	case !l.Active && news:
		s.read.want(now + aftermath)
	}
}

// Forget says that election knows of no record any more.
func (s *State) Forget() {
	s.active, s.validUntil = false, 0
}

// takeOver makes all routes due. The exception is an epoch that follows directly on one of our
// own: nobody else can have written in between.
func (s *State) takeOver(now time.Duration) {
	keep := s.held != 0 && s.held == s.epoch-1
	for _, r := range s.routes {
		r.forgive()
		r.rewrite, r.insist, r.missed = false, false, false
		if !keep || !r.placed {
			r.placed, r.reason = false, Takeover
		}
	}
	s.held, s.heldSince = s.epoch, now
	s.converged = false
	s.allChanged = true
	s.read.verify = nil
}

// readFirst forgets what was read, because this process started while its gateway was already
// active: most likely the routes are in place, and one read saves writing them all again.
func (s *State) readFirst(now time.Duration) {
	for _, r := range s.routes {
		r.known = false
	}
	s.readsFrom = now
	s.read.want(now)
}

// forgive drops the memory of failures, so that the next write is made at once.
func (r *route) forgive() {
	r.attempt, r.failures, r.failure, r.retryAt, r.blackholes = 0, 0, "", 0, 0
}

// place notes that the route points here.
func (s *State) place(r *route, now time.Duration) {
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

// permitted is the epoch under which writes may be made now; 0 for none.
func (s *State) permitted(now time.Duration) uint64 {
	if s.active && now < s.validUntil {
		return s.epoch
	}
	return 0
}

// Next returns what is to be done now. The actions are under way once they are returned.
func (s *State) Next(now time.Duration) []Action {
	var actions []Action
	if epoch := s.permitted(now); epoch != s.acting {
		if s.acting != 0 {
			actions = append(actions, Cancel{Epoch: s.acting})
		}
		s.acting, s.allChanged = epoch, true
	}
	if s.acting != 0 {
		actions = append(actions, s.writes(now)...)
	}
	if began := s.read.start(now, s.config.Interval); began {
		actions = append(actions, Read{Tables: s.config.Tables, Began: now})
	}
	if l, due := s.lookup.start(now); due {
		actions = append(actions, l)
	}
	return actions
}

// Wake is the time at which Next has something new to return although nothing happened.
func (s *State) Wake() time.Duration {
	wake := min(s.read.wake(), s.lookup.wake())
	if s.acting != 0 {
		wake = min(wake, s.validUntil, s.writeAt)
	}
	return wake
}

// Validity is the epoch under which writes may be made and the time until which that holds.
func (s *State) Validity() (epoch uint64, until time.Duration) {
	if !s.active {
		return s.epoch, 0
	}
	return s.epoch, s.validUntil
}

// Converged is the epoch under which this gateway acts and has seen every route that is not in
// conflict acknowledged by EC2; 0 when that is not so.
func (s *State) Converged() uint64 {
	if s.acting != 0 && s.converged {
		return s.acting
	}
	return 0
}

// Changed returns the status of the routes of which it changed since the last call.
func (s *State) Changed() []Status {
	routes := s.changed
	if s.allChanged {
		routes = s.routes
	}
	statuses := make([]Status, 0, len(routes))
	for _, r := range routes {
		statuses = append(statuses, s.status(r))
	}
	for _, r := range s.changed {
		r.changed = false
	}
	s.changed, s.allChanged = s.changed[:0], false
	return statuses
}

func (s *State) status(r *route) Status {
	st := Status{Key: r.key, Target: r.seen.Target, Epoch: r.epoch}
	class, reason := s.classify(r.seen)
	switch {
	case s.acting == 0:
		st.Condition = Unowned
	case r.placed:
		st.Condition = InSync
	case s.missing[r.key.Table]:
		st.Condition, st.Detail = Errored, "route table "+r.key.Table+" does not exist in this account and region; correct --route-tables"
	case r.known && class == foreign:
		st.Condition, st.Detail = Conflict, reason
	case r.failure != "":
		st.Condition, st.Detail = Errored, r.failure
	case !r.known && s.read.failure != "":
		st.Condition, st.Detail = Errored, s.read.failure
	case r.known && class == unclear && s.lookup.failure != "":
		st.Condition, st.Detail = Errored, s.lookup.failure
	default:
		st.Condition = Pending
	}
	return st
}
