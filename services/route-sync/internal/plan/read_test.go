package plan

import (
	"maps"
	"strings"
	"testing"
	"time"
)

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
		for _, a := range r.actions() {
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

func TestMissingTable(t *testing.T) {
	r := newRig(t)
	r.observe(1, "eni-other")
	r.next(readAll)
	there := Table{}
	for _, d := range r.state.config.Destinations {
		there[To(d)] = to("eni-other")
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

func TestReadsHaveBackOff(t *testing.T) {
	r := newRig(t, one)
	reads, end := 0, r.now+time.Minute
	for r.now < end {
		for range r.actions() {
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
	r.next(readOne)
	r.reads(to("eni-third"))
	r.next()
	r.wait(aftermath)
	r.next(readOne)
}

// A leader that is replaced soon after its own takeover reads after the other's as any standby does, whatever times it
// had set itself.
func TestReplacedLeaderReadsAfterAnothersTakeover(t *testing.T) {
	r := standby(t, to("eni-other"))
	r.observe(2, "eni-me")
	r.done(r.next("replace rtb-a 100.64.0.0/16 -> eni-me epoch 2 attempt 1 (takeover)")[0], Done)
	r.next()
	for range 2 { // of three reads: after one, two and four seconds
		r.wait(time.Second)
		r.next(readOne)
		r.reads(to("eni-me"))
		r.next()
	}
	r.wait(time.Second / 2)
	r.state.Observe(Leadership{Shard: "default", Epoch: 3, Holder: "eni-third", Converged: true}, r.now)
	r.next("cancel epoch 2", readOne)
	r.reads(to("eni-third"))
	r.next()
	r.wait(aftermath)
	r.next(readOne)
}

// The leader dies right after its routes are in place: the standby knows already that they are.
func TestTakeoverSoonAfterTheFirstOne(t *testing.T) {
	r := standby(t, Route{})
	r.state.Observe(Leadership{Shard: "default", Epoch: 1, Holder: "eni-other", Converged: true}, r.now)
	r.next(readOne)
	r.reads(to("eni-other"))
	r.observe(2, "eni-me")
	if got := r.actions(); len(got) == 0 || !strings.HasPrefix(got[0].String(), "replace rtb-a") {
		t.Errorf("begins with %v", got)
	}
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
		for _, a := range r.actions() {
			if read, is := a.(Read); is {
				r.read = read
				r.reads(to("eni-x"))
			}
		}
	}
	r.state.LookupDone(Lookup{Interfaces: []string{"eni-x"}}, map[string]Owner{"eni-x": {Exists: true, Gateway: true}}, Result{}, r.now)
	found := false
	for _, a := range r.actions() {
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

// A late write of the previous holder does not stay in a table in which all is well, whatever is amiss with another.
func TestLateWriteBesideATableThatFails(t *testing.T) {
	for _, outcome := range []Outcome{Done, Denied, Quota, NoTable, Unknown} {
		t.Run(outcome.String(), func(t *testing.T) {
			r := newRig(t, func(c *Config) { c.Destinations = c.Destinations[:1] })
			r.observe(1, "eni-other")
			r.actions()
			r.reads(to("eni-other"))
			tables := r.written()
			pods := To(r.state.config.Destinations[0])
			r.observe(2, "eni-me")
			start := r.now
			late, lateAt := false, start+500*time.Millisecond
			for r.now < start+time.Minute {
				actions := r.actions()
				for _, a := range actions {
					switch a := a.(type) {
					case Write:
						if a.Table == "rtb-b" {
							tables["rtb-b"][pods] = to(a.Interface)
							r.done(a, Done)
						} else {
							r.done(a, outcome)
						}
					case Read:
						r.readsTables(map[string]Table{"rtb-a": maps.Clone(tables["rtb-a"]), "rtb-b": maps.Clone(tables["rtb-b"])})
					}
				}
				if late && tables["rtb-b"][pods] == to("eni-me") {
					break
				}
				if len(actions) == 0 {
					r.now = r.state.Wake()
				}
				if !late && r.now >= lateAt {
					late, r.now = true, lateAt
					tables["rtb-b"][pods] = to("eni-other")
				}
			}
			if took := r.now - lateAt; took > 2*time.Second {
				t.Errorf("it stayed %s", took)
			}
		})
	}
}
