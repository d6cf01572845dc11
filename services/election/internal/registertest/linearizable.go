package registertest

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/hybridgateway/gateway/services/election/internal/term"
)

const (
	clients = 4
	// enough writes by all clients show that the servers work.
	enough = 50
	// checkTime is many times what the check takes.
	checkTime = 3 * time.Minute
)

// linearizable records what several clients at once saw and did while the servers are
// disturbed, and checks that one register could have been behind it.
func linearizable(t *testing.T, b Backend) {
	h := &history{began: time.Now()}
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	var links []*link
	for id := range clients {
		l := newLink(t, b)
		links = append(links, l)
		wg.Go(func() { h.client(ctx, id, l.register) })
	}
	h.untilMore(t)
	for _, f := range append(partitions(links), b.Faults...) {
		t.Logf("%5.1fs %s", time.Since(h.began).Seconds(), f.Name)
		do(t, f.Begin)
		time.Sleep(500 * time.Millisecond) // many times what a write takes, so that some meet the fault
		do(t, f.Mend)
		h.untilMore(t)
	}
	stop()
	wg.Wait()
	t.Log(h)
	model := registerModel()
	result := porcupine.CheckOperationsTimeout(model.ToModel(), h.operations, checkTime)
	if result != porcupine.Ok {
		for _, o := range h.operations {
			t.Logf("client %d, %v to %v: %v", o.ClientId, time.Duration(o.Call), time.Duration(o.Return), model.DescribeOperation(o.Input, o.Output))
		}
		t.Errorf("the check of the history says %s", result)
	}
}

// partitions cut clients off from all servers. Where only the replies are lost, what a client asked for is done; where the
// requests are, it is done when the client has long given up, and others have written.
func partitions(links []*link) []Fault {
	var faults []Fault
	for _, kind := range []struct {
		name              string
		clients           []*link
		requests, replies bool
	}{
		{"one client cut off", links[:1], true, true},
		{"half of the clients cut off", links[:len(links)/2], true, true},
		{"requests of half of the clients lost", links[:len(links)/2], true, false},
		{"replies to half of the clients lost", links[:len(links)/2], false, true},
		{"all clients cut off", links, true, true},
	} {
		set := func(requests, replies bool) func() error {
			return func() error {
				for _, l := range kind.clients {
					l.cut(requests, replies)
				}
				return nil
			}
		}
		faults = append(faults, Fault{kind.name, set(kind.requests, kind.replies), set(false, false)})
	}
	return faults
}

// history is what clients did.
type history struct {
	began time.Time
	swaps atomic.Int64

	mu         sync.Mutex
	operations []porcupine.Operation
	outcomes   [term.Unknown + 1]int
}

func (h *history) String() string {
	s := fmt.Sprintf("%d operations:", len(h.operations))
	for o := term.Swapped; o <= term.Unknown; o++ {
		s += fmt.Sprintf(" %d writes %v,", h.outcomes[o], o)
	}
	return s + fmt.Sprintf(" in %v", time.Since(h.began).Round(time.Millisecond))
}

// untilMore waits until enough writes more have succeeded.
func (h *history) untilMore(t *testing.T) {
	t.Helper()
	want, deadline := h.swaps.Load()+enough, time.Now().Add(Patience)
	for h.swaps.Load() < want {
		if time.Now().After(deadline) {
			t.Fatalf("fewer than %d writes succeeded within %v", enough, Patience)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// client reads, and writes on what it read, as gateways that all want to lead; one that leads writes again on what it wrote.
func (h *history) client(ctx context.Context, id int, r Register) {
	var known term.Observation
	leads := false
	for n := uint64(1); ctx.Err() == nil; n++ {
		ok := leads
		if !leads {
			known, ok = h.fetch(ctx, id, r)
		}
		if ok {
			known, leads = h.swap(ctx, id, r, known, n)
		}
		time.Sleep(rand.N(30 * time.Millisecond)) // so that the clients come in any order
	}
}

// state is the register's. The zero state is that of no record.
type state struct {
	// write names the last write; empty when there is no record.
	write string
	// version is zero while nobody has been told it.
	version uint64
	// after is the version before.
	after uint64
}

// input of an operation: a read, or the write of a record on what was read.
type input struct {
	write    string // empty for a read
	expected uint64
}

// output of an operation.
type output struct {
	outcome term.Outcome // zero for a read
	version uint64
	// write is what was read; empty when there was no record.
	write string
}

func (h *history) fetch(ctx context.Context, id int, r Register) (term.Observation, bool) {
	call := time.Since(h.began)
	o, err := r.Fetch(ctx)
	if err != nil {
		return o, false // says nothing
	}
	out := output{version: o.Version}
	if o.Present {
		out.write = name(o.Record)
	}
	h.add(id, call, time.Since(h.began), input{}, out)
	return o, true
}

func name(r term.Record) string { return fmt.Sprintf("%s/%d", r.Incarnation, r.Write) }

// swap returns what is known after it, unless it has failed.
func (h *history) swap(ctx context.Context, id int, r Register, read term.Observation, n uint64) (after term.Observation, ok bool) {
	record := term.Record{
		Holder: term.Gateway{ID: fmt.Sprintf("gw%d", id)}, Epoch: read.Record.Epoch + 1,
		Incarnation: fmt.Sprintf("client%d", id), Write: n, Duration: 3 * time.Second,
	}
	c := term.CompareAndSwap{Record: record, Purpose: term.TakeOver, Timeout: 300 * time.Millisecond}
	if read.Present {
		c.Expected = read.Version
	}
	call := time.Since(h.began)
	result, _ := r.CompareAndSwap(ctx, c)
	returned := time.Since(h.began)
	switch result.Outcome {
	case term.Swapped:
		h.swaps.Add(1)
	case term.Unknown:
		returned = math.MaxInt64 // it may be applied at any time later
	}
	h.add(id, call, returned, input{name(record), c.Expected}, output{outcome: result.Outcome, version: result.Version})
	return term.Observation{Version: result.Version, Present: true, Record: record}, result.Outcome == term.Swapped
}

func (h *history) add(id int, call, returned time.Duration, in input, out output) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.outcomes[out.outcome]++
	h.operations = append(h.operations, porcupine.Operation{
		ClientId: id, Input: in, Output: out, Call: int64(call), Return: int64(returned),
	})
}

// registerModel is the record as package term sees it: each write has an identity and
// makes a greater version; reads are up to date; a conflict may be with an earlier try of the
// same write; a write that failed is never applied, one of unknown fate may be.
func registerModel() *porcupine.NondeterministicModel {
	return &porcupine.NondeterministicModel{
		Init: func() []any { return []any{state{}} },
		Step: func(s, in, out any) []any { return step(s.(state), in.(input), out.(output)) },
		DescribeOperation: func(in, out any) string {
			return fmt.Sprintf("%+v: %+v", in, out)
		},
	}
}

func step(s state, in input, out output) []any {
	if in.write == "" {
		if out.write != s.write {
			return nil
		}
		return states(s.learn(out.version))
	}
	applied := states(s.swap(in, out.version))
	switch out.outcome {
	case term.Swapped:
		return applied
	case term.Failed:
		return []any{s}
	case term.Conflict:
		// It was not as expected, or has changed since an earlier try was applied.
		if s.version != 0 && s.version == in.expected {
			return applied
		}
		return append(applied, s)
	case term.Unknown:
		return append(applied, s)
	}
	return nil
}

func states(s state, ok bool) []any {
	if !ok {
		return nil
	}
	return []any{s}
}

// learn is the state once its version is told.
func (s state) learn(version uint64) (state, bool) {
	if s.write == "" { // as of which there is none
		return s, true
	}
	if s.version != 0 {
		return s, s.version == version
	}
	s.version = version
	return s, version > s.after
}

// swap is the state after the write, whose version is zero when it was not told.
func (s state) swap(in input, version uint64) (state, bool) {
	if (s.write == "") != (in.expected == 0) {
		return s, false
	}
	if in.expected != 0 {
		var ok bool
		if s, ok = s.learn(in.expected); !ok {
			return s, false
		}
	}
	return state{write: in.write, version: version, after: in.expected}, version == 0 || version > in.expected
}
