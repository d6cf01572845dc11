package plan

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"testing"

	"github.com/hybridgateway/gateway/libs/netaddr"
)

// sameState compares what the tunnel consists of; list order and empty maps do not matter.
func sameState(t *testing.T, what string, got, want Actual) {
	t.Helper()
	norm := func(a Actual) Actual {
		if len(a.FDB) == 0 {
			a.FDB = nil
		}
		if len(a.Neighbours) == 0 {
			a.Neighbours = nil
		}
		return a
	}
	if g, w := norm(got), norm(want); !reflect.DeepEqual(g, w) {
		t.Errorf("%s:\n got %+v\nwant %+v", what, g, w)
	}
}

// walker makes random events over a small set of nodes, addresses and networks, so that they collide often.
type walker struct {
	*rand.Rand
	vteps   map[string]VTEP
	tangled bool // many nodes lie in the pod networks of others
}

func (w *walker) list() []VTEP { return slices.Collect(maps.Values(w.vteps)) }

func (w *walker) addr() string {
	if w.tangled && w.IntN(2) == 0 {
		return fmt.Sprintf("100.64.%d.%d", w.IntN(3), 5+w.IntN(3))
	}
	if w.IntN(20) == 0 {
		return []string{"224.0.0.1", "10.0.1.10", "100.64.3.5", "fd00::1"}[w.IntN(4)]
	}
	return fmt.Sprintf("192.168.1.%d", 10+w.IntN(8))
}

func (w *walker) cidr() string {
	if w.tangled && w.IntN(2) == 0 {
		return []string{"100.64.0.0/23", "100.64.0.0/24", "100.64.1.0/24", "100.64.1.4/30", "100.64.2.0/24"}[w.IntN(5)]
	}
	if w.IntN(20) == 0 {
		return []string{"0.0.0.0/0", "192.168.0.0/16", "10.0.1.0/25", "fd00::/64", "100.64.0.0/16"}[w.IntN(5)]
	}
	return fmt.Sprintf("100.64.%d.0/24", w.IntN(8))
}

func (w *walker) step() {
	names := []string{"a", "b", "c", "d", "e", "f"}
	name := names[w.IntN(len(names))]
	switch w.IntN(5) {
	case 0:
		delete(w.vteps, name)
	case 1: // swap two
		other := names[w.IntN(len(names))]
		x, y := w.vteps[name], w.vteps[other]
		if x.Node != "" && y.Node != "" && name != other {
			x.Underlay, y.Underlay = y.Underlay, x.Underlay
			w.vteps[name], w.vteps[other] = x, y
		}
	default:
		v := vtep(name, w.addr())
		for range w.IntN(3) {
			v.PodCIDRs = append(v.PodCIDRs, netip.MustParsePrefix(w.cidr()))
		}
		w.vteps[name] = v
	}
}

// disturb does what other hands may do to our entries.
func (w *walker) disturb(a *Actual) {
	switch w.IntN(8) {
	case 0:
		clear(a.Neighbours)
	case 1:
		for mac := range a.FDB {
			delete(a.FDB, mac)
			break
		}
	case 2:
		a.dropRoutes(device.Name)
	case 3:
		put(&a.FDB, netaddr.VTEPMAC(netip.MustParseAddr("192.168.1.12")), []FDBEntry{{Remote: netip.MustParseAddr("192.168.9.9")}})
	case 4:
		a.Link.MTU, a.Link.Up = 1500, false
	case 5:
		a.Link.VNI = 9
	}
}

// TestRandomWalk: any sequence of events, with other hands in between, ends in the state that a fresh start ends
// in; and at no point in a plan is a network that was and stays routed without a route, or a route without its
// neighbour and FDB entry.
func TestRandomWalk(t *testing.T) { inEachMode(t, randomWalk) }

func randomWalk(t *testing.T, in func(d Desired) Desired) {
	for seed := range uint64(300) {
		w := &walker{Rand: rand.New(rand.NewPCG(seed, 1)), vteps: map[string]VTEP{}}
		a := programmedAs(in(desired()))
		for range 40 {
			w.step()
			disturbed := w.IntN(6) == 0
			if disturbed {
				w.disturb(&a)
			}
			target := Compile(in(desired(w.list()...)))
			before := a.Clone()
			for _, op := range target.Plan(a).Ops {
				a.Apply(op)
				if !disturbed {
					checkStep(t, op, before, a, target)
				}
			}
			if left := target.Plan(a).Ops; len(left) > 0 {
				t.Fatalf("seed %d: a second plan has ops: %v", seed, lines(left))
			}
		}
		sameState(t, fmt.Sprintf("seed %d: not as after a fresh start", seed), a, programmedAs(in(desired(w.list()...))))
		if t.Failed() {
			return
		}
	}
}

func checkStep(t *testing.T, op Op, before, now Actual, target *Target) {
	t.Helper()
	for dst := range before.Routes {
		if _, wanted := target.routes[dst]; wanted && len(now.Routes[dst]) == 0 {
			if _, clash := overlapping(underlayNetworks(now), dst); !clash {
				t.Fatalf("after %q: %s has no route", op, dst)
			}
		}
	}
	for _, routes := range now.Routes {
		for _, r := range routes {
			if !r.Ours() {
				continue
			}
			n, there := now.Neighbours[r.Via]
			if !there || r.Encap.Remote != r.Via && len(now.FDB[n.MAC]) == 0 {
				t.Fatalf("after %q: the route %q leads nowhere", op, r)
			}
		}
	}
}

// TestIncompleteNeverRemoves: before the snapshot is whole no plan has a removal in it.
func TestIncompleteNeverRemoves(t *testing.T) { inEachMode(t, incompleteNeverRemoves) }

func incompleteNeverRemoves(t *testing.T, in func(d Desired) Desired) {
	for seed := range uint64(200) {
		w := &walker{Rand: rand.New(rand.NewPCG(seed, 2)), vteps: map[string]VTEP{}}
		for range 20 {
			w.step()
		}
		a := programmedAs(in(desired(w.list()...)))
		for range 10 {
			w.step()
		}
		d := in(desired(w.list()...))
		d.Complete = false
		for _, op := range Plan(d, a).Ops {
			switch op.(type) {
			case DeleteFDB, DeleteNeighbour, DeleteRoute, DeleteDevice, Expel:
				t.Fatalf("seed %d: %q", seed, op)
			}
		}
	}
}

func BenchmarkPlanOneOf10000(b *testing.B) {
	vteps := make([]VTEP, 10000)
	for i := range vteps {
		vteps[i] = vtep(fmt.Sprintf("node-%d", i), fmt.Sprintf("192.168.%d.%d", i/250, 1+i%250), fmt.Sprintf("100.%d.%d.0/24", 64+i/250, i%250))
	}
	l := NewLedger(desired(vteps...))
	l.See(programmed(vteps...))
	l.Applied(l.Plan().Ops)
	one := vtep("one-more", "172.16.0.1", "100.127.0.0/24")
	for b.Loop() {
		l.Put(one)
		come := l.Plan().Ops
		l.Applied(come)
		l.Drop(one.Node)
		gone := l.Plan().Ops
		l.Applied(gone)
		if len(come) != 3 || len(gone) != 3 {
			b.Fatal(lines(come), lines(gone))
		}
	}
}
