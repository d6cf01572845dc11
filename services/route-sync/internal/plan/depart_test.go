package plan

import (
	"testing"
	"time"
)

// leader is a gateway that leads under epoch 2 with its one route in place, and removes it when it is the last if remove says so.
func leader(t *testing.T, remove bool) *rig {
	t.Helper()
	r := newRig(t, one, func(c *Config) { c.RemoveLast = remove })
	r.observe(1, "eni-other")
	r.next(readOne)
	r.reads(to("eni-other"))
	r.observe(2, "eni-me")
	for _, w := range r.next("replace rtb-a 100.64.0.0/16 -> eni-me epoch 2 attempt 1 (takeover)") {
		r.done(w, Done)
	}
	r.next()
	return r
}

func (r *rig) says(d Departure) {
	r.state.Observe(Leadership{Shard: "default", Epoch: 2, Active: true, ValidUntil: r.now + time.Hour, Holder: "eni-me", Departure: d}, r.now)
}

// stays and ends want that the departure is not over for the given time, counted from now, and then is.
func (r *rig) stays(d time.Duration) {
	r.t.Helper()
	for end := r.now + d - 1; ; r.now = min(end, max(r.now, r.state.Wake())) {
		r.finish(r.actions())
		if r.state.Departed() {
			r.t.Fatalf("over %s before the time", end+1-r.now)
		}
		if r.now == end {
			break
		}
	}
	r.now++
}

func (r *rig) ends() {
	r.t.Helper()
	r.actions()
	if !r.state.Departed() {
		r.t.Fatal("not over")
	}
	if wake := r.state.Wake(); wake < r.now {
		r.t.Fatalf("it would wake %s ago, without end", r.now-wake)
	}
}

// finish has reads tell that the route is in place; what else there is does not come back.
func (r *rig) finish(actions []Action) {
	for _, a := range actions {
		if _, read := a.(Read); read {
			r.reads(to("eni-me"))
		}
	}
}

func TestDeparture(t *testing.T) {
	for name, c := range map[string]func(*rig){
		"of this process alone": func(r *rig) {
			r.state.Depart(r.now)
			r.stays(departNotice)
			r.ends()
		},
		"of a gateway that hands over": func(r *rig) {
			r.state.Depart(r.now)
			r.says(Leaving)
			r.stays(time.Second)
			r.observe(3, "eni-other")
			r.state.Disconnect()
			r.ends()
		},
		"while election hangs": func(r *rig) {
			r.state.Depart(r.now)
			r.says(Leaving)
			r.stays(departLimit)
			r.ends()
		},
		"once election is dead": func(r *rig) {
			r.state.Disconnect()
			r.state.Depart(r.now)
			r.ends()
		},
		"while nobody was told who leads": func(r *rig) {
			r.state = New(r.state.config)
			r.state.Depart(r.now)
			r.ends()
		},
		"of one that was told before election": func(r *rig) {
			r.says(Leaving)
			r.stays(departLimit)
			r.state.Depart(r.now)
			r.stays(departLimit)
			r.ends()
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := leader(t, true)
			c(r)
			if r.state.byKey[Key{"rtb-a", To(r.state.config.Destinations[0])}] != nil && r.state.retired {
				t.Error("it removes routes, and nobody said that it is the last")
			}
		})
	}
}

const deletes = "delete rtb-a 100.64.0.0/16 epoch 2 attempt 1 (purge)"

func TestLastDeparture(t *testing.T) {
	t.Run("removes", func(t *testing.T) {
		r := leader(t, true)
		r.state.Depart(r.now)
		r.says(Leaving)
		r.stays(time.Second / 2)
		r.says(Last)
		w := r.next(deletes)
		if r.state.Departed() {
			t.Fatal("over before EC2 has answered")
		}
		r.done(w[0], Done)
		r.ends()
	})
	t.Run("said before this process was told to stop", func(t *testing.T) {
		r := leader(t, true)
		r.says(Last)
		r.next()
		r.state.Depart(r.now)
		r.done(r.next(deletes)[0], Done)
		r.ends()
	})
	t.Run("keeps", func(t *testing.T) {
		r := leader(t, false)
		r.state.Depart(r.now)
		r.stays(time.Second)
		r.says(Last)
		r.ends()
	})
	t.Run("EC2 never answers", func(t *testing.T) {
		r := leader(t, true)
		r.state.Depart(r.now)
		r.says(Last)
		r.next(deletes)
		r.stays(departLimit)
		r.ends()
	})
	t.Run("validity ends", func(t *testing.T) {
		r := leader(t, true)
		r.state.Depart(r.now)
		r.says(Last)
		r.next(deletes)
		r.state.validUntil = r.now + time.Second
		r.stays(time.Second)
		r.ends()
	})
	t.Run("election dies", func(t *testing.T) {
		r := leader(t, true)
		r.state.Depart(r.now)
		r.says(Last)
		r.state.Disconnect()
		r.next("cancel epoch 2")
		if !r.state.Departed() {
			t.Error("not over")
		}
	})
}
