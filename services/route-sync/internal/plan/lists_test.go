package plan

import (
	"net/netip"
	"slices"
	"testing"
	"time"
)

func cidr(text string) netip.Prefix { return netip.MustParsePrefix(text) }

// cloud answers reads of the rig: what the tables of both kinds of routes say.
func (r *rig) readsTables(tables map[string]Table) {
	r.state.ReadDone(r.read, ReadResult{Tables: tables}, r.now)
}

func (r *rig) readsLists(lists ...PrefixList) {
	r.state.ReadListsDone(ReadLists{}, lists, Result{}, r.now)
}

func withList(c *Config) { c.Lists.IDs = []string{"pl-1"} }

func managed(c *Config) { c.Lists.Managed = "pods" }

func pl(entries ...string) PrefixList {
	l := PrefixList{ID: "pl-1", Name: "pods-ipv4", Version: 1, Max: len(entries)}
	for _, e := range entries {
		l.Entries = append(l.Entries, cidr(e))
	}
	return l
}

func tagged(l PrefixList) PrefixList { l.Tagged = true; return l }

// leaderWithoutList has just come to lead, with one network, one table and no list yet.
func leaderWithoutList(t *testing.T) *rig {
	t.Helper()
	r := newRig(t, managed, one)
	r.observe(1, "eni-other")
	r.actions()
	r.readsTables(map[string]Table{"rtb-a": {}})
	r.readsLists()
	r.observe(2, "eni-me")
	return r
}

// One call per table, however many networks the list carries.
func TestTakeoverOfAPrefixList(t *testing.T) {
	r := newRig(t, withList)
	r.observe(1, "eni-other")
	r.next("read lists pl-1", readAll)
	list := Table{ToList("pl-1"): to("eni-other")}
	r.readsTables(map[string]Table{"rtb-a": list, "rtb-b": list})
	r.readsLists(pl("100.64.0.0/15"))
	r.next()
	r.observe(2, "eni-me")
	writes := r.next(
		"replace rtb-a pl-1 -> eni-me epoch 2 attempt 1 (takeover)",
		"replace rtb-b pl-1 -> eni-me epoch 2 attempt 1 (takeover)")
	r.done(writes[0], Done)
	r.done(writes[1], NoRoute)
	w := r.next("create rtb-b pl-1 -> eni-me epoch 2 attempt 2 (takeover)")[0]
	r.done(w, Done)
	r.next()
	r.conditions(InSync, InSync)
	if r.state.Converged() != 2 {
		t.Error("not converged")
	}
}

// From CIDRs to a list: the list's route comes first, in a table whose CIDR routes still work; then these go.
func TestMigrationToAListHasNoGap(t *testing.T) {
	r := newRig(t, withList, func(c *Config) { c.Tables = c.Tables[:1] })
	r.observe(1, "eni-other")
	r.next("read lists pl-1", readOne)
	old := Table{To(cidr("100.64.0.0/16")): to("eni-other"), To(cidr("100.65.0.0/16")): to("eni-other")}
	r.readsTables(map[string]Table{"rtb-a": old})
	r.readsLists(pl("100.64.0.0/16", "100.65.0.0/16"))
	r.next()
	r.observe(2, "eni-me")
	w := r.next("create rtb-a pl-1 -> eni-me epoch 2 attempt 1 (takeover)")[0]
	if r.state.Converged() != 0 {
		t.Fatal("converged although the old routes take the traffic elsewhere")
	}
	r.done(w, Done)
	writes := r.next(
		"delete rtb-a 100.64.0.0/16 epoch 2 attempt 1 (leftover)",
		"delete rtb-a 100.65.0.0/16 epoch 2 attempt 1 (leftover)")
	if r.state.Converged() != 0 {
		t.Fatal("converged although the old routes take the traffic elsewhere")
	}
	r.done(writes[0], Done)
	r.done(writes[1], NoRoute) // somebody was faster
	r.next()
	if r.state.Converged() != 2 {
		t.Error("not converged")
	}
	// A stale read that shows them again is not believed at once.
	r.wait(time.Second)
	r.next(readOne)
	r.readsTables(map[string]Table{"rtb-a": {ToList("pl-1"): to("eni-me"), To(cidr("100.64.0.0/16")): to("eni-other")}})
	r.next()
}

// What is left over but leads here already may go slowly: the epoch has converged without.
func TestLeftoversDoNotDelayConvergence(t *testing.T) {
	for name, limit := range map[string]func(*Config){
		"by calls under way": func(c *Config) { c.Parallel = 1 },
		"by EC2's bucket":    func(c *Config) { c.Bucket = Bucket{Burst: 1, PerSecond: 1} },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, withList, limit, func(c *Config) { c.Tables = c.Tables[:1] })
			r.observe(2, "eni-me") // after a restart, with other flags
			r.next("read lists pl-1", readOne)
			r.readsTables(map[string]Table{"rtb-a": {To(cidr("100.64.0.0/16")): to("eni-me"), To(cidr("100.65.0.0/16")): to("eni-me")}})
			r.readsLists(pl("100.64.0.0/15"))
			w := r.next("create rtb-a pl-1 -> eni-me epoch 2 attempt 1 (takeover)")[0]
			r.wait(time.Second)
			r.done(w, Done)
			w = r.next("delete rtb-a 100.64.0.0/16 epoch 2 attempt 1 (leftover)")[0]
			if r.state.Converged() != 2 {
				t.Error("not converged, though all traffic comes here")
			}
			r.wait(time.Second)
			r.done(w, Done)
			r.next("delete rtb-a 100.65.0.0/16 epoch 2 attempt 1 (leftover)", readOne)
		})
	}
}

// When the route to the list cannot be made, the old routes have to do.
func TestFailedMigrationKeepsTheOldRoutes(t *testing.T) {
	r := newRig(t, withList, one)
	r.observe(1, "eni-other")
	r.next("read lists pl-1", readOne)
	r.readsTables(map[string]Table{"rtb-a": {To(cidr("100.64.0.0/16")): to("eni-other")}})
	r.readsLists(pl("100.64.0.0/16"))
	r.observe(2, "eni-me")
	w := r.next("create rtb-a pl-1 -> eni-me epoch 2 attempt 1 (takeover)")[0]
	r.done(w, Quota)
	w = r.next("replace rtb-a 100.64.0.0/16 -> eni-me epoch 2 attempt 1 (takeover)")[0]
	r.done(w, Done)
	r.next()
	r.conditions(Errored, InSync)
	if r.state.Converged() != 0 {
		t.Error("converged")
	}
}

// From a list to CIDRs: the list's route goes once each of its entries has a route of its own.
func TestMigrationFromAListHasNoGap(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Tables = c.Tables[:1] })
	r.observe(1, "eni-other")
	r.next(readOne)
	r.readsTables(map[string]Table{"rtb-a": {ToList("pl-1"): to("eni-other")}})
	r.next("read lists pl-1")
	r.readsLists(tagged(pl("100.64.0.0/16", "100.65.0.0/16")))
	r.observe(2, "eni-me")
	writes := r.next(
		"create rtb-a 100.64.0.0/16 -> eni-me epoch 2 attempt 1 (takeover)",
		"create rtb-a 100.65.0.0/16 -> eni-me epoch 2 attempt 1 (takeover)")
	r.done(writes[0], Done)
	r.next()
	r.done(writes[1], Done)
	w := r.next("delete rtb-a pl-1 epoch 2 attempt 1 (leftover)")[0]
	r.done(w, Done)
	r.next("delete list pl-1 epoch 2")
}

// A route to a list that has other entries too is not only ours.
func TestListWithOtherEntriesIsLeftAlone(t *testing.T) {
	r := newRig(t, one)
	r.observe(1, "eni-other")
	r.next(readOne)
	r.readsTables(map[string]Table{"rtb-a": {ToList("pl-1"): to("eni-other")}})
	r.next("read lists pl-1")
	r.readsLists(pl("100.64.0.0/16", "192.168.0.0/16"))
	r.observe(2, "eni-me")
	r.done(r.next("create rtb-a 100.64.0.0/16 -> eni-me epoch 2 attempt 1 (takeover)")[0], Done)
	r.next()
	r.conditions(InSync, Conflict)
}

// A network that the list does not carry gets a route of its own.
func TestNetworkOutsideOfTheList(t *testing.T) {
	r := newRig(t, withList, func(c *Config) { c.Tables = c.Tables[:1] })
	r.observe(1, "eni-other")
	r.next("read lists pl-1", readOne)
	r.readsTables(map[string]Table{"rtb-a": {}})
	r.readsLists(pl("100.64.0.0/16"))
	r.observe(2, "eni-me")
	for _, w := range r.next(
		"create rtb-a pl-1 -> eni-me epoch 2 attempt 1 (takeover)",
		"create rtb-a 100.65.0.0/16 -> eni-me epoch 2 attempt 1 (takeover)") {
		r.done(w, Done)
	}
	r.next()
	// Its owner adds it.
	r.wait(listInterval)
	for _, a := range r.actions() {
		if read, is := a.(Read); is {
			r.read = read
		}
	}
	r.readsTables(map[string]Table{"rtb-a": {ToList("pl-1"): to("eni-me"), To(cidr("100.65.0.0/16")): to("eni-me")}})
	r.readsLists(pl("100.64.0.0/16", "100.65.0.0/16"))
	r.next("delete rtb-a 100.65.0.0/16 epoch 2 attempt 1 (leftover)")
}

// A list that is ours is made, then routed to; until then nothing has converged.
func TestManagedListIsMade(t *testing.T) {
	r := newRig(t, managed, func(c *Config) { c.Tables = c.Tables[:1] })
	r.observe(1, "eni-other")
	const readLists = "read lists pods-ipv4 pods-ipv6"
	r.next(readLists, readOne)
	r.readsTables(map[string]Table{"rtb-a": {}})
	r.readsLists()
	r.next() // a gateway that stands by makes nothing
	r.observe(2, "eni-me")
	r.next("create list pods-ipv4 +100.64.0.0/16 +100.65.0.0/16 max 2 epoch 2")
	if r.state.Converged() != 0 {
		t.Error("converged without a route")
	}
	r.state.WriteListDone(WriteList{Verb: CreateList, Name: "pods-ipv4", Max: 2}, "pl-1", Result{}, r.now)
	r.next()
	r.wait(200 * time.Millisecond)
	r.next("read lists pl-1 pods-ipv4 pods-ipv6")
	r.readsLists() // stale
	r.next()
	r.wait(listBusy)
	r.next("read lists pl-1 pods-ipv4 pods-ipv6")
	r.readsLists(tagged(pl("100.64.0.0/16", "100.65.0.0/16")))
	r.done(r.next("create rtb-a pl-1 -> eni-me epoch 2 attempt 1 (takeover)")[0], Done)
	r.next()
	if r.state.Converged() != 2 {
		t.Error("not converged")
	}
}

// Entries come before entries go, and room comes before entries.
func TestManagedListIsKeptInStep(t *testing.T) {
	for _, c := range []struct {
		name string
		have PrefixList
		want string
	}{
		{"in step", tagged(pl("100.64.0.0/16", "100.65.0.0/16")), ""},
		{"another's of the same name", pl("100.64.0.0/16"), "create list pods-ipv4 +100.64.0.0/16 +100.65.0.0/16 max 2 epoch 2"},
		{"one is missing, no room", tagged(pl("100.64.0.0/16")), "resize list pl-1 max 2 epoch 2"},
		{"one is wrong, no room", tagged(pl("100.64.0.0/16", "100.66.0.0/16")), "resize list pl-1 max 3 epoch 2"},
		{"one is wrong, room", func() PrefixList { l := tagged(pl("100.64.0.0/16", "100.66.0.0/16")); l.Max = 3; return l }(),
			"modify list pl-1 +100.65.0.0/16 -100.66.0.0/16 epoch 2"},
		{"larger than it need be", func() PrefixList { l := tagged(pl("100.64.0.0/16", "100.65.0.0/16")); l.Max = 5; return l }(),
			"resize list pl-1 max 2 epoch 2"},
		{"being changed", func() PrefixList { l := tagged(pl("100.64.0.0/16")); l.Busy = true; return l }(), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, managed, func(c *Config) { c.Tables = c.Tables[:1] })
			r.observe(1, "eni-other")
			r.actions()
			r.readsTables(map[string]Table{"rtb-a": {}})
			r.readsLists(c.have)
			r.observe(2, "eni-me")
			got := ""
			for _, a := range r.actions() {
				if w, is := a.(WriteList); is {
					got = w.String()
				}
			}
			if got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// A list that cannot be made is no reason to lose packets: each network gets a route of its own.
func TestManagedListThatCannotBeMade(t *testing.T) {
	r := leaderWithoutList(t)
	r.next("create list pods-ipv4 +100.64.0.0/16 max 1 epoch 2")
	r.state.WriteListDone(WriteList{Verb: CreateList, Name: "pods-ipv4"}, "", Result{Outcome: Denied, Detail: "grant it"}, r.now)
	r.done(r.next("create rtb-a 100.64.0.0/16 -> eni-me epoch 2 attempt 1 (takeover)")[0], Done)
	r.actions()
	if r.state.Converged() != 2 {
		t.Error("not converged")
	}
}

// A change whose reply was lost, and one that came too late, are looked into before the next.
func TestListIsReadBeforeItIsChangedAgain(t *testing.T) {
	for _, o := range []Outcome{Unknown, Busy} {
		r := leaderWithoutList(t)
		r.next("create list pods-ipv4 +100.64.0.0/16 max 1 epoch 2")
		r.state.WriteListDone(WriteList{Verb: CreateList, Name: "pods-ipv4"}, "", Result{Outcome: o, Detail: "because"}, r.now)
		r.wait(time.Second)
		for _, a := range r.actions() {
			if _, is := a.(WriteList); is {
				t.Errorf("%s: written again without a look", o)
			}
		}
		r.readsLists(tagged(pl("100.64.0.0/16")))
		for _, a := range r.actions() {
			if w, is := a.(WriteList); is {
				t.Errorf("%s: written again: %s", o, w)
			}
		}
	}
}

// A list that somebody deleted is made again at once, and the networks are not forgotten meanwhile.
func TestManagedListThatIsGone(t *testing.T) {
	r := newRig(t, managed, one)
	r.observe(1, "eni-other")
	r.actions()
	r.readsTables(map[string]Table{"rtb-a": {ToList("pl-1"): to("eni-other")}})
	r.readsLists(tagged(pl("100.64.0.0/16")))
	r.next("read lists pl-1 pods-ipv4 pods-ipv6") // the route was seen before the list
	r.readsLists(tagged(pl("100.64.0.0/16")))
	r.observe(2, "eni-me")
	w := r.next("replace rtb-a pl-1 -> eni-me epoch 2 attempt 1 (takeover)")[0]
	r.done(w, NoList)
	r.next("read lists pl-1 pods-ipv4 pods-ipv6") // pl-1 because of the route
	r.readsLists()
	r.next("create list pods-ipv4 +100.64.0.0/16 max 1 epoch 2")
	if r.state.Converged() != 0 {
		t.Error("converged")
	}
}

// What a read shows soon after a takeover may be older than the predecessor's routes: no reason to delete these.
func TestStaleReadDeletesNothing(t *testing.T) {
	r := newRig(t, one)
	r.observe(1, "eni-other")
	r.next(readOne)
	r.readsTables(map[string]Table{"rtb-a": {ToList("pl-1"): to("eni-other"), To(cidr("100.64.0.0/16")): to("eni-me")}})
	r.next("read lists pl-1")
	r.readsLists(pl("100.64.0.0/16"))
	r.observe(2, "eni-me")
	w := r.next("replace rtb-a 100.64.0.0/16 -> eni-me epoch 2 attempt 1 (takeover)")[0]
	r.done(w, Failed)
	r.state.read.want(r.now)
	old := r.next("replace rtb-a pl-1 -> eni-me epoch 2 attempt 1 (takeover)", readOne)[0] // it has to do meanwhile
	r.readsTables(map[string]Table{"rtb-a": {ToList("pl-1"): to("eni-other"), To(cidr("100.64.0.0/16")): to("eni-me")}})
	r.done(old, Done)
	r.next()
	for range 3 {
		r.wait(settling)
		for _, a := range r.actions() {
			switch a := a.(type) {
			case Read:
				r.read = a
				r.readsTables(map[string]Table{"rtb-a": {ToList("pl-1"): to("eni-me"), To(cidr("100.64.0.0/16")): to("eni-me")}})
			case Write:
				if r.now < time.Hour+settling {
					t.Errorf("too early: %s", a)
				}
				return
			}
		}
	}
	t.Error("the leftover stays")
}

// Two installations may share tables. The list of the other one, whose gateways carry the tag too, is not ours.
func TestListOfAnotherInstallation(t *testing.T) {
	theirs := tagged(pl("172.20.0.0/16"))
	theirs.ID, theirs.Name = "pl-b", "theirs-ipv4"
	empty := tagged(pl())
	empty.ID, empty.Name = "pl-b", "theirs-ipv4"
	for name, list := range map[string]PrefixList{"with their networks": theirs, "empty": empty} {
		for kind, change := range map[string]func(*Config){
			"CIDRs": func(*Config) {}, "lists of ours": withList, "a managed list": managed,
			"no managed list any more": func(c *Config) { c.Lists.Former = "pods" },
		} {
			t.Run(name+", "+kind, func(t *testing.T) {
				r := newRig(t, one, change, func(c *Config) { c.Gateways = []string{"eni-b"} })
				r.observe(1, "eni-other")
				r.actions()
				own := tagged(pl("100.64.0.0/16"))
				table := Table{ToList("pl-b"): to("eni-b"), To(cidr("100.64.0.0/16")): to("eni-other")}
				r.readsTables(map[string]Table{"rtb-a": table})
				r.actions()
				r.readsLists(list, own)
				for epoch := range uint64(3) { // it leads, has to purge, and leads again
					r.observe(2+epoch, "eni-me")
					if epoch == 1 {
						r.state.retire(true)
					}
					for range 100 {
						for _, a := range r.actions() {
							switch a := a.(type) {
							case Write:
								if a.Destination == ToList("pl-b") {
									t.Fatalf("%s, to the list of another installation", a)
								}
								if a.Verb == Delete {
									delete(table, a.Destination)
								} else {
									table[a.Destination] = to("eni-me")
								}
								r.done(a, Done)
							case WriteList:
								if a.ID == "pl-b" {
									t.Fatalf("%s, the list of another installation", a)
								}
								r.state.WriteListDone(a, "pl-1", Result{}, r.now)
							case Read:
								r.readsTables(map[string]Table{"rtb-a": table})
							case ReadLists:
								r.readsLists(list, own)
							}
						}
						r.now = r.state.Wake()
					}
				}
				for _, s := range r.state.Changed() {
					if s.Destination == ToList("pl-b") {
						t.Errorf("told: %+v", s)
					}
				}
			})
		}
	}
}

// What an earlier configuration made is known by its name, or by having nothing in it but parts of our networks.
func TestListOfAnEarlierConfiguration(t *testing.T) {
	named := tagged(pl("100.64.0.0/16", "100.66.0.0/16")) // 100.66.0.0/16 has been given up
	for _, c := range []struct {
		name   string
		list   PrefixList
		former string
		own    bool
	}{
		{"its name, one of our networks", named, "pods", true},
		{"its name, none of our networks", tagged(pl("100.66.0.0/16")), "pods", false},
		{"another name, one of our networks", named, "others", false},
		{"another name, only our networks", tagged(pl("100.64.7.0/24")), "others", true},
		{"no tag", pl("100.64.0.0/16"), "pods", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, one, func(config *Config) { config.Lists.Former = c.former })
			r.observe(1, "eni-other")
			r.actions()
			r.readsTables(map[string]Table{"rtb-a": {ToList("pl-1"): to("eni-me"), To(cidr("100.64.0.0/16")): to("eni-me")}})
			r.actions()
			r.readsLists(c.list)
			if own := r.state.lists.known["pl-1"].own; own != c.own {
				t.Errorf("ours: %v", own)
			}
		})
	}
}

// EC2 says that a list is made, and never shows it, as when it answers with one that is gone. The networks get routes
// of their own, and the next try asks for another list.
func TestListThatIsMadeAndNeverSeen(t *testing.T) {
	r := leaderWithoutList(t)
	var serials []int
	routed := false
	for start := r.now; len(serials) < 3 && r.now < start+5*time.Minute; {
		actions := r.actions()
		for _, a := range actions {
			switch a := a.(type) {
			case WriteList:
				serials = append(serials, a.Serial)
				r.state.WriteListDone(a, "pl-1", Result{}, r.now)
			case ReadLists:
				r.readsLists()
			case Write:
				routed = routed || a.Destination == To(cidr("100.64.0.0/16"))
				r.done(a, Done)
			case Read:
				r.readsTables(r.written())
			}
		}
		if len(actions) == 0 {
			r.now = r.state.Wake()
		}
	}
	if !slices.Equal(serials, []int{0, 1, 2}) {
		t.Errorf("asked for %v", serials)
	}
	if !routed {
		t.Error("no route carries the network")
	}
}

// Of a list whose making was not acknowledged the same one is asked for again.
func TestListIsAskedForAgain(t *testing.T) {
	r := leaderWithoutList(t)
	var serials []int
	for range 20 {
		for _, a := range r.actions() {
			switch a := a.(type) {
			case WriteList:
				serials = append(serials, a.Serial)
				r.state.WriteListDone(a, "", Result{Outcome: Unknown, Detail: "no answer"}, r.now)
			case ReadLists:
				r.readsLists()
			}
		}
		r.wait(time.Second)
	}
	if len(serials) < 2 || slices.Max(serials) != 0 {
		t.Errorf("asked for %v", serials)
	}
}
