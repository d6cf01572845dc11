package ec2standin

import (
	"math/rand/v2"
	"sync"
	"time"
)

// Faults is how the API misbehaves. The zero value behaves well.
type Faults struct {
	// Latency is how long a call takes. LatencyFor overrides it per action.
	Latency    time.Duration
	LatencyFor map[string]time.Duration
	// Effect is when within Latency a call takes effect (a read: is read).
	Effect EffectPoint

	// ErrorRate is the share (0 to 1) of calls that fail with ErrorCode
	// (default InternalError), chosen by a generator seeded with Config.Seed.
	// A failed call has no effect, but see ErrorLate. ErrorActions limits it to these actions.
	ErrorRate    float64
	ErrorCode    string
	ErrorActions []string
	// ErrorLate makes a call that fails by ErrorRate or FailNext take effect
	// all the same, unless it is refused for another reason: what a client
	// sees of an error of EC2's own may be wrong.
	ErrorLate bool

	// Throttle refuses calls beyond its buckets with RequestLimitExceeded
	// (503), at once. SetFaults fills the buckets.
	Throttle *Throttle

	// StaleReads makes Describe calls answer with the world as it was this
	// long ago. StaleFraction is the share (0 to 1) of reads that do; zero
	// means all of them.
	StaleReads    time.Duration
	StaleFraction float64

	// Hook is called when a call has arrived and before it takes effect or is
	// refused. It may block: the call waits. It holds no lock.
	Hook func(Call)
	// DropRequest closes the connection at once, without effect. LoseReply
	// closes it instead of answering, after the effect. Both are asked when
	// the call has arrived, possibly for several calls at a time.
	DropRequest func(Call) bool
	LoseReply   func(Call) bool
	// Reset makes both, and LoseNext, close the connection with a TCP reset.
	Reset bool
}

// EffectPoint is the moment a call takes effect.
type EffectPoint int

// Moments of effect within a call's latency.
const (
	EffectAtEnd   EffectPoint = iota // wait, take effect, answer
	EffectAtStart                    // take effect, wait, answer
	EffectMidway                     // wait half, take effect, wait half, answer
)

func (p EffectPoint) split(d time.Duration) (before, after time.Duration) {
	switch p {
	case EffectAtStart:
		return 0, d
	case EffectMidway:
		return d / 2, d - d/2
	default:
		return d, 0
	}
}

// TokenBucket holds at most Burst calls and gains PerSecond of them. A zero
// bucket (Burst 0) does not limit.
type TokenBucket struct {
	Burst     float64
	PerSecond float64
}

// Throttle is one bucket for all mutating calls and one for all reads.
type Throttle struct {
	Mutating TokenBucket
	Reads    TokenBucket
}

// EC2Throttle returns buckets of the size EC2 gives an account in a region:
// 50 mutating calls and 5 per second, 100 reads and 20 per second.
func EC2Throttle() *Throttle {
	return &Throttle{
		Mutating: TokenBucket{Burst: 50, PerSecond: 5},
		Reads:    TokenBucket{Burst: 100, PerSecond: 20},
	}
}

// SetFaults replaces all faults. Calls under way keep those they started with;
// what FailNext and LoseNext have armed stays armed.
func (s *Server) SetFaults(f Faults) {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	s.faults.set = f
	s.faults.buckets = [2]bucket{}
	if f.Throttle != nil {
		now := time.Now()
		s.faults.buckets[0] = bucket{TokenBucket: f.Throttle.Reads, tokens: f.Throttle.Reads.Burst, at: now}
		s.faults.buckets[1] = bucket{TokenBucket: f.Throttle.Mutating, tokens: f.Throttle.Mutating.Burst, at: now}
	}
}

// FailNext makes the next n calls of an action ("" for any action) fail with
// an error code and have no effect (but see Faults.ErrorLate).
func (s *Server) FailNext(action, code string, n int) {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	s.faults.fail = append(s.faults.fail, armed{action: action, code: code, left: n})
}

// LoseNext makes the replies of the next n calls of an action ("" for any
// mutating action) get lost after the call has taken effect.
func (s *Server) LoseNext(action string, n int) {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	s.faults.lose = append(s.faults.lose, armed{action: action, left: n})
}

type armed struct {
	action string
	code   string
	left   int
}

// faultBox is the faults in force and what they have used up.
type faultBox struct {
	mu      sync.Mutex
	set     Faults
	buckets [2]bucket // reads, mutating
	fail    []armed
	lose    []armed
	rand    *rand.Rand
}

type bucket struct {
	TokenBucket
	tokens float64
	at     time.Time
}

func (b *bucket) take(now time.Time) bool {
	if b.Burst == 0 {
		return true
	}
	b.tokens = min(b.Burst, b.tokens+now.Sub(b.at).Seconds()*b.PerSecond)
	b.at = now
	if b.tokens < 1 {
		return false
	}
	b.tokens--
	return true
}

// verdict is what the faults decide about one call.
type verdict struct {
	refuse        string // error code to answer at once
	fail          string // error code to answer after the latency
	failLate      bool   // after the effect, too
	before, after time.Duration
	stale         time.Duration
	drop, lose    bool
}

// hook returns the hook to call, nil if none.
func (b *faultBox) hook() func(Call) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.set.Hook
}

// judge decides about a call, once, on its arrival.
func (b *faultBox) judge(c Call, mutating bool) verdict {
	b.mu.Lock()
	f := b.set
	v := verdict{}
	kind := 0
	if mutating {
		kind = 1
	}
	if !b.buckets[kind].take(time.Now()) {
		b.mu.Unlock()
		v.refuse = codeRequestLimitExceeded
		return v
	}
	v.before, v.after = f.Effect.split(f.latency(c.Action))
	v.fail = use(&b.fail, func(a armed) bool { return a.action == "" || a.action == c.Action }).code
	if v.fail == "" && f.ErrorRate > 0 && f.hits(c.Action) && b.rand.Float64() < f.ErrorRate {
		v.fail = f.errorCode()
	}
	v.failLate = f.ErrorLate
	if !mutating && f.StaleReads > 0 && (f.StaleFraction == 0 || b.rand.Float64() < f.StaleFraction) {
		v.stale = f.StaleReads
	}
	if v.fail == "" {
		lost := use(&b.lose, func(a armed) bool { return a.action == c.Action || a.action == "" && mutating })
		v.lose = lost.left > 0
	}
	b.mu.Unlock()

	v.drop = f.DropRequest != nil && f.DropRequest(c)
	v.lose = v.lose || f.LoseReply != nil && f.LoseReply(c)
	return v
}

// use takes one from the first armed fault that matches; the result is that
// fault before it was used, zero if there is none.
func use(list *[]armed, match func(armed) bool) armed {
	for i := range *list {
		a := (*list)[i]
		if a.left <= 0 || !match(a) {
			continue
		}
		if (*list)[i].left--; a.left == 1 {
			*list = append((*list)[:i], (*list)[i+1:]...)
		}
		return a
	}
	return armed{}
}

// resets tells whether connections are closed with a reset.
func (b *faultBox) resets() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.set.Reset
}

// staleness is how much history reads may ask for.
func (b *faultBox) staleness() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.set.StaleReads
}

func (f Faults) latency(action string) time.Duration {
	if d, ok := f.LatencyFor[action]; ok {
		return d
	}
	return f.Latency
}

func (f Faults) hits(action string) bool {
	if len(f.ErrorActions) == 0 {
		return true
	}
	for _, a := range f.ErrorActions {
		if a == action {
			return true
		}
	}
	return false
}

func (f Faults) errorCode() string {
	if f.ErrorCode == "" {
		return codeInternalError
	}
	return f.ErrorCode
}
