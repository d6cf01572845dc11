package registertest

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/hybridgateway/gateway/libs/netaddr"
	"github.com/hybridgateway/gateway/services/election/internal/term"
)

const (
	// CallTimeout and PollPeriod are what registers are to be opened with.
	CallTimeout = time.Second
	PollPeriod  = 250 * time.Millisecond
	// Patience is many times what anything here takes on a busy machine.
	Patience = time.Minute
)

// Register is a backend's record.
type Register interface {
	CompareAndSwap(context.Context, term.CompareAndSwap) (term.Result, error)
	Fetch(context.Context) (term.Observation, error)
	Read(context.Context)
	Follow(context.Context, chan<- term.Observation) error
	Watched() uint64
}

// Servers are what keeps the record.
type Servers interface {
	// Pause freezes them: connections stay open and nothing is answered.
	Pause() error
	Resume() error
	// Kill ends them as a crash does.
	Kill() error
	Start() error
}

// Backend is how a backend's tests reach it.
type Backend struct {
	// Open makes a register that is closed at the test's end.
	Open func(*testing.T) Register
	// OpenThrough makes one that reaches the servers at Addresses through other addresses, one for each.
	OpenThrough func(t *testing.T, addresses ...string) Register
	// Addresses are the servers' IP addresses and ports.
	Addresses []string
	// Remove deletes the record, if there is one, as an operator would.
	Remove  func(*testing.T)
	Servers Servers
	// Faults are disturbances, each from its beginning to its end, for the recorded history.
	Faults []Fault
}

// Fault disturbs the servers and then mends them.
type Fault struct {
	Name        string
	Begin, Mend func() error
}

// Outages are the faults that any servers can have.
func Outages(s Servers) []Fault {
	return []Fault{{"all paused", s.Pause, s.Resume}, {"all killed", s.Kill, s.Start}}
}

// Log writes to the test's output.
func Log(t *testing.T) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// Gateway1 is a gateway of which everything is known.
func Gateway1() term.Gateway {
	return term.Gateway{
		ID: "gw1", NodeIP: netip.MustParseAddr("10.0.0.10"), ENI: "eni-1", Zone: "zone-a",
		MAC: netaddr.MAC{2, 0, 10, 0, 0, 10},
	}
}

// Record is one to write.
func Record(holder term.Gateway, epoch, write uint64) term.Record {
	return term.Record{Holder: holder, Epoch: epoch, Incarnation: "one", Write: write, Duration: 3 * time.Second}
}

// Swap writes and wants one of the given outcomes. A write whose fate may remain unknown has CallTimeout; any other has ten times
// that, since a busy machine may need it, and is made again when it is certain that it was not carried out.
func Swap(t *testing.T, r Register, expected uint64, record term.Record, want ...term.Outcome) term.Result {
	t.Helper()
	timeout := 10 * CallTimeout
	if slices.Contains(want, term.Unknown) {
		timeout = CallTimeout
	}
	write := term.CompareAndSwap{Expected: expected, Record: record, Purpose: term.TakeOver, Timeout: timeout}
	got, err := r.CompareAndSwap(t.Context(), write)
	for began := time.Now(); got.Outcome == term.Failed && !slices.Contains(want, term.Failed) && time.Since(began) < Patience; {
		got, err = r.CompareAndSwap(t.Context(), write)
	}
	if !slices.Contains(want, got.Outcome) {
		t.Fatalf("the write of %s on v%d: %v (%v), want %v", record, expected, got.Outcome, err, want)
	}
	if (err == nil) != (got.Outcome == term.Swapped) {
		t.Errorf("outcome %v with error %v", got.Outcome, err)
	}
	if got.Write != record.Write {
		t.Errorf("the result is of write %d, want %d", got.Write, record.Write)
	}
	return got
}

// Fetch reads until there is an answer: on a busy machine one may take longer than CallTimeout.
func Fetch(t *testing.T, r Register) term.Observation {
	t.Helper()
	for began := time.Now(); ; {
		o, err := r.Fetch(t.Context())
		if err == nil {
			return o
		}
		if time.Since(began) > Patience {
			t.Fatalf("no answer within %v: %v", Patience, err)
		}
	}
}

// Follower is a register with what it has observed.
type Follower struct {
	Register
	observations chan term.Observation
	newest       uint64
}

// Follow follows the register until the test ends.
func Follow(t *testing.T, r Register) *Follower {
	t.Helper()
	f := &Follower{Register: r, observations: make(chan term.Observation)}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		r.Follow(ctx, f.observations) //nolint:errcheck // it only tells that ctx ended
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	return f
}

// Until waits for an observation of which is true, and returns it. As a term does it passes
// over an older one that comes late: a read and the watch tell what they know each by itself.
func (f *Follower) Until(t *testing.T, what string, is func(term.Observation) bool) term.Observation {
	t.Helper()
	deadline := time.After(Patience)
	for {
		select {
		case o := <-f.observations:
			if o.Version < f.newest && !o.Rollback {
				continue
			}
			f.newest = o.Version
			if is(o) {
				return o
			}
		case <-deadline:
			t.Fatalf("%s was not observed within %v", what, Patience)
		}
	}
}

// UntilWrite waits for the record with the write's number.
func (f *Follower) UntilWrite(t *testing.T, n uint64) term.Observation {
	t.Helper()
	return f.Until(t, "the write", func(o term.Observation) bool { return o.Record.Write == n })
}

// UntilPresent waits for any record.
func (f *Follower) UntilPresent(t *testing.T) term.Observation {
	t.Helper()
	return f.Until(t, "any record", func(o term.Observation) bool { return o.Present })
}

// UntilAbsent waits until there is no record.
func (f *Follower) UntilAbsent(t *testing.T) term.Observation {
	t.Helper()
	return f.Until(t, "the absence", func(o term.Observation) bool { return !o.Present })
}
