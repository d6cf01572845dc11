package ec2standin

import (
	"maps"
	"sync"
	"time"
)

// Call is one API call, as the log keeps it.
type Call struct {
	Seq       uint64            // 1 for the first
	Action    string            // for example "ReplaceRoute"
	Params    map[string]string // form parameters without Action and Version, names as on the wire
	Mutating  bool
	DryRun    bool
	AccessKey string // who signed it
	Started   time.Time
	Effect    time.Time // when it took effect (a read: was read); zero if it did not
	Finished  time.Time // when the answer was ready; zero while under way
	Code      string    // ResultOK, or the error code
	LostReply bool      // the client got no answer
}

// ResultOK is the Code of a call that succeeded.
const ResultOK = "OK"

// OK tells whether the call succeeded (whether or not its reply was lost).
func (c Call) OK() bool { return c.Code == ResultOK }

// Calls returns the calls that have finished, in the order they finished: the
// newest Config.CallLogSize of them.
func (s *Server) Calls() []Call {
	s.calls.mu.Lock()
	defer s.calls.mu.Unlock()
	kept := s.calls.log[max(0, len(s.calls.log)-s.calls.size):]
	out := make([]Call, len(kept))
	for i, c := range kept {
		c.Params = maps.Clone(c.Params)
		out[i] = c
	}
	return out
}

// DryRunSuffix is appended to the action of dry runs in CallCounts.
const DryRunSuffix = " (dry run)"

// CallCounts returns how many calls of each action have arrived, refused and
// failed ones included. Dry runs are counted apart, with DryRunSuffix;
// actions the stand-in lacks count as "unknown".
func (s *Server) CallCounts() map[string]int {
	s.calls.mu.Lock()
	defer s.calls.mu.Unlock()
	return maps.Clone(s.calls.counts)
}

// MutatingCalls returns how many calls that write have arrived, refused and
// failed ones included, dry runs not.
func (s *Server) MutatingCalls() int {
	s.calls.mu.Lock()
	defer s.calls.mu.Unlock()
	return s.calls.mutating
}

// ResetCalls empties the log and sets the counters to zero.
func (s *Server) ResetCalls() {
	s.calls.mu.Lock()
	defer s.calls.mu.Unlock()
	s.calls.log, s.calls.counts, s.calls.mutating = nil, map[string]int{}, 0
}

type callLog struct {
	mu       sync.Mutex
	size     int
	seq      uint64
	mutating int
	counts   map[string]int
	log      []Call
}

// arrive numbers a call, and counts it under a name.
func (l *callLog) arrive(c *Call, name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seq++
	c.Seq = l.seq
	l.counts[name]++
	if c.Mutating && !c.DryRun {
		l.mutating++
	}
}

// finish logs a call. The log is cut in large steps, so that a full one does
// not cost a copy per call.
func (l *callLog) finish(c Call) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.log) >= 2*l.size {
		l.log = append([]Call(nil), l.log[len(l.log)-l.size:]...)
	}
	l.log = append(l.log, c)
}
