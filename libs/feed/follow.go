package feed

import (
	"context"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// Receiver is the reading end of one stream.
type Receiver[V any] interface {
	// Recv waits for the next event.
	Recv() (Event[V], error)
}

// Source opens a stream after the given position. The stream ends when ctx does.
type Source[V any] func(ctx context.Context, from Position) (Receiver[V], error)

// Update is what a follower learns; exactly one of its kinds.
type Update[V any] struct {
	// Snapshot, when it is not nil, replaces everything known before.
	Snapshot map[string]V
	// Change, when it is not nil, is an Upsert or a Delete to apply.
	Change *Event[V]
	// Connected is set, alone, when a lost stream was resumed and its missed changes
	// have been delivered. A Snapshot says the same.
	Connected bool
	// Lost, when it is not nil, says why the stream is down. What is known stays
	// valid. It is sent once per outage.
	Lost error

	// Trace is the trace of what caused a Change, and of the latest item in a Snapshot.
	Trace Trace
	// Position is how far the update reaches.
	Position Position
}

// Follow reads from open until ctx ends and sends what it learns to updates. A
// stream that breaks, or whose revisions have a gap, is opened again with
// exponential back-off from 20 ms to 1 s, after the last position if the server
// still has it. Sending blocks: a receiver that does not keep up slows only its own
// stream. Each of several receivers gets every update, in turn, and a Snapshot is the same map
// for all of them. The returned error is ctx's.
func Follow[V any](ctx context.Context, open Source[V], updates ...chan<- Update[V]) error {
	f := follower[V]{open: open, updates: updates}
	wait := &backoff.ExponentialBackOff{
		InitialInterval:     20 * time.Millisecond,
		RandomizationFactor: 0.5,
		Multiplier:          2,
		MaxInterval:         time.Second,
	}
	wait.Reset()
	lost := false
	for {
		caughtUp, err := f.read(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if caughtUp {
			wait.Reset()
			lost = false
		}
		if !lost {
			if err := f.send(ctx, Update[V]{Lost: err, Position: f.last}); err != nil {
				return err
			}
			lost = true
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait.NextBackOff()):
		}
	}
}

type follower[V any] struct {
	open    Source[V]
	updates []chan<- Update[V]
	last    Position
}

// read follows one stream to its end. caughtUp tells whether it got as far as SYNCED.
func (f *follower[V]) read(ctx context.Context) (caughtUp bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := f.open(ctx, f.last)
	if err != nil {
		return false, err
	}
	// snapshot collects items between RESET and SYNCED; it is nil outside.
	var snapshot map[string]V
	var newest Trace
	for {
		e, err := stream.Recv()
		if err != nil {
			return caughtUp, err
		}
		var u Update[V]
		switch {
		case e.Kind == Reset:
			snapshot, newest = make(map[string]V), Trace{}
			continue
		case snapshot != nil && e.Kind == Upsert:
			snapshot[e.Key] = e.Value
			if e.Trace.Parent != "" {
				newest = e.Trace
			}
			continue
		case snapshot != nil && e.Kind == Synced:
			u = Update[V]{Snapshot: snapshot, Trace: newest, Position: e.Position}
			snapshot, caughtUp = nil, true
		case snapshot == nil && e.Kind == Synced && e.Position == f.last:
			u = Update[V]{Connected: true, Position: e.Position}
			caughtUp = true
		case snapshot == nil && (e.Kind == Upsert || e.Kind == Delete) &&
			e.Position == (Position{f.last.Instance, f.last.Revision + 1}):
			u = Update[V]{Change: &e, Trace: e.Trace, Position: e.Position}
		default:
			// Only a whole snapshot can mend a stream that lost or repeated something.
			err := fmt.Errorf("stream out of order: %s of %q at %v after %v", e.Kind, e.Key, e.Position, f.last)
			f.last = Position{}
			return caughtUp, err
		}
		f.last = u.Position
		if err := f.send(ctx, u); err != nil {
			return caughtUp, err
		}
	}
}

func (f *follower[V]) send(ctx context.Context, u Update[V]) error {
	for _, receiver := range f.updates {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case receiver <- u:
		}
	}
	return nil
}
