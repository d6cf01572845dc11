package registry

import (
	"slices"
	"testing"
)

// A restart changes nothing of who holds what, as long as the holders still claim it.
func TestRemember(t *testing.T) {
	before := New(scope)
	before.Reset(CiliumNode, []Node{object("young", 9, "192.168.1.1", "100.64.1.0/24"), object("left", 3, "192.168.1.3", "100.64.3.0/24")})
	printer := object("registered/printer", 7, "192.168.1.7", "100.64.7.0/24")
	printer.Source = Registered
	before.Apply(up(printer, object("old", 1, "192.168.1.2", "100.64.1.0/24"))...)

	r := New(scope)
	wantChanges(t, r.Remember(before.Held()),
		"stale admitted left 192.168.1.3 100.64.3.0/24",
		"stale admitted registered/printer 192.168.1.7 100.64.7.0/24",
		"stale admitted young 192.168.1.1 100.64.1.0/24")
	if r.Stale() != 3 || r.Admitted() != 3 {
		t.Errorf("%d stale, %d admitted", r.Stale(), r.Admitted())
	}
	wantChanges(t, r.Reset(CiliumNode, []Node{object("old", 1, "192.168.1.2", "100.64.1.0/24"), object("young", 9, "192.168.1.1", "100.64.1.0/24")}),
		"delete left",
		"quarantined old 192.168.1.2 100.64.1.0/24: the pod network 100.64.1.0/24 overlaps one that is held by node young",
		"admitted young 192.168.1.1 100.64.1.0/24")
	wantChanges(t, r.Reset(Registered, []Node{printer}), "admitted registered/printer 192.168.1.7 100.64.7.0/24")
	if r.Stale() != 0 {
		t.Errorf("%d are stale", r.Stale())
	}
	wantChanges(t, r.Reset(Registered, nil), "delete registered/printer")
}

// What is remembered is judged by the networks of today.
func TestRememberUnderOtherNetworks(t *testing.T) {
	before := New(scope)
	before.Reset(CiliumNode, []Node{object("a", 1, "192.168.1.1", "100.64.1.0/24", "172.20.1.0/24"), object("b", 2, "192.168.1.2", "100.64.2.0/24")})
	narrow := scope
	narrow.Pods = prefixes("172.20.0.0/16")
	wantChanges(t, New(narrow).Remember(before.Held()),
		"stale quarantined b 192.168.1.2 100.64.2.0/24: the pod network 100.64.2.0/24 is not inside the pod networks 172.20.0.0/16",
		"stale admitted a 192.168.1.1 172.20.1.0/24: the pod network 100.64.1.0/24 is not inside the pod networks 172.20.0.0/16")
}

// Whatever happened before, a life that remembers and then lists grants to all who held
// something what they had.
func TestRememberAfterRandomWalks(t *testing.T) {
	for seed := range uint64(300) {
		w := newWalker(seed)
		r, view := New(scope), map[string]VTEP{}
		for range 30 {
			follow(view, r.Apply(w.batch()...))
		}
		again, seen := New(scope), map[string]VTEP{}
		follow(seen, again.Remember(r.Held()))
		follow(seen, again.Reset(CiliumNode, w.all()))
		for name, v := range view {
			if now := seen[name]; now.Stale || now.Admitted != v.Admitted || now.Address != v.Address || !slices.Equal(now.PodCIDRs, v.PodCIDRs) {
				t.Fatalf("seed %d: before %v, after the restart %v", seed, v, now)
			}
		}
	}
}
