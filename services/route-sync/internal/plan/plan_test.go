package plan

import (
	"net/netip"
	"strings"
	"testing"
	"time"
)

func TestTakeoverWritesAtOnceAndInTurns(t *testing.T) {
	r := newRig(t)
	r.observe(1, "eni-other")
	r.next(readAll)
	r.reads(to("eni-other"))
	r.conditions(Unowned, Unowned, Unowned, Unowned)

	r.observe(2, "eni-me")
	writes := r.next(
		"replace rtb-a 100.64.0.0/16 -> eni-me epoch 2 attempt 1 (takeover)",
		"replace rtb-b 100.64.0.0/16 -> eni-me epoch 2 attempt 1 (takeover)",
		"replace rtb-a 100.65.0.0/16 -> eni-me epoch 2 attempt 1 (takeover)",
		"replace rtb-b 100.65.0.0/16 -> eni-me epoch 2 attempt 1 (takeover)")
	r.conditions(Pending, Pending, Pending, Pending)
	for i, w := range writes {
		if r.state.Converged() != 0 {
			t.Fatalf("converged after %d of %d writes", i, len(writes))
		}
		r.done(w, Done)
		r.next()
	}
	r.conditions(InSync, InSync, InSync, InSync)
	if r.state.Converged() != 2 {
		t.Error("not converged")
	}
}

func TestNoMoreThanParallelWrites(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Parallel = 3 })
	r.observe(1, "eni-other")
	r.next(readAll)
	r.reads(to("eni-other"))
	r.observe(2, "eni-me")
	var writes []Write
	for _, a := range r.actions() {
		writes = append(writes, a.(Write))
	}
	if len(writes) != 3 {
		t.Fatalf("%d writes at once", len(writes))
	}
	r.done(writes[1], Done)
	r.next("replace rtb-b 100.65.0.0/16 -> eni-me epoch 2 attempt 1 (takeover)")
	if r.state.Converged() != 0 {
		t.Error("converged too early")
	}
}

// Who the seen target is decides what a takeover does with it.
func TestWhatMayBeReplaced(t *testing.T) {
	const create, replace = "create rtb-a 100.64.0.0/16 -> eni-me epoch 2 attempt 1 (takeover)", "replace rtb-a 100.64.0.0/16 -> eni-me epoch 2 attempt 1 (takeover)"
	ok := Result{}
	denied := Result{Outcome: Denied, Detail: "not allowed"}
	for _, c := range []struct {
		name   string
		seen   Route
		owners map[string]Owner
		lookup Result
		want   string
		cond   Condition
	}{
		{"nothing", Route{}, nil, ok, create, Pending},
		{"itself", to("eni-me"), nil, ok, replace, Pending},
		{"a former holder", to("eni-other"), nil, ok, replace, Pending},
		{"a former holder that is gone", Route{Kind: Interface, Target: "eni-other", Blackhole: true}, nil, ok, replace, Pending},
		{"a configured interface", to("eni-configured"), nil, ok, replace, Pending},
		{"a tagged interface", to("eni-x"), map[string]Owner{"eni-x": {Exists: true, Gateway: true}}, ok, replace, Pending},
		{"an interface without the tag", to("eni-x"), map[string]Owner{"eni-x": {Exists: true}}, ok, "", Conflict},
		{"a stopped interface without the tag", Route{Kind: Interface, Target: "eni-x", Blackhole: true}, map[string]Owner{"eni-x": {Exists: true}}, ok, "", Conflict},
		{"an interface that is gone", Route{Kind: Interface, Target: "eni-x", Blackhole: true}, nil, ok, replace, Pending},
		{"an interface that EC2 does not know yet", to("eni-x"), nil, ok, "", Pending},
		{"an interface that must not be looked up", to("eni-x"), nil, denied, "", Conflict},
		{"a stopped, detached or vanished one that must not be looked up", Route{Kind: Interface, Target: "eni-x", Blackhole: true}, nil, denied, "", Conflict},
		{"a transit gateway", Route{Kind: Other, Target: "tgw-1"}, nil, ok, "", Conflict},
		{"a transit gateway that is gone", Route{Kind: Other, Target: "tgw-1", Blackhole: true}, nil, ok, "", Conflict},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, one, func(c *Config) { c.Gateways = []string{"eni-configured"} })
			r.observe(1, "eni-other")
			r.next(readOne)
			r.reads(c.seen)
			if c.seen.Target == "eni-x" {
				r.next("lookup eni-x")
				r.state.LookupDone(Lookup{Interfaces: []string{"eni-x"}}, c.owners, c.lookup, r.now)
			}
			r.next()
			r.observe(2, "eni-me")
			if c.want == "" {
				r.next()
			} else {
				r.next(c.want)
			}
			r.conditions(c.cond)
			if converged := r.state.Converged() == 2; converged != (c.cond == Conflict) {
				t.Errorf("converged: %v", converged)
			}
		})
	}
}

func TestConflictSaysWhatToDo(t *testing.T) {
	r := standby(t, Route{Kind: Other, Target: "tgw-1"})
	r.observe(2, "eni-me")
	r.next()
	var st Status
	for _, st = range r.state.Changed() {
	}
	if st.Condition != Conflict || st.Target != "tgw-1" || !strings.Contains(st.Detail, "tgw-1") || !strings.Contains(st.Detail, "deleted") {
		t.Errorf("got %+v", st)
	}
}

// The two errors of the procedure, and what EC2's inconsistency can make of them.
func TestReplaceThenCreateThenReplace(t *testing.T) {
	r := standby(t, to("eni-other"))
	r.observe(2, "eni-me")
	w := r.next("replace rtb-a 100.64.0.0/16 -> eni-me epoch 2 attempt 1 (takeover)")[0]
	r.done(w, NoRoute)
	w = r.next("create rtb-a 100.64.0.0/16 -> eni-me epoch 2 attempt 2 (takeover)")[0]
	r.done(w, Exists)
	w = r.next("replace rtb-a 100.64.0.0/16 -> eni-me epoch 2 attempt 3 (takeover)")[0]
	r.done(w, NoRoute) // it cannot make up its mind
	r.conditions(Errored)
	r.next()
	r.wait(time.Second)
	r.next(readOne)
	r.reads(to("eni-other"))
	w = r.next("replace rtb-a 100.64.0.0/16 -> eni-me epoch 2 attempt 4 (takeover)")[0]
	r.done(w, Done)
	r.next()
	r.conditions(InSync)
}

func TestRouteThatAppearedIsLookedAtBeforeItIsReplaced(t *testing.T) {
	for _, c := range []struct {
		seen Route
		want string
		cond Condition
	}{
		{to("eni-other"), "replace rtb-a 100.64.0.0/16 -> eni-me epoch 2 attempt 2 (takeover)", Pending},
		{to("eni-me"), "", InSync}, // an earlier call of ours whose answer was lost
		{Route{Kind: Other, Target: "igw-1"}, "", Conflict},
	} {
		r := standby(t, Route{})
		r.observe(2, "eni-me")
		w := r.next("create rtb-a 100.64.0.0/16 -> eni-me epoch 2 attempt 1 (takeover)")[0]
		r.done(w, Exists)
		r.next(readOne)
		r.reads(Route{}) // stale
		r.next()
		r.conditions(Pending)
		r.wait(200 * time.Millisecond)
		r.next(readOne)
		r.reads(c.seen)
		if c.want == "" {
			r.next()
		} else {
			r.next(c.want)
		}
		r.conditions(c.cond)
	}
}

func TestNoWriteWithoutValidity(t *testing.T) {
	r := standby(t, to("eni-other"))
	r.state.Observe(Leadership{Shard: "default", Epoch: 2, Active: true, ValidUntil: r.now}, r.now)
	r.next()
	r.conditions(Unowned)
	r.state.Observe(Leadership{Shard: "default", Epoch: 2, Active: true, ValidUntil: r.now + time.Second}, r.now)
	w := r.next("replace rtb-a 100.64.0.0/16 -> eni-me epoch 2 attempt 1 (takeover)")[0]
	if r.state.Wake() != r.now+time.Second {
		t.Errorf("wakes at %s", r.state.Wake()-r.now)
	}
	r.wait(time.Second)
	r.next("cancel epoch 2")
	r.done(w, Fenced)
	r.next()
	r.conditions(Unowned)

	// The same epoch is renewed late.
	r.state.Observe(Leadership{Shard: "default", Epoch: 2, Active: true, ValidUntil: forever}, r.now)
	r.next("replace rtb-a 100.64.0.0/16 -> eni-me epoch 2 attempt 2 (takeover)")
}

func TestNeverActsOnAnotherShardOrAnOlderEpoch(t *testing.T) {
	r := standby(t, to("eni-other"))
	r.observe(5, "eni-other")
	r.state.Observe(Leadership{Shard: "zone-b", Epoch: 9, Active: true, ValidUntil: forever}, r.now)
	r.observe(4, "eni-me")
	r.state.Observe(Leadership{Shard: "default", Epoch: 0, Active: true, ValidUntil: forever}, r.now)
	r.next()
	r.conditions(Unowned)
}

func TestLeadershipLostCancels(t *testing.T) {
	r := standby(t, to("eni-other"))
	r.observe(2, "eni-me")
	w := r.next("replace rtb-a 100.64.0.0/16 -> eni-me epoch 2 attempt 1 (takeover)")[0]
	r.observe(3, "eni-other")
	r.next("cancel epoch 2")
	r.done(w, Done) // says nothing about epoch 4
	r.observe(4, "eni-me")
	r.next("replace rtb-a 100.64.0.0/16 -> eni-me epoch 4 attempt 1 (takeover)")
}

// The stream is down: what it said last may have changed. Back again, it is believed from the same epoch on.
func TestLostStreamStops(t *testing.T) {
	r := standby(t, to("eni-other"))
	r.observe(2, "eni-me")
	w := r.next("replace rtb-a 100.64.0.0/16 -> eni-me epoch 2 attempt 1 (takeover)")[0]
	r.state.Disconnect()
	r.next("cancel epoch 2")
	r.done(w, Unknown)
	r.wait(time.Second)
	r.next()
	r.observe(1, "eni-other") // an election that has just started and knows little
	r.next()
	r.conditions(Unowned)
	r.observe(2, "eni-me")
	r.done(r.next("replace rtb-a 100.64.0.0/16 -> eni-me epoch 2 attempt 2 (takeover)")[0], Done)
	r.next()
	r.conditions(InSync)
	if r.state.Converged() != 2 {
		t.Error("not converged")
	}
}

func TestForgottenLeadershipStops(t *testing.T) {
	r := standby(t, to("eni-other"))
	r.observe(2, "eni-me")
	r.next("replace rtb-a 100.64.0.0/16 -> eni-me epoch 2 attempt 1 (takeover)")
	r.state.Forget()
	r.next("cancel epoch 2")
	r.conditions(Unowned)
}

func TestOneFailureHoldsUpNobody(t *testing.T) {
	for _, outcome := range []Outcome{Denied, Quota, Unknown, Failed, NoInterface, NoTable} {
		r := newRig(t)
		r.observe(1, "eni-other")
		r.next(readAll)
		r.reads(to("eni-other"))
		r.observe(2, "eni-me")
		var writes []Write
		for _, a := range r.actions() {
			writes = append(writes, a.(Write))
		}
		for _, w := range writes {
			if w.Table == "rtb-a" {
				r.done(w, outcome)
			} else {
				r.done(w, Done)
			}
		}
		r.next()
		r.conditions(Errored, InSync, Errored, InSync)
		if r.state.Converged() != 0 {
			t.Errorf("%s: converged", outcome)
		}
		if outcome == NoTable {
			continue // what happens next is the next read's business
		}
		retries := 0
		for start := r.now; retries == 0 && r.now < start+interval; r.now = r.state.Wake() {
			for _, a := range r.actions() {
				switch a := a.(type) {
				case Write:
					if a.Attempt == 2 {
						retries++
					}
					r.done(a, Done)
				case Read:
					r.state.ReadDone(a, ReadResult{Tables: r.written()}, r.now)
				}
			}
			r.actions()
		}
		if retries != 2 || r.state.Converged() != 2 {
			t.Errorf("%s: %d retries, converged %d", outcome, retries, r.state.Converged())
		}
	}
}

func TestThrottlingSlowsDownAndRecovers(t *testing.T) {
	r := newRig(t, func(c *Config) {
		c.Destinations = nil
		for i := range 20 {
			c.Destinations = append(c.Destinations, netip.PrefixFrom(netip.AddrFrom4([4]byte{100, byte(64 + i), 0, 0}), 16))
		}
		c.Parallel = 64
	})
	r.observe(1, "eni-other")
	r.next(readAll)
	r.reads(to("eni-other"))
	r.observe(2, "eni-me")
	tokens, at := 10.0, r.now // EC2's bucket, smaller
	calls, throttled := 0, 0
	for r.state.Converged() == 0 {
		actions := r.actions()
		for _, a := range actions {
			switch a := a.(type) {
			case Write:
				calls++
				if tokens < 1 {
					throttled++
					r.done(a, Throttled)
					continue
				}
				tokens--
				r.done(a, Done)
			case Read:
				r.read = a
				r.reads(to("eni-other"))
			}
		}
		if len(actions) > 0 {
			continue
		}
		r.now = r.state.Wake()
		tokens = min(10, tokens+5*(r.now-at).Seconds())
		at = r.now
		if r.now > time.Hour+time.Minute {
			t.Fatal("not done after a minute")
		}
	}
	if took := r.now - time.Hour; took > 9*time.Second {
		t.Errorf("40 routes took %s at 5 calls a second", took)
	}
	if throttled > 35 {
		t.Errorf("%d of %d calls were throttled", throttled, calls)
	}
}

// What was written or read before this gateway held the epoch says nothing about it: somebody else may have
// written since.
func TestOlderNewsDoNotPlaceARoute(t *testing.T) {
	r := standby(t, to("eni-other"))
	r.observe(2, "eni-me")
	old := r.next("replace rtb-a 100.64.0.0/16 -> eni-me epoch 2 attempt 1 (takeover)")[0]
	r.wait(interval)
	r.next(readOne)
	r.wait(time.Millisecond)
	r.observe(3, "eni-other")
	r.next("cancel epoch 2")
	r.observe(4, "eni-me")
	r.next() // the old call is still under way
	r.done(old, Done)
	w := r.next("replace rtb-a 100.64.0.0/16 -> eni-me epoch 4 attempt 1 (takeover)")[0]
	r.done(w, Throttled)
	r.next()
	r.read.Began = r.now + 1 // later than the calls' end, and yet:
	r.state.heldSince = r.now + 2
	r.reads(to("eni-me"))
	r.conditions(Pending)
}
