package app_test

import (
	"testing"

	leadershipv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/leadership/v1"
	routesv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/routes/v1"
)

// Both gateways are told to stop at once: one of them says that it is the last while it leads, and ends when its routes are removed.
func TestLastGateway(t *testing.T) {
	for name, first := range map[string]int{"the leader first": 0, "the standby first": 1} {
		t.Run(name, func(t *testing.T) {
			_, kubeconfig, _ := fresh(t)
			gateways := [2]*gateway{newGateway(t, 1, kubeconfig), newGateway(t, 2, kubeconfig)}
			introduce(t, gateways[0], gateways[1])
			var elections [2]*running
			for i, g := range gateways {
				g.peers = append(g.peers, "--handover-timeout=50s")
				g.serve()
				elections[i] = g.start()
				g.untilRole([]leadershipv1.Role{active, standby}[i])
			}
			gateways[0].untilConverged(1)
			gateways[0].untilSeen(gateways[1])

			elections[first].stop()
			elections[1-first].stop()
			ended := make(chan int, 2)
			for i, e := range elections {
				go func() {
					<-e.ended
					ended <- i
				}()
			}
			// The leader may have given the record to the standby, and that may have taken it, before it was told to stop, too.
			gone := <-ended
			last := gateways[1-gone]
			l := last.until("the last", func(l *leadershipv1.Leadership) bool {
				return l.GetDeparture() == leadershipv1.Departure_DEPARTURE_LAST
			})
			if l.GetRole() != active || l.GetValidUntilBoottime() == 0 {
				t.Errorf("the last gateway has %v", l)
			}
			last.routes.Set(t.Context(), "convergence/default", &routesv1.WatchResponse{Item: &routesv1.WatchResponse_Convergence{
				Convergence: &routesv1.Convergence{Shard: "default", Epoch: l.GetEpoch(), Removed: true},
			}})
			elections[1-gone].wait(t)
		})
	}
}
