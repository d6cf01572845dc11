package registry

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"
	"time"
)

// walker makes random events over few names, addresses and networks, so that they
// collide often.
type walker struct {
	*rand.Rand
	objects map[string]Node
	age     int
}

func newWalker(seed uint64) *walker {
	return &walker{Rand: rand.New(rand.NewPCG(seed, 0)), objects: map[string]Node{}}
}

func (w *walker) all() []Node { return slices.Collect(maps.Values(w.objects)) }

func (w *walker) node(name string) Node {
	n := object(name, 0, fmt.Sprintf("192.168.1.%d", w.IntN(6)))
	switch w.IntN(12) {
	case 0:
		n.Address, n.Flaws = netip.Addr{}, []Refusal{{NotIPv4, "IPv6 only"}}
	case 1:
		n.Address = netip.MustParseAddr("203.0.113.7")
	}
	for range w.IntN(4) {
		p := netip.PrefixFrom(netip.AddrFrom4([4]byte{100, 64, byte(w.IntN(5)), byte(w.IntN(4) * 64)}), 22+w.IntN(5)).Masked()
		if w.IntN(15) == 0 {
			p = netip.MustParsePrefix([]string{"0.0.0.0/0", "10.0.0.0/8", "192.168.1.0/24", "203.0.113.0/24"}[w.IntN(4)])
		}
		n.PodCIDRs = append(n.PodCIDRs, p)
	}
	return n
}

func (w *walker) event() Event {
	name := string(rune('a' + w.IntN(7)))
	old, known := w.objects[name]
	if known && w.IntN(4) == 0 {
		delete(w.objects, name)
		return gone(name)
	}
	n := w.node(name)
	n.Created = old.Created
	if !known || w.IntN(10) == 0 { // a new object, or one re-created under the same name
		w.age++
		n.Created = time.Unix(int64(w.age/2), 0) // some are equally old
	}
	w.objects[name] = n
	return Event{Node: n}
}

func (w *walker) batch() []Event {
	if w.IntN(6) == 0 { // two swap something
		names := slices.Sorted(maps.Keys(w.objects))
		if len(names) >= 2 {
			x, y := w.objects[names[0]], w.objects[names[len(names)-1]]
			x.PodCIDRs, y.PodCIDRs = y.PodCIDRs, x.PodCIDRs
			x.Address, y.Address, x.Flaws, y.Flaws = y.Address, x.Address, y.Flaws, x.Flaws
			w.objects[x.Name], w.objects[y.Name] = x, y
			return up(x, y)
		}
	}
	events := make([]Event, 1+w.IntN(3))
	for i := range events {
		events[i] = w.event()
	}
	return events
}

func follow(view map[string]VTEP, changes []Change) {
	for _, c := range changes {
		if c.Deleted {
			delete(view, c.VTEP.Node)
		} else {
			view[c.VTEP.Node] = c.VTEP
		}
	}
}

// TestRandomWalk: after any sequence of events the followers' view is safe (no two nodes
// share anything, nothing is outside the scope), whole (nothing is refused that nobody
// holds), and nobody lost what it held and still claims. Where nothing is contested it is
// what a fresh start gives.
func TestRandomWalk(t *testing.T) {
	for seed := range uint64(500) {
		w := &walker{Rand: rand.New(rand.NewPCG(seed, 0)), objects: map[string]Node{}}
		r, view := New(scope), map[string]VTEP{}
		for range 60 {
			before := maps.Clone(view)
			batch := w.batch()
			var changes []Change
			if w.IntN(10) == 0 {
				changes = r.Reset(CiliumNode, slices.Collect(maps.Values(w.objects)))
			} else {
				changes = r.Apply(batch...)
			}
			follow(view, changes)
			checkView(t, r, view, w.objects)
			checkKept(t, before, view, batch)
			if again := r.Reset(CiliumNode, slices.Collect(maps.Values(w.objects))); len(again) > 0 && !onlyText(before, view, again) {
				t.Errorf("a resync changes %v", again)
			} else {
				follow(view, again)
			}
			if t.Failed() {
				t.Fatalf("seed %d, batch %v:\nbefore %v\nafter %v", seed, batch, before, view)
			}
		}
		fresh := map[string]VTEP{}
		follow(fresh, New(scope).Reset(CiliumNode, slices.Collect(maps.Values(w.objects))))
		for name, v := range view {
			if !contested(w.objects, name) && !v.equal(fresh[name]) {
				t.Fatalf("seed %d: walked to %v, a fresh start gives %v", seed, v, fresh[name])
			}
		}
	}
}

// onlyText allows a resync to name another holder in a refusal, no more.
func onlyText(_, view map[string]VTEP, changes []Change) bool {
	return !slices.ContainsFunc(changes, func(c Change) bool {
		old := view[c.VTEP.Node]
		return c.Deleted || old.Admitted != c.VTEP.Admitted || old.Address != c.VTEP.Address || !slices.Equal(old.PodCIDRs, c.VTEP.PodCIDRs)
	})
}

func checkView(t *testing.T, r *Registry, view map[string]VTEP, objects map[string]Node) {
	t.Helper()
	admitted := 0
	for name, o := range objects {
		v, told := view[name]
		if !told {
			t.Errorf("nothing is told of %s", name)
		}
		if v.Admitted {
			admitted++
		} else if len(v.Refusals) == 0 {
			t.Errorf("%s is quarantined for no reason", name)
		}
		c := scope.judge(o)
		address, addressFree := c.address, c.address.IsValid()
		for other, ov := range view {
			if other != name && ov.Admitted && ov.Address == address {
				addressFree = false
			}
		}
		var free []netip.Prefix
		for _, p := range c.cidrs {
			if !heldByOther(view, name, p) {
				free = append(free, p)
			}
		}
		if want := addressFree && len(free) > 0; v.Admitted != want {
			t.Errorf("%s: admitted is %v, want %v", name, v.Admitted, want)
		}
		if v.Admitted && (!slices.Equal(v.PodCIDRs, free) || v.Address != o.Address) {
			t.Errorf("%s has %v, of which %v is free", name, v, free)
		}
	}
	if len(view) != len(objects) || r.Admitted() != admitted {
		t.Errorf("%d items for %d objects; %d admitted of %d", len(view), len(objects), r.Admitted(), admitted)
	}
	counted := 0
	for _, v := range view {
		counted += len(v.Refusals)
	}
	for _, n := range r.Refused() {
		counted -= n
	}
	if counted != 0 {
		t.Errorf("refusals counted wrong by %d", counted)
	}
}

func heldByOther(view map[string]VTEP, name string, p netip.Prefix) bool {
	for other, v := range view {
		if other != name && v.Admitted && slices.ContainsFunc(v.PodCIDRs, p.Overlaps) {
			return true
		}
	}
	return false
}

// checkKept: a node that no event of the batch named has all that it had.
func checkKept(t *testing.T, before, after map[string]VTEP, batch []Event) {
	t.Helper()
	for name, old := range before {
		if !old.Admitted || slices.ContainsFunc(batch, func(e Event) bool { return e.Node.Name == name }) {
			continue
		}
		now := after[name]
		for _, p := range old.PodCIDRs {
			if !now.Admitted || now.Address != old.Address || !slices.Contains(now.PodCIDRs, p) {
				t.Errorf("%s lost %v through others: now %v", name, p, now)
			}
		}
	}
}

// contested tells whether any other object claims what the named one claims.
func contested(objects map[string]Node, name string) bool {
	mine := scope.judge(objects[name])
	for other, o := range objects {
		theirs := scope.judge(o)
		if other == name {
			continue
		}
		if theirs.address.IsValid() && theirs.address == mine.address {
			return true
		}
		for _, p := range mine.cidrs {
			if slices.ContainsFunc(theirs.cidrs, p.Overlaps) {
				return true
			}
		}
	}
	return false
}

// A start is the same whatever the order in which the list comes.
func TestStartIsDeterministic(t *testing.T) {
	for seed := range uint64(200) {
		w := &walker{Rand: rand.New(rand.NewPCG(seed, 3)), objects: map[string]Node{}}
		for range 20 {
			w.event()
		}
		nodes := slices.Collect(maps.Values(w.objects))
		w.Shuffle(len(nodes), func(i, j int) { nodes[i], nodes[j] = nodes[j], nodes[i] })
		first := lines(New(scope).Reset(CiliumNode, nodes))
		w.Shuffle(len(nodes), func(i, j int) { nodes[i], nodes[j] = nodes[j], nodes[i] })
		if again := lines(New(scope).Reset(CiliumNode, nodes)); again != first {
			t.Fatalf("seed %d:\n%s\nthen\n%s", seed, first, again)
		}
	}
}

func manyNodes(n int) []Node {
	nodes := make([]Node, n)
	for i := range nodes {
		nodes[i] = object(fmt.Sprintf("node-%d", i), i*7919%n, fmt.Sprintf("192.168.%d.%d", i/250, 1+i%250), fmt.Sprintf("100.%d.%d.0/24", 64+i/250, i%250))
	}
	return nodes
}

func BenchmarkStart10000(b *testing.B) {
	nodes := manyNodes(10000)
	for b.Loop() {
		if n := len(New(scope).Reset(CiliumNode, nodes)); n != 10000 {
			b.Fatal(n)
		}
	}
}

func BenchmarkOneOf10000(b *testing.B) {
	nodes := manyNodes(10000)
	r := New(scope)
	r.Reset(CiliumNode, nodes)
	for b.Loop() {
		if len(r.Apply(gone("node-77"))) != 1 || len(r.Apply(up(nodes[77])...)) != 1 {
			b.Fatal("no change")
		}
	}
}
