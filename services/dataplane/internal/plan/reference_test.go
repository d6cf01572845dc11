package plan

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"testing"

	"github.com/hybridgateway/gateway/libs/netaddr"
)

// reference is what a target should be, worked out from all VTEPs at once and in the plainest way: every network is held against every
// node.
type reference struct {
	fdb        map[MAC]netip.Addr
	neighbours map[netip.Addr]MAC
	routes     map[netip.Prefix]owner
	findings   map[string]bool
}

func refer(d Desired) reference {
	t := reference{fdb: map[MAC]netip.Addr{}, neighbours: map[netip.Addr]MAC{}, routes: map[netip.Prefix]owner{}, findings: map[string]bool{}}
	refuse := func(node string, cidr netip.Prefix, reason string) {
		t.findings[Finding{Kind: Refused, Node: node, PodCIDR: cidr, Reason: reason}.String()] = true
	}
	var good []VTEP
	for _, v := range slices.SortedFunc(slices.Values(d.VTEPs), func(a, b VTEP) int { return cmp.Compare(a.Node, b.Node) }) {
		if reason := d.unusableAddr(v.Underlay); reason != "" {
			refuse(v.Node, netip.Prefix{}, reason)
			continue
		}
		kept := VTEP{Node: v.Node, Underlay: v.Underlay}
		for _, cidr := range v.PodCIDRs {
			if reason := d.unusableCIDR(cidr); reason != "" {
				refuse(v.Node, cidr, reason)
			} else {
				kept.PodCIDRs = append(kept.PodCIDRs, cidr.Masked())
			}
		}
		good = append(good, kept)
	}
	verdicts, coveredBy := swallowing(good)
	for _, v := range good {
		if by, covered := coveredBy[v.Node]; covered {
			refuse(v.Node, netip.Prefix{}, "its underlay address "+v.Underlay.String()+" lies in the pod network "+by.cidr.String()+" of node "+by.node)
			continue
		}
		mac := netaddr.VTEPMAC(v.Underlay)
		t.neighbours[v.Underlay] = mac
		if !d.Device.Flow {
			t.fdb[mac] = v.Underlay
		}
		for _, cidr := range v.PodCIDRs {
			other, taken := t.routes[cidr]
			switch reason := verdicts[claim{v.Node, cidr}]; {
			case reason != "":
				refuse(v.Node, cidr, reason)
			case !taken:
				t.routes[cidr] = owner{node: v.Node, via: v.Underlay}
			case other.node != v.Node:
				refuse(v.Node, cidr, "node "+other.node+" has the same pod network")
			}
		}
	}
	return t
}

type claim struct {
	node string
	cidr netip.Prefix
}

// swallowing says of each claim why it is refused, and of each node in which claim it lies alone: the longest, the first by name.
func swallowing(vteps []VTEP) (verdicts map[claim]string, coveredBy map[string]claim) {
	verdicts, coveredBy = map[claim]string{}, map[string]claim{}
	for _, v := range vteps {
		for _, cidr := range v.PodCIDRs {
			var inside []VTEP
			addrs := map[netip.Addr]bool{}
			for _, other := range vteps {
				if cidr.Contains(other.Underlay) {
					inside = append(inside, other)
					addrs[other.Underlay] = true
				}
			}
			first := slices.MinFunc(append(inside, v), func(a, b VTEP) int {
				return cmp.Or(cmp.Compare(btoi(!cidr.Contains(a.Underlay)), btoi(!cidr.Contains(b.Underlay))), a.Underlay.Compare(b.Underlay), cmp.Compare(a.Node, b.Node))
			})
			switch {
			case cidr.Contains(v.Underlay):
				verdicts[claim{v.Node, cidr}] = "the pod network contains the node's own underlay address " + v.Underlay.String()
			case len(addrs) > 1:
				verdicts[claim{v.Node, cidr}] = fmt.Sprintf("the pod network contains the underlay addresses of %d nodes, the first is %s", len(inside), first.Node)
			default:
				for _, p := range inside {
					if by, covered := coveredBy[p.Node]; !covered || by.cidr.Bits() < cidr.Bits() {
						coveredBy[p.Node] = claim{v.Node, cidr}
					}
				}
			}
		}
	}
	return verdicts, coveredBy
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// checkTarget compares a target, however it came to be, with the reference.
func checkTarget(t *testing.T, what string, got *Target, want reference) {
	t.Helper()
	findings := map[string]bool{}
	for _, f := range got.findings() {
		findings[f.String()] = true
	}
	vias := map[netip.Addr]int{}
	for _, own := range want.routes {
		vias[own.via]++
	}
	for part, pair := range map[string][2]any{"fdb": {got.fdb, want.fdb}, "neighbours": {got.neighbours, want.neighbours}, "routes": {got.routes, want.routes},
		"findings": {findings, want.findings}, "vias": {got.vias, vias}} {
		if !reflect.DeepEqual(pair[0], pair[1]) {
			t.Errorf("%s: %s\n got %v\nwant %v", what, part, pair[0], pair[1])
		}
	}
}

// TestLedgerWalk: a ledger that learns of VTEPs one by one, while other hands and failures disturb the kernel, wants what the reference
// wants, plans what a comparison of everything would plan, and counts what is there.
func TestLedgerWalk(t *testing.T) { inEachMode(t, ledgerWalk) }

func ledgerWalk(t *testing.T, in func(d Desired) Desired) {
	for seed := range uint64(150) {
		w := &walker{Rand: rand.New(rand.NewPCG(seed, 4)), vteps: map[string]VTEP{}, tangled: seed%4 < 2}
		d := in(desired())
		d.Guard = seed%2 == 0
		l := NewLedger(d)
		l.See(bare())
		for step := range 40 {
			what := fmt.Sprintf("seed %d step %d", seed, step)
			l.walk(w)
			checkTarget(t, what, l.target, refer(in(desired(w.list()...))))
			full := d
			full.VTEPs, full.Complete = w.list(), l.target.desired.Complete
			want, got := Plan(full, l.Actual()), l.Plan()
			if !slices.Equal(lines(got.Ops), lines(want.Ops)) || !slices.Equal(lines(got.Findings), lines(want.Findings)) {
				t.Fatalf("%s: planned\n%v\n%v\nwant\n%v\n%v", what, lines(got.Ops), lines(got.Findings), lines(want.Ops), lines(want.Findings))
			}
			if len(got.Ops) > 0 && w.IntN(8) == 0 { // one fails, and the kernel is read again
				a := l.Actual().Clone()
				run(&a, slices.Delete(slices.Clone(got.Ops), 0, 1))
				l.See(a)
				continue
			}
			l.Applied(got.Ops)
			vteps, routes := l.Programmed()
			if v, r := programmedOf(l.target, l.Actual()); v != vteps || r != routes {
				t.Fatalf("%s: counts %d VTEPs and %d routes, want %d and %d", what, vteps, routes, v, r)
			}
		}
		if t.Failed() {
			return
		}
	}
}

// walk makes a few events and tells the ledger.
func (l *Ledger) walk(w *walker) {
	for range 1 + w.IntN(3) {
		before := maps.Clone(w.vteps)
		w.step()
		if w.IntN(12) == 0 {
			l.Replace(w.list())
			continue
		}
		for node := range before {
			if _, there := w.vteps[node]; !there {
				l.Drop(node)
			}
		}
		for _, v := range w.vteps {
			if !reflect.DeepEqual(before[v.Node], v) {
				l.Put(v)
			}
		}
	}
	l.SetComplete(w.IntN(6) > 0)
	if w.IntN(6) > 0 || l.Actual().Link == nil {
		return
	}
	a := l.Actual().Clone()
	w.disturb(&a)
	if dst := netip.MustParsePrefix("100.64.3.0/24"); w.IntN(2) == 0 {
		addRoute(&a, foreign(dst.String(), "10.0.1.1", "eth0", 50))
	} else {
		a.Routes[dst] = slices.DeleteFunc(slices.Clone(a.Routes[dst]), func(r Route) bool { return !r.Ours() })
	}
	l.See(a)
}

// programmedOf counts what of a target is there, one by one.
func programmedOf(t *Target, a Actual) (vteps, routes int) {
	for addr, mac := range t.neighbours {
		if a.Neighbours[addr].MAC == mac && (t.desired.Device.Flow || len(a.FDB[mac]) > 0) {
			vteps++
		}
	}
	for dst, own := range t.routes {
		if slices.Contains(a.Routes[dst], t.route(dst, own.via, a.Host)) {
			routes++
		}
	}
	return vteps, routes
}
