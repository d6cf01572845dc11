package plan

import (
	"strings"
	"testing"
	"time"
)

// What takes traffic away from our routes is told, in whatever way it does, and left alone.
func TestForeignRoutesBesideOurs(t *testing.T) {
	transit := Route{Kind: Other, Target: "tgw-1"}
	for _, c := range []struct {
		name    string
		d       Destination
		seen    Route
		entries []string
		want    bool
	}{
		{"more specific", To(cidr("100.64.7.0/24")), transit, nil, true},
		{"more specific, propagated", To(cidr("100.64.7.0/24")), Route{Kind: Other, Target: "vgw-1", Propagated: true}, nil, true},
		{"less specific", To(cidr("100.0.0.0/8")), transit, nil, false},
		{"elsewhere", To(cidr("192.168.0.0/16")), transit, nil, false},
		{"a list with a part of it", ToList("pl-9"), transit, []string{"100.64.7.0/24", "192.168.0.0/16"}, true},
		{"a list without", ToList("pl-9"), transit, []string{"192.168.0.0/16"}, false},
		{"an AWS service's list", ToList("pl-9"), Route{Kind: Other, Target: "vpce-1"}, nil, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, one)
			r.observe(1, "eni-other")
			r.actions()
			own := To(cidr("100.64.0.0/16"))
			tables := map[string]Table{"rtb-a": {own: to("eni-other"), c.d: c.seen}}
			r.readsTables(tables)
			if c.entries != nil {
				r.actions()
				list := pl(c.entries...)
				list.ID = "pl-9"
				r.readsLists(list)
			}
			r.observe(2, "eni-me")
			r.done(r.next("replace rtb-a 100.64.0.0/16 -> eni-me epoch 2 attempt 1 (takeover)")[0], Done)
			r.next()
			told := false
			for _, s := range r.state.Changed() {
				if s.Destination == c.d {
					told = s.Condition == Conflict && strings.Contains(s.Detail, "takes traffic")
				}
			}
			if told != c.want || r.state.Converged() != 2 {
				t.Errorf("told: %v, converged under %d", told, r.state.Converged())
			}
			// It goes away, and there is nothing to tell any more.
			if c.want {
				r.wait(time.Second)
				r.actions()
				r.readsTables(map[string]Table{"rtb-a": {own: to("eni-me")}})
				gone := false
				for _, s := range r.state.Changed() {
					gone = gone || s.Destination == c.d && s.Gone
				}
				if !gone {
					t.Error("it is still told")
				}
			}
		})
	}
}

// A propagated route cannot be replaced; a static one beside it overrides it, once an operator allows for it.
func TestAdoptAPropagatedRoute(t *testing.T) {
	r := standby(t, Route{Kind: Other, Target: "vgw-1", Propagated: true})
	r.observe(2, "eni-me")
	r.next()
	r.conditions(Conflict)
	key := Key{"rtb-a", To(cidr("100.64.0.0/16"))}
	if err := r.state.Adopt(key); err != nil {
		t.Fatal(err)
	}
	r.done(r.next("create rtb-a 100.64.0.0/16 -> eni-me epoch 2 attempt 1 (adoption)")[0], Done)
	r.next()
	r.conditions(InSync)
	if err := r.state.Adopt(key); err == nil {
		t.Error("what is ours already was adopted")
	}
}

// What was given up is one target: another that comes later is foreign again.
func TestAdoptionIsOfOneTarget(t *testing.T) {
	r := standby(t, Route{Kind: Other, Target: "tgw-1"})
	r.observe(2, "eni-me")
	r.next()
	if err := r.state.Adopt(Key{"rtb-a", To(cidr("100.64.0.0/16"))}); err != nil {
		t.Fatal(err)
	}
	r.done(r.next("replace rtb-a 100.64.0.0/16 -> eni-me epoch 2 attempt 1 (adoption)")[0], Done)
	r.wait(interval)
	r.actions()
	r.reads(Route{Kind: Other, Target: "tgw-2"})
	r.next()
	r.conditions(Conflict)
}

// Purging is for the leader; it deletes what is a gateway's and nothing else.
func TestPurgeDeletesOwnRoutesOnly(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Tables = c.Tables[:1] })
	r.observe(1, "eni-other")
	r.next(readOne)
	r.readsTables(map[string]Table{"rtb-a": {To(cidr("100.64.0.0/16")): to("eni-other"), To(cidr("100.65.0.0/16")): {Kind: Other, Target: "tgw-1"}}})
	r.state.Purge()
	r.next()
	r.observe(2, "eni-me")
	w := r.next("delete rtb-a 100.64.0.0/16 epoch 2 attempt 1 (purge)")[0]
	if r.state.Removed() != 0 {
		t.Error("removed too early")
	}
	r.done(w, Unknown)
	r.wait(time.Second)
	for _, a := range r.actions() {
		if w, is := a.(Write); is {
			r.done(w, NoRoute) // the first has taken effect
		}
	}
	r.next()
	if r.state.Removed() != 2 || r.state.Converged() != 0 {
		t.Errorf("removed under %d, converged under %d", r.state.Removed(), r.state.Converged())
	}
}

// Only an election that says so for the last time makes routes go, and only if that is wanted.
func TestLastExitIsNoRestart(t *testing.T) {
	for _, c := range []struct {
		departure Departure
		remove    bool
		want      []string
	}{
		{Staying, true, nil}, {Leaving, true, nil}, {Last, false, nil},
		{Last, true, []string{"delete rtb-a 100.64.0.0/16 epoch 2 attempt 1 (purge)"}},
	} {
		r := newRig(t, one, func(config *Config) { config.RemoveLast = c.remove })
		r.state.Depart(r.now)
		r.observe(1, "eni-other")
		r.next(readOne)
		r.reads(to("eni-other"))
		r.observe(2, "eni-me")
		r.done(r.next("replace rtb-a 100.64.0.0/16 -> eni-me epoch 2 attempt 1 (takeover)")[0], Done)
		r.next()
		r.state.Observe(Leadership{Shard: "default", Epoch: 2, Active: true, ValidUntil: forever, Holder: "eni-me", Departure: c.departure}, r.now)
		r.next(c.want...)
	}
}
