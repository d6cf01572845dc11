package app_test

import (
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hybridgateway/gateway/libs/apiservertest"
	leadershipv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/leadership/v1"
)

// untilLeads waits until the gateway leads the shard and its routes are in place.
func (g *gateway) untilLeads(shard string) *leadershipv1.Leadership {
	g.t.Helper()
	return g.until("the lead of "+shard, func(l *leadershipv1.Leadership) bool {
		return l.GetShard() == shard && l.GetRole() == active && l.GetHolderConverged()
	})
}

// Two shards: each gateway leads the one that prefers it. When one dies the other leads both; when it is back, its
// own is handed back to it.
func TestShards(t *testing.T) {
	s, _, leases := fresh(t)
	for _, shard := range []string{"a", "b"} { // epochs are counted from the first on
		err := leases.Leases(apiservertest.Namespace).Delete(t.Context(), leaseName+"-"+shard, metav1.DeleteOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			t.Fatal(err)
		}
	}
	// The service's own rights are for the Lease of one shard.
	one, two := newGateway(t, 1, s.Kubeconfig()), newGateway(t, 2, s.Kubeconfig())
	introduce(t, one, two)
	for _, g := range []*gateway{one, two} {
		g.peers = append(g.peers, "--shards=a=gw1,b=eni-2")
		g.serve()
	}
	one.start()
	one.untilLeads("a")
	one.untilLeads("b")
	if streams := one.streams.Load(); streams != 2 {
		t.Errorf("%d streams to dataplane and route-sync, want one each for both shards", streams)
	}
	kill := two.startProcess()
	if l := two.untilLeads("b"); l.GetEpoch() != 3 {
		t.Errorf("gw2 got %v", l)
	}
	one.until("gw2", func(l *leadershipv1.Leadership) bool { return l.GetShard() == "b" && l.GetHolder().GetId() == "gw2" })

	if _, metrics := one.get("/metrics"); !strings.Contains(metrics, `eks_hybrid_gateway_lease_holder{pod="gw1"} 1`+"\n") {
		t.Error("gw1 does not count one shard that it leads")
	}
	kill()
	if l := one.untilLeads("b"); l.GetEpoch() != 4 {
		t.Errorf("gw1 got %v", l)
	}
	if _, metrics := one.get("/metrics"); !strings.Contains(metrics, `eks_hybrid_gateway_lease_holder{pod="gw1"} 2`+"\n") {
		t.Error("gw1 does not count two shards that it leads")
	}
	one.mu.Lock()
	if epoch := one.epochs["a"]; epoch != 1 {
		t.Errorf("shard a moved to epoch %d", epoch)
	}
	one.mu.Unlock()

	two.start()
	if l := two.untilLeads("b"); l.GetEpoch() != 6 {
		t.Errorf("gw2 got %v", l)
	}
}
