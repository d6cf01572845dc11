package app_test

import (
	"context"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	coordinationclient "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"

	"github.com/hybridgateway/gateway/libs/apiservertest"
	"github.com/hybridgateway/gateway/libs/boottime"
	leadershipv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/leadership/v1"
	tunnelv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/tunnel/v1"
)

const (
	active   = leadershipv1.Role_ROLE_ACTIVE
	standby  = leadershipv1.Role_ROLE_STANDBY
	observer = leadershipv1.Role_ROLE_OBSERVER
)

// A gateway alone: it stands once its services serve, leads, records that its routes are in
// place, and gives the record up when it is told to stop.
func TestOneGateway(t *testing.T) {
	_, kubeconfig, o := fresh(t)
	g := newGateway(t, 1, kubeconfig)
	r := g.start()
	first := g.untilRole(observer)
	if first.GetEpoch() != 0 || first.GetHolder() != nil {
		t.Errorf("before anybody led: %v", first)
	}
	if status, body := g.get("/readyz"); status != 503 || !strings.Contains(body, "dataplane") {
		t.Errorf("/readyz without a dataplane: %d %s", status, body)
	}
	g.serve()
	l := g.untilRole(active)
	if l.GetEpoch() != 1 || l.GetCause() != leadershipv1.Cause_CAUSE_VACANT {
		t.Errorf("got %v", l)
	}
	want := &leadershipv1.Gateway{Id: "gw1", NodeIp: "10.0.0.1", EniId: "eni-1", Zone: "zone-a", VtepMac: "02:00:0a:00:00:01"}
	if l.GetHolder().String() != want.String() {
		t.Errorf("the holder is %v, want %v", l.GetHolder(), want)
	}
	converged := g.untilConverged(1)
	if left := time.Duration(converged.GetValidUntilBoottime()) - boottime.Now(); left > 40*time.Second {
		t.Errorf("valid for another %v", left)
	}
	renewed := g.until("a renewal", func(l *leadershipv1.Leadership) bool {
		return l.GetCause() == leadershipv1.Cause_CAUSE_RENEWED && l.GetHolderConverged()
	})
	if renewed.GetValidUntilBoottime() <= converged.GetValidUntilBoottime() {
		t.Errorf("renewed until %d after %d", renewed.GetValidUntilBoottime(), converged.GetValidUntilBoottime())
	}
	if status, body := g.get("/readyz"); status != 200 {
		t.Errorf("/readyz of the leader: %d %s", status, body)
	}
	_, metrics := g.get("/metrics")
	for _, line := range []string{
		`eks_hybrid_gateway_lease_holder{pod="gw1"} 1`,
		`eks_hybrid_gateway_lease_epoch{shard="default"} 1`,
		`eks_hybrid_gateway_lease_transitions_total{cause="vacant",shard="default"} 1`,
		`eks_hybrid_gateway_lease_write_duration_seconds_count{outcome="swapped",purpose="take-over"} 1`,
	} {
		if !strings.Contains(metrics, "\n"+line) {
			t.Errorf("no metric %s", line)
		}
	}
	lease, err := o.Leases(apiservertest.Namespace).Get(t.Context(), leaseName, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if text := lease.Annotations["hybrid-gateway/holder"]; !strings.Contains(text, `"convergedEpoch":1`) || !strings.Contains(text, `"eni":"eni-1"`) {
		t.Errorf("the Lease says %s", text)
	}

	r.stop()
	if l := g.untilRole(observer); l.GetCause() != leadershipv1.Cause_CAUSE_HANDOVER || l.GetEpoch() != 1 {
		t.Errorf("after the stop: %v", l)
	}
	r.wait(t)
	lease, err = o.Leases(apiservertest.Namespace).Get(t.Context(), leaseName, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if *lease.Spec.HolderIdentity != "" || !strings.Contains(lease.Annotations["hybrid-gateway/handover"], `"from":"gw1"`) {
		t.Errorf("the Lease was left as %+v %v", lease.Spec, lease.Annotations)
	}
}

// Two gateways: the leader hands over, waits for its successor, and only then ends.
func TestHandover(t *testing.T) {
	overBackends(t, func(t *testing.T, b backend) {
		one, two := b.gateway(t, 1), b.gateway(t, 2)
		two.converges = false
		one.lease = append(one.lease, "--handover-timeout=50s")
		one.serve()
		two.serve()
		leader := one.start()
		epoch := one.untilRole(active).GetEpoch()
		two.start()
		two.untilRole(standby)

		leader.stop()
		l := two.untilRole(active)
		if l.GetEpoch() != epoch+1 || l.GetCause() != leadershipv1.Cause_CAUSE_HANDOVER {
			t.Errorf("the successor got %v", l)
		}
		one.until("the successor", func(l *leadershipv1.Leadership) bool { return l.GetHolder().GetId() == "gw2" })
		select {
		case <-leader.ended:
			t.Error("the leader ended before its successor converged")
		default:
		}
		two.converge(t.Context(), epoch+1)
		leader.wait(t)
		two.untilConverged(epoch + 1)
	})
}

// The leader is killed and started again at once: it takes its own record anew, and nobody
// else does. Then it is killed for good, and the standby takes the record when it expires.
func TestKill(t *testing.T) {
	overBackends(t, func(t *testing.T, b backend) {
		one, two := b.gateway(t, 1), b.gateway(t, 2)
		one.serve()
		two.serve()
		kill := one.startProcess()
		epoch := one.untilRole(active).GetEpoch()
		two.start()
		two.untilRole(standby)

		kill()
		one.lease = expiring() // but not before it is here again
		kill = one.startProcess()
		again := one.until("a new epoch", func(l *leadershipv1.Leadership) bool { return l.GetRole() == active && l.GetEpoch() > epoch })
		if again.GetEpoch() != epoch+1 {
			t.Errorf("after the restart: %v", again)
		}
		// A subscriber that reconnects late finds a later cause in its snapshot.
		if _, metrics := one.get("/metrics"); !strings.Contains(metrics, `transitions_total{cause="restarted",shard="default"} 1`) {
			t.Error("the record was not taken as the gateway's own")
		}
		one.untilConverged(again.GetEpoch())

		kill()
		killed := time.Now()
		l := two.untilRole(active)
		if l.GetEpoch() != again.GetEpoch()+1 || l.GetCause() != leadershipv1.Cause_CAUSE_EXPIRED {
			t.Errorf("the standby got %v", l)
		}
		t.Logf("the record was taken %v after the leader's death", time.Since(killed))
	})
}

// The leader's other services are away for longer than a lease: it keeps leading. A standby
// whose services are away does not stand.
func TestServicesAway(t *testing.T) {
	_, kubeconfig, _ := fresh(t)
	one, two := newGateway(t, 1, kubeconfig), newGateway(t, 2, kubeconfig)
	ofOne, ofTwo := one.serve(), two.serve()
	one.lease = append(expiring(), "--unhealthy-grace=50s")
	one.start()
	epoch := one.untilRole(active).GetEpoch()
	two.start()
	two.untilRole(standby)

	ofOne.stop()
	ofTwo.stop()
	two.untilRole(observer)
	end := boottime.Now() + 14*time.Second // a lease, and how long a renewal makes it valid
	l := one.until("renewals beyond a lease", func(l *leadershipv1.Leadership) bool {
		return l.GetRole() != active || time.Duration(l.GetValidUntilBoottime()) > end
	})
	if l.GetRole() != active || l.GetEpoch() != epoch {
		t.Errorf("the leader became %v", l)
	}
	one.serve()
	two.serve()
	two.untilRole(standby)

	// A tunnel that says that it is not ready keeps a standby from standing too.
	two.tunnel.Set(t.Context(), "hybrid_vxlan0", &tunnelv1.Tunnel{Reason: "net.ipv4.ip_forward is 0"})
	two.untilRole(observer)
	if status, body := two.get("/readyz"); status != 503 || !strings.Contains(body, "net.ipv4.ip_forward is 0") {
		t.Errorf("/readyz: %d %s", status, body)
	}
}

// Election restarts in order; its subscribers get the new process's whole state.
func TestRestart(t *testing.T) {
	_, kubeconfig, _ := fresh(t)
	g := newGateway(t, 1, kubeconfig)
	g.serve()
	r := g.start()
	epoch := g.untilRole(active).GetEpoch()
	r.stop()
	r.wait(t)
	g.start()
	l := g.until("a new epoch", func(l *leadershipv1.Leadership) bool { return l.GetRole() == active && l.GetEpoch() > epoch })
	if l.GetEpoch() != epoch+1 {
		t.Errorf("got %v", l)
	}
}

// What keeps the record is frozen for longer than the leader may act: it stops in time, and
// leads again under a new epoch when there is an answer.
func TestRecordFrozen(t *testing.T) {
	overBackends(t, func(t *testing.T, b backend) {
		g := b.gateway(t, 1)
		g.lease = expiring()
		g.serve()
		g.start()
		epoch := g.untilRole(active).GetEpoch()
		g.untilConverged(epoch)
		if err := b.servers.Pause(); err != nil {
			t.Fatal(err)
		}
		l := g.untilRole(standby)
		if l.GetCause() != leadershipv1.Cause_CAUSE_LOST || l.GetValidUntilBoottime() != 0 || l.GetEpoch() != epoch {
			t.Errorf("got %v", l)
		}
		if err := b.servers.Resume(); err != nil {
			t.Fatal(err)
		}
		if l := g.untilRole(active); l.GetEpoch() <= epoch {
			t.Errorf("leads again as %v", l)
		}
		// A crash of the servers is no different.
		if err := b.servers.Kill(); err != nil {
			t.Fatal(err)
		}
		g.untilRole(standby)
		if err := b.servers.Start(); err != nil {
			t.Fatal(err)
		}
		g.untilRole(active)
	})
}

// client-go's own leader election contends for the same Lease: the record goes to and fro
// by release and by expiry, and nobody takes it from a living holder.
func TestBesideStockLeaderElector(t *testing.T) {
	_, kubeconfig, o := fresh(t)
	stock := newStock(o)
	stop := background(t, "stock contender", stock.run)
	stock.untilLeads(t)

	g := newGateway(t, 1, kubeconfig)
	g.serve()
	r := g.start()
	l := g.untilRole(standby)
	if l.GetHolder().GetId() != "stock" {
		t.Errorf("beside the stock leader: %v", l)
	}
	stop() // releases the record
	l = g.untilRole(active)
	if l.GetCause() != leadershipv1.Cause_CAUSE_VACANT || l.GetEpoch() != 1 {
		t.Errorf("after the release: %v", l)
	}
	g.untilConverged(l.GetEpoch())

	background(t, "stock contender", stock.run)
	// It waits while the record is renewed for longer than its lease.
	end := boottime.Now() + 48*time.Second // its lease, and how long a renewal makes ours valid
	g.until("renewals", func(l *leadershipv1.Leadership) bool {
		return l.GetRole() != active || time.Duration(l.GetValidUntilBoottime()) > end
	})
	select {
	case <-stock.leads:
		t.Error("the stock contender took the record from a living leader")
	default:
	}
	r.stop()
	stock.untilLeads(t)
	if l := g.until("the stock leader", func(l *leadershipv1.Leadership) bool { return l.GetHolder().GetId() == "stock" }); l.GetEpoch() != 2 || l.GetRole() != observer {
		t.Errorf("after handing over to the stock contender: %v", l)
	}
	r.wait(t)
}

// stock is client-go's leader election as other controllers use it, only quicker.
type stock struct {
	config leaderelection.LeaderElectionConfig
	leads  chan struct{}
}

func newStock(client coordinationclient.LeasesGetter) *stock {
	s := &stock{leads: make(chan struct{}, 1)}
	s.config = leaderelection.LeaderElectionConfig{
		Lock: &resourcelock.LeaseLock{
			LeaseMeta:  metav1.ObjectMeta{Namespace: apiservertest.Namespace, Name: leaseName},
			Client:     client,
			LockConfig: resourcelock.ResourceLockConfig{Identity: "stock"},
		},
		LeaseDuration:   8 * time.Second,
		RenewDeadline:   6 * time.Second,
		RetryPeriod:     200 * time.Millisecond,
		ReleaseOnCancel: true,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(context.Context) { s.leads <- struct{}{} },
			OnStoppedLeading: func() {},
		},
	}
	return s
}

func (s *stock) run(ctx context.Context) error {
	e, err := leaderelection.NewLeaderElector(s.config)
	if err != nil {
		return err
	}
	e.Run(ctx)
	return nil
}

func (s *stock) untilLeads(t *testing.T) {
	t.Helper()
	select {
	case <-s.leads:
	case <-time.After(patience):
		t.Fatalf("the stock contender did not lead within %v", patience)
	}
}
