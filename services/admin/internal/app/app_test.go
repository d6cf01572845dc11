package app_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"

	"github.com/hybridgateway/gateway/libs/boottime"
	"github.com/hybridgateway/gateway/libs/daemon"
	"github.com/hybridgateway/gateway/libs/deptest"
	"github.com/hybridgateway/gateway/libs/feed"
	"github.com/hybridgateway/gateway/libs/feed/wire"
	"github.com/hybridgateway/gateway/libs/pkitest"
	"github.com/hybridgateway/gateway/libs/porttest"
	adminv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/admin/v1"
	feedv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/feed/v1"
	leadershipv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/leadership/v1"
	routesv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/routes/v1"
	tunnelv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/tunnel/v1"
	vtepsv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/vteps/v1"
	"github.com/hybridgateway/gateway/services/admin/internal/app"
	"github.com/hybridgateway/gateway/services/admin/internal/config"
)

// patience is many times what anything here takes on a busy machine.
const patience = time.Minute

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestBinaryHasNoForeignSDK(t *testing.T) {
	deptest.Forbid(t, "../..", map[string]string{
		"github.com/aws":                 "only route-sync speaks to AWS",
		"k8s.io":                         "only election and vtep-registry speak to Kubernetes",
		"go.etcd.io":                     "only election speaks to etcd",
		"github.com/vishvananda/netlink": "only dataplane changes the kernel",
	})
}

func TestStatusJoinsTheStreams(t *testing.T) {
	g := newGateway(t)
	g.startServices(t)
	admin := g.dial(t, g.operators, "operator")

	var s *adminv1.Status
	poll(t, "all streams are up", func() bool {
		answer, err := admin.GetStatus(t.Context(), &adminv1.GetStatusRequest{})
		s = answer.GetStatus()
		return err == nil && connected(s) == 4
	})
	if s.GetGatewayId() != "gw1" || len(s.GetShards()) != 1 || len(s.GetTunnels()) != 1 || len(s.GetVteps()) != 1 || len(s.GetRoutes()) != 1 {
		t.Fatalf("got %v", s)
	}
	shard := s.GetShards()[0]
	if shard.GetConvergedEpoch() != 7 || shard.GetLeadership().GetEpoch() != 7 || s.GetOwnInterface().GetEniId() != "eni-1" {
		t.Errorf("got %v and %v", shard, s.GetOwnInterface())
	}
	if valid := shard.GetValidFor().AsDuration(); valid <= 0 || valid > time.Hour {
		t.Errorf("valid for %v of an hour", valid)
	}
	peers := shard.GetPeers()
	if len(peers) != 2 || peers[0].GetPeer().GetGateway().GetId() != "gw2" || peers[1].GetSince() != nil {
		t.Fatalf("got the peers %v", peers)
	}
	if heard := s.GetTime().AsTime().Sub(peers[0].GetSince().AsTime()); heard < time.Minute || heard > time.Hour {
		t.Errorf("gw2 is heard for %v, want a minute and what the test took", heard)
	}
	if missing := s.GetMissingPermissions(); len(missing) != 1 || missing[0].GetAction() != "ec2:ReplaceRoute" {
		t.Errorf("missing permissions: %v", missing)
	}
}

// What a dead service last said stays, marked as such; its return is seen.
func TestLostStreamKeepsItsState(t *testing.T) {
	g := newGateway(t)
	g.startServices(t)
	admin := g.dial(t, g.operators, "operator")
	watch, err := admin.WatchStatus(t.Context(), &adminv1.WatchStatusRequest{})
	if err != nil {
		t.Fatal(err)
	}
	await(t, watch, "all streams are up", func(s *adminv1.Status) bool { return connected(s) == 4 })

	g.stop[daemon.VtepRegistry]()
	await(t, watch, "the stream of vtep-registry is lost, its VTEP shown", func(s *adminv1.Status) bool {
		return connected(s) == 3 && len(s.GetVteps()) == 1 && s.GetServices()[1].GetError() != ""
	})
	g.vteps = synced(t, map[string]*vtepsv1.Vtep{"node2": {Node: "node2"}, "node3": {Node: "node3"}})
	g.startVtepRegistry(t)
	await(t, watch, "the new instance's snapshot replaced the old state", func(s *adminv1.Status) bool {
		return connected(s) == 4 && len(s.GetVteps()) == 2 && s.GetVteps()[0].GetNode() == "node2"
	})
}

// Changes that come faster than the stream's interval are joined.
func TestWatchIsRateLimited(t *testing.T) {
	g := newGateway(t)
	g.startServices(t)
	watch, err := g.dial(t, g.operators, "operator").WatchStatus(t.Context(), &adminv1.WatchStatusRequest{})
	if err != nil {
		t.Fatal(err)
	}
	await(t, watch, "all streams are up", func(s *adminv1.Status) bool { return connected(s) == 4 })
	const changes = 2000
	for i := range changes {
		g.tunnel.Set(t.Context(), "hybrid_vxlan0", &tunnelv1.Tunnel{Device: "hybrid_vxlan0", Vteps: uint32(i + 1)})
	}
	received := await(t, watch, "the last change arrived", func(s *adminv1.Status) bool {
		return s.GetTunnels()[0].GetVteps() == changes
	})
	if received > changes/10 {
		t.Errorf("%d changes made %d messages", changes, received)
	}
}

func TestOnlyCertifiedOperatorsAreAnswered(t *testing.T) {
	g := newGateway(t)
	strangers := pkitest.NewAuthority(t, "strangers")
	for name, admin := range map[string]adminv1.AdminServiceClient{
		"a stranger's certificate": g.dial(t, strangers, "operator"),
		"no certificate":           g.dial(t, nil, ""),
	} {
		_, err := admin.GetStatus(t.Context(), &adminv1.GetStatusRequest{})
		if status.Code(err) != codes.Unavailable {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if _, err := g.dial(t, g.operators, "operator").GetStatus(t.Context(), &adminv1.GetStatusRequest{}); err != nil {
		t.Errorf("an operator's certificate: %v", err)
	}
}

func TestRotatedCertificatesNeedNoRestart(t *testing.T) {
	g := newGateway(t)
	if _, err := g.dial(t, g.operators, "operator").GetStatus(t.Context(), &adminv1.GetStatusRequest{}); err != nil {
		t.Fatal(err)
	}
	next := pkitest.NewAuthority(t, "next")
	copyFile(t, next.File, g.config.ClientCA)
	if _, err := g.dial(t, g.operators, "operator").GetStatus(t.Context(), &adminv1.GetStatusRequest{}); err == nil {
		t.Error("an operator of the replaced authority was answered")
	}
	if _, err := g.dial(t, next, "operator").GetStatus(t.Context(), &adminv1.GetStatusRequest{}); err != nil {
		t.Errorf("an operator of the new authority: %v", err)
	}
	// Files that are half written must not lock operators out.
	if err := os.WriteFile(g.config.TLSCert, []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := g.dial(t, next, "operator").GetStatus(t.Context(), &adminv1.GetStatusRequest{}); err != nil {
		t.Errorf("with an unreadable certificate: %v", err)
	}
}

func TestBadFilesAreNamed(t *testing.T) {
	c, err := config.Parse([]string{"--tls-cert=/none.crt", "--tls-key=/none.key", "--client-ca=/none.ca", "--socket-dir=" + t.TempDir()}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if err := app.Run(t.Context(), c); err == nil || !strings.Contains(err.Error(), "--tls-cert=/none.crt") {
		t.Errorf("got %v", err)
	}
	for args, want := range map[string]string{
		"": "missing flags",
		"--tls-cert=a --tls-key=b --client-ca=c --listen=9443": `--listen: "9443" is not an IP address and a port`,
	} {
		if _, err := config.Parse(strings.Fields(args), io.Discard); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", args, err, want)
		}
	}
}

// gateway is an admin service under test with the four services it follows.
type gateway struct {
	config    config.Config
	server    *pkitest.Authority
	operators *pkitest.Authority

	leadership *feed.Log[*leadershipv1.Leadership]
	vteps      *feed.Log[*vtepsv1.Vtep]
	tunnel     *feed.Log[*tunnelv1.Tunnel]
	routes     *feed.Log[*routesv1.WatchResponse]
	// asked is what the services were asked for.
	asked chan string
	// stop ends a service, by its name.
	stop map[string]func()
}

func newGateway(t *testing.T) *gateway {
	t.Helper()
	g := &gateway{server: pkitest.NewAuthority(t, "gateways"), operators: pkitest.NewAuthority(t, "operators"), asked: make(chan string, 16), stop: map[string]func(){}}
	cert, key := g.server.Issue(t, "gw1")
	// Unix socket paths are short (108 bytes, unix(7)), tests' directories are not.
	sockets, err := os.MkdirTemp("", "admin")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(sockets) })
	g.config, err = config.Parse([]string{
		"--gateway-id=gw1", "--socket-dir=" + sockets, "--http-listen=127.0.0.1:0", "--listen=" + porttest.Address(t),
		"--tls-cert=" + cert, "--tls-key=" + key, "--client-ca=" + g.operators.File,
	}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- app.Run(ctx, g.config) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("admin ended with %v", err)
		}
	})
	poll(t, "admin listens", func() bool {
		conn, err := net.Dial("tcp", g.config.Listen.String())
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	return g
}

func (g *gateway) startServices(t *testing.T) {
	t.Helper()
	g.leadership = synced(t, map[string]*leadershipv1.Leadership{"default": {
		Shard: "default", Epoch: 7, Role: leadershipv1.Role_ROLE_ACTIVE,
		ValidUntilBoottime: int64(boottime.Now() + time.Hour), Holder: &leadershipv1.Gateway{Id: "gw1"},
		Peers: []*leadershipv1.Peer{
			{Gateway: &leadershipv1.Gateway{Id: "gw2"}, SinceBoottime: int64(boottime.Now() - time.Minute)},
			{Gateway: &leadershipv1.Gateway{NodeIp: "10.0.3.10"}},
		},
	}})
	g.vteps = synced(t, map[string]*vtepsv1.Vtep{"node1": {Node: "node1"}})
	g.tunnel = synced(t, map[string]*tunnelv1.Tunnel{"hybrid_vxlan0": {Device: "hybrid_vxlan0"}})
	g.routes = synced(t, map[string]*routesv1.WatchResponse{
		"interface":           {Item: &routesv1.WatchResponse_Interface{Interface: &routesv1.Interface{EniId: "eni-1"}}},
		"route/rtb-1/x":       {Item: &routesv1.WatchResponse_Route{Route: &routesv1.Route{TableId: "rtb-1"}}},
		"permission/a/b":      {Item: &routesv1.WatchResponse_Permission{Permission: &routesv1.Permission{Action: "ec2:ReplaceRoute", Resource: "arn:b"}}},
		"convergence/default": {Item: &routesv1.WatchResponse_Convergence{Convergence: &routesv1.Convergence{Shard: "default", Epoch: 7}}},
	})
	g.serve(t, daemon.Election, func(s *grpc.Server) {
		leadershipv1.RegisterLeadershipServiceServer(s, election{log: g.leadership, asked: g.asked})
	})
	g.serve(t, daemon.Dataplane, func(s *grpc.Server) {
		tunnelv1.RegisterTunnelServiceServer(s, dataplane{log: g.tunnel, asked: g.asked})
	})
	g.serve(t, daemon.RouteSync, func(s *grpc.Server) {
		routesv1.RegisterRoutesServiceServer(s, routeSync{log: g.routes, asked: g.asked})
	})
	g.startVtepRegistry(t)
}

func (g *gateway) startVtepRegistry(t *testing.T) {
	g.serve(t, daemon.VtepRegistry, func(s *grpc.Server) {
		vtepsv1.RegisterVtepsServiceServer(s, vtepRegistry{log: g.vteps, asked: g.asked})
	})
}

func (g *gateway) serve(t *testing.T, service string, register func(*grpc.Server)) {
	t.Helper()
	server := daemon.NewServer()
	register(server.Server)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- server.ServeSocket(ctx, g.config.Socket(service)) }()
	stopped := false
	g.stop[service] = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("%s ended with %v", service, err)
		}
	}
	t.Cleanup(g.stop[service])
}

// dial connects with a certificate of the given authority, or without one.
func (g *gateway) dial(t *testing.T, authority *pkitest.Authority, name string, organisations ...string) adminv1.AdminServiceClient {
	t.Helper()
	pem, err := os.ReadFile(g.server.File)
	if err != nil {
		t.Fatal(err)
	}
	c := &tls.Config{RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS13}
	c.RootCAs.AppendCertsFromPEM(pem)
	if authority != nil {
		certFile, keyFile := authority.Issue(t, name, organisations...)
		cert, err := tls.LoadX509KeyPair(certFile, keyFile)
		if err != nil {
			t.Fatal(err)
		}
		c.Certificates = []tls.Certificate{cert}
	}
	conn, err := grpc.NewClient("passthrough:"+g.config.Listen.String(), grpc.WithTransportCredentials(credentials.NewTLS(c)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return adminv1.NewAdminServiceClient(conn)
}

type election struct {
	leadershipv1.UnimplementedLeadershipServiceServer
	log   *feed.Log[*leadershipv1.Leadership]
	asked chan string
}

func (s election) Transfer(_ context.Context, r *leadershipv1.TransferRequest) (*leadershipv1.TransferResponse, error) {
	s.asked <- "transfer " + r.GetShard() + " to " + r.GetTo()
	if r.GetTo() == "gw9" {
		return nil, status.Error(codes.FailedPrecondition, "gw9 is not heard")
	}
	return &leadershipv1.TransferResponse{Holder: &leadershipv1.Gateway{Id: "gw2"}, Epoch: 8}, nil
}

func (s election) Watch(r *leadershipv1.WatchRequest, stream grpc.ServerStreamingServer[leadershipv1.WatchResponse]) error {
	return wire.Serve(stream, s.log, r.GetResumeFrom(), func(h *feedv1.Header, e feed.Event[*leadershipv1.Leadership]) *leadershipv1.WatchResponse {
		return &leadershipv1.WatchResponse{Header: h, Leadership: e.Value}
	})
}

type vtepRegistry struct {
	vtepsv1.UnimplementedVtepsServiceServer
	log   *feed.Log[*vtepsv1.Vtep]
	asked chan string
}

func (s vtepRegistry) RegisterVtep(_ context.Context, r *vtepsv1.RegisterVtepRequest) (*vtepsv1.RegisterVtepResponse, error) {
	s.asked <- fmt.Sprint("register ", r.GetName(), " ", r.GetIp(), " ", r.GetPodCidrs())
	return &vtepsv1.RegisterVtepResponse{Vtep: &vtepsv1.Vtep{Node: "registered/" + r.GetName()}}, nil
}

func (s vtepRegistry) DeregisterVtep(_ context.Context, r *vtepsv1.DeregisterVtepRequest) (*vtepsv1.DeregisterVtepResponse, error) {
	s.asked <- "deregister " + r.GetName()
	if r.GetName() == "never" {
		return nil, status.Error(codes.NotFound, "no VTEP of that name is registered")
	}
	return &vtepsv1.DeregisterVtepResponse{}, nil
}

func (s vtepRegistry) GetPublication(context.Context, *vtepsv1.GetPublicationRequest) (*vtepsv1.GetPublicationResponse, error) {
	s.asked <- "publication"
	return &vtepsv1.GetPublicationResponse{Epoch: 7}, nil
}

func (s vtepRegistry) Watch(r *vtepsv1.WatchRequest, stream grpc.ServerStreamingServer[vtepsv1.WatchResponse]) error {
	return wire.Serve(stream, s.log, r.GetResumeFrom(), func(h *feedv1.Header, e feed.Event[*vtepsv1.Vtep]) *vtepsv1.WatchResponse {
		return &vtepsv1.WatchResponse{Header: h, Vtep: e.Value}
	})
}

type dataplane struct {
	tunnelv1.UnimplementedTunnelServiceServer
	log   *feed.Log[*tunnelv1.Tunnel]
	asked chan string
}

func (s dataplane) Purge(context.Context, *tunnelv1.PurgeRequest) (*tunnelv1.PurgeResponse, error) {
	s.asked <- "purge the tunnel"
	return &tunnelv1.PurgeResponse{Left: []string{"the guard"}}, nil
}

func (s dataplane) Watch(r *tunnelv1.WatchRequest, stream grpc.ServerStreamingServer[tunnelv1.WatchResponse]) error {
	return wire.Serve(stream, s.log, r.GetResumeFrom(), func(h *feedv1.Header, e feed.Event[*tunnelv1.Tunnel]) *tunnelv1.WatchResponse {
		return &tunnelv1.WatchResponse{Header: h, Tunnel: e.Value}
	})
}

type routeSync struct {
	routesv1.UnimplementedRoutesServiceServer
	log   *feed.Log[*routesv1.WatchResponse]
	asked chan string
}

func (s routeSync) Adopt(_ context.Context, r *routesv1.AdoptRequest) (*routesv1.AdoptResponse, error) {
	s.asked <- "adopt " + r.GetTableId() + " " + r.GetDestination()
	return &routesv1.AdoptResponse{}, nil
}

// Purge goes on until its caller gives up. It tells how long that takes, to the minute.
func (s routeSync) Purge(ctx context.Context, _ *routesv1.PurgeRequest) (*routesv1.PurgeResponse, error) {
	deadline, _ := ctx.Deadline()
	s.asked <- "purge within " + time.Until(deadline).Round(time.Minute).String()
	<-ctx.Done()
	s.asked <- "gave up"
	return nil, status.FromContextError(ctx.Err()).Err()
}

func (s routeSync) Policy(context.Context, *routesv1.PolicyRequest) (*routesv1.PolicyResponse, error) {
	s.asked <- "policy"
	return &routesv1.PolicyResponse{Document: "{}"}, nil
}

func (s routeSync) Watch(r *routesv1.WatchRequest, stream grpc.ServerStreamingServer[routesv1.WatchResponse]) error {
	return wire.Serve(stream, s.log, r.GetResumeFrom(), func(h *feedv1.Header, e feed.Event[*routesv1.WatchResponse]) *routesv1.WatchResponse {
		m := &routesv1.WatchResponse{Header: h}
		if e.Kind == feed.Upsert {
			m.Item = e.Value.Item
		}
		return m
	})
}

func synced[V any](t *testing.T, items map[string]V) *feed.Log[V] {
	t.Helper()
	log := feed.NewLog[V](4096)
	for key, item := range items {
		log.Set(t.Context(), key, item)
	}
	log.MarkSynced()
	return log
}

func connected(s *adminv1.Status) int {
	n := 0
	for _, service := range s.GetServices() {
		if service.GetConnected() {
			n++
		}
	}
	return n
}

// await reads statuses until one is as wanted and returns how many it read.
func await(t *testing.T, watch grpc.ServerStreamingClient[adminv1.WatchStatusResponse], what string, ok func(*adminv1.Status) bool) int {
	t.Helper()
	timeout := time.AfterFunc(patience, func() { panic("not so within " + patience.String() + ": " + what) })
	defer timeout.Stop()
	for n := 1; ; n++ {
		answer, err := watch.Recv()
		if err != nil {
			t.Fatalf("waiting until %s: %v", what, err)
		}
		if ok(answer.GetStatus()) {
			return n
		}
	}
}

func poll(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not so within %v: %s", patience, what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	content, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Clean(to), content, 0o600); err != nil {
		t.Fatal(err)
	}
}
