package plan

import (
	"net/netip"
	"slices"
	"time"
)

const (
	// settling is how long after a write a read may still show what was before it.
	settling = 5 * time.Second
	// aftermath is how long after another gateway's takeover its routes are read, since an earlier read may be stale.
	aftermath = time.Second
)

// verifyFrom has the routes read 1, 2 and 4 seconds from now, instead of at the times that were planned before, so
// that a late write of the previous holder does not stay.
func (s *State) verifyFrom(now time.Duration) {
	s.read.verify = []time.Duration{now + time.Second, now + 2*time.Second, now + 4*time.Second}
}

// Config is what stays the same.
type Config struct {
	Shard string
	// Interface is this gateway's own network interface, where the routes shall point.
	Interface string
	// Every one of Destinations is wanted in every one of Tables, by the prefix lists or else by itself.
	Tables       []string
	Destinations []netip.Prefix
	Lists        Lists
	// Floating, if valid, is one more destination, wanted in FloatingTables, and by itself.
	Floating       netip.Prefix
	FloatingTables []string
	// Gateways are further network interfaces known to be gateways'.
	Gateways []string
	// Adopt lets foreign routes to exactly a destination be replaced.
	Adopt bool
	// RemoveLast removes what is ours once election says that this gateway is the last.
	RemoveLast bool
	// ManageCheck lets the source/destination check of Interface be switched off.
	ManageCheck bool
	// Region is the AWS region, for the names of resources.
	Region string
	// Interval is the time between two reads.
	Interval time.Duration
	// Parallel is how many writes may be under way at once.
	Parallel int
	// Bucket limits writes.
	Bucket Bucket
}

// AllTables are the ids of all tables, each once.
func (c Config) AllTables() []string {
	tables := slices.Clone(c.Tables)
	for _, t := range c.FloatingTables {
		if !slices.Contains(tables, t) {
			tables = append(tables, t)
		}
	}
	return tables
}

// State is all that route-sync knows and intends for one shard.
type State struct {
	config Config
	// gateways are the interfaces whose routes may be replaced; it only grows.
	gateways map[string]bool
	// owners is what is known about other interfaces.
	owners map[string]verdict
	// routes are the wanted ones, wantedCount many, in the order in which they are written: the tables
	// take turns; then the leftovers.
	routes      []*route
	wantedCount int
	// byTable are the same, table by table.
	byTable []*route
	byKey   map[Key]*route
	gone    []Key
	// uncarried says that there are destinations for which no route is wanted yet.
	uncarried bool
	// tables are what was read last.
	tables map[string]Table
	// missing are the tables that EC2 does not have.
	missing map[string]bool

	// epoch is the newest seen; active and validUntil are about it.
	epoch      uint64
	active     bool
	validUntil time.Duration
	// deaf says that the stream from election is down: whatever it said may have changed.
	deaf bool
	// heldSince is when this gateway was told that it holds the record under epoch;
	// held is the epoch for which that was last so.
	heldSince time.Duration
	held      uint64
	converged bool
	// stalled says that not all routes are in place, and that those that are not have failed or stay unclear;
	// stalledBefore that it was so since this gateway took over.
	stalled, stalledBefore bool
	// heard says that election has said anything; reads that began before readsFrom do not count.
	heard     bool
	readsFrom time.Duration
	// holderConverged is what was last heard about another holder.
	holderConverged bool
	// acting is the epoch under which writes are handed out, 0 for none.
	acting uint64
	// retired says that routes are to be removed rather than made; purged that this is for good, and
	// removed that none of ours is left.
	retired, purged, removed bool

	writing int // writes under way
	writeAt time.Duration
	budget  budget // of writes
	reads   budget
	// entries are the destinations as prefix lists are to carry them, by whether they are of IPv6.
	entries map[bool][]netip.Prefix
	pace    pace
	read    reading
	lookup  looking
	lists   listing
	check   checking
	probes  probing
	account string

	departing departing

	changed    []*route
	allChanged bool
}

// New is the state before anything is known.
func New(c Config) *State {
	s := &State{
		config:   c,
		gateways: map[string]bool{c.Interface: true},
		owners:   make(map[string]verdict),
		byKey:    make(map[Key]*route),
		tables:   make(map[string]Table),
		missing:  make(map[string]bool),
		writeAt:  never,
		budget:   newBudget(c.Bucket),
		entries:  entriesOf(c.Destinations),
		reads:    newBudget(readBudget(len(c.AllTables()), c.Interval)),
	}
	for _, g := range c.Gateways {
		s.gateways[g] = true
	}
	s.arrange(0)
	s.allChanged = true
	return s
}

// Observe takes what election says. Older epochs are ignored.
func (s *State) Observe(l Leadership, now time.Duration) {
	if l.Holder != "" && !s.gateways[l.Holder] {
		s.gateways[l.Holder] = true
		s.allChanged = true
	}
	if l.Shard != s.config.Shard {
		return
	}
	if l.Epoch < s.epoch || l.Epoch == 0 {
		return
	}
	s.deaf = false
	s.departing.said = l.Departure
	s.retireLast()
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
	case !l.Active && news && l.Converged:
		s.read.want(now) // the holder may die before long
		s.read.verify = []time.Duration{now + aftermath}
	case !l.Active && news:
		s.read.want(now + aftermath)
	}
}

// Forget says that election knows of no record any more.
func (s *State) Forget() {
	s.active, s.validUntil = false, 0
}

// Disconnect says that the stream from election is down. Nothing is undone, and nothing written until it is back.
func (s *State) Disconnect() { s.deaf = true }

// Purge makes this gateway remove what is the gateways' own while it leads, and make no route any more.
func (s *State) Purge() {
	s.purged = true
	s.retire(true)
}

func (s *State) retire(retired bool) {
	if s.retired == retired {
		return
	}
	s.retired, s.allChanged, s.removed, s.converged = retired, true, false, false
	for _, r := range s.routes {
		r.forgive()
		r.rewrite, r.insist, r.missed = false, false, false
		r.reason = Takeover
	}
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
	s.converged, s.removed = false, false
	s.allChanged = true
	s.read.verify = nil
	s.stalled, s.stalledBefore = false, false
	s.check.want(now)
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

// permitted is the epoch under which writes may be made now; 0 for none.
func (s *State) permitted(now time.Duration) uint64 {
	if s.active && !s.deaf && now < s.validUntil {
		return s.epoch
	}
	return 0
}

// Next returns what is to be done now. The actions are under way once they are returned.
func (s *State) Next(now time.Duration) []Action {
	var actions []Action
	s.budget.refill(now)
	s.reads.refill(now)
	if epoch := s.permitted(now); epoch != s.acting {
		if s.acting != 0 {
			actions = append(actions, Cancel{Epoch: s.acting})
		}
		s.acting, s.allChanged = epoch, true
	}
	// While the check is on, EC2 drops all that the routes bring.
	if a, due := s.switchAction(now); due {
		actions = append(actions, a)
	}
	if s.acting != 0 {
		actions = append(actions, s.writes(now)...)
	}
	// Lists go first: routes may wait for them.
	if a, due := s.listAction(now); due {
		actions = append(actions, a)
	}
	if s.startRead(now) {
		actions = append(actions, Read{Tables: s.config.AllTables(), Began: now})
	}
	if l, due := s.lookup.start(now); due {
		s.reads.spend(now)
		actions = append(actions, l)
	}
	for _, next := range []func(time.Duration) (Action, bool){s.inspectAction, s.probeAction} {
		if a, due := next(now); due {
			actions = append(actions, a)
		}
	}
	s.endDeparture(now)
	return actions
}

// Wake is the time at which Next has something new to return although nothing happened.
func (s *State) Wake() time.Duration {
	wake := min(s.readWake(), s.lookup.wake(), s.listWake(), s.switchWake(), s.inspectWake(), s.probeWake(), s.departWake())
	if s.acting != 0 {
		wake = min(wake, s.validUntil, s.writeAt)
	}
	return wake
}

// Validity is the epoch under which writes may be made and the time until which that holds.
func (s *State) Validity() (epoch uint64, until time.Duration) {
	if !s.active || s.deaf {
		return s.epoch, 0
	}
	return s.epoch, s.validUntil
}

// Converged is the epoch under which this gateway acts and has seen every route that is not in
// conflict acknowledged by EC2; 0 when that is not so.
func (s *State) Converged() uint64 {
	if s.acting != 0 && s.converged && !s.retired {
		return s.acting
	}
	return 0
}

// Policy prints the least IAM policy for a configuration, in the account of this one's tables.
func (s *State) Policy(c Config) string { return Policy(c, s.account) }

// Wanted is how many routes are wanted.
func (s *State) Wanted() int { return s.wantedCount }

// Removed is the epoch under which this gateway acts and has removed all that is the gateways' own; 0 when that
// is not so.
func (s *State) Removed() uint64 {
	if s.acting != 0 && s.retired && s.removed {
		return s.acting
	}
	return 0
}
