package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/hybridgateway/gateway/libs/apiservertest"
	"github.com/hybridgateway/gateway/libs/boottime"
	"github.com/hybridgateway/gateway/libs/daemon"
	"github.com/hybridgateway/gateway/libs/feed"
	"github.com/hybridgateway/gateway/libs/feed/wire"
	"github.com/hybridgateway/gateway/libs/porttest"
	feedv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/feed/v1"
	leadershipv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/leadership/v1"
	vtepsv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/vteps/v1"
	"github.com/hybridgateway/gateway/services/vtep-registry/internal/state"
)

// patience is how long a test waits for what must come, many times what it needs.
const patience = time.Minute

var shared apiservertest.Shared

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(shared.Wrap(m))
}

func eventually(t *testing.T, check func() error) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Millisecond) // between two looks
	}
}

// cluster is an API server as an administrator sees it.
type cluster struct {
	t      *testing.T
	client dynamic.Interface
}

func administrator(t *testing.T, s *apiservertest.Server) cluster {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", s.Kubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	config.QPS = -1
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	c := cluster{t, client}
	t.Cleanup(func() { c.clear(configs); c.clear(nodes) })
	return c
}

func (c cluster) of(resource string) dynamic.ResourceInterface {
	return c.client.Resource(schema.GroupVersionResource{Group: "cilium.io", Version: "v2", Resource: resource})
}

func (c cluster) clear(resource string) {
	if err := c.of(resource).DeleteCollection(context.WithoutCancel(c.t.Context()), metav1.DeleteOptions{}, metav1.ListOptions{}); err != nil {
		c.t.Log("not cleared:", err)
	}
}

func (c cluster) apply(resource, name string, spec map[string]any) {
	c.t.Helper()
	kind := map[string]string{nodes: "CiliumNode", configs: "CiliumVTEPConfig"}[resource]
	o := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "cilium.io/v2", "kind": kind,
		"metadata": map[string]any{"name": name, "labels": map[string]any{"eks.amazonaws.com/compute-type": "hybrid"}},
		"spec":     spec,
	}}
	if _, err := c.of(resource).Apply(c.t.Context(), name, o, metav1.ApplyOptions{FieldManager: "test", Force: true}); err != nil {
		c.t.Fatal(err)
	}
}

func (c cluster) node(name, address string, cidrs ...string) {
	c.t.Helper()
	list := make([]any, len(cidrs))
	for i, p := range cidrs {
		list[i] = p
	}
	c.apply(nodes, name, map[string]any{
		"addresses": []any{map[string]any{"type": "InternalIP", "ip": address}},
		"ipam":      map[string]any{"podCIDRs": list},
	})
}

func (c cluster) delete(resource, name string) {
	c.t.Helper()
	if err := c.of(resource).Delete(c.t.Context(), name, metav1.DeleteOptions{}); err != nil {
		c.t.Fatal(err)
	}
}

func (c cluster) patch(name, patch string) {
	c.t.Helper()
	if _, err := c.of(configs).Patch(c.t.Context(), name, types.MergePatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
		c.t.Fatal(err)
	}
}

// published is the CiliumVTEPConfig as one line; "none" when there is none.
func (c cluster) published() (string, error) {
	o, err := c.of(configs).Get(c.t.Context(), "hybrid-gateway", metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return "none", nil
	}
	if err != nil {
		return "", err
	}
	text := o.GetAnnotations()["hybrid-gateway/epoch"] + " " + o.GetAnnotations()["hybrid-gateway/gateway-id"]
	endpoints, _, err := unstructured.NestedSlice(o.Object, "spec", "endpoints")
	for _, e := range endpoints {
		e := e.(map[string]any)
		text += fmt.Sprintf(", %s %s via %s %s", e["name"], e["cidr"], e["tunnelEndpoint"], e["mac"])
	}
	return text, err
}

func (c cluster) awaitPublished(want string) {
	c.t.Helper()
	eventually(c.t, func() error {
		got, err := c.published()
		if err == nil && got != want {
			err = fmt.Errorf("published is %q, want %q", got, want)
		}
		return err
	})
}

// gateway is a running vtep-registry with a stand-in for its election service.
type gateway struct {
	t          *testing.T
	id, ip     string
	dir        string
	http       string
	leadership *feed.Log[*leadershipv1.Leadership]
	stop       func()
}

type leadershipServer struct {
	leadershipv1.UnimplementedLeadershipServiceServer
	log *feed.Log[*leadershipv1.Leadership]
}

func (s leadershipServer) Watch(r *leadershipv1.WatchRequest, stream grpc.ServerStreamingServer[leadershipv1.WatchResponse]) error {
	return wire.Serve(stream, s.log, r.GetResumeFrom(), func(h *feedv1.Header, e feed.Event[*leadershipv1.Leadership]) *leadershipv1.WatchResponse {
		return &leadershipv1.WatchResponse{Header: h, Leadership: e.Value}
	})
}

func start(t *testing.T, s *apiservertest.Server, id, ip string, flags ...string) *gateway {
	t.Helper()
	g := &gateway{t: t, id: id, ip: ip, dir: t.TempDir(), leadership: feed.NewLog[*leadershipv1.Leadership](64)}
	g.leadership.MarkSynced()
	ctx, cancel := context.WithCancel(context.Background())
	election, elected := daemon.NewServer(), make(chan error, 1)
	leadershipv1.RegisterLeadershipServiceServer(election, leadershipServer{log: g.leadership})
	go func() { elected <- election.ServeSocket(ctx, filepath.Join(g.dir, "election.sock")) }()
	stop := g.run(s, flags...)
	g.stop = sync.OnceFunc(func() {
		stop()
		cancel()
		if err := <-elected; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { g.stop() })
	return g
}

// run runs the service and returns what stops it.
func (g *gateway) run(s *apiservertest.Server, flags ...string) (stop func()) {
	g.t.Helper()
	g.http = porttest.Address(g.t)
	if !slices.ContainsFunc(flags, func(f string) bool { return strings.HasPrefix(f, "--vpc-cidrs=") }) {
		flags = append(flags, "--vpc-cidrs=10.0.0.0/16,10.1.0.0/16")
	}
	c, err := Parse(append([]string{
		"--gateway-id=" + g.id, "--socket-dir=" + g.dir, "--http-listen=" + g.http, "--log-level=error",
		"--kubeconfig=" + s.ServiceAccountKubeconfig(apiservertest.VTEPRegistry),
		"--pod-cidrs=100.64.0.0/10", "--node-cidrs=192.168.0.0/16",
	}, flags...), io.Discard)
	if err != nil {
		g.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- Run(ctx, c) }()
	return sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil && !errors.Is(err, context.Canceled) {
				g.t.Errorf("vtep-registry ended with %v", err)
			}
		case <-time.After(patience):
			g.t.Error("vtep-registry does not end")
		}
	})
}

// lead makes the gateway the active one under epoch, for the given time.
func (g *gateway) lead(epoch uint64, valid time.Duration) {
	g.leadership.Set(g.t.Context(), "default", &leadershipv1.Leadership{
		Shard: "default", Epoch: epoch, Role: leadershipv1.Role_ROLE_ACTIVE, ValidUntilBoottime: int64(boottime.Now() + valid),
		Holder: &leadershipv1.Gateway{Id: g.id, NodeIp: g.ip, VtepMac: "02:68:0a:00:01:0a"},
	})
}

func (g *gateway) follow(epoch uint64) {
	g.leadership.Set(g.t.Context(), "default", &leadershipv1.Leadership{Shard: "default", Epoch: epoch, Role: leadershipv1.Role_ROLE_STANDBY,
		Holder: &leadershipv1.Gateway{Id: "other", NodeIp: "10.0.9.9", VtepMac: "02:00:00:00:00:09"}})
}

func (g *gateway) get(path string) string {
	g.t.Helper()
	r, err := http.Get("http://" + g.http + path)
	if err != nil {
		return err.Error()
	}
	defer r.Body.Close()
	body, _ := io.ReadAll(r.Body)
	return fmt.Sprintf("%d %s", r.StatusCode, body)
}

func (g *gateway) awaitHTTP(path, want string) {
	g.t.Helper()
	eventually(g.t, func() error {
		if got := g.get(path); !strings.Contains(got, want) {
			return fmt.Errorf("%s says %.3000s, want %s", path, got, want)
		}
		return nil
	})
}

// awaitPublishes waits until n writes are counted, all of which succeeded unless an API server that stalls gave some no answer.
func (g *gateway) awaitPublishes(n int) {
	g.t.Helper()
	eventually(g.t, func() error {
		ok, all := 0, 0
		for line := range strings.Lines(g.get("/metrics")) {
			rest, found := strings.CutPrefix(line, "eks_hybrid_gateway_vtep_publishes_total{outcome=")
			if !found {
				continue
			}
			outcome, text, _ := strings.Cut(strings.TrimSpace(rest), "} ")
			count, err := strconv.Atoi(text)
			if err != nil {
				return err
			}
			all += count
			if outcome == `"ok"` {
				ok = count
			}
		}
		if ok > n {
			g.t.Fatalf("%d writes succeeded, want %d", ok, n)
		}
		if all < n {
			return fmt.Errorf("%d writes are counted, want %d", all, n)
		}
		return nil
	})
}

// subscribe follows the Vteps stream.
func (g *gateway) subscribe() *subscriber {
	g.t.Helper()
	conn, err := daemon.Dial(filepath.Join(g.dir, "vtep-registry.sock"))
	if err != nil {
		g.t.Fatal(err)
	}
	s := &subscriber{t: g.t, updates: make(chan feed.Update[*vtepsv1.Vtep])}
	source := wire.Source(vtepsv1.NewVtepsServiceClient(conn).Watch,
		func(p *feedv1.Position) *vtepsv1.WatchRequest { return &vtepsv1.WatchRequest{ResumeFrom: p} },
		func(m *vtepsv1.WatchResponse) (*feedv1.Header, func() (*vtepsv1.Vtep, error)) {
			return m.GetHeader(), func() (*vtepsv1.Vtep, error) { return m.GetVtep(), nil }
		}, func(string, error) {})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = feed.Follow(ctx, source, s.updates)
	}()
	g.t.Cleanup(func() { cancel(); <-done; conn.Close() })
	return s
}

type subscriber struct {
	t       *testing.T
	updates chan feed.Update[*vtepsv1.Vtep]
}

func show(v *vtepsv1.Vtep) string {
	stale := ""
	if v.GetStale() {
		stale = "stale "
	}
	text := stale + strings.ToLower(strings.TrimPrefix(v.GetState().String(), "STATE_")) + " " + v.GetNode() + " " + v.GetIp() + " " + strings.Join(v.GetPodCidrs(), " ")
	if v.GetReason() != "" {
		text += ": " + v.GetReason()
	}
	return text
}

// wantSnapshot wants a snapshot with these VTEPs, sorted by name.
func (s *subscriber) wantSnapshot(vteps ...string) {
	s.t.Helper()
	for {
		select {
		case u := <-s.updates:
			if u.Snapshot == nil {
				continue
			}
			var got []string
			for _, name := range slices.Sorted(maps.Keys(u.Snapshot)) {
				got = append(got, show(u.Snapshot[name]))
			}
			if !slices.Equal(got, vteps) {
				s.t.Fatalf("got  %q\nwant %q", got, vteps)
			}
			return
		case <-time.After(patience):
			s.t.Fatal("no snapshot")
		}
	}
}

// next is the next update but for losses of the stream.
func (s *subscriber) next() string {
	s.t.Helper()
	for {
		select {
		case u := <-s.updates:
			switch {
			case u.Snapshot != nil:
				return fmt.Sprintf("snapshot of %d", len(u.Snapshot))
			case u.Change != nil && u.Change.Kind == feed.Delete:
				return "delete " + u.Change.Key
			case u.Change != nil:
				return show(u.Change.Value)
			}
		case <-time.After(patience):
			s.t.Fatal("no update")
		}
	}
}

func (s *subscriber) want(updates ...string) {
	s.t.Helper()
	for _, want := range updates {
		if got := s.next(); got != want {
			s.t.Fatalf("got  %q\nwant %q", got, want)
		}
	}
}

func TestVteps(t *testing.T) {
	server := shared.Get(t)
	admin := administrator(t, server)
	admin.node("a", "192.168.1.1", "100.64.1.0/24")
	admin.node("v6", "fd00::1", "100.64.2.0/24")
	g := start(t, server, "gw-a", "10.0.1.10")
	s := g.subscribe()
	s.want("snapshot of 2")
	g.awaitHTTP("/readyz", "200 ok")
	g.awaitHTTP("/metrics", "eks_hybrid_gateway_vtep_count 1\n")
	g.awaitHTTP("/metrics", `eks_hybrid_gateway_vtep_refusals{reason="not-ipv4"} 1`)

	admin.node("b", "192.168.1.2", "100.64.3.0/24", "100.64.4.0/24")
	s.want("admitted b 192.168.1.2 100.64.3.0/24 100.64.4.0/24")
	admin.node("b", "192.168.1.3", "100.64.3.0/24", "10.0.0.0/24")
	s.want("admitted b 192.168.1.3 100.64.3.0/24: the pod network 10.0.0.0/24 overlaps the VPC's 10.0.0.0/16")
	admin.node("thief", "192.168.1.4", "100.64.3.0/25")
	s.want("quarantined thief 192.168.1.4 100.64.3.0/25: the pod network 100.64.3.0/25 overlaps one that is held by node b")
	admin.delete(nodes, "b")
	s.want("delete b", "admitted thief 192.168.1.4 100.64.3.0/25")
	admin.node("v6", "192.168.1.6", "100.64.2.0/24")
	s.want("admitted v6 192.168.1.6 100.64.2.0/24")
	g.awaitHTTP("/metrics", "eks_hybrid_gateway_vtep_count 3\n")
	g.awaitHTTP("/metrics", `eks_hybrid_gateway_vtep_refusals{reason="not-ipv4"} 0`)
}

// events are the Events on the named node, as lines.
func (c cluster) events(node string) []string {
	c.t.Helper()
	list, err := c.client.Resource(schema.GroupVersionResource{Version: "v1", Resource: "events"}).Namespace("default").
		List(c.t.Context(), metav1.ListOptions{FieldSelector: "involvedObject.kind=CiliumNode,involvedObject.name=" + node})
	if err != nil {
		c.t.Fatal(err)
	}
	var lines []string
	for _, e := range list.Items {
		lines = append(lines, fmt.Sprint(e.Object["type"], " ", e.Object["reason"], ": ", e.Object["message"]))
	}
	slices.Sort(lines)
	return lines
}

// A refused node tells so in its own Events, once however many gateways there are, and
// whoever asks for the events of that object finds them.
func TestEvents(t *testing.T) {
	server := shared.Get(t)
	admin := administrator(t, server)
	admin.node("holder", "192.168.1.1", "100.64.1.0/24")
	a, b := start(t, server, "gw-a", "10.0.1.10"), start(t, server, "gw-b", "10.0.1.11")
	a.awaitHTTP("/readyz", "200 ok")
	b.awaitHTTP("/readyz", "200 ok")
	want := func(node string, lines ...string) {
		t.Helper()
		eventually(t, func() error {
			if got := admin.events(node); !slices.Equal(got, lines) {
				return fmt.Errorf("the events are %q, want %q", got, lines)
			}
			return nil
		})
	}
	const quarantined = "Warning VTEPQuarantined: its pods cannot be reached through the gateway: the pod network 100.64.1.0/25 overlaps one that is held by node holder"
	admin.node("waiting", "192.168.1.2", "100.64.1.0/25")
	want("waiting", quarantined)
	admin.delete(nodes, "holder")
	const admitted = "Normal VTEPAdmitted: all its pods can be reached through the gateway"
	want("waiting", admitted, quarantined)
	admin.node("waiting", "192.168.1.2", "100.64.1.0/25", "10.0.0.0/24")
	const refused = "Warning VTEPClaimRefused: some of its pods cannot be reached through the gateway: the pod network 10.0.0.0/24 overlaps the VPC's 10.0.0.0/16"
	want("waiting", admitted, refused, quarantined)
	// Both gateways have noted everything.
	for _, g := range []*gateway{a, b} {
		g.awaitHTTP("/metrics", `eks_hybrid_gateway_vtep_events_total{outcome="ok"} 3`)
	}
	want("waiting", admitted, refused, quarantined)
	want("holder")

	o, err := admin.of(nodes).Get(t.Context(), "waiting", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	list, err := admin.client.Resource(schema.GroupVersionResource{Version: "v1", Resource: "events"}).Namespace("default").
		List(t.Context(), metav1.ListOptions{FieldSelector: "involvedObject.uid=" + string(o.GetUID())})
	if err != nil || len(list.Items) != 3 {
		t.Errorf("%d events of the object's UID, %v", len(list.Items), err)
	}
}

const published = ", vpc-gateway-0 10.0.0.0/16 via 10.0.1.10 02:68:0a:00:01:0a, vpc-gateway-1 10.1.0.0/16 via 10.0.1.10 02:68:0a:00:01:0a"

func TestPublish(t *testing.T) {
	server := shared.Get(t)
	admin := administrator(t, server)
	g := start(t, server, "gw-a", "10.0.1.10")
	g.awaitHTTP("/readyz", "200 ok")
	g.follow(1)
	if got, err := admin.published(); got != "none" || err != nil {
		t.Errorf("a standby published %q, %v", got, err)
	}
	g.lead(2, time.Hour)
	admin.awaitPublished("2 gw-a" + published)

	admin.delete(configs, "hybrid-gateway")
	admin.awaitPublished("2 gw-a" + published)
	admin.patch("hybrid-gateway", `{"metadata":{"labels":{"theirs":"yes"}},"spec":{"endpoints":[{"name":"x","tunnelEndpoint":"192.0.2.1","cidr":"10.0.0.0/16","mac":"02:00:00:00:00:01"}]}}`)
	admin.awaitPublished("2 gw-a" + published)
	admin.patch("hybrid-gateway", `{"metadata":{"annotations":{"hybrid-gateway/epoch":null}}}`)
	admin.awaitPublished("2 gw-a" + published)
	o, err := admin.of(configs).Get(t.Context(), "hybrid-gateway", metav1.GetOptions{})
	if err != nil || o.GetLabels()["theirs"] != "yes" {
		t.Errorf("the label of another is gone: %v, %v", o, err)
	}

	g.lead(3, time.Hour)
	admin.awaitPublished("3 gw-a" + published)
	g.awaitPublishes(5)

	// Another gateway writes under a newer epoch; ours does not know it yet.
	admin.patch("hybrid-gateway", `{"metadata":{"annotations":{"hybrid-gateway/epoch":"9","hybrid-gateway/gateway-id":"gw-b"}},"spec":{"endpoints":[{"name":"vpc-gateway","tunnelEndpoint":"10.0.2.10","cidr":"10.0.0.0/16","mac":"02:00:00:00:00:01"}]}}`)
	const theirs = "9 gw-b, vpc-gateway 10.0.0.0/16 via 10.0.2.10 02:00:00:00:00:01"
	admin.apply(configs, "same", map[string]any{"endpoints": []any{map[string]any{"name": "e", "tunnelEndpoint": "192.0.2.1", "cidr": "10.1.0.0/16", "mac": "02:00:00:00:00:02"}}})
	g.awaitHTTP("/metrics", "eks_hybrid_gateway_vtep_config_conflicts 1") // so both events have been seen
	admin.awaitPublished(theirs)
	g.lead(4, time.Hour)
	g.lead(10, -time.Second) // an epoch that is not valid any more
	g.follow(11)
	admin.delete(configs, "same")
	g.awaitHTTP("/metrics", "eks_hybrid_gateway_vtep_config_conflicts 0")
	admin.awaitPublished(theirs)
	g.lead(12, time.Hour)
	admin.awaitPublished("12 gw-a" + published)
	g.awaitPublishes(6)
}

// The record moves from one gateway to the other, and the first is slow to see it.
func TestTwoGateways(t *testing.T) {
	server := shared.Get(t)
	admin := administrator(t, server)
	a, b := start(t, server, "gw-a", "10.0.1.10"), start(t, server, "gw-b", "10.0.1.11")
	b.follow(1)
	a.lead(1, time.Hour)
	admin.awaitPublished("1 gw-a" + published)
	b.lead(2, time.Hour)
	second := "2 gw-b" + strings.ReplaceAll(published, "10.0.1.10 ", "10.0.1.11 ")
	admin.awaitPublished(second)
	a.lead(1, 2*time.Hour)
	admin.delete(configs, "hybrid-gateway")
	// Whoever comes first, the newer epoch stays.
	admin.awaitPublished(second)
	a.follow(2)
	a.stop()
	b.stop()
	if got, err := admin.published(); got != second || err != nil {
		t.Errorf("after the end of both: %q, %v", got, err)
	}
}

// Without an API server nothing is served, and when it goes later everything stays.
func TestAPIServerOutage(t *testing.T) {
	server := apiservertest.Start(t)
	admin := administrator(t, server)
	admin.node("a", "192.168.1.1", "100.64.1.0/24")
	if err := server.Stop(); err != nil {
		t.Fatal(err)
	}
	g := start(t, server, "gw-a", "10.0.1.10")
	s := g.subscribe()
	g.lead(1, time.Hour)
	g.awaitHTTP("/readyz", "503 read ciliumnodes: ")
	if got := g.get("/healthz"); !strings.HasPrefix(got, "200") {
		t.Error(got)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	s.want("snapshot of 1")
	g.awaitHTTP("/readyz", "200 ok")
	admin.awaitPublished("1 gw-a" + published)

	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	g.awaitHTTP("/metrics", `eks_hybrid_gateway_kubernetes_errors_total{resource="ciliumnodes"}`)
	g.lead(2, time.Hour)
	late := g.subscribe()
	late.want("snapshot of 1")
	g.awaitHTTP("/readyz", "200 ok")
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	admin.awaitPublished("2 gw-a" + published)
	admin.node("b", "192.168.1.2", "100.64.2.0/24")
	s.want("admitted b 192.168.1.2 100.64.2.0/24")
	late.want("admitted b 192.168.1.2 100.64.2.0/24")

	// The service itself is killed and started again: a subscriber gets a snapshot.
	g.stop()
	admin.delete(nodes, "a")
	stop := g.run(server)
	defer stop()
	s.want("snapshot of 1")
}

// A gateway is rebooted while the API server is away: all it knew is served, marked as
// stale, until the API server answers.
func TestColdStart(t *testing.T) {
	server := apiservertest.Start(t)
	admin := administrator(t, server)
	admin.node("a", "192.168.1.1", "100.64.1.0/24")
	admin.node("young", "192.168.1.2", "100.64.2.0/24")
	file := "--state-file=" + filepath.Join(t.TempDir(), "vteps")
	g := start(t, server, "gw-a", "10.0.1.10", file)
	s := g.subscribe()
	s.want("snapshot of 2")
	admin.node("late", "192.168.1.3", "100.64.3.0/24")
	s.want("admitted late 192.168.1.3 100.64.3.0/24")
	admin.node("waiting", "192.168.1.4", "100.64.2.0/24")
	s.want("quarantined waiting 192.168.1.4 100.64.2.0/24: the pod network 100.64.2.0/24 overlaps one that is held by node young")
	// The last change came a moment ago: the end of the process must not lose it.
	g.stop()
	admin.delete(nodes, "a")
	if err := server.Stop(); err != nil {
		t.Fatal(err)
	}

	g = start(t, server, "gw-a", "10.0.1.10", file)
	s = g.subscribe()
	s.wantSnapshot("stale admitted a 192.168.1.1 100.64.1.0/24", "stale admitted late 192.168.1.3 100.64.3.0/24", "stale admitted young 192.168.1.2 100.64.2.0/24")
	g.awaitHTTP("/readyz", "200 ok")
	g.awaitHTTP("/metrics", "eks_hybrid_gateway_vtep_stale 3\n")
	g.awaitHTTP("/metrics", "eks_hybrid_gateway_vtep_count 3\n")
	g.awaitHTTP("/metrics", `eks_hybrid_gateway_kubernetes_errors_total{resource="ciliumnodes"}`)
	// A third life, as if the first had not been seen: nothing but the whole truth is kept.
	g.stop()
	g = start(t, server, "gw-a", "10.0.1.10", file)
	s = g.subscribe()
	s.want("snapshot of 3")
	g.lead(1, time.Hour)

	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{}
	for range 4 {
		got[s.next()] = true
	}
	for _, want := range []string{
		"delete a", "admitted late 192.168.1.3 100.64.3.0/24", "admitted young 192.168.1.2 100.64.2.0/24",
		"quarantined waiting 192.168.1.4 100.64.2.0/24: the pod network 100.64.2.0/24 overlaps one that is held by node young",
	} {
		if !got[want] {
			t.Errorf("after the API server answered: %q, without %q", slices.Collect(maps.Keys(got)), want)
		}
	}
	g.awaitHTTP("/metrics", "eks_hybrid_gateway_vtep_stale 0\n")
	admin.awaitPublished("1 gw-a" + published)
}

// A file that is of no use is ignored, and replaced once all is known.
func TestStateFileIsDamaged(t *testing.T) {
	server := shared.Get(t)
	admin := administrator(t, server)
	admin.node("a", "192.168.1.1", "100.64.1.0/24")
	file := filepath.Join(t.TempDir(), "vteps")
	if err := os.WriteFile(file, []byte("hybrid-gateway-vteps 99 0 0\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	g := start(t, server, "gw-a", "10.0.1.10", "--state-file="+file)
	g.subscribe().wantSnapshot("admitted a 192.168.1.1 100.64.1.0/24")
	eventually(t, func() error {
		s, err := state.Load(file)
		if err == nil && len(s.VTEPs) != 1 {
			err = fmt.Errorf("it has %v", s)
		}
		return err
	})
	g.awaitHTTP("/metrics", `eks_hybrid_gateway_vtep_state_writes_total{outcome="ok"}`)
}

// A disk that cannot be written harms nothing else.
func TestStateFileCannotBeWritten(t *testing.T) {
	server := shared.Get(t)
	admin := administrator(t, server)
	admin.node("a", "192.168.1.1", "100.64.1.0/24")
	g := start(t, server, "gw-a", "10.0.1.10", "--state-file=/proc/self/nowhere/vteps")
	s := g.subscribe()
	s.want("snapshot of 1")
	g.awaitHTTP("/metrics", `eks_hybrid_gateway_vtep_state_writes_total{outcome="failed"}`)
	admin.node("b", "192.168.1.2", "100.64.2.0/24")
	s.want("admitted b 192.168.1.2 100.64.2.0/24")
}

// A lapse of the stream from election changes nothing by itself.
func TestElectionAway(t *testing.T) {
	server := shared.Get(t)
	admin := administrator(t, server)
	admin.node("a", "192.168.1.1", "100.64.1.0/24")
	g := &gateway{t: t, id: "gw-a", ip: "10.0.1.10", dir: t.TempDir()}
	stop := g.run(server)
	defer stop()
	g.subscribe().want("snapshot of 1")
	g.awaitHTTP("/readyz", "200 ok")
	if got, err := admin.published(); got != "none" || err != nil {
		t.Errorf("published %q without an election, %v", got, err)
	}
}
