package plan

import "time"

const (
	// departNotice is how long election, which is told to stop at about the same time, may take to say that it leaves.
	departNotice = 2 * time.Second
	// departLimit bounds a departure: Kubernetes kills what has not ended 30 s after it was told to
	// (terminationGracePeriodSeconds).
	departLimit = 25 * time.Second
)

// departing is what is known of the end of this process.
type departing struct {
	// told says that it was told to stop, at since.
	told  bool
	since time.Duration
	// over says that this process may end.
	over bool
	// said is what election said last of this gateway.
	said Departure
}

// Depart says that this process was told to stop. Until Departed it works as before, for it may turn out that this
// gateway is the last and has to remove what is ours.
func (s *State) Depart(now time.Duration) {
	if !s.departing.told {
		s.departing.told, s.departing.since = true, now
		s.retireLast()
	}
}

// retireLast lets what is ours be removed once election and this process were both told to stop and the gateway is the last. An election
// that is stopped alone will be started again.
func (s *State) retireLast() {
	s.retire(s.purged || s.config.RemoveLast && s.departing.told && s.departing.said == Last)
}

// Departed tells whether this process may end. It works no longer than election does, since nothing is written without
// it, and stays no longer than is of use: it may end as soon as nothing is left to remove, shortly after it was told to
// when election stays, and in any case after departLimit.
func (s *State) Departed() bool { return s.departing.over }

// endDeparture notes that this process may end.
func (s *State) endDeparture(now time.Duration) {
	d := &s.departing
	if d.told && !d.over {
		noUse := d.said == Last && (!s.retired || s.permitted(now) == 0)
		d.over = s.deaf || !s.heard || noUse || s.Removed() != 0 || now >= s.departWake()
	}
}

// departWake is when a departure is over although nothing happened.
func (s *State) departWake() time.Duration {
	switch d := s.departing; {
	case !d.told || d.over:
		return never
	case d.said == Staying:
		return d.since + departNotice
	default:
		return d.since + departLimit
	}
}
