package feed

import (
	"context"
	"crypto/rand"
	"errors"
	"sync"
)

// ErrFellBehind is returned to a subscriber whose next event the log no longer
// has. It subscribes again and gets a snapshot.
var ErrFellBehind = errors.New("subscriber fell behind the history of the stream")

// Log is the state a server publishes, with the last changes to it. It is safe for
// concurrent use.
type Log[V any] struct {
	instance string

	mu       sync.Mutex
	revision uint64
	items    map[string]Event[V]
	// ring holds the last changes; the change of revision r is at r % len(ring).
	ring    []Event[V]
	synced  bool
	changed chan struct{} // closed, and replaced, when anything above changes
}

// NewLog makes an empty log of a new instance that remembers the last history
// changes. Until MarkSynced is called subscribers wait.
func NewLog[V any](history int) *Log[V] {
	return &Log[V]{
		instance: rand.Text(),
		items:    make(map[string]Event[V]),
		ring:     make([]Event[V], max(history, 1)),
		changed:  make(chan struct{}),
	}
}

// MarkSynced says that the log's items are now the whole truth, so that a snapshot
// of them may be taken. Calling it again changes nothing.
func (l *Log[V]) MarkSynced() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.synced {
		l.synced = true
		l.wake()
	}
}

// Set makes value the value of key. The trace context of ctx goes with the event.
func (l *Log[V]) Set(ctx context.Context, key string, value V) {
	l.append(Event[V]{Kind: Upsert, Key: key, Value: value, Trace: TraceOf(ctx)})
}

// Delete removes key; deleting an absent key is no event.
func (l *Log[V]) Delete(ctx context.Context, key string) {
	l.append(Event[V]{Kind: Delete, Key: key, Trace: TraceOf(ctx)})
}

// Get is the current value of key.
func (l *Log[V]) Get(key string) (V, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e, ok := l.items[key]
	return e.Value, ok
}

func (l *Log[V]) append(e Event[V]) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, known := l.items[e.Key]; e.Kind == Delete && !known {
		return
	}
	l.revision++
	e.Position = Position{Instance: l.instance, Revision: l.revision}
	if e.Kind == Delete {
		delete(l.items, e.Key)
	} else {
		l.items[e.Key] = e
	}
	l.ring[l.revision%uint64(len(l.ring))] = e
	l.wake()
}

// wake is called with mu held.
func (l *Log[V]) wake() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// Subscription reads a log from one position on. It is used by one goroutine.
type Subscription[V any] struct {
	log *Log[V]
	// opening holds the snapshot's events, SYNCED last, that are still to be read.
	opening []Event[V]
	// caughtUp is false while a resumed subscription still owes its SYNCED event.
	caughtUp bool
	revision uint64
}

// Subscribe starts to read after from. When from is of another instance, or older
// than the history, reading begins with a snapshot. Subscribe waits until the log is
// synced and returns ctx's error if ctx ends first.
func (l *Log[V]) Subscribe(ctx context.Context, from Position) (*Subscription[V], error) {
	for {
		l.mu.Lock()
		synced, changed := l.synced, l.changed
		if synced {
			s := l.subscribe(from)
			l.mu.Unlock()
			return s, nil
		}
		l.mu.Unlock()
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-changed:
		}
	}
}

// subscribe is called with mu held.
func (l *Log[V]) subscribe(from Position) *Subscription[V] {
	if from.Instance == l.instance && from.Revision <= l.revision && l.remembers(from.Revision+1) {
		return &Subscription[V]{log: l, revision: from.Revision}
	}
	here := Position{Instance: l.instance, Revision: l.revision}
	opening := make([]Event[V], 0, len(l.items)+2)
	opening = append(opening, Event[V]{Kind: Reset, Position: here})
	for _, e := range l.items {
		// A snapshot's items stand at the snapshot's position, so that positions
		// never go backwards on a stream.
		e.Position = here
		opening = append(opening, e)
	}
	opening = append(opening, Event[V]{Kind: Synced, Position: here})
	return &Subscription[V]{log: l, opening: opening, caughtUp: true, revision: l.revision}
}

// remembers tells whether the change of the given revision is in the history, or is
// yet to come. It is called with mu held.
func (l *Log[V]) remembers(revision uint64) bool {
	return revision+uint64(len(l.ring)) > l.revision
}

// Next waits for the next event. It returns ErrFellBehind when the history no longer
// has it, and ctx's error when ctx ends first.
func (s *Subscription[V]) Next(ctx context.Context) (Event[V], error) {
	if len(s.opening) > 0 {
		e := s.opening[0]
		s.opening[0] = Event[V]{}
		s.opening = s.opening[1:]
		return e, nil
	}
	for {
		e, changed, err := s.poll()
		if changed == nil || err != nil {
			return e, err
		}
		select {
		case <-ctx.Done():
			return Event[V]{}, ctx.Err()
		case <-changed:
		}
	}
}

// poll returns the next event, or the channel to wait on when there is none yet.
func (s *Subscription[V]) poll() (Event[V], <-chan struct{}, error) {
	l := s.log
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.revision == l.revision {
		if !s.caughtUp {
			s.caughtUp = true
			return Event[V]{Kind: Synced, Position: Position{l.instance, l.revision}}, nil, nil
		}
		return Event[V]{}, l.changed, nil
	}
	if !l.remembers(s.revision + 1) {
		return Event[V]{}, nil, ErrFellBehind
	}
	s.revision++
	return l.ring[s.revision%uint64(len(l.ring))], nil, nil
}
