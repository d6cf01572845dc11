package kernel

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/hybridgateway/gateway/services/dataplane/internal/plan"
)

// TestPrivilegedRandomWalk: any sequence of VTEP events ends in the kernel state of a fresh start, and after every event the
// kernel is what the plan predicted.
func TestPrivilegedRandomWalk(t *testing.T) {
	for seed := range uint64(5) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 3))
			_, walked := gateway(t)
			vteps := map[string]plan.VTEP{}
			for range 40 {
				name := string(rune('a' + r.IntN(6)))
				if r.IntN(4) == 0 {
					delete(vteps, name)
				} else {
					v := vtep(name, fmt.Sprintf("192.168.1.%d", 10+r.IntN(6)))
					for range r.IntN(3) {
						v.PodCIDRs = append(v.PodCIDRs, vtep("", "0.0.0.0", fmt.Sprintf("100.64.%d.0/24", r.IntN(6))).PodCIDRs...)
					}
					vteps[name] = v
				}
				converge(t, walked, desired(list(vteps)...))
			}
			_, fresh := gateway(t)
			converge(t, fresh, desired(list(vteps)...))
			got, want := tunnel(dump(t, walked)), tunnel(dump(t, fresh))
			got.Guard.Lengths, want.Guard.Lengths = 0, 0 // lengths that were in use are kept
			if !reflect.DeepEqual(got, want) {
				t.Errorf("walked\n%+v\nfresh\n%+v", got, want)
			}
		})
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
