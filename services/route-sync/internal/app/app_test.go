package app_test

import (
	"fmt"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/hybridgateway/gateway/libs/daemon"
	"github.com/hybridgateway/gateway/libs/porttest"
	routesv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/routes/v1"
	"github.com/hybridgateway/gateway/tools/ec2standin"
)

// A takeover is one call per route, many of them at once, and waits for no read; and the news of it carries
// the trace of the leadership event.
func TestTakeover(t *testing.T) {
	const tables, networks, together = 5, 12, 16
	r := newRig(t, tables, networks)
	r.config.ReconcileInterval = hour // what is read, is read for a reason
	r.standby()
	r.await("all routes are nobody's", func() bool { return r.items.count(routesv1.State_STATE_UNOWNED) == tables*networks })
	// The first calls wait for each other: were there fewer at once, none would end in time. Reads end
	// only when all routes are written.
	var arrived atomic.Int64
	all, written := make(chan struct{}), make(chan struct{})
	release := sync.OnceFunc(func() { close(written) })
	defer release()
	r.ec2.SetFaults(ec2standin.Faults{Hook: func(c ec2standin.Call) {
		switch {
		case c.Mutating:
			if arrived.Add(1) == together {
				close(all)
			}
			<-all
		case c.Action == "DescribeRouteTables":
			<-written
		}
	}})
	r.ec2.ResetCalls()
	span := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{7}, SpanID: trace.SpanID{7}, TraceFlags: trace.FlagsSampled})
	r.leadIn(trace.ContextWithSpanContext(t.Context(), span), 2, "eni-a", hour)
	r.await("all routes point to eni-a", func() bool { return r.targets()["eni-a"] == tables*networks })
	release()
	r.await("the routes converged under epoch 2", func() bool { return r.converged() == 2 })

	for _, c := range r.ec2.Calls() {
		if c.Mutating && c.Action != "ReplaceRoute" {
			t.Errorf("%s was called", c.Action)
		}
	}
	routes, writes := r.written()
	if len(routes) != tables*networks {
		t.Errorf("%d routes were written", len(routes))
	}
	if got := r.items.count(routesv1.State_STATE_IN_SYNC); got != tables*networks {
		t.Errorf("%d routes are in sync", got)
	}
	if got := r.route(3, 4); got.GetTarget() != "eni-a" || got.GetEpoch() != 2 || got.GetShard() != "default" {
		t.Errorf("got %v", got)
	}
	if parent := r.items.get("convergence/default").GetHeader().GetTrace().GetTraceparent(); !strings.Contains(parent, span.TraceID().String()) {
		t.Errorf("the convergence has the trace %q", parent)
	}
	r.await("the takeover is counted", func() bool { return r.metric(`eks_hybrid_gateway_route_takeover_duration_seconds_count`) == "1" })
	if got := r.metric(`eks_hybrid_gateway_route_reconcile_errors_total`); got != "0" && writes == len(routes) {
		t.Errorf("%q errors are counted", got)
	}
}

func TestInterfaceIsTold(t *testing.T) {
	r := newRig(t, 1, 1)
	r.standby()
	i := r.items.get("interface").GetInterface()
	if i.GetEniId() != "eni-a" || i.GetRegion() != "us-west-2" || i.GetZone() != "us-west-2a" {
		t.Errorf("got %v", i)
	}
}

func TestNoStreamNoWrite(t *testing.T) {
	r := newRig(t, 2, 2)
	r.startApp()
	r.await("the service is ready", r.ready)
	r.during(500*time.Millisecond, "nothing is written", func() bool { return r.ec2.MutatingCalls() == 0 })
}

// mostAtOnce is how many calls that change something may be under way: 64, of which 8 for the second time when they
// are slow. What was sent in time may arrive any time later.
const mostAtOnce = 64 + 8

// With validity gone nothing further is started, though many routes are still to be written.
func TestLostValidityStopsWrites(t *testing.T) {
	r := newRig(t, 10, 20)
	r.standby()
	release := make(chan struct{})
	free := sync.OnceFunc(func() { close(release) })
	defer free()
	r.ec2.SetFaults(ec2standin.Faults{Hook: func(c ec2standin.Call) {
		if c.Mutating {
			<-release
		}
	}})
	const valid = time.Second
	var led time.Time
	r.await("calls are under way", func() bool {
		if r.ec2.MutatingCalls() >= 64 {
			return true
		}
		r.lead(2, "eni-a", valid) // again: a stalled machine may hear of it too late
		led = time.Now()
		return false
	})
	// Before the news of the first leadership arrives the routes look the same.
	r.await("the routes are nobody's again", func() bool {
		return time.Since(led) > valid && r.items.count(routesv1.State_STATE_UNOWNED) == 200
	})
	free()
	r.during(500*time.Millisecond, "no further call is started", func() bool { return r.ec2.MutatingCalls() <= mostAtOnce })
	if r.converged() != 0 {
		t.Error("converged")
	}
	r.ec2.SetFaults(ec2standin.Faults{})
	r.lead(2, "eni-a", hour)
	r.await("a late renewal lets it go on", func() bool { return r.converged() == 2 })
}

func TestLostLeadershipStopsWrites(t *testing.T) {
	r := newRig(t, 10, 20)
	r.standby()
	release := make(chan struct{})
	free := sync.OnceFunc(func() { close(release) })
	defer free()
	r.ec2.SetFaults(ec2standin.Faults{Hook: func(c ec2standin.Call) {
		if c.Mutating {
			<-release
		}
	}})
	r.lead(2, "eni-a", hour)
	r.await("calls are under way, and it is told", func() bool {
		return r.ec2.MutatingCalls() >= 64 && r.items.count(routesv1.State_STATE_UNOWNED) == 0
	})
	r.lead(3, "eni-b", 0)
	r.await("the routes are nobody's again", func() bool { return r.items.count(routesv1.State_STATE_UNOWNED) == 200 })
	free()
	r.during(500*time.Millisecond, "no further call is started", func() bool { return r.ec2.MutatingCalls() <= mostAtOnce })
}

// The loss of the stream undoes nothing, but nothing is written until it is back; and the restart of election, which
// gives the same gateway a new epoch, costs no call.
func TestLostStreamKeepsRoutes(t *testing.T) {
	r := newRig(t, 2, 2)
	r.standby()
	r.lead(2, "eni-a", hour)
	r.await("converged", func() bool { return r.converged() == 2 })
	r.election.stop()
	r.await("the loss is noticed", func() bool { return r.converged() == 0 })
	r.must(r.ec2.RemoveRoute("rtb-0", r.config.PodCIDRs[0].Prefix))
	r.during(time.Second, "the others stay", func() bool { return r.targets()["eni-a"] == 3 })

	r.ec2.ResetCalls()
	r.startElection()
	r.lead(3, "eni-a", hour)
	r.await("the route is back", func() bool { return r.converged() == 3 && r.targets()["eni-a"] == 4 })
	if routes, _ := r.written(); len(routes) != 1 {
		t.Errorf("wrote %v, want the one that was missing", routes)
	}
}

func TestRestartWhileActiveWritesNothing(t *testing.T) {
	r := newRig(t, 2, 2)
	r.standby()
	r.lead(2, "eni-a", hour)
	r.await("converged", func() bool { return r.converged() == 2 })
	r.stopItems()
	r.stopApp()
	r.ec2.ResetCalls()
	r.startApp()
	r.await("converged again", func() bool { return r.converged() == 2 })
	if n := r.ec2.MutatingCalls(); n != 0 {
		t.Errorf("%d calls", n)
	}
}

func TestForeignRoutesAreKept(t *testing.T) {
	r := newRig(t, 2, 2)
	alien := ec2standin.Target{Kind: ec2standin.TargetTransitGateway, ID: "tgw-1"}
	r.must(r.ec2.SetRoute("rtb-0", r.config.PodCIDRs[0].Prefix, alien))
	r.must(r.ec2.SetRoute("rtb-1", r.config.PodCIDRs[1].Prefix, ec2standin.ToENI("eni-alien")))
	r.standby()
	r.lead(2, "eni-a", hour)
	r.await("the others converged", func() bool { return r.converged() == 2 })
	r.during(time.Second, "the foreign routes are untouched", func() bool {
		got := r.targets()
		return got["tgw-1"] == 1 && got["eni-alien"] == 1 && got["eni-a"] == 2
	})
	if got := r.route(0, 0); got.GetState() != routesv1.State_STATE_CONFLICT || got.GetTarget() != "tgw-1" || got.GetDetail() == "" {
		t.Errorf("got %v", got)
	}
	if got := r.route(1, 1); got.GetState() != routesv1.State_STATE_CONFLICT || !strings.Contains(got.GetDetail(), "--gateway-enis") {
		t.Errorf("got %v", got)
	}
	if got := r.metric(`eks_hybrid_gateway_routes{state="conflict"}`); got != "2" {
		t.Errorf("%q conflicts are counted", got)
	}
	// The operator gives way.
	r.must(r.ec2.RemoveRoute("rtb-0", r.config.PodCIDRs[0].Prefix))
	r.await("the route is made", func() bool { return r.targets()["eni-a"] == 3 })
}

func TestDriftIsRepairedAndCounted(t *testing.T) {
	r := newRig(t, 2, 2)
	r.standby()
	r.lead(2, "eni-a", hour)
	r.await("converged", func() bool { return r.converged() == 2 })
	// Reads of the first seconds may be stale.
	r.await("the routes have settled", func() bool { return r.route(0, 0).GetState() == routesv1.State_STATE_IN_SYNC && r.settled() })
	r.must(r.ec2.RemoveRoute("rtb-0", r.config.PodCIDRs[0].Prefix))
	r.must(r.ec2.SetRoute("rtb-1", r.config.PodCIDRs[1].Prefix, ec2standin.ToENI("eni-b")))
	r.await("the routes are back", func() bool { return r.targets()["eni-a"] == 4 })
	r.await("both are counted", func() bool { return r.metric("eks_hybrid_gateway_route_drift_repairs_total") == "2" })
	if r.converged() != 2 {
		t.Error("the convergence was taken back")
	}
}

// settled tells whether the last write is longer ago than reads are taken for stale.
func (r *rig) settled() bool {
	for _, c := range r.ec2.Calls() {
		if c.Mutating && time.Since(c.Finished) < 5500*time.Millisecond {
			return false
		}
	}
	return true
}

func TestThrottling(t *testing.T) {
	r := newRig(t, 4, 10)
	r.standby()
	r.ec2.SetFaults(ec2standin.Faults{Throttle: &ec2standin.Throttle{Mutating: ec2standin.TokenBucket{Burst: 20, PerSecond: 5}}})
	r.ec2.ResetCalls()
	r.lead(2, "eni-a", hour)
	r.await("converged", func() bool { return r.converged() == 2 })
	refused := 0
	for _, c := range r.ec2.Calls() {
		if c.Code == "RequestLimitExceeded" {
			refused++
		}
	}
	if refused == 0 || refused > 40 {
		t.Errorf("%d calls were refused", refused)
	}
}

func TestLostReplies(t *testing.T) {
	r := newRig(t, 4, 5)
	r.must(r.ec2.RemoveRoute("rtb-0", r.config.PodCIDRs[0].Prefix)) // one to be created
	r.standby()
	r.ec2.LoseNext("", 6)
	r.lead(2, "eni-a", hour)
	r.await("converged", func() bool { return r.converged() == 2 && r.targets()["eni-a"] == 20 })
	// A machine that stalls loses further replies, as it were.
	r.await("each lost reply is counted", func() bool {
		n, err := strconv.Atoi(r.metric("eks_hybrid_gateway_route_reconcile_errors_total"))
		return err == nil && n >= 6
	})
}

func TestMissingTableHoldsUpNobody(t *testing.T) {
	r := newRig(t, 3, 2)
	r.must(r.ec2.DeleteRouteTable("rtb-1"))
	r.standby()
	r.lead(2, "eni-a", hour)
	r.await("the other tables are written", func() bool { return r.targets()["eni-a"] == 4 })
	r.await("the missing one is told", func() bool {
		got := r.route(1, 0)
		return got.GetState() == routesv1.State_STATE_ERROR && strings.Contains(got.GetDetail(), "rtb-1 does not exist")
	})
	if r.converged() != 0 {
		t.Error("converged")
	}
	r.must(r.ec2.AddRouteTable(ec2standin.RouteTable{ID: "rtb-1", VPC: "vpc-1"}))
	r.await("converged", func() bool { return r.converged() == 2 && r.targets()["eni-a"] == 6 })
}

// A table that refuses writes is told, with the permission that is missing.
func TestDeniedWriteHoldsUpNobody(t *testing.T) {
	r := newRig(t, 2, 2)
	r.standby()
	r.ec2.FailNext("ReplaceRoute", "UnauthorizedOperation", 1)
	r.lead(2, "eni-a", hour)
	r.await("the others are written", func() bool { return r.targets()["eni-a"] == 3 })
	r.await("the failure is told", func() bool { return r.items.count(routesv1.State_STATE_ERROR) == 1 })
	for n := range 4 {
		if got := r.route(n/2, n%2); got.GetState() == routesv1.State_STATE_ERROR && !strings.Contains(got.GetDetail(), "grant ec2:ReplaceRoute") {
			t.Errorf("got %v", got)
		}
	}
	r.await("it is tried again", func() bool { return r.converged() == 2 })
}

// Stale reads right after a takeover neither make a route flap nor count as drift.
func TestStaleReadsDoNotFlap(t *testing.T) {
	r := newRig(t, 2, 2)
	r.standby()
	r.ec2.SetFaults(ec2standin.Faults{StaleReads: 2 * time.Second})
	r.lead(2, "eni-a", hour)
	r.await("converged", func() bool { return r.converged() == 2 })
	r.during(4*time.Second, "the routes are in sync", func() bool { return r.items.count(routesv1.State_STATE_IN_SYNC) == 4 })
	key := fmt.Sprintf("route/rtb-0/%s", r.config.PodCIDRs[0])
	settled := false
	for _, s := range r.items.history(key) {
		if settled && s != routesv1.State_STATE_IN_SYNC {
			t.Errorf("the route flapped: %v", r.items.history(key))
		}
		settled = settled || s == routesv1.State_STATE_IN_SYNC
	}
	if got := r.metric("eks_hybrid_gateway_route_drift_repairs_total"); got != "0" {
		t.Errorf("%q repairs are counted", got)
	}
}

func TestLateMetadata(t *testing.T) {
	r := newRig(t, 1, 1)
	r.config.ENI, r.config.Region, r.config.Zone = "", "", ""
	metadata := porttest.Address(t)
	t.Setenv("AWS_EC2_METADATA_DISABLED", "")
	t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://"+metadata)
	r.startElection()
	r.lead(1, "eni-b", 0)
	r.startApp()
	r.await("it says what it waits for", func() bool {
		status, body := r.get("/readyz")
		return status == 503 && strings.Contains(body, "instance metadata service") && strings.Contains(body, "--eni")
	})
	late := httptest.NewUnstartedServer(r.ec2.IMDS("i-a"))
	late.Listener.Close()
	late.Listener = listen(t, metadata)
	late.Start()
	t.Cleanup(late.Close)
	r.await("the service is ready", r.ready)
	r.await("it tells who it is", func() bool {
		got := r.items.get("interface").GetInterface()
		return got.GetEniId() == "eni-a" && got.GetZone() == "us-west-2a"
	})
}

// EC2 does not answer for a while: the service waits, says so, and works once it does.
func TestLateEC2(t *testing.T) {
	r := newRig(t, 1, 1)
	r.ec2.SetFaults(ec2standin.Faults{ErrorRate: 1, ErrorCode: "Unavailable"})
	r.startElection()
	r.lead(2, "eni-a", hour)
	r.startApp()
	r.await("it says what it waits for", func() bool {
		status, body := r.get("/readyz")
		return status == 503 && strings.Contains(body, "Unavailable")
	})
	r.await("the route tells it too", func() bool { return r.route(0, 0).GetState() == routesv1.State_STATE_ERROR })
	r.ec2.SetFaults(ec2standin.Faults{})
	r.await("a former holder becomes known", func() bool {
		r.lead(2, "eni-a", hour)
		return r.route(0, 0).GetState() == routesv1.State_STATE_CONFLICT // eni-b was never heard of
	})
	r.must(r.ec2.RemoveRoute("rtb-0", r.config.PodCIDRs[0].Prefix))
	r.await("converged", func() bool { return r.targets()["eni-a"] == 1 })
}

// Two gateways in turns, each knowing the other only from the Leadership stream.
func TestTwoGatewaysTakeTurns(t *testing.T) {
	a := newRig(t, 3, 3)
	a.standby()
	b := *a
	b.config.SocketDir, b.config.HTTPListen, b.config.ENI = t.TempDir(), freeAddress(t), "eni-b"
	if len(b.config.Socket(daemon.RouteSync)) > 100 {
		b.config.SocketDir = a.config.SocketDir + "b"
	}
	b.startElection()
	b.lead(1, "eni-x", 0)
	b.startApp()
	t.Cleanup(b.stop)
	b.await("the service is ready", b.ready)
	b.await("it was told who leads", func() bool { return b.election.told.Load() >= 3 })
	for epoch := uint64(2); epoch < 10; epoch++ {
		leader, other, eni := a, &b, "eni-a"
		if epoch%2 == 1 {
			leader, other, eni = &b, a, "eni-b"
		}
		other.tell(epoch, eni, false)
		other.await("it gave up", func() bool { return other.converged() == 0 })
		leader.tell(epoch, eni, true)
		leader.await("the routes point to "+eni, func() bool { return leader.converged() == epoch })
		if got := a.targets(); got[eni] != 9 {
			t.Fatalf("epoch %d: routes point to %v", epoch, got)
		}
	}
}
