package registertest

import (
	"testing"
	"time"

	"github.com/hybridgateway/gateway/services/election/internal/term"
)

// Run tests that the backend keeps the contract of the record.
func Run(t *testing.T, b Backend) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, Backend)
	}{
		{"CompareAndSwap", compareAndSwap},
		{"ConflictOfTwo", conflictOfTwo},
		{"Follow", followed},
		{"Release", release},
		{"Give", give},
		{"DeletedStaysDeleted", deletedStaysDeleted},
		{"DeletionIsObserved", deletionIsObserved},
		{"DeadConnections", deadConnections},
		{"Outages", outages},
		{"Linearizable", linearizable},
	} {
		t.Run(test.name, func(t *testing.T) {
			b.Remove(t)
			test.run(t, b)
		})
	}
}

func gateway2() term.Gateway { return term.Gateway{ID: "gw2"} }

func compareAndSwap(t *testing.T, b Backend) {
	r, other := b.Open(t), b.Open(t)
	made := Swap(t, r, 0, Record(Gateway1(), 1, 1), term.Swapped)
	Swap(t, other, 0, Record(gateway2(), 1, 1001), term.Conflict)
	renewed := Swap(t, r, made.Version, Record(Gateway1(), 1, 2), term.Swapped)
	if renewed.Version <= made.Version {
		t.Errorf("v%d follows v%d", renewed.Version, made.Version)
	}
	Swap(t, r, made.Version, Record(Gateway1(), 1, 3), term.Conflict)
	got := Fetch(t, other)
	if got.Version != renewed.Version || got.Record.Write != 2 || got.Record.Renewed.IsZero() {
		t.Errorf("the record is %+v, want write 2 at v%d", got, renewed.Version)
	}
}

// Two know the same version: one wins, and the other has a conflict.
func conflictOfTwo(t *testing.T, b Backend) {
	first, second := Follow(t, b.Open(t)), Follow(t, b.Open(t))
	made := Swap(t, first, 0, Record(Gateway1(), 1, 1), term.Swapped)
	second.UntilWrite(t, 1)
	// second reads no further, so it cannot know of the next write.
	Swap(t, first, made.Version, Record(Gateway1(), 1, 2), term.Swapped)
	Swap(t, b.Open(t), made.Version, Record(gateway2(), 2, 1001), term.Conflict)
	second.UntilWrite(t, 2)
	Swap(t, second, made.Version, Record(gateway2(), 2, 1002), term.Conflict)
}

func followed(t *testing.T, b Backend) {
	f := Follow(t, b.Open(t))
	absent := f.UntilAbsent(t)
	made := Swap(t, b.Open(t), 0, Record(Gateway1(), 7, 1), term.Swapped)
	got := f.UntilWrite(t, 1)
	if got.Version != made.Version || got.Version <= absent.Version || got.Rollback {
		t.Errorf("observed %+v after v%d, want v%d", got, absent.Version, made.Version)
	}
	got.Record.Renewed = time.Time{}
	if got.Record != Record(Gateway1(), 7, 1) {
		t.Errorf("observed %+v", got.Record)
	}
	// A Read is answered although nothing is new.
	f.Read(t.Context())
	if again := f.UntilWrite(t, 1); again.Version != made.Version {
		t.Errorf("observed v%d, want v%d", again.Version, made.Version)
	}
}

// A record that is given up tells by whom and in which trace, and the next takes it.
func release(t *testing.T, b Backend) {
	f := Follow(t, b.Open(t))
	r := b.Open(t)
	made := Swap(t, r, 0, Record(Gateway1(), 7, 1), term.Swapped)
	given := Record(term.Gateway{}, 7, 2)
	given.Handover = &term.Handover{From: "gw1", Traceparent: "00-1-2-01"}
	f.UntilWrite(t, 1)
	released := Swap(t, r, made.Version, given, term.Swapped)
	got := f.UntilWrite(t, 2)
	if h := got.Record.Handover; got.Record.Holder.ID != "" || got.Record.Epoch != 7 || h == nil || *h != *given.Handover {
		t.Errorf("observed %+v, handed over %+v", got.Record, got.Record.Handover)
	}
	Swap(t, f, released.Version, Record(gateway2(), 8, 1001), term.Swapped)
}

// A record that is given to another gateway names it, and by whom it was given.
func give(t *testing.T, b Backend) {
	f := Follow(t, b.Open(t))
	r := b.Open(t)
	made := Swap(t, r, 0, Record(gateway2(), 7, 1), term.Swapped)
	f.UntilWrite(t, 1)
	given := Record(Gateway1(), 8, 2)
	given.Handover = &term.Handover{From: "gw2", Traceparent: "00-1-2-01"}
	Swap(t, r, made.Version, given, term.Swapped)
	got := f.UntilWrite(t, 2)
	if h := got.Record.Handover; got.Record.Holder != Gateway1() || got.Record.Epoch != 8 || h == nil || *h != *given.Handover {
		t.Errorf("observed %+v, handed over %+v", got.Record, got.Record.Handover)
	}
	// The new holder writes it as its own.
	Swap(t, f, got.Version, Record(Gateway1(), 9, 1001), term.Swapped)
	if own := f.UntilWrite(t, 1001); own.Record.Handover != nil {
		t.Errorf("observed %+v, handed over %+v", own.Record, own.Record.Handover)
	}
}

// A write on a deleted record does not bring it back.
func deletedStaysDeleted(t *testing.T, b Backend) {
	r := b.Open(t)
	made := Swap(t, r, 0, Record(Gateway1(), 5, 1), term.Swapped)
	b.Remove(t)
	Swap(t, r, made.Version, Record(Gateway1(), 5, 2), term.Conflict, term.Failed)
	if got := Fetch(t, b.Open(t)); got.Present || got.Version <= made.Version {
		t.Errorf("after v%d there is %+v", made.Version, got)
	}
	f := Follow(t, b.Open(t))
	f.UntilAbsent(t)
	Swap(t, r, 0, Record(Gateway1(), 6, 3), term.Swapped)
	f.UntilWrite(t, 3)
}

func deletionIsObserved(t *testing.T, b Backend) {
	f := Follow(t, b.Open(t))
	made := Swap(t, f, 0, Record(Gateway1(), 1, 1), term.Swapped)
	f.UntilWrite(t, 1)
	b.Remove(t)
	gone := f.UntilAbsent(t)
	if gone.Version <= made.Version || gone.Rollback {
		t.Errorf("observed %+v, after v%d", gone, made.Version)
	}
	again := Swap(t, f, 0, Record(Gateway1(), 2, 2), term.Swapped)
	if again.Version <= gone.Version {
		t.Errorf("made as v%d, after v%d", again.Version, gone.Version)
	}
}

// Connections die without a word, as they do when a load balancer's target goes. Calls
// on them time out, the next ones make new connections, and the watch is found dead too.
func deadConnections(t *testing.T, b Backend) {
	p := newLink(t, b)
	f := Follow(t, p.register)
	writer := b.Open(t)
	made := Swap(t, writer, 0, Record(Gateway1(), 1, 1), term.Swapped)
	f.UntilWrite(t, 1)

	p.freeze()
	renewed := Swap(t, writer, made.Version, Record(Gateway1(), 1, 2), term.Swapped)
	f.UntilWrite(t, 2)
	// The connection that just answered a read is alive.
	Swap(t, f, renewed.Version, Record(Gateway1(), 1, 3), term.Swapped)
	f.Until(t, "a living watch", func(term.Observation) bool { return f.Watched() >= renewed.Version })
}

// The servers are frozen, then killed and started again: writes end in time with an
// outcome that promises nothing, and following goes on by itself.
func outages(t *testing.T, b Backend) {
	f := Follow(t, b.Open(t))
	made := Swap(t, f, 0, Record(Gateway1(), 1, 1), term.Swapped)
	f.UntilWrite(t, 1)

	do(t, b.Servers.Pause)
	Swap(t, f, made.Version, Record(Gateway1(), 1, 2), term.Unknown)
	do(t, b.Servers.Resume)
	f.Read(t.Context())
	// The frozen write may or may not be applied in the end.
	after := f.UntilPresent(t)
	t.Logf("the write that timed out was applied: %v", after.Record.Write == 2)

	do(t, b.Servers.Kill)
	Swap(t, f, after.Version, Record(Gateway1(), 1, 3), term.Failed, term.Unknown)
	// Once the connection is known to be gone it is certain that nothing was sent.
	Swap(t, f, after.Version, Record(Gateway1(), 1, 4), term.Failed)
	do(t, b.Servers.Start)
	f.Read(t.Context())
	if after := f.UntilPresent(t); after.Rollback {
		t.Error("a restart looks like a rollback")
	}
	writer := Follow(t, b.Open(t))
	Swap(t, writer, writer.UntilPresent(t).Version, Record(Gateway1(), 2, 9), term.Swapped)
	f.UntilWrite(t, 9)
}

func do(t *testing.T, f func() error) {
	t.Helper()
	if err := f(); err != nil {
		t.Fatal(err)
	}
}
