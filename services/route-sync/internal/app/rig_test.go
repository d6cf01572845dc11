package app_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"

	"github.com/hybridgateway/gateway/libs/boottime"
	"github.com/hybridgateway/gateway/libs/daemon"
	"github.com/hybridgateway/gateway/libs/feed"
	"github.com/hybridgateway/gateway/libs/feed/wire"
	"github.com/hybridgateway/gateway/libs/netaddr"
	"github.com/hybridgateway/gateway/libs/porttest"
	feedv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/feed/v1"
	leadershipv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/leadership/v1"
	routesv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/routes/v1"
	"github.com/hybridgateway/gateway/services/route-sync/internal/app"
	"github.com/hybridgateway/gateway/services/route-sync/internal/config"
	"github.com/hybridgateway/gateway/services/route-sync/internal/plan"
	"github.com/hybridgateway/gateway/tools/ec2standin"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	patience = time.Minute
	hour     = time.Hour
)

// rig is one gateway's route-sync as a whole, between a stand-in for EC2 and a stand-in for election.
type rig struct {
	t         *testing.T
	ec2       *ec2standin.Server
	config    config.Config
	election  *election
	stopApp   func()
	items     *items
	stopItems func()
}

// newRig makes a VPC with the given number of route tables, in which each pod network points to eni-b, another
// gateway's interface. Nothing runs yet.
func newRig(t *testing.T, tables, networks int) *rig {
	t.Helper()
	dir, err := os.MkdirTemp("", "route-sync") // t.TempDir makes paths too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	r := &rig{t: t, ec2: ec2standin.New(ec2standin.Config{RoutesPerTable: 1000})}
	r.config = config.Config{
		Common: daemon.Common{GatewayID: "gw-a", SocketDir: dir, HTTPListen: freeAddress(t), LogLevel: "error"},
		ENI:    "eni-a", Region: "us-west-2", Zone: "us-west-2a", Shard: "default", ReconcileInterval: 300 * time.Millisecond,
	}
	r.must(r.ec2.AddVPC(ec2standin.VPC{ID: "vpc-1", CIDRs: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/16")}}))
	r.must(r.ec2.AddSubnet(ec2standin.Subnet{ID: "subnet-1", VPC: "vpc-1", CIDR: netip.MustParsePrefix("10.0.1.0/24"), Zone: "us-west-2a"}))
	for i, name := range []string{"a", "b", "alien"} {
		r.must(r.ec2.AddInstance(ec2standin.Instance{ID: "i-" + name}))
		eni := ec2standin.ENI{ID: "eni-" + name, Subnet: "subnet-1", Instance: "i-" + name, PrivateIP: netip.AddrFrom4([4]byte{10, 0, 1, byte(10 + i)})}
		if name == "a" {
			eni.Tags = map[string]string{plan.GatewayTag: "true"}
		}
		r.must(r.ec2.AddENI(eni))
	}
	r.must(r.ec2.AddGateway(ec2standin.Gateway{ID: "tgw-1"}))
	for i := range networks {
		r.config.PodCIDRs = append(r.config.PodCIDRs, config.PodCIDR{Prefix: netip.PrefixFrom(netip.AddrFrom4([4]byte{100, 64, byte(i), 0}), 24)})
	}
	for i := range tables {
		id := fmt.Sprintf("rtb-%d", i)
		r.config.RouteTables = append(r.config.RouteTables, config.RouteTable(id))
		r.must(r.ec2.AddRouteTable(ec2standin.RouteTable{ID: id, VPC: "vpc-1", Tags: map[string]string{plan.GatewayTag: "true"}}))
		for _, p := range r.config.PodCIDRs {
			r.must(r.ec2.SetRoute(id, p.Prefix, ec2standin.ToENI("eni-b")))
		}
	}
	api := httptest.NewServer(r.ec2)
	t.Cleanup(api.Close)
	none := filepath.Join(dir, "none")
	for name, value := range map[string]string{
		"AWS_ENDPOINT_URL": api.URL, "AWS_REGION": "us-west-2", "AWS_ACCESS_KEY_ID": "AKIATEST", "AWS_SECRET_ACCESS_KEY": "secret",
		"AWS_CONFIG_FILE": none, "AWS_SHARED_CREDENTIALS_FILE": none, "AWS_EC2_METADATA_DISABLED": "true", "AWS_CA_BUNDLE": "",
	} {
		t.Setenv(name, value)
	}
	t.Cleanup(func() { r.stop() })
	return r
}

func (r *rig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

func freeAddress(t *testing.T) netaddr.Listen {
	t.Helper()
	at := netip.MustParseAddrPort(porttest.Address(t))
	return netaddr.Listen{Addr: at.Addr(), Port: at.Port()}
}

// standby starts everything with another gateway in the lead under epoch 1, and waits until the tables were read.
func (r *rig) standby() {
	r.t.Helper()
	r.startElection()
	r.lead(1, "eni-b", 0)
	r.startApp()
	r.await("the service is ready", r.ready)
	r.await("it was told who leads, and it tells who it is", func() bool {
		return r.election.told.Load() >= 3 && r.items.get("interface") != nil
	})
}

func (r *rig) startApp() {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- app.Run(ctx, r.config) }()
	r.stopApp = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
			r.t.Errorf("route-sync ended with %v", err)
		}
	})
	r.watch()
}

// watch mirrors the Routes stream.
func (r *rig) watch() {
	conn, err := daemon.Dial(r.config.Socket(daemon.RouteSync))
	r.must(err)
	r.items = &items{byKey: map[string]*routesv1.WatchResponse{}}
	ctx, cancel := context.WithCancel(context.Background())
	source := wire.Source(routesv1.NewRoutesServiceClient(conn).Watch,
		func(p *feedv1.Position) *routesv1.WatchRequest { return &routesv1.WatchRequest{ResumeFrom: p} },
		func(m *routesv1.WatchResponse) (*feedv1.Header, func() (*routesv1.WatchResponse, error)) {
			return m.GetHeader(), func() (*routesv1.WatchResponse, error) { return m, nil }
		}, func(string, error) {})
	updates, done := make(chan feed.Update[*routesv1.WatchResponse]), make(chan struct{})
	go func() {
		defer close(done)
		_ = feed.Follow(ctx, source, updates)
	}()
	go r.items.follow(ctx, updates)
	r.stopItems = sync.OnceFunc(func() { cancel(); <-done; conn.Close() })
}

func (r *rig) stop() {
	if r.election != nil {
		r.election.stop() // first: without it route-sync waits for nothing
	}
	if r.stopApp != nil {
		r.stopItems()
		r.stopApp()
	}
}

// items is what the Routes stream said last.
type items struct {
	mu    sync.Mutex
	byKey map[string]*routesv1.WatchResponse
	// states is every state in which a route was ever seen, in order.
	states map[string][]routesv1.State
}

func (i *items) follow(ctx context.Context, updates <-chan feed.Update[*routesv1.WatchResponse]) {
	for {
		select {
		case <-ctx.Done():
			return
		case u := <-updates:
			i.mu.Lock()
			if u.Snapshot != nil {
				i.byKey, i.states = u.Snapshot, map[string][]routesv1.State{}
			}
			if u.Change != nil {
				if u.Change.Kind == feed.Delete {
					delete(i.byKey, u.Change.Key)
					i.mu.Unlock()
					continue
				}
				i.byKey[u.Change.Key] = u.Change.Value
				i.states[u.Change.Key] = append(i.states[u.Change.Key], u.Change.Value.GetRoute().GetState())
			}
			i.mu.Unlock()
		}
	}
}

func (i *items) get(key string) *routesv1.WatchResponse {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.byKey[key]
}

func (i *items) history(key string) []routesv1.State {
	i.mu.Lock()
	defer i.mu.Unlock()
	return append([]routesv1.State(nil), i.states[key]...)
}

// count is how many routes are in a state.
func (i *items) count(s routesv1.State) int {
	i.mu.Lock()
	defer i.mu.Unlock()
	n := 0
	for _, m := range i.byKey {
		if m.GetRoute() != nil && m.GetRoute().GetState() == s {
			n++
		}
	}
	return n
}

func (r *rig) route(table, network int) *routesv1.Route {
	return r.items.get(fmt.Sprintf("route/%s/%s", r.config.RouteTables[table], r.config.PodCIDRs[network])).GetRoute()
}

func (r *rig) converged() uint64 {
	return r.items.get("convergence/default").GetConvergence().GetEpoch()
}

// election serves the Leadership stream.
type election struct {
	leadershipv1.UnimplementedLeadershipServiceServer
	log  *feed.Log[*leadershipv1.Leadership]
	stop func()
	// told counts the events that were sent.
	told atomic.Int64
}

func (e *election) Watch(q *leadershipv1.WatchRequest, stream grpc.ServerStreamingServer[leadershipv1.WatchResponse]) error {
	return wire.Serve(stream, e.log, q.GetResumeFrom(), func(h *feedv1.Header, ev feed.Event[*leadershipv1.Leadership]) *leadershipv1.WatchResponse {
		e.told.Add(1)
		return &leadershipv1.WatchResponse{Header: h, Leadership: ev.Value}
	})
}

func (r *rig) startElection() {
	e := &election{log: feed.NewLog[*leadershipv1.Leadership](64)}
	server := daemon.NewServer()
	leadershipv1.RegisterLeadershipServiceServer(server.Server, e)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- server.ServeSocket(ctx, r.config.Socket(daemon.Election)) }()
	e.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			r.t.Errorf("election ended with %v", err)
		}
	})
	r.election = e
}

// lead says that the gateway with an interface holds the record; if it is eni-a, this one, for the given time.
func (r *rig) lead(epoch uint64, eni string, valid time.Duration) {
	r.leadIn(r.t.Context(), epoch, eni, valid)
}

func (r *rig) leadIn(ctx context.Context, epoch uint64, eni string, valid time.Duration) {
	r.leadShard(ctx, "default", epoch, eni, valid)
	r.election.log.MarkSynced()
}

// leadShard is lead for one of several shards.
func (r *rig) leadShard(ctx context.Context, shard string, epoch uint64, eni string, valid time.Duration) {
	l := &leadershipv1.Leadership{Shard: shard, Epoch: epoch, Holder: &leadershipv1.Gateway{Id: "gw", EniId: eni}, Role: leadershipv1.Role_ROLE_STANDBY}
	if eni == "eni-a" {
		l.Role = leadershipv1.Role_ROLE_ACTIVE
		l.ValidUntilBoottime = int64(boottime.Now() + valid)
	}
	r.election.log.Set(ctx, shard, l)
}

// written are the routes, by table and destination, that the finished calls were to write, and how many calls those were. A
// machine that stalls makes calls late, and late calls are made once more.
func (r *rig) written() (routes map[string]bool, calls int) {
	routes = map[string]bool{}
	for _, c := range r.ec2.Calls() {
		if c.Mutating && !c.DryRun && strings.HasSuffix(c.Action, "Route") {
			calls++
			routes[c.Params["RouteTableId"]+" "+c.Params["DestinationCidrBlock"]+c.Params["DestinationPrefixListId"]] = true
		}
	}
	return routes, calls
}

// targets counts what the routes of all tables to the pod networks point to.
func (r *rig) targets() map[string]int {
	counts := map[string]int{}
	for _, t := range r.ec2.Snapshot().RouteTables {
		for _, p := range r.config.PodCIDRs {
			if route, there := t.Route(p.Prefix); there {
				counts[route.Target.ID]++
			} else {
				counts["none"]++
			}
		}
	}
	return counts
}

// reached counts to which target packets to each network go from each table.
func reached(s ec2standin.Snapshot, networks []config.PodCIDR) map[string]int {
	var prefixes []netip.Prefix
	for _, p := range networks {
		prefixes = append(prefixes, p.Prefix)
	}
	return reachedFrom(s, prefixes)
}

func reachedFrom(s ec2standin.Snapshot, networks []netip.Prefix) map[string]int {
	counts := map[string]int{}
	for _, t := range s.RouteTables {
		for _, p := range networks {
			if route, there := t.Lookup(p.Addr().Next()); there && route.State == ec2standin.RouteActive {
				counts[route.Target.ID]++
			} else {
				counts["none"]++
			}
		}
	}
	return counts
}

func (r *rig) reached() map[string]int { return reached(r.ec2.Snapshot(), r.config.PodCIDRs) }

// client is one of the service's own API.
func (r *rig) client() routesv1.RoutesServiceClient {
	conn, err := daemon.Dial(r.config.Socket(daemon.RouteSync))
	r.must(err)
	r.t.Cleanup(func() { conn.Close() })
	return routesv1.NewRoutesServiceClient(conn)
}

func (r *rig) ready() bool {
	status, _ := r.get("/readyz")
	return status == http.StatusOK
}

func (r *rig) get(path string) (int, string) {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	response, err := client.Get("http://" + r.config.HTTPListen.String() + path)
	if err != nil {
		return 0, err.Error()
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	r.must(err)
	return response.StatusCode, string(body)
}

// metric is the value of a series, as text; empty when there is none.
func (r *rig) metric(series string) string {
	_, body := r.get("/metrics")
	for line := range strings.Lines(body) {
		if value, found := strings.CutPrefix(line, series+" "); found {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// await polls until what is so.
func (r *rig) await(what string, so func() bool) {
	r.t.Helper()
	deadline := time.Now().Add(patience)
	for !so() {
		if time.Now().After(deadline) {
			r.t.Fatalf("not within %s: %s; routes: %v, converged %d, calls %v", patience, what, r.targets(), r.converged(), r.ec2.CallCounts())
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// during wants something to stay so for a while.
func (r *rig) during(d time.Duration, what string, so func() bool) {
	r.t.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if !so() {
			r.t.Fatalf("no longer so: %s; routes: %v, calls %v", what, r.targets(), r.ec2.CallCounts())
		}
	}
}

// tell is lead for any gateway.
func (r *rig) tell(epoch uint64, eni string, active bool) {
	l := &leadershipv1.Leadership{Shard: "default", Epoch: epoch, Holder: &leadershipv1.Gateway{Id: "gw", EniId: eni}, Role: leadershipv1.Role_ROLE_STANDBY}
	if active {
		l.Role = leadershipv1.Role_ROLE_ACTIVE
		l.ValidUntilBoottime = int64(boottime.Now() + hour)
	}
	r.election.log.Set(r.t.Context(), "default", l)
}

func listen(t *testing.T, address string) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	return l
}
