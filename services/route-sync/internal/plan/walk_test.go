package plan

import (
	"cmp"
	"container/heap"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestRandomFaultSchedules runs three gateways against one EC2 through random faults: refused and throttled calls,
// lost replies, writes that take effect long after their caller gave up, stale reads, contradicting errors,
// operators who delete and change routes, stalls between decision and call, restarts, also with the other kind of
// destination, and changes of leadership at any moment. After every schedule all traffic must lead to the newest
// epoch's gateway, and no foreign route, nor another installation's, may have been touched; and no leader may ever delete a route that traffic
// needs. A failing schedule is run again with WALK_SEED.
func TestRandomFaultSchedules(t *testing.T) {
	const workers = 4
	schedules := uint64(10_000)
	switch {
	case testing.Short():
		schedules = 100
	case raced:
		schedules = 500
	}
	if text := os.Getenv("WALK_SEED"); text != "" {
		seed, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		schedule(t, seed)
		return
	}
	for worker := range uint64(workers) {
		t.Run(fmt.Sprint(worker), func(t *testing.T) {
			t.Parallel()
			for seed := worker; seed < schedules; seed += workers {
				schedule(t, seed)
			}
		})
	}
}

func schedule(t *testing.T, seed uint64) {
	t.Helper()
	w := newWorld(seed)
	if w.run(); w.failure == "" {
		return
	}
	again := newWorld(seed)
	again.noting = true
	again.run()
	t.Fatalf("seed %d: %s\n%s", seed, w.failure, strings.Join(again.log, "\n"))
}

const (
	walkTables, walkDestinations = 3, 3
	turmoil                      = 90 * time.Second // how long there are faults
	quiet                        = 75 * time.Second // how long there are none before all must be well
	stalest                      = 3 * time.Second  // how old a read may be
	knownAfter                   = 60 * time.Second // a foreign route that stands so long has been seen by everybody
)

type world struct {
	random  *rand.Rand
	now     time.Duration
	events  events
	serial  int
	noting  bool // costs more than all the rest
	log     []string
	failure string

	routes  map[Key]Route
	lists   map[string]PrefixList
	foreign map[Key]time.Duration // since when the route is foreign
	past    []snapshot
	// muddled is when something last changed that the leader did not do.
	muddled time.Duration
	made    int // lists

	gateways []*gateway
	epoch    uint64
	holder   int
	freeAt   time.Duration // when the last validity handed out ends
}

type snapshot struct {
	at     time.Duration
	routes map[Key]Route
	lists  map[string]PrefixList
}

type gateway struct {
	w     *world
	eni   string
	lists Lists
	state *State
	// life counts restarts: what a dead process began ends nowhere.
	life     int
	inFlight map[Key]func()
}

type event struct {
	at time.Duration
	n  int
	do func()
}

type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return cmp.Or(cmp.Compare(e[i].at, e[j].at), cmp.Compare(e[i].n, e[j].n)) < 0
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	last := (*e)[len(*e)-1]
	*e = (*e)[:len(*e)-1]
	return last
}

func newWorld(seed uint64) *world {
	w := &world{
		random: rand.New(rand.NewPCG(seed, 2)), now: time.Hour,
		routes: map[Key]Route{}, foreign: map[Key]time.Duration{}, lists: map[string]PrefixList{},
	}
	given := PrefixList{ID: "pl-given", Version: 1, Max: walkDestinations}
	for _, k := range w.keys()[:walkDestinations] {
		given.Entries = append(given.Entries, k.Destination.CIDR)
	}
	w.lists[given.ID] = given
	w.lists["pl-others"] = PrefixList{
		ID: "pl-others", Name: "others-ipv4", Version: 1, Max: 1, Tagged: true, Entries: []netip.Prefix{netip.MustParsePrefix("172.20.0.0/16")},
	}
	for t := range walkTables {
		w.routes[Key{fmt.Sprintf("rtb-%d", t), ToList("pl-others")}] = to("eni-others")
	}
	for _, k := range append(w.keys(), w.sideKeys()...) {
		switch w.random.IntN(8) {
		case 0:
			w.routes[k] = w.alien()
			w.foreign[k] = 0
		case 1, 2, 3:
			w.routes[k] = to(fmt.Sprintf("eni-%d", w.random.IntN(3)))
		}
	}
	w.remember()
	for i := range 3 {
		g := &gateway{w: w, eni: fmt.Sprintf("eni-%d", i)}
		g.start()
		w.gateways = append(w.gateways, g)
	}
	return w
}

func (w *world) keys() []Key {
	var keys []Key
	for t := range walkTables {
		for d := range walkDestinations {
			keys = append(keys, Key{fmt.Sprintf("rtb-%d", t), To(netip.PrefixFrom(netip.AddrFrom4([4]byte{100, byte(64 + d), 0, 0}), 16))})
		}
	}
	return keys
}

// sideKeys are those of routes that take the same traffic in other ways.
func (w *world) sideKeys() []Key {
	var keys []Key
	for t := range walkTables {
		table := fmt.Sprintf("rtb-%d", t)
		keys = append(keys, Key{table, ToList("pl-given")}, Key{table, To(netip.MustParsePrefix("100.64.7.0/24"))})
	}
	return keys
}

func (w *world) alien() Route {
	return []Route{
		{Kind: Other, Target: "tgw-1"},
		{Kind: Interface, Target: "eni-alien"},
		{Kind: Interface, Target: "eni-alien", Blackhole: true},
		{Kind: Other, Target: "vgw-1", Blackhole: true},
	}[w.random.IntN(4)]
}

func (w *world) chance(percent int) bool { return w.turmoil() && w.random.IntN(100) < percent }
func (w *world) turmoil() bool           { return w.now < time.Hour+turmoil }

func (w *world) between(from, to time.Duration) time.Duration {
	return from + time.Duration(w.random.Int64N(int64(to-from)+1))
}

func (w *world) after(d time.Duration, do func()) {
	w.serial++
	heap.Push(&w.events, event{w.now + d, w.serial, do})
}

func (w *world) note(format string, args ...any) {
	if !w.noting {
		return
	}
	w.log = append(w.log, fmt.Sprintf("%8.3f ", (w.now-time.Hour).Seconds())+fmt.Sprintf(format, args...))
}

func (w *world) fail(format string, args ...any) {
	if w.failure == "" {
		w.failure = fmt.Sprintf(format, args...)
	}
}

func (w *world) run() {
	w.holder = -1
	w.after(w.between(0, 5*time.Second), w.elect)
	w.after(w.between(0, 20*time.Second), w.meddle)
	for w.failure == "" && len(w.events) > 0 {
		e := heap.Pop(&w.events).(event)
		if e.at > time.Hour+turmoil+quiet {
			break
		}
		w.now = e.at
		e.do()
	}
	w.check()
}

// check is what must be so in the end.
func (w *world) check() {
	g := w.gateways[w.holder]
	if got := g.state.Converged(); got != w.epoch {
		w.fail("eni-%d holds epoch %d and has converged under %d", w.holder, w.epoch, got)
	}
	for _, k := range w.keys() {
		_, alien := w.foreign[k]
		_, alienList := w.foreign[Key{k.Table, ToList("pl-given")}]
		switch target := w.leads(k); {
		case alien:
			if r := g.state.byKey[k]; r == nil || g.state.status(r).Condition != Conflict {
				w.fail("%s is foreign, and no conflict for the holder", k)
			}
		case target != g.eni && (!alienList || target != w.routes[Key{k.Table, ToList("pl-given")}].Target):
			w.fail("the traffic of %s leads to %q rather than to the holder %s", k, target, g.eni)
		case g.lists.used() && !alienList && w.routes[k].Kind != Absent:
			w.fail("%s is left over", k)
		}
	}
	for _, k := range w.sideKeys() {
		if _, alien := w.foreign[k]; !alien && w.routes[k].Kind != Absent && w.routes[k] != to(g.eni) {
			w.fail("%s still leads to %v", k, w.routes[k])
		}
	}
	for _, r := range g.state.routes[:g.state.wantedCount] {
		if _, alien := w.foreign[r.key]; !alien && g.state.status(r).Condition != InSync {
			w.fail("%s is %s", r.key, g.state.status(r).Condition)
		}
	}
}

// leads is where the traffic of a table to a destination goes.
func (w *world) leads(k Key) string {
	if r := w.routes[k]; r.Kind != Absent {
		return r.Target
	}
	for _, id := range slices.Sorted(maps.Keys(w.lists)) {
		if r := w.routes[Key{k.Table, ToList(id)}]; r.Kind != Absent && w.lists[id].covers(k.Destination.CIDR) {
			return r.Target
		}
	}
	return ""
}

// elect moves the record, as soon as the last holder's validity has ended or at once when it gave the record up.
func (w *world) elect() {
	if !w.turmoil() && w.holder >= 0 {
		return
	}
	w.after(w.between(100*time.Millisecond, 30*time.Second), w.elect)
	gaveUp := w.random.IntN(2) == 0
	if w.holder >= 0 && gaveUp {
		old := w.gateways[w.holder]
		old.state.Observe(Leadership{Shard: "default", Epoch: w.epoch}, w.now)
		old.step()
		w.freeAt = w.now
	}
	w.holder = -1 // nobody renews any more
	w.after(max(0, w.freeAt-w.now)+time.Millisecond, func() {
		w.epoch += 1 + uint64(w.random.IntN(2))
		w.holder = w.random.IntN(len(w.gateways))
		w.note("epoch %d is held by eni-%d", w.epoch, w.holder)
		w.renew(w.epoch)
	})
}

// renew tells everybody, some late, some never, who leads; again and again.
func (w *world) renew(epoch uint64) {
	if w.epoch != epoch || w.holder < 0 {
		return
	}
	until := w.now + 2*time.Second
	w.freeAt = until
	for i, g := range w.gateways {
		l := Leadership{Shard: "default", Epoch: epoch, Holder: w.gateways[w.holder].eni}
		if i == w.holder {
			l.Active, l.ValidUntil = true, until
		}
		if w.chance(20) {
			continue
		}
		w.after(w.between(0, 20*time.Millisecond), func() {
			if w.epoch == epoch && w.holder >= 0 { // a stream keeps the order
				g.state.Observe(l, w.now)
				g.step()
			}
		})
	}
	w.after(500*time.Millisecond, func() { w.renew(epoch) })
}

// meddle is an operator, or a crash.
func (w *world) meddle() {
	if !w.turmoil() {
		return
	}
	w.after(w.between(time.Second, 20*time.Second), w.meddle)
	keys := append(w.keys(), w.sideKeys()...)
	k := keys[w.random.IntN(len(keys))]
	_, alien := w.foreign[k]
	w.muddled = w.now
	switch w.random.IntN(5) {
	case 0:
		w.note("operator deletes %s", k)
		delete(w.foreign, k)
		w.set(k, Route{})
	case 1:
		if !alien {
			w.note("operator takes %s", k)
			w.foreign[k] = w.now
			w.set(k, w.alien())
		}
	case 2:
		if !alien {
			w.note("operator points %s to a gateway", k)
			w.set(k, to(fmt.Sprintf("eni-%d", w.random.IntN(3))))
		}
	default:
		g := w.gateways[w.random.IntN(len(w.gateways))]
		w.note("%s restarts", g.eni)
		g.start()
	}
}

func (w *world) set(k Key, r Route) {
	if r.Kind == Absent {
		delete(w.routes, k)
	} else {
		w.routes[k] = r
	}
	w.remember()
}

func (w *world) remember() {
	for len(w.past) > 1 && w.past[1].at <= w.now-stalest {
		w.past = w.past[1:]
	}
	w.past = append(w.past, snapshot{w.now, maps.Clone(w.routes), maps.Clone(w.lists)})
}

// seen is the world as a read tells it: as it is, or as it was.
func (w *world) seen() snapshot {
	when := w.now
	if w.chance(40) {
		when -= w.between(0, stalest)
	}
	for i := len(w.past) - 1; i > 0; i-- {
		if w.past[i].at <= when {
			return w.past[i]
		}
	}
	return w.past[0]
}

func (g *gateway) start() {
	g.life++
	g.inFlight = map[Key]func(){}
	c := Config{Shard: "default", Interface: g.eni, Interval: interval, Parallel: 4}
	for _, k := range g.w.keys() {
		if len(c.Tables) == 0 || c.Tables[len(c.Tables)-1] != k.Table {
			c.Tables = append(c.Tables, k.Table)
		}
		if len(c.Destinations) < walkDestinations {
			c.Destinations = append(c.Destinations, k.Destination.CIDR)
		}
	}
	switch g.w.random.IntN(4) {
	case 0:
		g.lists = Lists{IDs: []string{"pl-given"}}
	case 1:
		g.lists = Lists{Managed: "pods"}
	default:
		g.lists = Lists{}
	}
	c.Lists = g.lists
	if g.w.random.IntN(2) == 0 {
		c.Bucket = Bucket{Burst: 20, PerSecond: 5}
	}
	g.state = New(c)
	g.w.after(0, g.step)
}

// step does what the loop around the plan does.
func (g *gateway) step() {
	life := g.life
	actions := g.state.Next(g.w.now)
	for _, a := range actions {
		switch a := a.(type) {
		case Write:
			g.write(a)
		case Read:
			g.read(a)
		case Lookup:
			g.lookup(a)
		case ReadLists:
			g.readLists(a)
		case WriteList:
			g.writeList(a)
		case Inspect:
			g.later(g.w.between(5*time.Millisecond, 300*time.Millisecond), func() { g.state.InspectDone(a, true, false, Result{}, g.w.now) })
		case Cancel:
			for _, k := range slices.SortedFunc(maps.Keys(g.inFlight), func(a, b Key) int { return strings.Compare(a.String(), b.String()) }) {
				g.w.after(0, g.inFlight[k])
			}
		}
	}
	wake := g.state.Wake()
	if len(actions) == 0 && wake <= g.w.now {
		g.w.fail("%s has nothing to do and does not sleep", g.eni)
	}
	g.w.after(max(0, min(wake-g.w.now, time.Minute)), func() {
		if g.life == life && g.state.Wake() <= g.w.now {
			g.step()
		}
	})
}

// later ends a call, once, unless the process has died.
func (g *gateway) later(d time.Duration, end func()) {
	life := g.life
	g.w.after(d, func() {
		if g.life == life {
			end()
			g.step()
		}
	})
}

func (g *gateway) write(a Write) {
	ended := false
	finish := func(r Result) func() {
		return func() {
			if !ended {
				ended = true
				delete(g.inFlight, a.Key)
				g.w.note("%s %s: %s", g.eni, a, r.Outcome)
				g.state.WriteDone(a, r, g.w.now)
			}
		}
	}
	gone := Result{Outcome: Unknown, Detail: "abandoned"}
	life := g.life
	g.inFlight[a.Key] = func() {
		if g.life == life && !ended {
			finish(gone)()
			g.step()
		}
	}
	stall := g.w.between(0, 20*time.Millisecond)
	if g.w.chance(3) {
		stall = g.w.between(0, 4*time.Second)
	}
	g.w.after(stall, func() {
		if g.life != life || ended {
			return
		}
		if epoch, until := g.state.Validity(); epoch != a.Epoch || g.w.now >= until {
			g.later(0, finish(Result{Outcome: Fenced}))
			return
		}
		g.send(a, finish)
	})
}

// send is the call on its way to EC2.
func (g *gateway) send(a Write, finish func(Result) func()) {
	w := g.w
	if a.Epoch != w.epoch || w.gateways[max(w.holder, 0)] != g && w.holder >= 0 {
		w.fail("%s sends %s in epoch %d", g.eni, a, w.epoch)
	}
	latency := w.between(5*time.Millisecond, 300*time.Millisecond)
	unknown := Result{Outcome: Unknown, Detail: "no answer"}
	switch {
	case w.chance(8):
		outcomes := []Outcome{Throttled, Failed, Denied, Quota, Throttled, Throttled}
		g.later(latency, finish(Result{Outcome: outcomes[w.random.IntN(len(outcomes))], Detail: "injected"}))
	case w.chance(5): // the reply is lost
		w.after(latency, func() { w.apply(a) })
		g.later(2*time.Second, finish(unknown))
	case w.chance(5): // it takes effect after its caller gave up
		w.after(2*time.Second+w.between(0, time.Second), func() { w.apply(a) })
		g.later(2*time.Second, finish(unknown))
	case w.chance(3): // it never arrives
		g.later(2*time.Second, finish(unknown))
	case a.Verb == Replace && w.chance(5): // asked a server that does not know the route yet
		g.later(latency, finish(Result{Outcome: NoRoute}))
	default:
		life := g.life
		w.after(latency/2, func() {
			r := w.apply(a)
			if g.life == life {
				g.later(latency/2, finish(r))
			}
		})
	}
}

// apply is the effect of a write.
func (w *world) apply(a Write) Result {
	if a.Destination == ToList("pl-others") {
		w.fail("%s: the route is another installation's", a)
	}
	old, there := w.routes[a.Key]
	list, listed := w.lists[a.Destination.List]
	late := a.Epoch != w.epoch
	if late {
		w.muddled = w.now
	}
	switch {
	case a.Destination.List != "" && !listed:
		return Result{Outcome: NoList, Detail: "no such list"}
	case a.Verb == Create && there:
		return Result{Outcome: Exists}
	case a.Verb == Create && list.Creating:
		return Result{Outcome: Busy, Detail: "being created"}
	case a.Verb != Create && !there:
		return Result{Outcome: NoRoute}
	}
	if since, alien := w.foreign[a.Key]; alien {
		if w.now-since > knownAfter {
			w.fail("%s overwrites %v, which is foreign since %s", a, old, w.now-since)
		}
		delete(w.foreign, a.Key) // nobody could know yet
	}
	if a.Verb != Delete {
		w.set(a.Key, to(a.Interface))
		return Result{}
	}
	before := w.served(a.Table)
	w.set(a.Key, Route{})
	if after := w.served(a.Table); after < before && w.now-w.muddled > settling+interval && !late {
		w.fail("%s leaves %d destinations of %d without a route", a, before-after, before)
	}
	return Result{}
}

// served counts the destinations that a table has any route for.
func (w *world) served(table string) int {
	n := 0
	for _, k := range w.keys() {
		if k.Table == table && w.leads(k) != "" {
			n++
		}
	}
	return n
}

func (g *gateway) readLists(a ReadLists) {
	w := g.w
	latency := w.between(5*time.Millisecond, 300*time.Millisecond)
	if w.chance(10) {
		g.later(latency, func() { g.state.ReadListsDone(a, nil, Result{Outcome: Throttled, Detail: "injected"}, w.now) })
		return
	}
	life := g.life
	w.after(latency/2, func() {
		var lists []PrefixList
		known := w.seen().lists
		for _, id := range slices.Sorted(maps.Keys(known)) {
			l := known[id]
			if slices.Contains(a.IDs, l.ID) || l.Tagged && slices.Contains(a.Names, l.Name) {
				lists = append(lists, l)
			}
		}
		if g.life == life {
			g.later(latency/2, func() { g.state.ReadListsDone(a, lists, Result{}, w.now) })
		}
	})
}

func (g *gateway) writeList(a WriteList) {
	w := g.w
	latency := w.between(5*time.Millisecond, 300*time.Millisecond)
	done := func(id string, r Result) func() {
		return func() {
			w.note("%s %s: %s", g.eni, a, r.Outcome)
			g.state.WriteListDone(a, id, r, w.now)
		}
	}
	if epoch, until := g.state.Validity(); epoch != a.Epoch || w.now >= until {
		g.later(0, done("", Result{Outcome: Fenced}))
		return
	}
	switch {
	case w.chance(8):
		g.later(latency, done("", Result{Outcome: []Outcome{Throttled, Failed, Denied}[w.random.IntN(3)], Detail: "injected"}))
	case w.chance(8): // the reply is lost
		w.after(latency, func() { w.applyList(a) })
		g.later(2*time.Second, done("", Result{Outcome: Unknown, Detail: "no answer"}))
	default:
		life := g.life
		w.after(latency/2, func() {
			id, r := w.applyList(a)
			if g.life == life {
				g.later(latency/2, done(id, r))
			}
		})
	}
}

// applyList begins the effect of a WriteList, which comes after a while.
func (w *world) applyList(a WriteList) (string, Result) {
	list, there := w.lists[a.ID]
	id := a.ID
	effect := func(l *PrefixList) { l.Max = a.Max }
	switch {
	case a.Verb == CreateList:
		w.made++
		id = fmt.Sprintf("pl-made%d", w.made)
		list = PrefixList{ID: id, Name: a.Name, Max: a.Max, Tagged: true, Creating: true, Version: 1, Entries: slices.Clone(a.Add)}
		effect = func(l *PrefixList) { l.Creating = false }
	case !there:
		return id, Result{Outcome: NoList, Detail: "no such list"}
	case list.Busy || a.Verb == ModifyList && a.Version != list.Version:
		return id, Result{Outcome: Busy, Detail: "being changed"}
	case a.ID == "pl-given" || a.ID == "pl-others":
		w.fail("%s: the list is not the installation's own", a)
	case a.Verb == ModifyList:
		effect = func(l *PrefixList) {
			l.Version++
			l.Entries = slices.DeleteFunc(append(slices.Clone(l.Entries), a.Add...), func(p netip.Prefix) bool { return slices.Contains(a.Remove, p) })
		}
	case a.Verb == DeleteList:
		for k := range w.routes {
			if k.Destination.List == id {
				return id, Result{Outcome: Failed, Detail: "referenced by " + k.Table}
			}
		}
		delete(w.lists, id)
		w.remember()
		return id, Result{}
	}
	list.Busy = true
	w.lists[id] = list
	w.remember()
	w.after(w.between(10*time.Millisecond, 3*time.Second), func() {
		effect(&list)
		list.Busy = false
		w.lists[id] = list
		w.remember()
	})
	return id, Result{}
}

func (g *gateway) read(a Read) {
	w := g.w
	latency := w.between(5*time.Millisecond, 300*time.Millisecond)
	if w.chance(10) {
		g.later(latency, func() {
			g.state.ReadDone(a, ReadResult{Result: Result{Outcome: Throttled, Detail: "injected"}}, w.now)
		})
		return
	}
	life := g.life
	w.after(latency/2, func() {
		tables := map[string]Table{}
		for _, t := range a.Tables {
			tables[t] = Table{}
		}
		for k, r := range w.seen().routes {
			tables[k.Table][k.Destination] = r
		}
		if g.life == life {
			g.later(latency/2, func() { g.state.ReadDone(a, ReadResult{Tables: tables}, w.now) })
		}
	})
}

func (g *gateway) lookup(a Lookup) {
	owners := map[string]Owner{}
	for _, id := range a.Interfaces {
		owners[id] = Owner{Exists: true, Gateway: id != "eni-alien"}
	}
	result := Result{}
	if g.w.chance(10) {
		owners, result = nil, Result{Outcome: Failed, Detail: "injected"}
	}
	g.later(g.w.between(5*time.Millisecond, 300*time.Millisecond), func() { g.state.LookupDone(a, owners, result, g.w.now) })
}
