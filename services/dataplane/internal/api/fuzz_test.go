package api

import (
	"strings"
	"testing"

	vtepsv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/vteps/v1"
)

// Whatever the registry sends, what is taken has an address and networks.
func FuzzDecode(f *testing.F) {
	f.Add("node1", int32(vtepsv1.State_STATE_ADMITTED), "192.168.1.11", "100.64.1.0/24,100.65.1.0/24")
	f.Add("", int32(vtepsv1.State_STATE_QUARANTINED), "", "")
	f.Add("x", int32(7), "::1%lo", "10.0.0.0/33")
	f.Fuzz(func(t *testing.T, key string, state int32, ip, cidrs string) {
		item, err := decode(key, &vtepsv1.Vtep{Node: key, State: vtepsv1.State(state), Ip: ip, PodCidrs: strings.Split(cidrs, ",")})
		if err != nil || !item.Admitted {
			return
		}
		if !item.VTEP.Underlay.IsValid() || len(item.VTEP.PodCIDRs) == 0 {
			t.Errorf("taken: %+v", item)
		}
		for _, p := range item.VTEP.PodCIDRs {
			if !p.IsValid() {
				t.Errorf("taken: %+v", item)
			}
		}
	})
}
