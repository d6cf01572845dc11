package feed_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/trace"
	"go.uber.org/goleak"

	"github.com/hybridgateway/gateway/libs/feed"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestSubscribeWaitsUntilSynced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := feed.NewLog[int](8)
		log.Set(t.Context(), "a", 1)
		got := make(chan []string)
		go func() { got <- events(t, log, feed.Position{}, 3) }()
		synctest.Wait()
		select {
		case early := <-got:
			t.Fatalf("a subscriber was served before the log was synced: %v", early)
		default:
		}
		log.MarkSynced()
		want(t, <-got, "1 reset", "1 upsert a=1", "1 synced")
	})
}

func TestSubscribeStopsWaitingWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := feed.NewLog[int](8).Subscribe(ctx, feed.Position{}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestSnapshotThenDeltas(t *testing.T) {
	log := synced(8)
	log.Set(t.Context(), "a", 1)
	log.Set(t.Context(), "b", 2)
	log.Delete(t.Context(), "b")
	log.Delete(t.Context(), "never there")
	sub, _ := log.Subscribe(t.Context(), feed.Position{})
	log.Set(t.Context(), "a", 3)
	log.Delete(t.Context(), "a")
	want(t, read(t, sub, 5), "3 reset", "3 upsert a=1", "3 synced", "4 upsert a=3", "5 delete a")
}

func TestResume(t *testing.T) {
	log := synced(3)
	for i := range 5 {
		log.Set(t.Context(), "k", i+1)
	}
	at := func(revision uint64) feed.Position {
		return feed.Position{Instance: position(t, log).Instance, Revision: revision}
	}
	for _, c := range []struct {
		name string
		from feed.Position
		want []string
	}{
		{"nothing missed", at(5), []string{"5 synced"}},
		{"in the history", at(3), []string{"4 upsert k=4", "5 upsert k=5", "5 synced"}},
		{"the oldest of the history", at(2), []string{"3 upsert k=3", "4 upsert k=4", "5 upsert k=5", "5 synced"}},
		{"older than the history", at(1), []string{"5 reset", "5 upsert k=5", "5 synced"}},
		{"from the future", at(6), []string{"5 reset", "5 upsert k=5", "5 synced"}},
		{"of another instance", feed.Position{Instance: "other", Revision: 4}, []string{"5 reset", "5 upsert k=5", "5 synced"}},
	} {
		t.Run(c.name, func(t *testing.T) { want(t, events(t, log, c.from, len(c.want)), c.want...) })
	}
}

func TestSlowSubscriberIsCut(t *testing.T) {
	log := synced(4)
	sub, _ := log.Subscribe(t.Context(), feed.Position{})
	read(t, sub, 2)
	for i := range 4 {
		log.Set(t.Context(), "k", i)
	}
	want(t, read(t, sub, 1), "1 upsert k=0")
	for i := range 4 {
		log.Set(t.Context(), "k", i)
	}
	if _, err := sub.Next(t.Context()); !errors.Is(err, feed.ErrFellBehind) {
		t.Errorf("got %v, want ErrFellBehind", err)
	}
}

func TestEventCarriesTrace(t *testing.T) {
	log := synced(4)
	span := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, TraceFlags: trace.FlagsSampled})
	log.Set(trace.ContextWithSpanContext(t.Context(), span), "a", 1)
	sub, _ := log.Subscribe(t.Context(), feed.Position{})
	sub.Next(t.Context())
	e, _ := sub.Next(t.Context())
	got := trace.SpanContextFromContext(e.Trace.Context(t.Context()))
	if got.TraceID() != span.TraceID() || got.SpanID() != span.SpanID() || !got.IsRemote() {
		t.Errorf("got %+v", got)
	}
	if ctx := (feed.Trace{Parent: "nonsense"}).Context(t.Context()); trace.SpanContextFromContext(ctx).IsValid() {
		t.Error("a malformed trace context was taken")
	}
}

// A server that restarts, streams that break anywhere and a subscriber that is at
// times too slow: the follower must hold the server's state in the end, and every
// change it is told must fit the state before it.
func TestFollowThroughFaults(t *testing.T) {
	for seed := range uint64(200) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { followThroughFaults(t, seed) })
		})
	}
}

func followThroughFaults(t *testing.T, seed uint64) {
	random := rand.New(rand.NewPCG(seed, 0))
	server := &faulty{random: rand.New(rand.NewPCG(seed, 1)), log: synced(4)}
	ctx, cancel := context.WithCancel(t.Context())
	updates := make(chan feed.Update[int])
	done := make(chan error)
	go func() { done <- feed.Follow(ctx, server.open, updates) }()

	var mirror feed.Mirror[int]
	mirrored := make(chan struct{})
	go func() {
		defer close(mirrored)
		slow := rand.New(rand.NewPCG(seed, 2))
		for u := range updates {
			if slow.IntN(4) == 0 {
				time.Sleep(time.Duration(slow.IntN(50)) * time.Millisecond)
			}
			if u.Lost != nil && mirror.Lost != nil {
				t.Errorf("an outage was told twice: %v, %v", mirror.Lost, u.Lost)
			}
			if u.Change != nil && u.Change.Kind == feed.Delete {
				if _, known := mirror.Items[u.Change.Key]; !known {
					t.Errorf("deletion of %q, which is not there", u.Change.Key)
				}
			}
			mirror.Apply(u)
		}
	}()

	truth := map[string]int{}
	for i := range 300 {
		key := strconv.Itoa(random.IntN(6))
		switch random.IntN(20) {
		case 0: // the server restarts
			log := feed.NewLog[int](4)
			for k, v := range truth {
				log.Set(ctx, k, v)
			}
			log.MarkSynced()
			server.restart(log)
		case 1, 2:
			server.breakStream()
		case 3, 4, 5:
			delete(truth, key)
			server.log.Delete(ctx, key)
		default:
			truth[key] = i
			server.log.Set(ctx, key, i)
		}
		time.Sleep(time.Duration(random.IntN(30)) * time.Millisecond)
	}
	time.Sleep(time.Minute)
	synctest.Wait()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("Follow returned %v", err)
	}
	close(updates)
	<-mirrored
	if !maps.Equal(mirror.Items, truth) || !mirror.Connected || !mirror.Synced() {
		t.Errorf("the follower has %+v, the server %v", mirror, truth)
	}
}

// Each receiver gets every update, also when another one takes its time.
func TestFollowForSeveral(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := synced(8)
		log.Set(t.Context(), "a", 1)
		first, second := make(chan feed.Update[int], 8), make(chan feed.Update[int])
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() {
			ended <- feed.Follow(ctx, func(ctx context.Context, from feed.Position) (feed.Receiver[int], error) {
				sub, err := log.Subscribe(ctx, from)
				return reader{ctx, sub}, err
			}, first, second)
		}()
		for _, updates := range []chan feed.Update[int]{first, second} {
			if u := <-updates; u.Snapshot["a"] != 1 {
				t.Errorf("got %+v", u)
			}
		}
		log.Set(t.Context(), "a", 2)
		synctest.Wait()
		for _, updates := range []chan feed.Update[int]{second, first} {
			if u := <-updates; u.Change == nil || u.Change.Value != 2 {
				t.Errorf("got %+v", u)
			}
		}
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
}

func TestFollowDistrustsGaps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		at := func(r uint64) feed.Position { return feed.Position{Instance: "i", Revision: r} }
		opened := make(chan feed.Position, 2)
		streams := [][]feed.Event[int]{
			{{Kind: feed.Reset, Position: at(1)}, {Kind: feed.Synced, Position: at(1)}, {Kind: feed.Upsert, Key: "a", Position: at(3)}},
			{{Kind: feed.Reset, Position: at(3)}, {Kind: feed.Upsert, Key: "a", Value: 3, Position: at(3)}, {Kind: feed.Synced, Position: at(3)}},
		}
		open := func(ctx context.Context, from feed.Position) (feed.Receiver[int], error) {
			opened <- from
			s := &script{ctx: ctx, events: streams[0]}
			streams = streams[1:]
			return s, nil
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		updates := make(chan feed.Update[int], 8)
		go feed.Follow(ctx, open, updates)
		<-updates
		if u := <-updates; u.Lost == nil {
			t.Fatalf("a gap went unnoticed: %+v", u)
		}
		if u := <-updates; u.Snapshot["a"] != 3 {
			t.Errorf("got %+v", u)
		}
		if first, second := <-opened, <-opened; first != (feed.Position{}) || second != (feed.Position{}) {
			t.Errorf("opened from %v, then %v", first, second)
		}
	})
}

// script is a stream of given events that then stays silent.
type script struct {
	ctx    context.Context
	events []feed.Event[int]
}

func (s *script) Recv() (feed.Event[int], error) {
	if len(s.events) == 0 {
		<-s.ctx.Done()
		return feed.Event[int]{}, s.ctx.Err()
	}
	e := s.events[0]
	s.events = s.events[1:]
	return e, nil
}

// faulty opens streams that may be refused and can be broken.
type faulty struct {
	mu     sync.Mutex
	random *rand.Rand
	log    *feed.Log[int]
	cancel context.CancelFunc
}

func (f *faulty) open(ctx context.Context, from feed.Position) (feed.Receiver[int], error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.random.IntN(3) == 0 {
		return nil, errors.New("refused")
	}
	ctx, f.cancel = context.WithCancel(ctx)
	sub, err := f.log.Subscribe(ctx, from)
	if err != nil {
		return nil, err
	}
	return reader{ctx, sub}, nil
}

func (f *faulty) restart(log *feed.Log[int]) {
	f.mu.Lock()
	f.log = log
	f.mu.Unlock()
	f.breakStream()
}

func (f *faulty) breakStream() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.cancel != nil {
		f.cancel()
	}
}

type reader struct {
	ctx context.Context
	sub *feed.Subscription[int]
}

func (r reader) Recv() (feed.Event[int], error) {
	if err := r.ctx.Err(); err != nil {
		return feed.Event[int]{}, err
	}
	return r.sub.Next(r.ctx)
}

func synced(history int) *feed.Log[int] {
	log := feed.NewLog[int](history)
	log.MarkSynced()
	return log
}

func position(t *testing.T, log *feed.Log[int]) feed.Position {
	t.Helper()
	sub, err := log.Subscribe(t.Context(), feed.Position{})
	if err != nil {
		t.Fatal(err)
	}
	e, err := sub.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return e.Position
}

func events(t *testing.T, log *feed.Log[int], from feed.Position, n int) []string {
	t.Helper()
	sub, err := log.Subscribe(t.Context(), from)
	if err != nil {
		t.Error(err)
		return nil
	}
	return read(t, sub, n)
}

func read(t *testing.T, sub *feed.Subscription[int], n int) []string {
	t.Helper()
	var lines []string
	for range n {
		e, err := sub.Next(t.Context())
		if err != nil {
			t.Errorf("after %q: %v", lines, err)
			return lines
		}
		line := fmt.Sprintf("%d %v", e.Position.Revision, e.Kind)
		if e.Key != "" {
			line += " " + e.Key
		}
		if e.Kind == feed.Upsert {
			line += fmt.Sprintf("=%d", e.Value)
		}
		lines = append(lines, line)
	}
	return lines
}

func want(t *testing.T, got []string, want ...string) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}
