package app_test

import (
	"slices"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hybridgateway/gateway/libs/apiservertest"
	leadershipv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/leadership/v1"
)

// client-go's own leader election beside two gateways that watch each other, and nobody releases the record: the stock leader
// dies, and one gateway takes it when it expires; that one dies, and the other suspects it, long before the
// stock contender may have it; the last gateway dies, and the stock contender takes it when it expires.
func TestStockLeaderElectorByExpiry(t *testing.T) {
	_, kubeconfig, o := fresh(t)
	dying := newStock(o)
	dying.config.ReleaseOnCancel = false
	die := background(t, "stock leader", dying.run)
	dying.untilLeads(t)

	one, two := newGateway(t, 1, kubeconfig), newGateway(t, 2, kubeconfig)
	introduce(t, one, two)
	kill := map[*gateway]func(){}
	for _, g := range []*gateway{one, two} {
		g.peers = append(g.peers, expiring()...)
		g.serve()
		kill[g] = g.startProcess()
		if l := g.untilRole(standby); l.GetHolder().GetId() != "stock" {
			t.Errorf("beside the stock leader %s has %v", g.id, l)
		}
	}
	one.untilSeen(two)
	two.untilSeen(one)

	die()
	// The other is told who it is.
	leader, other := one, two
	l := one.until("a gateway that leads", func(l *leadershipv1.Leadership) bool {
		return slices.Contains([]string{one.id, two.id}, l.GetHolder().GetId())
	})
	if l.GetHolder().GetId() == two.id {
		leader, other = two, one
		l = two.untilRole(active)
	}
	if l.GetRole() != active || l.GetCause() != leadershipv1.Cause_CAUSE_EXPIRED || l.GetEpoch() != 1 {
		t.Errorf("after the stock leader's death: %v", l)
	}
	leader.untilConverged(1)

	sees := make(chan string, 8)
	stock := newStock(o)
	stock.config.Callbacks.OnNewLeader = func(id string) { sees <- id }
	background(t, "stock contender", stock.run)
	if id := <-sees; id != leader.id {
		t.Errorf("the stock contender sees %q lead, want %q", id, leader.id)
	}
	kill[leader]()
	if l = other.untilRole(active); l.GetCause() != suspected || l.GetEpoch() != 2 {
		t.Errorf("after the leading gateway's death: %v", l)
	}
	other.untilConverged(2)
	select {
	case <-stock.leads:
		t.Error("the stock contender took the record from a living leader")
	default:
	}
	kill[other]()
	stock.untilLeads(t)
	lease, err := o.Leases(apiservertest.Namespace).Get(t.Context(), leaseName, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if n := *lease.Spec.LeaseTransitions; n != 3 {
		t.Errorf("the record changed hands %d times, want 3", n)
	}
}
