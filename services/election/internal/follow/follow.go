// Package follow keeps the leadership record in sight: it joins a watch, which is quick
// but may die without a word, with reads, which are sure. It is what the two backends of
// the record have in common.
package follow

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hybridgateway/gateway/libs/telemetry"
	"github.com/hybridgateway/gateway/services/election/internal/chronicle"
	"github.com/hybridgateway/gateway/services/election/internal/term"
)

const (
	// keepWarm is the longest time between two reads. A standby writes nothing until it has
	// to be fast; the reads keep a connection open for that moment.
	keepWarm = 10 * time.Second
	// Watches that fail are tried again after 20 ms, then twice as long each time up to 1 s.
	firstRetry = 20 * time.Millisecond
	lastRetry  = time.Second
)

// errSilent is why the context of a watch ended that did not tell what a read found.
var errSilent = errors.New("it fell silent while the record changed")

// Register is the record as a backend has it.
type Register interface {
	// Fetch reads the record from those who know it for sure, within the backend's call timeout.
	Fetch(context.Context) (term.Observation, error)
	// Watch tells what the record is at the start and each time it changes. It returns when
	// it cannot go on, with the reason, or when ctx ends.
	Watch(ctx context.Context, tell func(term.Observation)) error
}

// Follower keeps one record in sight. It is safe for concurrent use.
type Follower struct {
	register   Register
	pollPeriod time.Duration
	log        *slog.Logger
	// wanted holds the request for a read at once.
	wanted chan struct{}
	// restart holds the request for another watch.
	restart chan struct{}

	// watched is the newest version that the watch told, heard when it last told anything, in
	// nanoseconds of the Unix epoch.
	watched atomic.Uint64
	heard   atomic.Int64
}

// New makes a Follower that reads every pollPeriod while the watch is silent.
func New(r Register, pollPeriod time.Duration, log *slog.Logger) *Follower {
	return &Follower{
		register: r, pollPeriod: pollPeriod, log: log,
		wanted: make(chan struct{}, 1), restart: make(chan struct{}, 1),
	}
}

// Read asks for an observation at once, even if it brings nothing new. It does not wait
// for it.
func (f *Follower) Read(context.Context) { signal(f.wanted) }

// Watched is the newest version that the watch, and not a read, told.
func (f *Follower) Watched() uint64 { return f.watched.Load() }

// Follow sends what the register holds: at the start, whenever it changes, while the
// watch is silent every poll period, and after each Read. It works until ctx ends. No
// outage of the register ends it.
func (f *Follower) Follow(ctx context.Context, out chan<- term.Observation) error {
	var wg sync.WaitGroup
	wg.Go(func() { f.watch(ctx, out) })
	wg.Go(func() { f.poll(ctx, out) })
	wg.Wait()
	return ctx.Err()
}

func send(ctx context.Context, out chan<- term.Observation, o term.Observation) {
	select {
	case out <- o:
	case <-ctx.Done():
	}
}

// signal leaves a request; one that is already there is enough.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// poll reads when it is asked to and while the watch is silent. A watch that twice in a
// row has not told what a read found is on a dead connection and is made to start
// again; so is one that tells of a past that is no more.
func (f *Follower) poll(ctx context.Context, out chan<- term.Observation) {
	// silence is how long a watch may say nothing; a leader's renewals come once in a
	// poll period.
	silence := 2 * f.pollPeriod
	timer := time.NewTimer(0)
	defer timer.Stop()
	reached, behind, lastRead := true, false, time.Time{}
	for {
		asked := false
		select {
		case <-ctx.Done():
			return
		case <-f.wanted:
			asked = true
		case <-timer.C:
		}
		quiet := time.Since(time.Unix(0, f.heard.Load()))
		if !asked && quiet < silence && time.Since(lastRead) < keepWarm {
			timer.Reset(silence - quiet)
			continue
		}
		lastRead = time.Now()
		o, err := chronicle.Fetch(ctx, f.log, f.register)
		if err != nil && ctx.Err() == nil && reached {
			f.log.Warn("the leadership record cannot be read", telemetry.KeyError, err)
		}
		if err == nil {
			if !reached {
				f.log.Info("the leadership record can be read again")
			}
			send(ctx, out, o)
			wasBehind := behind
			behind = o.Present && o.Version > f.watched.Load()
			if o.Rollback || wasBehind && behind {
				behind = false
				f.watched.Store(0)
				signal(f.restart)
			}
		}
		reached = err == nil
		timer.Reset(f.pollPeriod)
	}
}

// watch keeps a watch open.
func (f *Follower) watch(ctx context.Context, out chan<- term.Observation) {
	retry := firstRetry
	for ctx.Err() == nil {
		heard, err := f.watchOnce(ctx, out)
		if heard {
			retry = firstRetry
		}
		if err != nil && ctx.Err() == nil {
			f.log.Debug("the watch of the leadership record ended", telemetry.KeyError, err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(retry):
		}
		retry = min(2*retry, lastRetry)
	}
}

// watchOnce reads one watch to its end; heard tells whether it brought anything.
func (f *Follower) watchOnce(ctx context.Context, out chan<- term.Observation) (heard bool, err error) {
	ctx, end := context.WithCancelCause(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer end(nil)
	select {
	case <-f.restart: // that was about the watch before
	default:
	}
	wg.Go(func() {
		select {
		case <-f.restart:
			end(errSilent)
		case <-ctx.Done():
		}
	})
	err = f.register.Watch(ctx, func(o term.Observation) {
		heard = true
		f.heard.Store(time.Now().UnixNano())
		f.watched.Store(max(o.Version, f.watched.Load()))
		send(ctx, out, o)
	})
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	return heard, err
}
