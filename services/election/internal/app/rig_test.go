package app_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	coordinationclient "k8s.io/client-go/kubernetes/typed/coordination/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/hybridgateway/gateway/libs/apiservertest"
	"github.com/hybridgateway/gateway/libs/daemon"
	"github.com/hybridgateway/gateway/libs/feed"
	"github.com/hybridgateway/gateway/libs/feed/wire"
	"github.com/hybridgateway/gateway/libs/porttest"
	feedv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/feed/v1"
	leadershipv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/leadership/v1"
	routesv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/routes/v1"
	tunnelv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/tunnel/v1"
	"github.com/hybridgateway/gateway/services/election/internal/app"
	"github.com/hybridgateway/gateway/services/election/internal/config"
)

const (
	leaseName = "eks-hybrid-gateway"
	// patience is many times what anything here takes on a busy machine.
	patience = time.Minute
	// asProcess makes the test binary be election itself, so that it can be killed.
	asProcess = "ELECTION_TEST_AS_PROCESS"
)

var apiserver apiservertest.Shared

func TestMain(m *testing.M) {
	if os.Getenv(asProcess) != "" {
		os.Exit(daemon.Main(daemon.Election, config.Parse, app.Run))
	}
	goleak.VerifyTestMain(apiserver.Wrap(m))
}

// gateway is a node with a fake dataplane, a fake route-sync, and the real election.
type gateway struct {
	t          *testing.T
	id         string
	dir        string
	http       string
	kubeconfig string
	collector  string
	// record are flags that say where the record is, if not in a Lease.
	record []string
	// lease are flags that say when the record expires: long after the test, unless that is what it waits for.
	lease []string
	// peers are flags that let it watch other gateways.
	peers []string

	tunnel *feed.Log[*tunnelv1.Tunnel]
	routes *feed.Log[*routesv1.WatchResponse]
	// streams counts those that were opened to both.
	streams atomic.Int64
	events  chan *leadershipv1.Leadership

	mu sync.Mutex
	// converges tells whether routes converge as soon as the gateway leads.
	converges bool
	last      *leadershipv1.Leadership
	history   []string
	// epochs has the last of each shard.
	epochs map[string]uint64
}

// expiring lets a record expire while a test waits for it, and not while a busy machine does nothing for some seconds.
func expiring() []string { return []string{"--lease-duration=8s", "--renew-deadline=6s"} }

// newGateway makes a node whose dataplane and route-sync serve.
func newGateway(t *testing.T, id byte, kubeconfig string) *gateway {
	t.Helper()
	dir, err := os.MkdirTemp("", "election")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	g := &gateway{
		t: t, id: fmt.Sprintf("gw%d", id), dir: dir, http: porttest.Address(t), kubeconfig: kubeconfig,
		tunnel:    feed.NewLog[*tunnelv1.Tunnel](64),
		routes:    feed.NewLog[*routesv1.WatchResponse](64),
		events:    make(chan *leadershipv1.Leadership, 4096),
		lease:     []string{"--lease-duration=50s", "--renew-deadline=40s"},
		converges: true,
		epochs:    make(map[string]uint64),
	}
	g.tunnel.Set(t.Context(), "hybrid_vxlan0", &tunnelv1.Tunnel{
		Device: "hybrid_vxlan0", Ready: true, VtepIp: fmt.Sprintf("10.0.0.%d", id), Mac: fmt.Sprintf("02:00:0a:00:00:%02x", id),
	})
	g.tunnel.MarkSynced()
	g.routes.Set(t.Context(), "interface", &routesv1.WatchResponse{Item: &routesv1.WatchResponse_Interface{
		Interface: &routesv1.Interface{EniId: fmt.Sprintf("eni-%d", id), Zone: "zone-a"},
	}})
	g.routes.MarkSynced()
	g.follow()
	return g
}

// background runs f until the test ends or the returned function is called.
func background(t *testing.T, what string, f func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := f(ctx); err != nil && ctx.Err() == nil {
			t.Errorf("%s: %v", what, err)
		}
	}()
	stop = func() {
		cancel()
		<-ended
	}
	t.Cleanup(stop)
	return stop
}

// service is one of the gateway's services that run.
type service struct {
	*daemon.Server
	stop func()
}

// services are those that run, by their names.
type services map[string]service

func (s services) stop() {
	for _, one := range s {
		one.stop()
	}
}

// serve runs the gateway's dataplane, route-sync and vtep-registry, which serve.
func (g *gateway) serve() services {
	all := services{}
	for _, name := range []string{daemon.Dataplane, daemon.RouteSync, daemon.VtepRegistry} {
		all[name] = g.serveOne(name)
	}
	return all
}

func (g *gateway) serveOne(name string) service {
	s := daemon.NewServer()
	s.SetServing(true)
	switch name {
	case daemon.Dataplane:
		tunnelv1.RegisterTunnelServiceServer(s, &tunnelServer{log: g.tunnel, opened: &g.streams})
	case daemon.RouteSync:
		routesv1.RegisterRoutesServiceServer(s, &routesServer{log: g.routes, opened: &g.streams})
	}
	return service{s, background(g.t, name, func(ctx context.Context) error {
		return s.ServeSocket(ctx, filepath.Join(g.dir, name+".sock"))
	})}
}

type tunnelServer struct {
	tunnelv1.UnimplementedTunnelServiceServer
	log    *feed.Log[*tunnelv1.Tunnel]
	opened *atomic.Int64
}

func (s *tunnelServer) Watch(r *tunnelv1.WatchRequest, stream grpc.ServerStreamingServer[tunnelv1.WatchResponse]) error {
	s.opened.Add(1)
	return wire.Serve(stream, s.log, r.GetResumeFrom(), func(h *feedv1.Header, e feed.Event[*tunnelv1.Tunnel]) *tunnelv1.WatchResponse {
		return &tunnelv1.WatchResponse{Header: h, Tunnel: e.Value}
	})
}

type routesServer struct {
	routesv1.UnimplementedRoutesServiceServer
	log    *feed.Log[*routesv1.WatchResponse]
	opened *atomic.Int64
}

func (s *routesServer) Watch(r *routesv1.WatchRequest, stream grpc.ServerStreamingServer[routesv1.WatchResponse]) error {
	s.opened.Add(1)
	return wire.Serve(stream, s.log, r.GetResumeFrom(), func(h *feedv1.Header, e feed.Event[*routesv1.WatchResponse]) *routesv1.WatchResponse {
		return &routesv1.WatchResponse{Header: h, Item: e.Value.GetItem()}
	})
}

// follow reads the gateway's Leadership stream, and lets its routes converge.
func (g *gateway) follow() {
	conn, err := daemon.Dial(filepath.Join(g.dir, "election.sock"))
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { conn.Close() })
	source := wire.Source(leadershipv1.NewLeadershipServiceClient(conn).Watch,
		func(p *feedv1.Position) *leadershipv1.WatchRequest { return &leadershipv1.WatchRequest{ResumeFrom: p} },
		func(m *leadershipv1.WatchResponse) (*feedv1.Header, func() (*leadershipv1.Leadership, error)) {
			return m.GetHeader(), func() (*leadershipv1.Leadership, error) { return m.GetLeadership(), nil }
		}, func(string, error) {})
	updates := make(chan feed.Update[*leadershipv1.Leadership])
	background(g.t, "leadership stream", func(ctx context.Context) error { return feed.Follow(ctx, source, updates) })
	background(g.t, "subscriber", func(ctx context.Context) error {
		for {
			select {
			case <-ctx.Done():
				return nil
			case u := <-updates:
				for _, l := range u.Snapshot {
					g.hear(u.Trace.Context(ctx), l)
				}
				if u.Change != nil {
					g.hear(u.Trace.Context(ctx), u.Change.Value)
				}
			}
		}
	})
}

func (g *gateway) hear(ctx context.Context, l *leadershipv1.Leadership) {
	g.mu.Lock()
	converges := g.converges
	if before := g.epochs[l.GetShard()]; l.GetEpoch() < before {
		g.t.Errorf("%s went back from epoch %d to %d", g.id, before, l.GetEpoch())
	}
	g.epochs[l.GetShard()], g.last = l.GetEpoch(), l
	if l.GetCause() != leadershipv1.Cause_CAUSE_RENEWED {
		g.history = append(g.history, fmt.Sprintf("%v %d %s %v", l.GetRole(), l.GetEpoch(), l.GetHolder().GetId(), l.GetCause()))
	}
	g.mu.Unlock()
	if converges && l.GetRole() == leadershipv1.Role_ROLE_ACTIVE && !l.GetHolderConverged() {
		g.convergeShard(ctx, l.GetShard(), l.GetEpoch())
	}
	g.events <- l
}

func (g *gateway) converge(ctx context.Context, epoch uint64) {
	g.convergeShard(ctx, "default", epoch)
}

func (g *gateway) convergeShard(ctx context.Context, shard string, epoch uint64) {
	g.routes.Set(ctx, "convergence/"+shard, &routesv1.WatchResponse{Item: &routesv1.WatchResponse_Convergence{
		Convergence: &routesv1.Convergence{Shard: shard, Epoch: epoch},
	}})
}

// until waits for an event of which is true.
func (g *gateway) until(what string, is func(*leadershipv1.Leadership) bool) *leadershipv1.Leadership {
	g.t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case l := <-g.events:
			if is(l) {
				return l
			}
		case <-deadline:
			g.mu.Lock()
			defer g.mu.Unlock()
			g.t.Fatalf("%s: %s did not come within %v; got\n%s", g.id, what, patience, strings.Join(g.history, "\n"))
		}
	}
}

func (g *gateway) untilRole(role leadershipv1.Role) *leadershipv1.Leadership {
	g.t.Helper()
	return g.until(role.String(), func(l *leadershipv1.Leadership) bool { return l.GetRole() == role })
}

func (g *gateway) untilConverged(epoch uint64) *leadershipv1.Leadership {
	g.t.Helper()
	return g.until("convergence", func(l *leadershipv1.Leadership) bool { return l.GetHolderConverged() && l.GetEpoch() == epoch })
}

func (g *gateway) args() []string {
	return append([]string{
		"--gateway-id=" + g.id, "--socket-dir=" + g.dir, "--http-listen=" + g.http, "--kubeconfig=" + g.kubeconfig,
		"--log-level=debug", "--otlp-endpoint=" + g.collector, "--scheduling=normal",
	}, slices.Concat(g.lease, g.record, g.peers)...)
}

// start runs election in this process.
func (g *gateway) start() *running {
	g.t.Helper()
	c, err := config.Parse(g.args(), io.Discard)
	if err != nil {
		g.t.Fatal(err)
	}
	r := &running{ended: make(chan struct{})}
	var ctx context.Context
	ctx, r.stop = context.WithCancel(context.Background())
	go func() {
		defer close(r.ended)
		if err := app.Run(ctx, c); err != nil {
			g.t.Errorf("election of %s: %v", g.id, err)
		}
	}()
	g.t.Cleanup(func() {
		r.stop()
		<-r.ended
	})
	return r
}

type running struct {
	// stop does what SIGTERM does.
	stop  context.CancelFunc
	ended chan struct{}
}

func (r *running) wait(t *testing.T) {
	t.Helper()
	select {
	case <-r.ended:
	case <-time.After(patience):
		t.Fatalf("election did not end within %v", patience)
	}
}

// startProcess runs election as a process of its own, and returns how to kill it.
func (g *gateway) startProcess() (kill func()) {
	g.t.Helper()
	cmd := exec.Command(os.Args[0], g.args()...)
	cmd.Env = append(os.Environ(), asProcess+"=1")
	cmd.Stderr = g.t.Output()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started, ended := make(chan error), make(chan struct{})
	go func() {
		// The signal on the parent's death comes when this thread ends.
		runtime.LockOSThread()
		defer close(ended)
		err := cmd.Start()
		started <- err
		if err == nil {
			cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		g.t.Fatal(err)
	}
	kill = func() {
		cmd.Process.Kill()
		<-ended
	}
	g.t.Cleanup(kill)
	return kill
}

// get returns what the gateway's HTTP port answers.
func (g *gateway) get(path string) (status int, body string) {
	g.t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Get("http://" + g.http + path)
	if err != nil {
		g.t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		g.t.Fatal(err)
	}
	return answer.StatusCode, string(text)
}

// operator is a client that may do everything.
func operator(t *testing.T, s *apiservertest.Server) *coordinationclient.CoordinationV1Client {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", s.Kubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	connections, err := rest.HTTPClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(connections.CloseIdleConnections)
	client, err := coordinationclient.NewForConfigAndClient(config, connections)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// fresh is the shared API server without the Leases of any shard, and the service's kubeconfig.
func fresh(t *testing.T) (*apiservertest.Server, string, *coordinationclient.CoordinationV1Client) {
	t.Helper()
	s := apiserver.Get(t)
	o := operator(t, s)
	leases := o.Leases(apiservertest.Namespace)
	there, err := leases.List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range there.Items {
		if strings.HasPrefix(l.Name, leaseName) {
			if err := leases.Delete(t.Context(), l.Name, metav1.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	return s, s.ServiceAccountKubeconfig(apiservertest.Election), o
}
