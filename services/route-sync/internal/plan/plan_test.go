package plan

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// rig drives a State step by step, with a clock of its own.
type rig struct {
	t     *testing.T
	state *State
	now   time.Duration
	read  Read // the last that was handed out
}

const (
	interval = 10 * time.Second
	forever  = 1000 * time.Hour
)

func newRig(t *testing.T, change ...func(*Config)) *rig {
	t.Helper()
	c := Config{
		Shard: "default", Interface: "eni-me", Interval: interval, Parallel: 4,
		Tables:       []string{"rtb-a", "rtb-b"},
		Destinations: []netip.Prefix{netip.MustParsePrefix("100.64.0.0/16"), netip.MustParsePrefix("100.65.0.0/16")},
	}
	for _, f := range change {
		f(&c)
	}
	return &rig{t: t, state: New(c), now: time.Hour}
}

func one(c *Config) { c.Tables, c.Destinations = c.Tables[:1], c.Destinations[:1] }

// next wants exactly the given actions, in order. It returns the writes.
func (r *rig) next(want ...string) []Write {
	r.t.Helper()
	var got []string
	var writes []Write
	for _, a := range r.state.Next(r.now) {
		got = append(got, a.String())
		switch a := a.(type) {
		case Write:
			writes = append(writes, a)
		case Read:
			r.read = a
		}
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		r.t.Fatalf("at %s the actions are\n\t%s\nwant\n\t%s", r.now-time.Hour, strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
	return writes
}

func (r *rig) wait(d time.Duration) { r.now += d }

// observe is the leadership event in which this gateway, or the one with another interface, holds the record.
func (r *rig) observe(epoch uint64, holder string) {
	l := Leadership{Shard: "default", Epoch: epoch, Holder: holder}
	if holder == "eni-me" {
		l.Active, l.ValidUntil = true, forever
	}
	r.state.Observe(l, r.now)
}

func (r *rig) done(w Write, o Outcome) {
	detail := ""
	if o.Failure() {
		detail = "because"
	}
	r.state.WriteDone(w, Result{Outcome: o, Detail: detail}, r.now)
}

// reads ends the last read: every route of every table is as given.
func (r *rig) reads(route Route) {
	tables := map[string]Table{}
	for _, t := range r.state.config.Tables {
		tables[t] = Table{}
		for _, d := range r.state.config.Destinations {
			if route.Kind != Absent {
				tables[t][d] = route
			}
		}
	}
	r.state.ReadDone(r.read, ReadResult{Tables: tables}, r.now)
}

// statuses wants the given conditions, as "table destination condition target", of all routes.
func (r *rig) conditions(want ...Condition) {
	r.t.Helper()
	var got []Condition
	for _, route := range r.state.routes {
		got = append(got, r.state.status(route).Condition)
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		r.t.Fatalf("the routes are %v, want %v", got, want)
	}
}

func to(eni string) Route { return Route{Kind: Interface, Target: eni} }

const readAll, readOne = "read rtb-a rtb-b", "read rtb-a"

// standby is a gateway that has seen the given route in its one table, and another gateway hold epoch 1.
func standby(t *testing.T, seen Route) *rig {
	t.Helper()
	r := newRig(t, one)
	r.observe(1, "eni-other")
	r.next(readOne)
	r.reads(seen)
	r.next()
	return r
}

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
	for _, a := range r.state.Next(r.now) {
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
		{"a stopped one that must not be looked up", Route{Kind: Interface, Target: "eni-x", Instance: "i-1", Blackhole: true}, nil, denied, "", Conflict},
		{"a vanished one that must not be looked up", Route{Kind: Interface, Target: "eni-x", Blackhole: true}, nil, denied, replace, Pending},
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

func TestForgottenLeadershipStops(t *testing.T) {
	r := standby(t, to("eni-other"))
	r.observe(2, "eni-me")
	r.next("replace rtb-a 100.64.0.0/16 -> eni-me epoch 2 attempt 1 (takeover)")
	r.state.Forget()
	r.next("cancel epoch 2")
	r.conditions(Unowned)
}

// placed is a gateway whose one route is in place, and verified three times.
func placed(t *testing.T) *rig {
	t.Helper()
	r := standby(t, to("eni-other"))
	r.observe(2, "eni-me")
	r.done(r.next("replace rtb-a 100.64.0.0/16 -> eni-me epoch 2 attempt 1 (takeover)")[0], Done)
	r.next()
	for _, wait := range []time.Duration{time.Second, time.Second, 2 * time.Second} {
		r.wait(wait)
		r.next(readOne)
		r.reads(to("eni-me"))
		r.next()
	}
	r.conditions(InSync)
	return r
}

func TestDriftIsRepaired(t *testing.T) {
	for _, c := range []struct {
		name string
		seen Route
		want string
		cond Condition
	}{
		{"deleted", Route{}, "create rtb-a 100.64.0.0/16 -> eni-me epoch 2 attempt 1 (drift)", Pending},
		{"to a gateway", to("eni-other"), "replace rtb-a 100.64.0.0/16 -> eni-me epoch 2 attempt 1 (drift)", Pending},
		{"a blackhole", Route{Kind: Interface, Target: "eni-me", Blackhole: true}, "replace rtb-a 100.64.0.0/16 -> eni-me epoch 2 attempt 1 (drift)", Pending},
		{"foreign", Route{Kind: Other, Target: "pcx-1"}, "", Conflict},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := placed(t)
			r.wait(interval)
			r.next(readOne)
			r.reads(c.seen)
			if c.want == "" {
				r.next()
				r.conditions(c.cond)
				return
			}
			w := r.next(c.want)[0]
			r.conditions(c.cond)
			r.done(w, Done)
			r.next()
			r.conditions(InSync)
		})
	}
}

func TestConflictThatIsGoneIsMended(t *testing.T) {
	r := placed(t)
	r.wait(interval)
	r.next(readOne)
	r.reads(Route{Kind: Other, Target: "pcx-1"})
	r.next()
	r.wait(interval)
	r.next(readOne)
	r.reads(Route{})
	r.next("create rtb-a 100.64.0.0/16 -> eni-me epoch 2 attempt 1 (drift)")
}

func TestStaleReadsAfterAWriteAreNotDrift(t *testing.T) {
	r := standby(t, to("eni-other"))
	r.observe(2, "eni-me")
	r.wait(interval)
	r.next("replace rtb-a 100.64.0.0/16 -> eni-me epoch 2 attempt 1 (takeover)", readOne)
	r.wait(time.Millisecond)
	w := Write{Key: r.state.routes[0].key, Epoch: 2}
	r.done(w, Done)
	r.reads(to("eni-other")) // began before the write ended
	r.next()
	r.conditions(InSync)
	r.wait(time.Second)
	r.next(readOne)
	r.reads(to("eni-other")) // stale, or a late write
	r.next()
	r.conditions(InSync)
	r.wait(time.Second)
	r.next(readOne)
	r.reads(to("eni-other"))
	w = r.next("replace rtb-a 100.64.0.0/16 -> eni-me epoch 2 attempt 1 (reassert)")[0]
	r.conditions(InSync)
	r.done(w, Done)
	r.next()
	if r.state.Converged() != 2 {
		t.Error("no longer converged")
	}
}

func TestStaleAbsenceAfterCreateIsNotDrift(t *testing.T) {
	r := standby(t, Route{})
	r.observe(2, "eni-me")
	r.done(r.next("create rtb-a 100.64.0.0/16 -> eni-me epoch 2 attempt 1 (takeover)")[0], Done)
	r.next()
	for range 2 {
		r.wait(time.Second)
		r.next(readOne)
		r.reads(Route{})
	}
	w := r.next("create rtb-a 100.64.0.0/16 -> eni-me epoch 2 attempt 1 (reassert)")[0]
	r.done(w, Exists)
	r.next()
	r.conditions(InSync)
}

func TestPersistentBlackholeIsReported(t *testing.T) {
	r := placed(t)
	black := Route{Kind: Interface, Target: "eni-me", Blackhole: true}
	calls := 0
	for range 30 {
		r.wait(interval)
		for _, a := range r.state.Next(r.now) {
			switch a := a.(type) {
			case Read:
				r.read = a
			case Write:
				calls++
				r.done(a, Done)
			}
		}
		r.reads(black)
	}
	if calls > 12 {
		t.Errorf("%d writes in 30 intervals", calls)
	}
	r.conditions(Errored)
	r.wait(time.Second)
	r.next()
	r.wait(interval)
	r.next(readOne)
	r.reads(to("eni-me"))
	r.conditions(InSync)
}

// An epoch of our own that follows directly on one of our own costs no call.
func TestOwnEpochAfterOwnEpochKeepsRoutes(t *testing.T) {
	r := placed(t)
	r.state.Forget() // election restarts
	r.next("cancel epoch 2")
	r.observe(3, "eni-me")
	r.next()
	r.conditions(InSync)
	if r.state.Converged() != 3 {
		t.Error("not converged")
	}
	r.observe(5, "eni-me") // somebody had epoch 4
	r.next("cancel epoch 3", "replace rtb-a 100.64.0.0/16 -> eni-me epoch 5 attempt 1 (takeover)")
}

// A process that starts while its gateway is active looks before it writes.
func TestRestartWhileActiveReadsFirst(t *testing.T) {
	for _, early := range []bool{false, true} {
		r := newRig(t, one)
		if early { // a read is under way, or has ended, when election is heard
			r.next(readOne)
		}
		r.wait(time.Millisecond)
		r.observe(7, "eni-me")
		if early {
			r.reads(to("eni-me"))
		}
		r.next(readOne)
		r.reads(to("eni-me"))
		r.next()
		r.conditions(InSync)
		if r.state.Converged() != 7 {
			t.Error("not converged")
		}
	}
}

func TestOneFailureHoldsUpNobody(t *testing.T) {
	for _, outcome := range []Outcome{Denied, Quota, Unknown, Failed, NoInterface, NoTable} {
		r := newRig(t)
		r.observe(1, "eni-other")
		r.next(readAll)
		r.reads(to("eni-other"))
		r.observe(2, "eni-me")
		var writes []Write
		for _, a := range r.state.Next(r.now) {
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
		r.now = r.state.Wake()
		retries := 0
		for _, a := range r.state.Next(r.now) {
			if w, is := a.(Write); is && w.Attempt == 2 {
				retries++
				r.done(w, Done)
			}
		}
		r.next()
		if retries != 2 || r.state.Converged() != 2 {
			t.Errorf("%s: %d retries, converged %d", outcome, retries, r.state.Converged())
		}
	}
}

func TestMissingTable(t *testing.T) {
	r := newRig(t)
	r.observe(1, "eni-other")
	r.next(readAll)
	there := Table{}
	for _, d := range r.state.config.Destinations {
		there[d] = to("eni-other")
	}
	r.state.ReadDone(r.read, ReadResult{Tables: map[string]Table{"rtb-b": there}, Absent: []string{"rtb-a"}}, r.now)
	r.observe(2, "eni-me")
	for _, w := range r.next(
		"replace rtb-b 100.64.0.0/16 -> eni-me epoch 2 attempt 1 (takeover)",
		"replace rtb-b 100.65.0.0/16 -> eni-me epoch 2 attempt 1 (takeover)") {
		r.done(w, Done)
	}
	r.next()
	r.conditions(Errored, InSync, Errored, InSync)

	// Somebody makes the table.
	r.wait(interval)
	r.next(readAll)
	for d := range there {
		there[d] = to("eni-me")
	}
	r.state.ReadDone(r.read, ReadResult{Tables: map[string]Table{"rtb-a": {}, "rtb-b": there}}, r.now)
	r.next(
		"create rtb-a 100.64.0.0/16 -> eni-me epoch 2 attempt 1 (takeover)",
		"create rtb-a 100.65.0.0/16 -> eni-me epoch 2 attempt 1 (takeover)")
}

func TestPartOfAReadCounts(t *testing.T) {
	r := newRig(t)
	r.observe(1, "eni-other")
	r.observe(2, "eni-me")
	r.next(readAll)
	r.state.ReadDone(r.read, ReadResult{
		Tables: map[string]Table{"rtb-a": {}},
		Result: Result{Outcome: Unknown, Detail: "no answer"},
	}, r.now)
	r.next(
		"create rtb-a 100.64.0.0/16 -> eni-me epoch 2 attempt 1 (takeover)",
		"create rtb-a 100.65.0.0/16 -> eni-me epoch 2 attempt 1 (takeover)")
	r.conditions(Pending, Errored, Pending, Errored)
	r.wait(time.Second)
	r.next(readAll)
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
		actions := r.state.Next(r.now)
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

func TestReadsHaveBackOff(t *testing.T) {
	r := newRig(t, one)
	reads, end := 0, r.now+time.Minute
	for r.now < end {
		for range r.state.Next(r.now) {
			reads++
			r.state.ReadDone(Read{Began: r.now}, ReadResult{Result: Result{Outcome: Throttled, Detail: "slow down"}}, r.now)
		}
		r.now = r.state.Wake()
	}
	if reads < 5 || reads > 14 {
		t.Errorf("%d reads in a minute of failures", reads)
	}
}

func TestStandbyReadsAfterAnothersTakeover(t *testing.T) {
	r := standby(t, to("eni-other"))
	r.observe(2, "eni-third")
	r.wait(aftermath)
	r.next(readOne)
	r.reads(to("eni-third"))
	r.next()
	r.state.Observe(Leadership{Shard: "default", Epoch: 2, Holder: "eni-third", Converged: true}, r.now)
	r.wait(aftermath)
	r.next(readOne)
}

func TestTakenForForeignUntilTagged(t *testing.T) {
	r := newRig(t, one)
	r.observe(1, "eni-other")
	r.observe(2, "eni-me")
	r.next(readOne)
	r.reads(to("eni-x"))
	r.next("lookup eni-x")
	r.state.LookupDone(Lookup{Interfaces: []string{"eni-x"}}, nil, Result{Outcome: Unknown, Detail: "no answer"}, r.now)
	r.conditions(Errored)
	r.wait(time.Second)
	r.next("lookup eni-x")
	r.state.LookupDone(Lookup{Interfaces: []string{"eni-x"}}, map[string]Owner{"eni-x": {Exists: true}}, Result{}, r.now)
	r.next()
	r.conditions(Conflict)
	for range 7 {
		r.wait(interval)
		for _, a := range r.state.Next(r.now) {
			if read, is := a.(Read); is {
				r.read = read
				r.reads(to("eni-x"))
			}
		}
	}
	r.state.LookupDone(Lookup{Interfaces: []string{"eni-x"}}, map[string]Owner{"eni-x": {Exists: true, Gateway: true}}, Result{}, r.now)
	found := false
	for _, a := range r.state.Next(r.now) {
		found = found || strings.HasPrefix(a.String(), "replace rtb-a")
	}
	if !found {
		t.Error("the tag is not seen")
	}
}

func TestChangedTellsEachChangeOnce(t *testing.T) {
	r := placed(t)
	r.state.Changed()
	if got := r.state.Changed(); len(got) != 0 {
		t.Errorf("told again: %v", got)
	}
	r.wait(interval)
	r.next(readOne)
	r.reads(Route{})
	if got := r.state.Changed(); len(got) != 1 || got[0].Condition != Pending || got[0].Target != "" {
		t.Errorf("got %v", got)
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
