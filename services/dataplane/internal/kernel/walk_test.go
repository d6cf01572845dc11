package kernel

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/hybridgateway/gateway/services/dataplane/internal/plan"
)

// TestPrivilegedRandomWalk: any sequence of VTEP events, each programmed without reading the kernel again, ends in the kernel state of a
// fresh start; and after every event nothing is left to do, and the kernel is what the ledger takes it for.
func TestPrivilegedRandomWalk(t *testing.T) { inEachMode(t, randomWalk) }

func randomWalk(t *testing.T, in mode) {
	for seed := range uint64(5) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 3))
			_, walked := gateway(t)
			ledger := plan.NewLedger(in(desired()))
			ledger.See(dump(t, walked))
			vteps := map[string]plan.VTEP{}
			for range 40 {
				name := string(rune('a' + r.IntN(6)))
				if r.IntN(4) == 0 {
					delete(vteps, name)
					ledger.Drop(name)
				} else {
					v := vtep(name, fmt.Sprintf("192.168.1.%d", 10+r.IntN(6)))
					for range r.IntN(3) {
						v.PodCIDRs = append(v.PodCIDRs, vtep("", "0.0.0.0", fmt.Sprintf("100.64.%d.0/24", r.IntN(6))).PodCIDRs...)
					}
					vteps[name] = v
					ledger.Put(v)
				}
				follow(t, walked, ledger, in(desired(list(vteps)...)))
			}
			_, fresh := gateway(t)
			converge(t, fresh, in(desired(list(vteps)...)))
			got, want := tunnel(dump(t, walked)), tunnel(dump(t, fresh))
			got.Guard.Lengths, want.Guard.Lengths = 0, 0 // lengths that were in use are kept
			if !reflect.DeepEqual(got, want) {
				t.Errorf("walked\n%+v\nfresh\n%+v", got, want)
			}
		})
	}
}

// follow carries out a ledger's plan, which must be all that d needs.
func follow(t *testing.T, k *Kernel, l *plan.Ledger, d plan.Desired) {
	t.Helper()
	ops := l.Plan().Ops
	for _, f := range k.Apply(ops) {
		t.Errorf("apply: %v", f)
	}
	l.Applied(ops)
	after := dump(t, k)
	if left := plan.Plan(d, after).Ops; len(left) > 0 {
		t.Fatalf("left to do: %v", left)
	}
	if got, want := tunnel(l.Actual()), tunnel(after); !reflect.DeepEqual(got, want) {
		t.Fatalf("the ledger has\n%+v\nbut the kernel is\n%+v", got, want)
	}
}

func list(m map[string]plan.VTEP) []plan.VTEP {
	var out []plan.VTEP
	for _, v := range m {
		out = append(out, v)
	}
	slices.SortFunc(out, func(a, b plan.VTEP) int { return len(a.Node) - len(b.Node) })
	return out
}
