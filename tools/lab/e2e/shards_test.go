package e2e

import (
	"context"
	"testing"
	"time"

	"github.com/hybridgateway/gateway/tools/lab/internal/demo"
	"github.com/hybridgateway/gateway/tools/lab/internal/gateway"
	"github.com/hybridgateway/gateway/tools/lab/internal/lab"
	"github.com/hybridgateway/gateway/tools/lab/internal/probe"
)

// The lab of this test has names that are not those of the others.
const (
	shardsTestDir    = "/run/hgw-e2e-shards"
	shardsTestPrefix = "hgs-"
)

// TestPrivilegedShards gives each of two zones a shard: both gateways lead one and carry
// traffic. The node of each dies in turn, the other leads both shards, and the one that
// comes back gets its own by transfer.
func TestPrivilegedShards(t *testing.T) {
	s := up(t, lab.Options{Prefix: shardsTestPrefix, Dir: shardsTestDir, Sharded: true})
	t.Run("both lead one", s.testBothLead)
	for _, shard := range s.Shards() {
		t.Run("leader of "+shard.Name+" dies and returns", func(t *testing.T) { s.testShardLeaderDies(t, shard.Name) })
	}
	t.Run("history of the records", s.testHistory)
}

// zonePairs probe between an EC2 pod of each zone and a pod on-premises, by zone.
func (s *suite) zonePairs(t *testing.T) map[string]*probe.Pair {
	t.Helper()
	pairs := map[string]*probe.Pair{}
	for _, name := range []string{"ec2-1", "ec2-2"} {
		m, err := s.World.Machine(name)
		if err != nil {
			t.Fatal(err)
		}
		pair, err := demo.StartProbesOf(t.Context(), s.Lab, name, 10*time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		received(t, pair, 10)
		pairs[m.Zone] = pair
	}
	return pairs
}

// testBothLead expects that what leaves a zone for the pods goes through that zone's gateway.
func (s *suite) testBothLead(t *testing.T) {
	leaders := s.Preferred()
	if len(leaders) != 2 || leaders["zone-a"] == leaders["zone-b"] {
		t.Fatalf("the leaders shall be %v, want two that differ", leaders)
	}
	before := map[string]uint64{}
	for _, g := range s.Gateways {
		sent, err := s.sent(within(t), g)
		if err != nil {
			t.Fatal(err)
		}
		before[g.Name] = sent
	}
	pairs := s.zonePairs(t)
	for _, g := range s.Gateways {
		err := lab.Poll(within(t), g.Name+" to send what leaves its zone", func(ctx context.Context) error {
			sent, err := s.sent(ctx, g)
			if err == nil && sent < before[g.Name]+100 {
				err = errNotYet
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
	for _, pair := range pairs {
		lostNothing(t, pair)
	}
}

// sent is how many packets a gateway has sent through its tunnel, on whatever path.
func (s *suite) sent(ctx context.Context, g *gateway.Gateway) (uint64, error) {
	status, err := s.Operator.Status(ctx, g)
	if err != nil {
		return 0, err
	}
	var sent uint64
	for _, t := range status.GetTunnels() {
		sent += t.GetCounters().GetTxPackets()
	}
	return sent, nil
}

// testShardLeaderDies kills the node of one shard's leader, and brings it back.
func (s *suite) testShardLeaderDies(t *testing.T, shard string) {
	preferred := s.Preferred()
	dead := preferred[shard]
	var other *gateway.Gateway
	alone := map[string]*gateway.Gateway{}
	for _, g := range preferred {
		if g != dead {
			other = g
		}
	}
	for name := range preferred {
		alone[name] = other
	}
	pairs := s.zonePairs(t)
	died := time.Now()
	if err := demo.Die(s.Lab, dead); err != nil {
		t.Fatal(err)
	}
	if err := s.WaitShards(within(t), alone); err != nil {
		t.Fatal(err)
	}
	for zone, pair := range pairs {
		t.Log(zone)
		there := brieflySilent(t, pair)
		if m, err := s.World.Machine(dead.Name); err != nil || m.Zone != zone && there.Lost > 0 {
			t.Errorf("zone %s lost %d packets although its gateway lives (%v)", zone, there.Lost, err)
		}
	}
	s.suspected(t, other, shard, died)

	// Not a packet may be lost when its shard goes back to it.
	pairs = s.zonePairs(t)
	if err := demo.Revive(s.Lab, dead); err != nil {
		t.Fatal(err)
	}
	if err := s.WaitShards(within(t), preferred); err != nil {
		t.Fatal(err)
	}
	for _, pair := range pairs {
		received(t, pair, 20)
		lostNothing(t, pair)
	}
}
