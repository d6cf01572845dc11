package app_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/hybridgateway/gateway/libs/daemon"
	adminv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/admin/v1"
	leadershipv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/leadership/v1"
)

const operators = "hybrid-gateway:operators"

// What an operator asks for reaches the service that does it, and its answer comes back.
func TestRequestsArePassedOn(t *testing.T) {
	g := newWholeGateway(t)
	admin := g.dial(t, g.operators, "operator", "others", operators)
	ctx := t.Context()

	led, err := admin.TransferLeadership(ctx, &adminv1.TransferLeadershipRequest{Shard: "zone-a", To: "gw2"})
	if err != nil || led.GetHolder().GetId() != "gw2" || led.GetEpoch() != 8 {
		t.Errorf("transfer: %v, %v", led, err)
	}
	g.wants(t, "transfer zone-a to gw2")
	if _, err := admin.AdoptRoute(ctx, &adminv1.AdoptRouteRequest{TableId: "rtb-1", Destination: "100.64.0.0/16"}); err != nil {
		t.Errorf("adopt: %v", err)
	}
	g.wants(t, "adopt rtb-1 100.64.0.0/16")
	policy, err := admin.GetIamPolicy(ctx, &adminv1.GetIamPolicyRequest{})
	if err != nil || policy.GetDocument() != "{}" {
		t.Errorf("policy: %v, %v", policy, err)
	}
	g.wants(t, "policy")

	registered, err := admin.RegisterVtep(ctx, &adminv1.RegisterVtepRequest{Name: "printer", Ip: "192.168.7.1", PodCidrs: []string{"100.64.7.0/24"}})
	if err != nil || registered.GetVtep().GetNode() != "registered/printer" {
		t.Errorf("register: %v, %v", registered, err)
	}
	g.wants(t, "register printer 192.168.7.1 [100.64.7.0/24]")
	if _, err := admin.DeregisterVtep(ctx, &adminv1.DeregisterVtepRequest{Name: "printer"}); err != nil {
		t.Errorf("deregister: %v", err)
	}
	g.wants(t, "deregister printer")
	published, err := admin.GetPublication(ctx, &adminv1.GetPublicationRequest{})
	if err != nil || published.GetPublication().GetEpoch() != 7 {
		t.Errorf("publication: %v, %v", published, err)
	}
	g.wants(t, "publication")
	_, err = admin.DeregisterVtep(ctx, &adminv1.DeregisterVtepRequest{Name: "never"})
	g.wants(t, "deregister never")
	refused(t, err, codes.NotFound, daemon.VtepRegistry, "vtep-registry: no VTEP of that name is registered")

	_, err = admin.TransferLeadership(ctx, &adminv1.TransferLeadershipRequest{To: "gw9"})
	g.wants(t, "transfer  to gw9")
	refused(t, err, codes.FailedPrecondition, daemon.Election, "election: gw9 is not heard")
}

// A tunnel is not removed from under the traffic, unless that is meant.
func TestTheTunnelOfTheLeaderStays(t *testing.T) {
	g := newWholeGateway(t)
	admin := g.dial(t, g.operators, "operator", operators)
	purge := func(force bool) error {
		answer, err := admin.PurgeTunnel(t.Context(), &adminv1.PurgeTunnelRequest{Force: force})
		if err == nil && !slices.Equal(answer.GetLeft(), []string{"the guard"}) {
			t.Errorf("left %v", answer.GetLeft())
		}
		return err
	}
	if err := purge(false); status.Code(err) != codes.FailedPrecondition || !strings.Contains(err.Error(), "leads shard default") {
		t.Errorf("while it leads: %v", err)
	}
	if len(g.asked) > 0 {
		t.Errorf("the dataplane was asked: %s", <-g.asked)
	}
	if err := purge(true); err != nil {
		t.Errorf("forced: %v", err)
	}
	g.wants(t, "purge the tunnel")
	standby := func(holder *leadershipv1.Gateway, converged bool) *leadershipv1.Leadership {
		return &leadershipv1.Leadership{Shard: "default", Epoch: 8, Role: leadershipv1.Role_ROLE_STANDBY, Holder: holder, HolderConverged: converged}
	}
	for want, l := range map[string]*leadershipv1.Leadership{
		"nobody leads shard default":                              standby(nil, false),
		"gw2, which leads shard default, has not recorded yet":    standby(&leadershipv1.Gateway{Id: "gw2"}, false),
		"the gateway leads shard default: hand that over first; ": standby(&leadershipv1.Gateway{Id: "gw1"}, true), // and cannot prove it
	} {
		g.leadership.Set(t.Context(), "default", l)
		poll(t, want, func() bool {
			err := purge(false)
			return status.Code(err) == codes.FailedPrecondition && strings.Contains(err.Error(), want)
		})
	}
	g.leadership.Set(t.Context(), "default", standby(&leadershipv1.Gateway{Id: "gw2"}, true))
	poll(t, "it may be removed when another one leads", func() bool { return purge(false) == nil })
	g.wants(t, "purge the tunnel")
	g.stop[daemon.Election]()
	poll(t, "election is missed", func() bool {
		answer, err := admin.GetStatus(t.Context(), &adminv1.GetStatusRequest{})
		return err == nil && connected(answer.GetStatus()) == 3
	})
	if err := purge(false); status.Code(err) != codes.FailedPrecondition || !strings.Contains(err.Error(), "election of this gateway is not heard") {
		t.Errorf("while it is not known who leads: %v", err)
	}
}

// An operator who gives up frees the service, which is not asked twice.
func TestGivingUpReachesTheService(t *testing.T) {
	t.Run("without a deadline", func(t *testing.T) { givesUp(t.Context(), t, "1h0m0s") })
	t.Run("with a deadline", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		givesUp(ctx, t, "10m0s")
	})
}

// givesUp is an operator who gives up when the service was given its time.
func givesUp(ctx context.Context, t *testing.T, given string) {
	t.Helper()
	g := newWholeGateway(t)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		_, err := g.dial(t, g.operators, "operator", operators).PurgeRoutes(ctx, &adminv1.PurgeRoutesRequest{})
		ended <- err
	}()
	g.wants(t, "purge within "+given)
	cancel()
	g.wants(t, "gave up")
	if err := <-ended; status.Code(err) != codes.Canceled {
		t.Errorf("got %v", err)
	}
}

// A service that hangs is named before the operator's own patience ends.
func TestAHangingServiceIsNamed(t *testing.T) {
	g := newWholeGateway(t)
	admin := g.dial(t, g.operators, "operator", operators)
	ask := func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		_, err := admin.PurgeRoutes(ctx, &adminv1.PurgeRoutesRequest{})
		g.wants(t, "purge within 0s")
		g.wants(t, "gave up")
		return err
	}
	err := ask()
	for range 10 {
		if len(status.Convert(err).Details()) > 0 {
			break
		}
		err = ask() // a machine that stalled for the time that the answer has to come back
	}
	refused(t, err, codes.DeadlineExceeded, daemon.RouteSync, "route-sync of this gateway did not answer in time")
}

func TestAnAbsentServiceIsNamed(t *testing.T) {
	g := newGateway(t)
	admin := g.dial(t, g.operators, "operator", operators)
	ask := map[string]func() error{
		daemon.Election: func() error {
			_, err := admin.TransferLeadership(t.Context(), &adminv1.TransferLeadershipRequest{})
			return err
		},
		daemon.RouteSync: func() error {
			_, err := admin.PurgeRoutes(t.Context(), &adminv1.PurgeRoutesRequest{})
			return err
		},
		daemon.VtepRegistry: func() error {
			_, err := admin.RegisterVtep(t.Context(), &adminv1.RegisterVtepRequest{})
			return err
		},
	}
	for service, call := range ask {
		refused(t, call(), codes.Unavailable, service, service+" of this gateway is not available")
	}
	g.startServices(t)
	poll(t, "election is back", func() bool { return ask[daemon.Election]() == nil })
	g.wants(t, "transfer  to ")
}

// A client that does not prove to be an operator reads everything and changes nothing.
func TestOnlyOperatorsChangeAnything(t *testing.T) {
	g := newWholeGateway(t)
	for name, organisations := range map[string][]string{
		"reader":      nil,
		"empty":       {""},
		"likely":      {"hybrid-gateway"},
		"nearly":      {operators + "2", "HYBRID-GATEWAY:OPERATORS"},
		operators:     {"somebody"},
		"both in one": {operators + "," + operators},
	} {
		admin := g.dial(t, g.operators, name, organisations...)
		if _, err := admin.GetStatus(t.Context(), &adminv1.GetStatusRequest{}); err != nil {
			t.Errorf("%s: status: %v", name, err)
		}
		if _, err := admin.GetIamPolicy(t.Context(), &adminv1.GetIamPolicyRequest{}); err != nil {
			t.Errorf("%s: policy: %v", name, err)
		}
		g.wants(t, "policy")
		if _, err := admin.GetPublication(t.Context(), &adminv1.GetPublicationRequest{}); err != nil {
			t.Errorf("%s: publication: %v", name, err)
		}
		g.wants(t, "publication")
		for method, call := range map[string]func() error{
			"TransferLeadership": func() error {
				_, err := admin.TransferLeadership(t.Context(), &adminv1.TransferLeadershipRequest{})
				return err
			},
			"AdoptRoute": func() error {
				_, err := admin.AdoptRoute(t.Context(), &adminv1.AdoptRouteRequest{})
				return err
			},
			"PurgeRoutes": func() error {
				_, err := admin.PurgeRoutes(t.Context(), &adminv1.PurgeRoutesRequest{})
				return err
			},
			"PurgeTunnel": func() error {
				_, err := admin.PurgeTunnel(t.Context(), &adminv1.PurgeTunnelRequest{Force: true})
				return err
			},
			"RegisterVtep": func() error {
				_, err := admin.RegisterVtep(t.Context(), &adminv1.RegisterVtepRequest{})
				return err
			},
			"DeregisterVtep": func() error {
				_, err := admin.DeregisterVtep(t.Context(), &adminv1.DeregisterVtepRequest{})
				return err
			},
		} {
			err := call()
			if s := status.Convert(err); s.Code() != codes.PermissionDenied || !strings.Contains(s.Message(), "CN="+name) ||
				!strings.Contains(s.Message(), "--operators="+operators+" is needed for "+method) {
				t.Errorf("%s: %s: %v", name, method, err)
			}
		}
	}
	if len(g.asked) > 0 {
		t.Errorf("a service was asked: %s", <-g.asked)
	}
}

// newWholeGateway is a gateway of which all services serve.
func newWholeGateway(t *testing.T) *gateway {
	t.Helper()
	g := newGateway(t)
	g.startServices(t)
	admin := g.dial(t, g.operators, "operator")
	poll(t, "all streams are up", func() bool {
		answer, err := admin.GetStatus(t.Context(), &adminv1.GetStatusRequest{})
		return err == nil && connected(answer.GetStatus()) == 4
	})
	return g
}

// wants is that a service is asked for just that.
func (g *gateway) wants(t *testing.T, want string) {
	t.Helper()
	select {
	case got := <-g.asked:
		if got != want {
			t.Errorf("a service was asked: %q, want %q", got, want)
		}
	case <-time.After(patience):
		t.Fatalf("no service was asked within %v: %s", patience, want)
	}
}

func refused(t *testing.T, err error, code codes.Code, service, message string) {
	t.Helper()
	s := status.Convert(err)
	if s.Code() != code || !strings.Contains(s.Message(), message) {
		t.Errorf("got %v, want %v with %q", err, code, message)
	}
	for _, d := range s.Details() {
		if f, ok := d.(*adminv1.Forwarding); ok && f.GetService() == service {
			return
		}
	}
	t.Errorf("%v does not name %s: %v", err, service, s.Details())
}
