package registertest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hybridgateway/gateway/libs/registercheck"
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
	if err := registercheck.Check(h.operations, checkTime); err != nil {
		for _, o := range h.operations {
			t.Log(o)
		}
		t.Error(err)
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
	operations []registercheck.Operation
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

func (h *history) fetch(ctx context.Context, id int, r Register) (term.Observation, bool) {
	done := registercheck.Operation{Client: client(id), Call: time.Since(h.began)}
	o, err := r.Fetch(ctx)
	if err != nil {
		return o, false // says nothing
	}
	done.Return, done.Version = time.Since(h.began), o.Version
	if o.Present {
		done.Read = name(o.Record)
	}
	h.add(done, 0)
	return o, true
}

func client(id int) string { return fmt.Sprintf("client%d", id) }

func name(r term.Record) string { return fmt.Sprintf("%s/%d", r.Incarnation, r.Write) }

// swap returns what is known after it, unless it has failed.
func (h *history) swap(ctx context.Context, id int, r Register, read term.Observation, n uint64) (after term.Observation, ok bool) {
	record := term.Record{
		Holder: term.Gateway{ID: fmt.Sprintf("gw%d", id)}, Epoch: read.Record.Epoch + 1,
		Incarnation: client(id), Write: n, Duration: 3 * time.Second,
	}
	c := term.CompareAndSwap{Record: record, Purpose: term.TakeOver, Timeout: 300 * time.Millisecond}
	if read.Present {
		c.Expected = read.Version
	}
	done := registercheck.Operation{Client: client(id), Call: time.Since(h.began), Write: name(record), Expected: c.Expected}
	result, _ := r.CompareAndSwap(ctx, c)
	done.Return, done.Version, done.Outcome = time.Since(h.began), result.Version, registercheck.Outcome(result.Outcome.String())
	if result.Outcome == term.Swapped {
		h.swaps.Add(1)
	}
	h.add(done, result.Outcome)
	return term.Observation{Version: result.Version, Present: true, Record: record}, result.Outcome == term.Swapped
}

// add takes note of what was done; the outcome is zero for a read.
func (h *history) add(done registercheck.Operation, outcome term.Outcome) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.outcomes[outcome]++
	h.operations = append(h.operations, done)
}
