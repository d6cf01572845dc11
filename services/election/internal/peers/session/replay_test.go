package session

import (
	"slices"
	"testing"
	"time"

	"github.com/hybridgateway/gateway/services/election/internal/peers/wire"
)

// recorded is a world in which everything from 1 to 0 was recorded, over two starts of each.
func recorded(t *testing.T) (*world, []wire.Heartbeat) {
	t.Helper()
	w := pair()
	w.captured = make(map[[2]int][]wire.Heartbeat)
	up(t, w)
	w.start(1)
	up(t, w)
	w.start(0)
	up(t, w)
	w.start(1)
	up(t, w)
	return w, slices.Clone(w.captured[[2]int{1, 0}])
}

// Whatever was recorded, in whatever order it is sent again, is no sign of life of a gateway that died.
func TestReplayIsNoLife(t *testing.T) {
	for name, order := range map[string]func([]wire.Heartbeat){
		"as recorded": func([]wire.Heartbeat) {},
		"reversed":    slices.Reverse[[]wire.Heartbeat],
	} {
		t.Run(name, func(t *testing.T) {
			w, record := recorded(t)
			order(record)
			w.nodes[1].dead = true
			died := w.now
			w.run(2 * millisecond)
			for _, h := range record {
				w.deliver(1, 0, w.now, h)
				w.run(millisecond)
			}
			if len(record) < 40 {
				t.Fatalf("only %d heartbeats were recorded", len(record))
			}
			w.run(time.Second)
			r := w.take()
			if len(r) != 1 || r[0].Change != BecameSuspected || r[0].at-died > 300*millisecond {
				t.Errorf("reported %v after the death at %s", r, died)
			}
			if w.drops[Replayed] == 0 || w.drops[Unproven] == 0 {
				t.Errorf("dropped %v", w.drops)
			}
		})
	}
}

// Nor does it disturb a session that lives.
func TestReplayDisturbsNothing(t *testing.T) {
	w, record := recorded(t)
	for _, h := range record {
		w.deliver(1, 0, w.now, h)
		w.run(millisecond)
	}
	w.run(time.Second)
	want(t, w, "")
}

// A gateway that restarts knows nothing of what was recorded, and still does not fall for it.
func TestReplayToRestarted(t *testing.T) {
	w, record := recorded(t)
	w.nodes[1].dead = true
	w.start(0)
	for _, h := range record {
		w.deliver(1, 0, w.now, h)
		w.run(millisecond)
	}
	w.run(time.Second)
	want(t, w, "")
	if got := w.condition(0, 1); got != Unknown {
		t.Errorf("the dead one is %s", got)
	}
}

// A farewell cannot be used again.
func TestReplayOfFarewell(t *testing.T) {
	w := pair()
	w.captured = make(map[[2]int][]wire.Heartbeat)
	up(t, w)
	w.do(1, 0, w.nodes[1].sessions[0].Step(w.now, Leave{}))
	w.start(1)
	w.run(time.Second)
	w.take()
	for _, h := range w.captured[[2]int{1, 0}] {
		if h.State == wire.AdminDown {
			w.deliver(1, 0, w.now, h)
		}
	}
	w.run(time.Second)
	want(t, w, "")
}

// What was sent to one gateway is of no use with another.
func TestReplayElsewhere(t *testing.T) {
	w := newWorld(1, config(0), config(1), config(2))
	w.captured = make(map[[2]int][]wire.Heartbeat)
	up(t, w)
	w.nodes[1].dead = true
	for _, h := range w.captured[[2]int{1, 0}] {
		w.deliver(1, 2, w.now, h)
		w.run(millisecond)
	}
	w.run(time.Second)
	want(t, w, "0: 1 suspected, 2: 1 suspected")
}
