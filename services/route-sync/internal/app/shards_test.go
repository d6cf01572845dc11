package app_test

import (
	"maps"
	"strings"
	"testing"

	routesv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/routes/v1"
	"github.com/hybridgateway/gateway/services/route-sync/internal/config"
	"github.com/hybridgateway/gateway/services/route-sync/internal/plan"
	"github.com/hybridgateway/gateway/tools/ec2standin"
)

// targetsOf counts what the routes of a table to the pod networks point to.
func (r *rig) targetsOf(table string) map[string]int {
	counts := map[string]int{}
	t, _ := r.ec2.Snapshot().Table(table)
	for _, p := range r.config.PodCIDRs {
		if route, there := t.Route(p.Prefix); there {
			counts[route.Target.ID]++
		}
	}
	return counts
}

func (r *rig) convergedIn(shard string) uint64 {
	return r.items.get("convergence/" + shard).GetConvergence().GetEpoch()
}

// newShardsRig makes two shards of two tables each, both led by another gateway.
func newShardsRig(t *testing.T) *rig {
	r := newRig(t, 4, 2)
	r.config.RouteTables = []config.RouteTable{"a=rtb-0", "b=rtb-1", "a=rtb-2", "b=rtb-3"}
	r.startElection()
	r.leadShard(t.Context(), "a", 1, "eni-b", 0)
	r.leadShard(t.Context(), "b", 1, "eni-b", 0)
	r.election.log.MarkSynced()
	r.startApp()
	r.await("the service is ready", r.ready)
	r.await("it was told who leads", func() bool { return r.election.told.Load() >= 4 })
	return r
}

// A gateway that leads one of two shards moves the tables of that one, and leaves the others to who leads them.
func TestShardsMoveTheirOwnTables(t *testing.T) {
	r := newShardsRig(t)
	r.leadShard(t.Context(), "a", 2, "eni-a", hour)
	r.await("a has converged", func() bool { return r.convergedIn("a") == 2 })
	for table, target := range map[string]string{"rtb-0": "eni-a", "rtb-1": "eni-b", "rtb-2": "eni-a", "rtb-3": "eni-b"} {
		if got := r.targetsOf(table); !maps.Equal(got, map[string]int{target: 2}) {
			t.Errorf("%s leads to %v, want %s", table, got, target)
		}
	}
	if route := r.items.get("route/rtb-0/100.64.0.0/24").GetRoute(); route.GetShard() != "a" || route.GetEpoch() != 2 {
		t.Errorf("told %v", route)
	}
	// The other gateway dies.
	r.leadShard(t.Context(), "b", 5, "eni-a", hour)
	r.await("b has converged", func() bool { return r.convergedIn("b") == 5 })
	// It comes back, and gets its shard back. Its route-sync is not there to move the routes.
	r.leadShard(t.Context(), "b", 7, "eni-b", 0)
	r.await("b is given up", func() bool { return r.convergedIn("b") == 0 })
	r.must(r.ec2.SetRoute("rtb-1", r.config.PodCIDRs[0].Prefix, ec2standin.ToENI("eni-b")))
	r.must(r.ec2.SetRoute("rtb-0", r.config.PodCIDRs[0].Prefix, ec2standin.ToENI("eni-b")))
	r.await("drift is repaired in a", func() bool { return maps.Equal(r.targetsOf("rtb-0"), map[string]int{"eni-a": 2}) })
	if got := r.targetsOf("rtb-1"); got["eni-b"] != 1 {
		t.Errorf("a table of the other's shard leads to %v", got)
	}
}

// The service is not ready before the tables of all shards have been read.
func TestAShardWithoutTablesHoldsReadinessUp(t *testing.T) {
	r := newRig(t, 2, 1)
	r.config.RouteTables = []config.RouteTable{"a=rtb-0", "b=rtb-1"}
	r.ec2.SetFaults(ec2standin.Faults{ErrorRate: 1, ErrorActions: []string{plan.DescribeRouteTables}, ErrorCode: "InternalError"})
	r.startElection()
	r.election.log.MarkSynced()
	r.startApp()
	r.await("the reason is told", func() bool {
		code, body := r.get("/readyz")
		return code == 503 && strings.Contains(body, "the route tables have not been read yet")
	})
	r.ec2.SetFaults(ec2standin.Faults{})
	r.await("the service is ready", r.ready)
}

// Operators' requests reach the shards that they are about.
func TestShardsAndOperators(t *testing.T) {
	r := newShardsRig(t)
	r.must(r.ec2.SetRoute("rtb-3", r.config.PodCIDRs[1].Prefix, transit))
	r.await("it was read", func() bool {
		return r.items.get("route/rtb-3/"+r.config.PodCIDRs[1].String()).GetRoute().GetTarget() == "tgw-1"
	})
	r.leadShard(t.Context(), "b", 2, "eni-a", hour)
	r.await("b has converged but for the conflict", func() bool {
		return r.convergedIn("b") == 2 && r.items.count(routesv1.State_STATE_CONFLICT) == 1
	})
	_, err := r.client().Adopt(t.Context(), &routesv1.AdoptRequest{TableId: "rtb-3", Destination: r.config.PodCIDRs[1].String()})
	r.must(err)
	r.await("it is adopted", func() bool { return maps.Equal(r.targetsOf("rtb-3"), map[string]int{"eni-a": 2}) })
	// It does not lead the shard of this one.
	if _, err := r.client().Adopt(t.Context(), &routesv1.AdoptRequest{TableId: "rtb-0", Destination: r.config.PodCIDRs[1].String()}); err == nil {
		t.Error("a route of a shard that another gateway leads was adopted")
	}
	policy, err := r.client().Policy(t.Context(), &routesv1.PolicyRequest{})
	r.must(err)
	for _, table := range []string{"rtb-0", "rtb-1", "rtb-2", "rtb-3"} {
		if !strings.Contains(policy.GetDocument(), "route-table/"+table+`"`) {
			t.Errorf("the policy does not name %s:\n%s", table, policy.GetDocument())
		}
	}
	purged, err := r.client().Purge(t.Context(), &routesv1.PurgeRequest{})
	r.must(err)
	if !purged.GetLed() || len(purged.GetLeft()) != 0 || len(r.targetsOf("rtb-1")) != 0 || r.targetsOf("rtb-0")["eni-b"] != 2 {
		t.Errorf("purged %v; routes to %v", purged, r.targets())
	}
}
