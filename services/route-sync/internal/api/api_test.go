package api

import (
	"net/netip"
	"testing"
	"time"

	leadershipv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/leadership/v1"
	routesv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/routes/v1"
	"github.com/hybridgateway/gateway/services/route-sync/internal/plan"
	"github.com/hybridgateway/gateway/services/route-sync/internal/syncer"
)

func TestDecode(t *testing.T) {
	holder := &leadershipv1.Gateway{EniId: "eni-1"}
	active := leadershipv1.Role_ROLE_ACTIVE
	for _, c := range []struct {
		name string
		m    *leadershipv1.Leadership
		want plan.Leadership
		bad  bool
	}{
		{"active", &leadershipv1.Leadership{Shard: "default", Epoch: 3, Role: active, ValidUntilBoottime: 5e9, Holder: holder},
			plan.Leadership{Shard: "default", Epoch: 3, Active: true, ValidUntil: 5 * time.Second, Holder: "eni-1"}, false},
		{"active without validity", &leadershipv1.Leadership{Shard: "default", Epoch: 3, Role: active},
			plan.Leadership{Shard: "default", Epoch: 3, Active: true}, false},
		{"the last", &leadershipv1.Leadership{Shard: "default", Epoch: 3, Role: active, ValidUntilBoottime: 5e9, Departure: leadershipv1.Departure_DEPARTURE_LAST},
			plan.Leadership{Shard: "default", Epoch: 3, Active: true, ValidUntil: 5 * time.Second, Departure: plan.Last}, false},
		{"leaving", &leadershipv1.Leadership{Shard: "default", Epoch: 3, Departure: leadershipv1.Departure_DEPARTURE_LEAVING},
			plan.Leadership{Shard: "default", Epoch: 3, Departure: plan.Leaving}, false},
		{"standby with a validity all the same", &leadershipv1.Leadership{Shard: "default", Epoch: 3, Role: leadershipv1.Role_ROLE_STANDBY, ValidUntilBoottime: 5e9, HolderConverged: true},
			plan.Leadership{Shard: "default", Epoch: 3, Converged: true}, false},
		{"a role of the future", &leadershipv1.Leadership{Shard: "default", Epoch: 3, Role: 99}, plan.Leadership{Shard: "default", Epoch: 3}, false},
		{"nothing", nil, plan.Leadership{}, true},
		{"another shard's key", &leadershipv1.Leadership{Shard: "zone-b", Role: active}, plan.Leadership{}, true},
		{"an absurd interface", &leadershipv1.Leadership{Shard: "default", Role: active, Holder: &leadershipv1.Gateway{EniId: "igw-1"}}, plan.Leadership{}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := decode("default", c.m)
			if (err != nil) != c.bad || err == nil && got != c.want {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
}

func TestEncode(t *testing.T) {
	var m routesv1.WatchResponse
	encode(&m, syncer.Interface{ID: "eni-1", Region: "us-west-2", Zone: "us-west-2a", Check: plan.CheckOn, Problem: "it is on"})
	if i := m.GetInterface(); i.GetEniId() != "eni-1" || i.GetRegion() != "us-west-2" || i.GetZone() != "us-west-2a" ||
		i.GetSourceDestCheck() != routesv1.SourceDestCheck_SOURCE_DEST_CHECK_ON || i.GetProblem() != "it is on" {
		t.Errorf("got %v", i)
	}
	encode(&m, syncer.Convergence{Shard: "default", Epoch: 4})
	if c := m.GetConvergence(); c.GetShard() != "default" || c.GetEpoch() != 4 {
		t.Errorf("got %v", c)
	}
	encode(&m, syncer.Permission{Action: "ec2:ReplaceRoute", Resource: "arn"})
	if p := m.GetPermission(); p.GetAction() != "ec2:ReplaceRoute" || p.GetResource() != "arn" {
		t.Errorf("got %v", p)
	}
	for condition, want := range map[plan.Condition]routesv1.State{
		plan.Unowned: routesv1.State_STATE_UNOWNED, plan.InSync: routesv1.State_STATE_IN_SYNC, plan.Pending: routesv1.State_STATE_PENDING,
		plan.Conflict: routesv1.State_STATE_CONFLICT, plan.Errored: routesv1.State_STATE_ERROR,
	} {
		encode(&m, syncer.Route{Shard: "default", Status: plan.Status{
			Key:    plan.Key{Table: "rtb-1", Destination: plan.To(netip.MustParsePrefix("100.64.0.0/16"))},
			Target: "eni-1", Condition: condition, Detail: "why", Epoch: 4,
		}})
		r := m.GetRoute()
		if r.GetTableId() != "rtb-1" || r.GetDestination() != "100.64.0.0/16" || r.GetTarget() != "eni-1" || r.GetState() != want ||
			r.GetDetail() != "why" || r.GetEpoch() != 4 || r.GetShard() != "default" {
			t.Errorf("got %v", r)
		}
	}
}
