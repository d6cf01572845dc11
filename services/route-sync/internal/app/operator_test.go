package app_test

import (
	"context"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	routesv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/routes/v1"
	"github.com/hybridgateway/gateway/services/route-sync/internal/config"
	"github.com/hybridgateway/gateway/tools/ec2standin"
)

var transit = ec2standin.Target{Kind: ec2standin.TargetTransitGateway, ID: "tgw-1"}

func TestAdopt(t *testing.T) {
	r := newRig(t, 2, 2)
	r.must(r.ec2.SetRoute("rtb-0", r.config.PodCIDRs[0].Prefix, transit))
	r.must(r.ec2.SetRoute("rtb-1", r.config.PodCIDRs[1].Prefix, transit))
	part := netip.MustParsePrefix("100.64.0.128/25")
	r.must(r.ec2.SetRoute("rtb-1", part, transit))
	r.standby()
	ctx, client := t.Context(), r.client()
	request := &routesv1.AdoptRequest{TableId: "rtb-0", Destination: r.config.PodCIDRs[0].String()}
	if _, err := client.Adopt(ctx, request); status.Code(err) != codes.FailedPrecondition || !strings.Contains(err.Error(), "does not lead") {
		t.Errorf("by a gateway that stands by: %v", err)
	}
	r.lead(2, "eni-a", hour)
	r.await("converged", func() bool { return r.converged() == 2 && r.items.count(routesv1.State_STATE_CONFLICT) == 3 })
	if got := r.items.get("route/rtb-1/100.64.0.128/25").GetRoute(); got.GetTarget() != "tgw-1" || !strings.Contains(got.GetDetail(), "takes traffic of a pod network") {
		t.Errorf("the more specific route: %v", got)
	}
	for _, bad := range []struct {
		table, destination, want string
		code                     codes.Code
	}{
		{"rtb-0", "100.64.1.0/24", "is not in conflict", codes.FailedPrecondition},
		{"rtb-0", "192.168.0.0/16", "is no route of this gateway", codes.FailedPrecondition},
		{"rtb-0", "everything", "is neither a CIDR", codes.InvalidArgument},
	} {
		_, err := client.Adopt(ctx, &routesv1.AdoptRequest{TableId: bad.table, Destination: bad.destination})
		if status.Code(err) != bad.code || !strings.Contains(err.Error(), bad.want) {
			t.Errorf("%s %s: %v", bad.table, bad.destination, err)
		}
	}
	_, err := client.Adopt(ctx, request)
	r.must(err)
	r.await("the route is ours", func() bool {
		return r.route(0, 0).GetState() == routesv1.State_STATE_IN_SYNC && r.targets()["eni-a"] == 3
	})
	_, err = client.Adopt(ctx, &routesv1.AdoptRequest{TableId: "rtb-1", Destination: part.String()})
	r.must(err)
	r.await("the more specific route is gone, for nobody needs it", func() bool {
		table, _ := r.ec2.Snapshot().Table("rtb-1")
		_, there := table.Route(part)
		return !there && r.items.get("route/rtb-1/100.64.0.128/25") == nil
	})
	if got := r.targets(); got["tgw-1"] != 1 {
		t.Errorf("routes point to %v: the one that nobody gave up is not ours", got)
	}
}

func TestAdoptAll(t *testing.T) {
	r := newRig(t, 2, 2)
	r.config.AdoptRoutes = true
	r.must(r.ec2.SetRoute("rtb-0", r.config.PodCIDRs[0].Prefix, transit))
	r.must(r.ec2.SetRoute("rtb-1", r.config.PodCIDRs[1].Prefix, ec2standin.ToENI("eni-alien")))
	part := netip.MustParsePrefix("100.64.0.128/25")
	r.must(r.ec2.SetRoute("rtb-1", part, transit))
	r.standby()
	r.lead(2, "eni-a", hour)
	r.await("all routes to exactly a network are ours", func() bool { return r.converged() == 2 && r.targets()["eni-a"] == 4 })
	if table, _ := r.ec2.Snapshot().Table("rtb-1"); true {
		if route, _ := table.Route(part); route.Target.ID != "tgw-1" {
			t.Errorf("the more specific route is %v", route)
		}
	}
}

// Purge removes what is the gateways' own and nothing else, and makes nothing afterwards.
func TestPurge(t *testing.T) {
	r := newRig(t, 2, 3)
	r.config.ManagePrefixList = true
	r.must(r.ec2.SetRoute("rtb-0", r.config.PodCIDRs[0].Prefix, transit))
	r.standby()
	r.lead(2, "eni-a", hour)
	r.await("converged", func() bool { return r.converged() == 2 && r.count(r.ec2.Snapshot()) == [2]int{1, 2} })
	purged, err := r.client().Purge(t.Context(), &routesv1.PurgeRequest{})
	r.must(err)
	if !purged.GetLed() || len(purged.GetLeft()) != 0 {
		t.Errorf("got %v", purged)
	}
	s := r.ec2.Snapshot()
	if r.count(s) != [2]int{1, 0} || len(s.PrefixLists) != 0 || reached(s, r.config.PodCIDRs[:1])["tgw-1"] != 1 {
		t.Errorf("left: %v, lists %v", r.count(s), s.PrefixLists)
	}
	r.await("it is told", func() bool {
		c := r.items.get("convergence/default").GetConvergence()
		return c.GetRemoved() && c.GetEpoch() == 2
	})
	r.lead(3, "eni-a", hour)
	r.await("it holds for later epochs", func() bool { return r.converged() == 3 })
	if r.count(r.ec2.Snapshot()) != [2]int{1, 0} {
		t.Error("a purged gateway made routes")
	}
}

func TestPurgeOfOneThatStandsBy(t *testing.T) {
	r := newRig(t, 2, 2)
	r.standby()
	purged, err := r.client().Purge(t.Context(), &routesv1.PurgeRequest{})
	r.must(err)
	if purged.GetLed() || r.targets()["eni-b"] != 4 {
		t.Errorf("got %v; routes to %v", purged, r.targets())
	}
}

func TestPurgeSaysWhatIsLeft(t *testing.T) {
	r := newRig(t, 1, 2)
	r.standby()
	r.lead(2, "eni-a", hour)
	r.await("converged", func() bool { return r.converged() == 2 })
	r.ec2.SetFaults(ec2standin.Faults{ErrorRate: 1, ErrorActions: []string{"DeleteRoute"}, ErrorCode: "InternalError"})
	purged, err := r.client().Purge(t.Context(), &routesv1.PurgeRequest{})
	r.must(err)
	if !purged.GetLed() || len(purged.GetLeft()) != 2 || !strings.Contains(purged.GetLeft()[0], "rtb-0 100.64.") {
		t.Errorf("got %v", purged)
	}
	r.ec2.SetFaults(ec2standin.Faults{})
	r.await("it goes on all the same", func() bool { return r.targets()["none"] == 2 })
}

// A caller that gives up leaves the purge to go on.
func TestPurgeWhoseCallerLeaves(t *testing.T) {
	r := newRig(t, 1, 2)
	r.standby()
	r.lead(2, "eni-a", hour)
	r.await("converged", func() bool { return r.converged() == 2 })
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	release := make(chan struct{})
	free := sync.OnceFunc(func() { close(release) })
	defer free()
	r.ec2.SetFaults(ec2standin.Faults{Hook: func(c ec2standin.Call) {
		if c.Action == "DeleteRoute" && !c.DryRun {
			cancel()
			<-release
		}
	}})
	if _, err := r.client().Purge(ctx, &routesv1.PurgeRequest{}); status.Code(err) != codes.Canceled {
		t.Errorf("got %v", err)
	}
	free()
	r.await("all is removed", func() bool { return r.targets()["none"] == 2 })
}

func TestSourceDestCheck(t *testing.T) {
	on := func(r *rig) bool { eni, _ := r.ec2.Snapshot().ENI("eni-a"); return eni.SourceDestCheck }
	told := func(r *rig) *routesv1.Interface { return r.items.get("interface").GetInterface() }
	amiss := func(r *rig) string { return r.metric("eks_hybrid_gateway_interface_problem") }
	t.Run("verified", func(t *testing.T) {
		r := newRig(t, 1, 1)
		r.must(r.ec2.SetSourceDestCheck("eni-a", true))
		r.standby()
		const call = "aws ec2 modify-network-interface-attribute --region us-west-2 --network-interface-id eni-a --no-source-dest-check"
		r.await("the problem is told with the call that mends it", func() bool {
			return told(r).GetSourceDestCheck() == routesv1.SourceDestCheck_SOURCE_DEST_CHECK_ON && strings.Contains(told(r).GetProblem(), call)
		})
		r.await("the gauge shows it", func() bool { return amiss(r) == "1" })
		r.must(r.ec2.SetSourceDestCheck("eni-a", false))
		r.lead(2, "eni-a", hour) // makes it look again
		r.await("it is mended", func() bool {
			return told(r).GetSourceDestCheck() == routesv1.SourceDestCheck_SOURCE_DEST_CHECK_OFF && told(r).GetProblem() == ""
		})
		r.await("the gauge shows that", func() bool { return amiss(r) == "0" })
	})
	t.Run("switched off by the leader", func(t *testing.T) {
		r := newRig(t, 1, 1)
		r.config.ManageSourceDestCheck = true
		r.must(r.ec2.SetSourceDestCheck("eni-a", true))
		r.standby()
		r.await("it is seen", func() bool { return told(r).GetSourceDestCheck() == routesv1.SourceDestCheck_SOURCE_DEST_CHECK_ON })
		if !on(r) {
			t.Error("a gateway that does not lead wrote")
		}
		if got := amiss(r); got != "0" {
			t.Errorf("it waits to be switched off, which is as it must be, and the gauge shows %q", got)
		}
		r.lead(2, "eni-a", hour)
		r.await("it is off", func() bool { return !on(r) && told(r).GetProblem() == "" })
	})
	t.Run("refused", func(t *testing.T) {
		r := newRig(t, 1, 1)
		r.config.ManageSourceDestCheck = true
		r.must(r.ec2.SetSourceDestCheck("eni-a", true))
		r.ec2.FailNext("ModifyNetworkInterfaceAttribute", "UnauthorizedOperation", 10)
		r.standby()
		r.lead(2, "eni-a", hour)
		r.await("the routes converge all the same", func() bool { return r.converged() == 2 })
		r.await("the refusal is told", func() bool {
			return strings.Contains(told(r).GetProblem(), "could not be switched off") && strings.Contains(told(r).GetProblem(), "grant ec2:ModifyNetworkInterfaceAttribute")
		})
		r.await("the gauge shows it", func() bool { return amiss(r) == "1" })
		if routes, calls := r.written(); len(routes) == calls { // none was late, which is an error
			if got := r.metric("eks_hybrid_gateway_route_reconcile_errors_total"); got != "0" {
				t.Errorf("%s errors of routes", got)
			}
		}
		if got := r.metric(`eks_hybrid_gateway_route_ec2_calls_total{action="ModifyNetworkInterfaceAttribute",outcome="denied"}`); got == "" {
			t.Error("the refused call is not counted")
		}
	})
}

// Under the policy that it prints the gateway can do all it has to, and under less it says what is missing.
func TestLeastPolicy(t *testing.T) {
	for name, change := range map[string]func(*config.Config){
		"CIDRs":          func(*config.Config) {},
		"a managed list": func(c *config.Config) { c.ManagePrefixList = true; c.ManageSourceDestCheck = true },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 2, 2)
			change(&r.config)
			r.must(r.ec2.SetSourceDestCheck("eni-a", true))
			r.standby()
			var document string
			r.await("the account is known", func() bool {
				answer, err := r.client().Policy(t.Context(), &routesv1.PolicyRequest{})
				r.must(err)
				document = answer.GetDocument()
				return strings.Contains(document, "arn:aws:ec2:us-west-2:123456789012:route-table/rtb-0")
			})
			policy, err := ec2standin.ParsePolicy([]byte(document))
			if err != nil {
				t.Fatalf("%v in %s", err, document)
			}
			r.ec2.SetPolicies("AKIATEST", policy)
			r.lead(2, "eni-a", hour)
			r.await("the routes converged", func() bool { return r.converged() == 2 && r.reached()["eni-a"] == 4 })
			if r.config.ManagePrefixList {
				r.await("the old routes are gone", func() bool { return r.count(r.ec2.Snapshot()) == [2]int{0, 2} })
				r.await("the check is off", func() bool { eni, _ := r.ec2.Snapshot().ENI("eni-a"); return !eni.SourceDestCheck })
			}
			purged, err := r.client().Purge(t.Context(), &routesv1.PurgeRequest{})
			r.must(err)
			if !purged.GetLed() || len(purged.GetLeft()) != 0 || len(r.ec2.Snapshot().PrefixLists) != 0 {
				t.Errorf("got %v", purged)
			}
			for _, c := range r.ec2.Calls() {
				if c.Code == "UnauthorizedOperation" {
					t.Errorf("refused: %s %v", c.Action, c.Params)
				}
			}
		})
	}
}

func TestMissingPermissionsAreNamed(t *testing.T) {
	r := newRig(t, 2, 1)
	policy, err := ec2standin.ParsePolicy([]byte(`{"Version": "2012-10-17", "Statement": [
		{"Effect": "Allow", "Action": "ec2:Describe*", "Resource": "*"},
		{"Effect": "Allow", "Action": ["ec2:ReplaceRoute", "ec2:CreateRoute"], "Resource": "*"},
		{"Effect": "Allow", "Action": "ec2:DeleteRoute", "Resource": "arn:aws:ec2:us-west-2:123456789012:route-table/rtb-0"}]}`))
	r.must(err)
	r.ec2.SetPolicies("AKIATEST", policy)
	r.standby()
	const key = "permission/ec2:DeleteRoute/arn:aws:ec2:us-west-2:123456789012:route-table/rtb-1"
	r.await("the missing one is named", func() bool { return r.items.get(key) != nil })
	if p := r.items.get(key).GetPermission(); p.GetAction() != "ec2:DeleteRoute" || p.GetResource() != "arn:aws:ec2:us-west-2:123456789012:route-table/rtb-1" {
		t.Errorf("got %v", p)
	}
	r.await("it is counted", func() bool { return r.metric("eks_hybrid_gateway_missing_permissions") == "1" })
	r.items.mu.Lock()
	defer r.items.mu.Unlock()
	for k := range r.items.byKey {
		if strings.HasPrefix(k, "permission/") && k != key {
			t.Errorf("also missing, it says: %s", k)
		}
	}
}
