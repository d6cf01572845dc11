package app_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	adminv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/admin/v1"
	leadershipv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/leadership/v1"
	routesv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/routes/v1"
	tunnelv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/tunnel/v1"
	vtepsv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/vteps/v1"
	"github.com/hybridgateway/gateway/tools/hgctl/internal/app"
)

func TestPartsOfTheStatus(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		args      []string
		has, lack string
	}{
		{[]string{"routes"}, "rtb-1  100.64.0.0/16  eni-1   in sync", "node1"},
		{[]string{"vteps"}, "node1  192.168.1.11", "rtb-1"},
	} {
		code, out, errOut := w.hgctl(c.args...)
		if code != 0 || !strings.Contains(out, c.has) || strings.Contains(out, c.lack) || errOut != "" {
			t.Errorf("%v: exit code %d, output:\n%s%s", c.args, code, out, errOut)
		}
		code, out, _ = w.hgctl(append(c.args, "--output=json")...)
		var s struct {
			GatewayID string
			Routes    []struct{ TableID string }
			Vteps     []struct{ Node string }
		}
		if err := json.Unmarshal([]byte(out), &s); code != 0 || err != nil || s.GatewayID != "gw1" || len(s.Routes)+len(s.Vteps) != 1 {
			t.Errorf("%v: exit code %d, %v in %s", c.args, code, err, out)
		}
	}
}

func TestActions(t *testing.T) {
	for _, c := range []struct {
		name, typed        string
		args               []string
		asked, out, errOut string
		code               int
	}{
		{name: "transfer", args: []string{"transfer"}, asked: "transfer default to ", out: "gw2 leads shard default under epoch 8, and its routes are in place\n"},
		{name: "transfer by name", args: []string{"transfer", "--to=gw2", "--shard=zone-a"}, asked: "transfer zone-a to gw2", out: "gw2 leads shard zone-a"},
		{name: "transfer in JSON", args: []string{"transfer", "-o", "json"}, asked: "transfer default to ", out: `"id":"gw2"`},
		{name: "a refused transfer", args: []string{"transfer", "--to=gw9"}, asked: "transfer default to gw9", code: 1, errOut: ": election: gw9 is not heard\n"},
		{name: "an endless transfer", args: []string{"transfer", "--to=endless", "--timeout=300ms"}, asked: "transfer default to endless", code: 1, errOut: "not done within 300ms: the transfer may go on, hgctl status tells\n"},
		{name: "adopt", args: []string{"routes", "adopt", "rtb-1", "100.64.0.0/16"}, asked: "adopt rtb-1 100.64.0.0/16", out: "rtb-1 100.64.0.0/16 is being taken over"},
		{name: "adopt by somebody else", args: []string{"routes", "adopt", "rtb-1", "refused"}, asked: "adopt rtb-1 refused", code: 1, errOut: ": \"CN=operator\" may only read\n"},
		{name: "register", args: []string{"vteps", "register", "printer", "--ip=192.168.7.1", "--cidr=100.64.7.0/24,100.64.8.0/24"}, asked: "register printer 192.168.7.1 [100.64.7.0/24 100.64.8.0/24]", out: "registered/printer is admitted\n"},
		{name: "register in JSON", args: []string{"vteps", "register", "printer", "--ip=192.168.7.1", "--cidr=100.64.7.0/24", "-o", "json"}, asked: "register printer 192.168.7.1 [100.64.7.0/24]", out: `"state":"STATE_ADMITTED"`},
		{name: "register in part", args: []string{"vteps", "register", "part", "--ip=192.168.7.1", "--cidr=100.64.7.0/24,10.0.0.0/24"}, asked: "register part 192.168.7.1 [100.64.7.0/24 10.0.0.0/24]", out: "registered/part is admitted with 100.64.7.0/24, without some of the rest: 10.0.0.0/24 is the VPC's\n"},
		{name: "register a quarantined one", args: []string{"vteps", "register", "late", "--ip=192.168.7.1", "--cidr=100.64.7.0/24"}, asked: "register late 192.168.7.1 [100.64.7.0/24]", code: 1, errOut: ": registered/late is registered, and quarantined: held by node a\n"},
		{name: "register without a network", args: []string{"vteps", "register", "printer", "--ip=192.168.7.1"}, code: 2, errOut: "missing flags: --cidr=CIDR,..."},
		{name: "deregister", args: []string{"vteps", "deregister", "printer"}, asked: "deregister printer", out: "printer is no longer registered\n"},
		{name: "deregister what is not there", args: []string{"vteps", "deregister", "never"}, asked: "deregister never", code: 1, errOut: ": vtep-registry: no VTEP of that name is registered\n"},
		{name: "the publication", args: []string{"vteps", "publication"}, asked: "publication", out: "Published: the CiliumVTEPConfig hybrid-gateway (cilium.io/v2), written under epoch 7\n"},
		{name: "the publication in JSON", args: []string{"vteps", "publication", "-o", "json"}, asked: "publication", out: `"object":"hybrid-gateway"`},
		{name: "the policy", args: []string{"iam-policy"}, asked: "policy", out: "{\n  \"Version\": \"2012-10-17\"\n}\n"},
		{name: "purge", args: []string{"purge", "--yes"}, asked: "purge", out: "gw1 makes no route until its route-sync is started again\nnothing that the gateways own is left\n"},
		{name: "purge after a yes", typed: "yes\n", args: []string{"purge"}, asked: "purge", out: "nothing that the gateways own is left", errOut: "Gateway gw1 leads: it removes all routes and prefix lists that the gateways own, and traffic from the VPC to the pods stops.\nGo on? Type yes: "},
		{name: "purge after something else", typed: "y\n", args: []string{"purge"}, code: 1, errOut: "Go on? Type yes: hgctl: nothing is removed: that was not a yes"},
		{name: "purge without an answer", args: []string{"purge"}, code: 1, errOut: "hgctl: nothing is removed"},
		{name: "purge in JSON", args: []string{"purge", "--yes", "--output=json"}, asked: "purge", out: `{"led":true}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.typed = c.typed
			code, out, errOut := w.hgctl(c.args...)
			if code != c.code || !strings.Contains(out, c.out) || !strings.Contains(errOut, c.errOut) || (c.errOut == "") != (errOut == "") || (c.out == "") != (out == "") {
				t.Errorf("exit code %d, output %q, errors %q\nwant %d, %q, %q", code, out, errOut, c.code, c.out, c.errOut)
			}
			if asked := w.gateway.questions(); asked != c.asked {
				t.Errorf("the gateway was asked %q, want %q", asked, c.asked)
			}
		})
	}
}

func TestPurgeTellsWhatIsLeft(t *testing.T) {
	w := newWorld(t)
	w.gateway.left = []string{"rtb-1 100.64.0.0/16: UnauthorizedOperation"}
	code, out, errOut := w.hgctl("purge", "--yes")
	if code != 1 || !strings.Contains(out, "left: rtb-1 100.64.0.0/16: UnauthorizedOperation\n") || !strings.Contains(errOut, "1 of what the gateways own could not be removed") {
		t.Errorf("exit code %d, output:\n%s%s", code, out, errOut)
	}
	w.gateway.left, w.gateway.standsBy, w.typed = nil, true, "yes"
	code, out, errOut = w.hgctl("purge")
	if code != 0 || !strings.Contains(out, "purge the gateway that leads as well") || !strings.Contains(errOut, "gw1 does not lead: it makes no route") {
		t.Errorf("exit code %d, output:\n%s%s", code, out, errOut)
	}
}

// A gateway is drained: whatever it leads first, and its tunnel only when nobody needs it, or somebody means it.
func TestDrain(t *testing.T) {
	const handed, gone = "gw2 leads shard default under epoch 8, and its routes are in place\n",
		"nothing of gw1 is left on its node, which forwards nothing until its dataplane is started again\n"
	for _, c := range []struct {
		name        string
		gateway     situation
		args, typed string
		asked       string
		out, errOut string
		code        int
	}{
		{name: "a leader", asked: "transfer default to ", out: handed + "gw1 leads nothing, and goes on forwarding what reaches it\n"},
		{name: "a standby", gateway: situation{standsBy: true}, out: "gw1 leads nothing, and goes on"},
		{name: "the last one", gateway: situation{alone: true}, asked: "transfer default to ", code: 1, errOut: "election: no gateway can take over"},
		{name: "purged", args: "--purge --yes --quiet=1ms", asked: "transfer default to ;purge tunnel false", out: handed + gone},
		{name: "purged after a yes", args: "--purge --quiet=1ms", typed: "yes", asked: "transfer default to ;purge tunnel false", out: handed + gone,
			errOut: "Gateway gw1 hands over what it leads, and forwards nothing until its dataplane is started again.\nGo on? Type yes: "},
		{name: "not purged without a yes", args: "--purge", code: 1, errOut: "nothing is removed"},
		{name: "purged while packets come", gateway: situation{busy: true}, args: "--purge --yes --quiet=1s --timeout=1s", asked: "transfer default to ", out: handed, code: 1,
			errOut: "packets still come through gw1"},
		{name: "that is forced", gateway: situation{busy: true}, args: "--purge --yes --force", asked: "transfer default to ;purge tunnel true", out: handed + gone},
		{name: "the last one, purged", gateway: situation{alone: true}, args: "--purge --yes", asked: "transfer default to ", code: 1,
			errOut: "nothing is removed, and shard default stays with gw1"},
		{name: "the last one, forced: the VPC's routes first", gateway: situation{alone: true}, args: "--purge --yes --force",
			asked: "transfer default to ;purge;purge tunnel true", out: gone},
		{name: "something is left", gateway: situation{standsBy: true, left: []string{"guard delete: busy"}}, args: "--purge --yes --quiet=1ms", asked: "purge tunnel false",
			out: "left: guard delete: busy\n", code: 1, errOut: "1 of what is the gateway's could not be removed"},
		{name: "force alone", args: "--force", code: 1, errOut: "--force is for --purge"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			w.gateway.situation = c.gateway
			w.typed = c.typed
			code, out, errOut := w.hgctl(append([]string{"drain"}, strings.Fields(c.args)...)...)
			if code != c.code || !strings.Contains(out, c.out) || !strings.Contains(errOut, c.errOut) || (c.errOut == "") != (errOut == "") || (c.out == "") != (out == "") {
				t.Errorf("exit code %d, output %q, errors %q\nwant %d, %q, %q", code, out, errOut, c.code, c.out, c.errOut)
			}
			if asked := w.gateway.questions(); asked != c.asked {
				t.Errorf("the gateway was asked %q, want %q", asked, c.asked)
			}
		})
	}
}

// Ctrl-C while the question stands, and while the gateway works.
func TestInterruptedActions(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	in, typing := io.Pipe()
	defer typing.Close()
	run := func(args ...string) (*buffer, <-chan int) {
		errOut, ended := &buffer{}, make(chan int, 1)
		go func() { ended <- app.Run(ctx, append(args, w.flags...), in, &buffer{}, errOut) }()
		return errOut, ended
	}
	errOut, ended := run("purge")
	poll(t, "the question is asked", func() bool { return strings.Contains(errOut.String(), "Type yes") })
	cancel()
	if code := <-ended; code != 1 || !strings.Contains(errOut.String(), "nothing is removed") {
		t.Errorf("exit code %d: %s", code, errOut)
	}
	ctx, cancel = context.WithCancel(t.Context())
	w.gateway.reached = cancel
	errOut, ended = run("transfer", "--to=endless")
	if code := <-ended; code != 1 || !strings.Contains(errOut.String(), "interrupted: the transfer may go on, hgctl status tells") {
		t.Errorf("exit code %d: %s", code, errOut)
	}
}

// situation is what a gateway is in.
type situation struct {
	left     []string
	standsBy bool
	alone    bool // no other gateway can take over
	busy     bool // packets come through
}

// gateway answers as admin does; see services/admin.
type gateway struct {
	adminv1.UnimplementedAdminServiceServer
	situation
	// reached is called when an endless transfer has begun.
	reached func()

	mu    sync.Mutex // a call may go on when its caller has left
	asked []string
	came  uint64
}

// note keeps what the gateway is asked to do.
func (g *gateway) note(question string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.asked = append(g.asked, question)
}

func (g *gateway) questions() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return strings.Join(g.asked, ";")
}

// packets grow while the gateway is busy.
func (g *gateway) packets() uint64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.busy {
		g.came++
	}
	return g.came
}

func (g *gateway) PurgeTunnel(_ context.Context, r *adminv1.PurgeTunnelRequest) (*adminv1.PurgeTunnelResponse, error) {
	g.note(fmt.Sprint("purge tunnel ", r.GetForce()))
	return &adminv1.PurgeTunnelResponse{Left: g.left}, nil
}

func (g *gateway) status() *adminv1.Status {
	role, holder := leadershipv1.Role_ROLE_ACTIVE, "gw1"
	if g.standsBy {
		role, holder = leadershipv1.Role_ROLE_STANDBY, "gw2"
	}
	return &adminv1.Status{
		GatewayId: "gw1",
		Tunnels:   []*tunnelv1.Tunnel{{Counters: &tunnelv1.Counters{RxPackets: g.packets()}}},
		Shards:    []*adminv1.ShardStatus{{Leadership: &leadershipv1.Leadership{Shard: "default", Role: role, Holder: &leadershipv1.Gateway{Id: holder}}}},
		Vteps:     []*vtepsv1.Vtep{{Node: "node1", Ip: "192.168.1.11", State: vtepsv1.State_STATE_ADMITTED}},
		Routes:    []*routesv1.Route{{TableId: "rtb-1", Destination: "100.64.0.0/16", Target: "eni-1", State: routesv1.State_STATE_IN_SYNC}},
	}
}

func (g *gateway) GetStatus(context.Context, *adminv1.GetStatusRequest) (*adminv1.GetStatusResponse, error) {
	return &adminv1.GetStatusResponse{Status: g.status()}, nil
}

func (g *gateway) WatchStatus(_ *adminv1.WatchStatusRequest, stream grpc.ServerStreamingServer[adminv1.WatchStatusResponse]) error {
	if err := stream.Send(&adminv1.WatchStatusResponse{Status: g.status()}); err != nil {
		return err
	}
	<-stream.Context().Done()
	return status.Error(codes.Canceled, "left")
}

func (g *gateway) TransferLeadership(ctx context.Context, r *adminv1.TransferLeadershipRequest) (*adminv1.TransferLeadershipResponse, error) {
	g.note("transfer " + r.GetShard() + " to " + r.GetTo())
	if g.alone {
		return nil, passedOn(codes.FailedPrecondition, "election", "no gateway can take over")
	}
	switch r.GetTo() {
	case "gw9":
		return nil, passedOn(codes.FailedPrecondition, "election", "gw9 is not heard")
	case "endless":
		if g.reached != nil {
			g.reached()
		}
		<-ctx.Done()
		return nil, status.FromContextError(ctx.Err()).Err()
	}
	return &adminv1.TransferLeadershipResponse{Holder: &leadershipv1.Gateway{Id: "gw2"}, Epoch: 8}, nil
}

func (g *gateway) AdoptRoute(_ context.Context, r *adminv1.AdoptRouteRequest) (*adminv1.AdoptRouteResponse, error) {
	g.note("adopt " + r.GetTableId() + " " + r.GetDestination())
	if r.GetDestination() == "refused" {
		return nil, status.Error(codes.PermissionDenied, `"CN=operator" may only read`)
	}
	return &adminv1.AdoptRouteResponse{}, nil
}

func (g *gateway) PurgeRoutes(context.Context, *adminv1.PurgeRoutesRequest) (*adminv1.PurgeRoutesResponse, error) {
	g.note("purge")
	return &adminv1.PurgeRoutesResponse{Led: !g.standsBy, Left: g.left}, nil
}

func (g *gateway) RegisterVtep(_ context.Context, r *adminv1.RegisterVtepRequest) (*adminv1.RegisterVtepResponse, error) {
	g.note(fmt.Sprint("register ", r.GetName(), " ", r.GetIp(), " ", r.GetPodCidrs()))
	v := &vtepsv1.Vtep{Node: "registered/" + r.GetName(), State: vtepsv1.State_STATE_ADMITTED, PodCidrs: r.GetPodCidrs()}
	switch r.GetName() {
	case "late":
		v.State, v.Reason = vtepsv1.State_STATE_QUARANTINED, "held by node a"
	case "part":
		v.PodCidrs, v.Reason = r.GetPodCidrs()[:1], "10.0.0.0/24 is the VPC's"
	}
	return &adminv1.RegisterVtepResponse{Vtep: v}, nil
}

func (g *gateway) DeregisterVtep(_ context.Context, r *adminv1.DeregisterVtepRequest) (*adminv1.DeregisterVtepResponse, error) {
	g.note("deregister " + r.GetName())
	if r.GetName() == "never" {
		return nil, passedOn(codes.NotFound, "vtep-registry", "no VTEP of that name is registered")
	}
	return &adminv1.DeregisterVtepResponse{}, nil
}

func (g *gateway) GetPublication(context.Context, *adminv1.GetPublicationRequest) (*adminv1.GetPublicationResponse, error) {
	g.note("publication")
	return &adminv1.GetPublicationResponse{Publication: &vtepsv1.GetPublicationResponse{
		Mode: vtepsv1.Mode_MODE_PUBLISHED, ApiVersion: "cilium.io/v2", Object: "hybrid-gateway", Epoch: 7,
	}}, nil
}

// passedOn is an error of a service as admin passes it on.
func passedOn(code codes.Code, service, message string) error {
	s, err := status.New(code, service+": "+message).WithDetails(&adminv1.Forwarding{Service: service})
	if err != nil {
		return err
	}
	return s.Err()
}

func (g *gateway) GetIamPolicy(context.Context, *adminv1.GetIamPolicyRequest) (*adminv1.GetIamPolicyResponse, error) {
	g.note("policy")
	return &adminv1.GetIamPolicyResponse{Document: "{\n  \"Version\": \"2012-10-17\"\n}"}, nil
}
