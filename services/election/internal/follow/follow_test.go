package follow

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hybridgateway/gateway/services/election/internal/term"
)

const poll = 250 * time.Millisecond

// fake is a register whose watch may be dead.
type fake struct {
	mu      sync.Mutex
	state   term.Observation
	err     error
	deaf    bool // watches tell nothing, and do not end
	fetched int
	watches int
	changed chan struct{}
}

func newFake() *fake { return &fake{state: term.Observation{Version: 1, Present: true}} }

// change changes the register.
func (r *fake) change(f func(*fake)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f(r)
	close(r.changed)
	r.changed = make(chan struct{})
}

func (r *fake) Fetch(context.Context) (term.Observation, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fetched++
	o := r.state
	r.state.Rollback = false // only who knew better is told
	return o, r.err
}

func (r *fake) Watch(ctx context.Context, tell func(term.Observation)) error {
	r.mu.Lock()
	r.watches++
	deaf := r.deaf
	r.mu.Unlock()
	for {
		r.mu.Lock()
		o, err, changed := r.state, r.err, r.changed
		r.mu.Unlock()
		o.Rollback = false
		if err != nil {
			return err
		}
		if !deaf {
			tell(o)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// run follows the fake in faked time. seen is the newest observation.
func run(t *testing.T, r *fake, test func(f *Follower, seen func() term.Observation)) {
	synctest.Test(t, func(t *testing.T) {
		r.changed = make(chan struct{})
		f := New(r, poll, slog.New(slog.DiscardHandler))
		out := make(chan term.Observation)
		ctx, cancel := context.WithCancel(t.Context())
		var mu sync.Mutex
		var newest term.Observation
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := f.Follow(ctx, out); !errors.Is(err, context.Canceled) {
				t.Errorf("Follow ended with %v", err)
			}
		})
		wg.Go(func() {
			for {
				select {
				case o := <-out:
					mu.Lock()
					newest = o
					mu.Unlock()
				case <-ctx.Done():
					return
				}
			}
		})
		test(f, func() term.Observation {
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			return newest
		})
		cancel()
		wg.Wait()
	})
}

func TestWatchIsQuickAndSparesReads(t *testing.T) {
	r := newFake()
	run(t, r, func(_ *Follower, seen func() term.Observation) {
		for v := uint64(2); v < 100; v++ {
			time.Sleep(poll)
			r.change(func(r *fake) { r.state.Version = v })
			if got := seen(); got.Version != v {
				t.Fatalf("v%d is known, want v%d at once", got.Version, v)
			}
		}
		// 25 seconds: the one at the start, then one each 10 seconds to keep a connection open.
		if r.fetched > 4 {
			t.Errorf("%d reads beside a watch that tells", r.fetched)
		}
	})
}

func TestSilenceIsFilledWithReads(t *testing.T) {
	r := newFake()
	run(t, r, func(_ *Follower, seen func() term.Observation) {
		seen()
		time.Sleep(10 * poll)
		seen()
		if r.fetched < 8 || r.fetched > 11 {
			t.Errorf("%d reads in 10 poll periods of silence", r.fetched)
		}
		if r.watches != 1 {
			t.Errorf("a watch that has nothing to tell was started %d times", r.watches)
		}
	})
}

func TestDeadWatchIsReplaced(t *testing.T) {
	r := newFake()
	r.deaf = true
	run(t, r, func(f *Follower, seen func() term.Observation) {
		seen()
		r.change(func(r *fake) { r.state.Version, r.deaf = 2, false }) // the next watch lives
		time.Sleep(4*poll + lastRetry)
		if got := seen(); got.Version != 2 || f.Watched() != 2 || r.watches < 2 {
			t.Errorf("v%d is known, v%d was watched, %d watches", got.Version, f.Watched(), r.watches)
		}
	})
}

func TestRollbackRestartsTheWatch(t *testing.T) {
	r := newFake()
	r.state.Version = 50
	run(t, r, func(f *Follower, seen func() term.Observation) {
		if seen().Version != 50 || f.Watched() != 50 {
			t.Fatal("not started")
		}
		r.mu.Lock() // behind the watch's back, which waits for a version after 50
		r.state.Version, r.state.Rollback = 7, true
		r.mu.Unlock()
		time.Sleep(4*poll + lastRetry)
		if got := seen(); got.Version != 7 || f.Watched() != 7 || r.watches != 2 {
			t.Errorf("v%d is known, v%d was watched, %d watches", got.Version, f.Watched(), r.watches)
		}
	})
}

func TestReadIsAnsweredAtOnce(t *testing.T) {
	r := newFake()
	run(t, r, func(f *Follower, seen func() term.Observation) {
		seen()
		before := r.fetched
		f.Read(t.Context())
		f.Read(t.Context())
		seen()
		if r.fetched == before || r.fetched > before+2 {
			t.Errorf("%d reads for two requests", r.fetched-before)
		}
	})
}

// Tries go on through an outage, with pauses between them, and end with it.
func TestOutage(t *testing.T) {
	r := newFake()
	run(t, r, func(_ *Follower, seen func() term.Observation) {
		seen()
		fetched, watches := r.fetched, r.watches
		r.change(func(r *fake) { r.err = errors.New("no route to host") })
		const outage = time.Hour
		time.Sleep(outage)
		seen()
		if n := r.fetched - fetched; n < 1000 || n > int(outage/poll)+2 {
			t.Errorf("%d reads in an hour", n)
		}
		if n := r.watches - watches; n < 1000 || n > int(outage/lastRetry)+10 {
			t.Errorf("%d watches in an hour", n)
		}
		r.change(func(r *fake) { r.err, r.state.Version = nil, 2 })
		time.Sleep(lastRetry + poll)
		if got := seen(); got.Version != 2 {
			t.Errorf("v%d is known after the outage", got.Version)
		}
	})
}
