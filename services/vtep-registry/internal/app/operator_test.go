package app

import (
	"context"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"github.com/hybridgateway/gateway/libs/apiservertest"
	"github.com/hybridgateway/gateway/libs/daemon"
	"github.com/hybridgateway/gateway/libs/etcdtest"
	feedv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/feed/v1"
	vtepsv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/vteps/v1"
	"github.com/hybridgateway/gateway/services/vtep-registry/internal/floating"
)

func (c cluster) system(resource string) dynamic.ResourceInterface {
	return c.client.Resource(schema.GroupVersionResource{Version: "v1", Resource: resource}).Namespace("kube-system")
}

// operators are an operator's calls.
func (g *gateway) operators() vtepsv1.VtepsServiceClient {
	g.t.Helper()
	conn, err := daemon.Dial(filepath.Join(g.dir, "vtep-registry.sock"))
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { conn.Close() })
	return vtepsv1.NewVtepsServiceClient(conn)
}

// A VTEP that is no node is registered at one gateway and known to all, judged as nodes are,
// and there again after a restart of everything.
func TestRegister(t *testing.T) {
	server := apiservertest.Start(t)
	admin := administrator(t, server)
	admin.node("a", "192.168.1.1", "100.64.1.0/24")
	one, two := start(t, server, "gw-a", "10.0.1.10"), start(t, server, "gw-b", "10.0.1.11")
	s := two.subscribe()
	s.want("snapshot of 1")
	one.awaitHTTP("/readyz", "200 ok")
	ask := one.operators()
	register := func(name, ip string, cidrs ...string) (string, error) {
		r, err := ask.RegisterVtep(t.Context(), &vtepsv1.RegisterVtepRequest{Name: name, Ip: ip, PodCidrs: cidrs})
		if err == nil && r.GetVtep().GetSource() != vtepsv1.Source_SOURCE_REGISTERED {
			t.Errorf("the source is %v", r.GetVtep().GetSource())
		}
		return show(r.GetVtep()), err
	}
	for _, c := range []struct{ name, ip, cidr, want string }{
		{"printer", "192.168.7.1", "100.64.7.0/24", "admitted registered/printer 192.168.7.1 100.64.7.0/24"},
		{"late", "192.168.7.2", "100.64.1.0/25", "quarantined registered/late 192.168.7.2 100.64.1.0/25: the pod network 100.64.1.0/25 overlaps one that is held by node a"},
		{"vpc", "192.168.7.3", "10.0.0.0/24", "quarantined registered/vpc 192.168.7.3 10.0.0.0/24: the pod network 10.0.0.0/24 overlaps the VPC's 10.0.0.0/16"},
		{"printer", "192.168.7.9", "100.64.7.0/24", "admitted registered/printer 192.168.7.9 100.64.7.0/24"},
	} {
		got, err := register(c.name, c.ip, c.cidr)
		if err != nil || got != c.want {
			t.Errorf("answered %q, %v", got, err)
		}
		s.want(c.want)
	}
	admin.node("thief", "192.168.1.2", "100.64.7.0/24")
	s.want("quarantined thief 192.168.1.2 100.64.7.0/24: the pod network 100.64.7.0/24 overlaps one that is held by node registered/printer")
	admin.delete(nodes, "a")
	s.want("delete a", "admitted registered/late 192.168.7.2 100.64.1.0/25")

	if _, err := register("a/b", "192.168.7.1", "100.64.7.0/24"); status.Code(err) != codes.InvalidArgument {
		t.Errorf("a bad name: %v", err)
	}
	wantCode := func(want codes.Code, call func() error) {
		t.Helper()
		eventually(t, func() error { // an API server under load may be slow
			if err := call(); status.Code(err) != want {
				return fmt.Errorf("got %w, want %v", err, want)
			}
			return nil
		})
	}
	wantCode(codes.NotFound, func() error {
		_, err := ask.DeregisterVtep(t.Context(), &vtepsv1.DeregisterVtepRequest{Name: "never"})
		return err
	})
	// A ConfigMap takes a megabyte; a VTEP of 128 networks has two kilobytes.
	fill := func(value string) {
		t.Helper()
		if _, err := admin.system("configmaps").Patch(t.Context(), "hybrid-gateway-vteps", types.MergePatchType, []byte(`{"data":{"other":`+value+`}}`), metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	fill(`"` + strings.Repeat("x", 1<<20-2000) + `"`)
	var cidrs []string
	for i := range 128 {
		cidrs = append(cidrs, fmt.Sprintf("100.65.%d.0/24", i))
	}
	wantCode(codes.ResourceExhausted, func() error { _, err := register("large", "192.168.7.5", cidrs...); return err })
	fill("null")

	// What somebody writes by hand and cannot be read harms nothing else.
	caller := two.operators()
	eventually(t, func() error {
		if known(t, caller, "registered/other") {
			return fmt.Errorf("still there")
		}
		return nil
	})
	if _, err := ask.DeregisterVtep(t.Context(), &vtepsv1.DeregisterVtepRequest{Name: "printer"}); err != nil {
		t.Error(err)
	}
	one.stop()
	two.stop()
	again := start(t, server, "gw-a", "10.0.1.10")
	again.subscribe().wantSnapshot("admitted registered/late 192.168.7.2 100.64.1.0/25",
		"quarantined registered/vpc 192.168.7.3 10.0.0.0/24: the pod network 10.0.0.0/24 overlaps the VPC's 10.0.0.0/16",
		"admitted thief 192.168.1.2 100.64.7.0/24")

	if err := server.Stop(); err != nil {
		t.Fatal(err)
	}
	ask = again.operators()
	wantCode(codes.Unavailable, func() error { _, err := register("printer", "192.168.7.1", "100.64.7.0/24"); return err })
}

// With --etcd-endpoints the same is in etcd, and nothing of it at the API server. While etcd is
// away what is known stays.
func TestRegisterInEtcd(t *testing.T) {
	server := apiservertest.Start(t)
	cluster := etcdtest.Start(t, etcdtest.Options{})
	admin := administrator(t, server)
	admin.node("a", "192.168.1.1", "100.64.1.0/24")
	cert, key := cluster.Authority.Issue(t, "registry")
	flags := []string{"--etcd-endpoints=" + strings.Join(cluster.Endpoints(), ","), "--etcd-ca=" + cluster.Authority.File, "--etcd-cert=" + cert, "--etcd-key=" + key}
	one, two := start(t, server, "gw-a", "10.0.1.10", flags...), start(t, server, "gw-b", "10.0.1.11", flags...)
	s := two.subscribe()
	s.want("snapshot of 1")
	ask := one.operators()
	register := func(name, ip, cidr string) error {
		_, err := ask.RegisterVtep(t.Context(), &vtepsv1.RegisterVtepRequest{Name: name, Ip: ip, PodCidrs: []string{cidr}})
		return err
	}
	one.awaitHTTP("/readyz", "200 ok")
	if err := register("printer", "192.168.7.1", "100.64.7.0/24"); err != nil {
		t.Fatal(err)
	}
	s.want("admitted registered/printer 192.168.7.1 100.64.7.0/24")
	if _, err := admin.system("configmaps").Get(t.Context(), "hybrid-gateway-vteps", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("there is a ConfigMap, or %v", err)
	}
	if err := cluster.Kill(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := ask.DeregisterVtep(ctx, &vtepsv1.DeregisterVtepRequest{Name: "printer"}); err == nil {
		t.Error("deregistered without etcd")
	}
	admin.node("b", "192.168.1.2", "100.64.2.0/24")
	s.want("admitted b 192.168.1.2 100.64.2.0/24")
	if !known(t, ask, "registered/printer") {
		t.Error("what was registered went with etcd")
	}
	if err := cluster.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error { return register("late", "192.168.7.2", "100.64.8.0/24") })
	s.want("admitted registered/late 192.168.7.2 100.64.8.0/24")
}

// known tells whether a snapshot of the stream names a VTEP.
func known(t *testing.T, c vtepsv1.VtepsServiceClient, name string) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	stream, err := c.Watch(ctx, &vtepsv1.WatchRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for found := false; ; {
		m, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if m.GetHeader().GetKind() == feedv1.Kind_KIND_SYNCED {
			return found
		}
		found = found || m.GetVtep().GetNode() == name
	}
}

// In the floating mode nothing is published and no CRD is needed; what Cilium is set to, and
// which agents have read it, is checked.
func TestFloating(t *testing.T) {
	server := apiservertest.Start(t)
	admin := administrator(t, server)
	definitions := admin.client.Resource(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: definitions})
	if err := definitions.Delete(t.Context(), "ciliumvtepconfigs.cilium.io", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	admin.node("a", "192.168.1.1", "100.64.1.0/24")
	admin.node("thief", "192.168.1.2", "100.64.0.0/10")
	g := start(t, server, "gw-a", "10.0.1.10", "--vtep-mode=floating", "--floating-vtep=198.18.0.10/32")
	g.lead(1, time.Hour)
	g.subscribe().want("snapshot of 2")
	g.awaitHTTP("/readyz", "200 ok")
	ask := g.operators()
	w, err := floating.For(netip.MustParseAddr("198.18.0.10"), []netip.Prefix{netip.MustParsePrefix("10.0.0.0/16"), netip.MustParsePrefix("10.1.0.0/16")})
	if err != nil {
		t.Fatal(err)
	}
	settings := w.Text()
	want := func(problems int, behind ...string) {
		t.Helper()
		eventually(t, func() error {
			p, err := ask.GetPublication(t.Context(), &vtepsv1.GetPublicationRequest{})
			if err == nil && (p.GetMode() != vtepsv1.Mode_MODE_FLOATING || len(p.GetProblems()) != problems || !slices.Equal(p.GetNodesBehind(), behind) || p.GetCiliumSettings() != settings) {
				err = fmt.Errorf("published: %v", p)
			}
			return err
		})
		g.awaitHTTP("/metrics", fmt.Sprintf("eks_hybrid_gateway_vtep_cilium_problems %d\n", problems))
		g.awaitHTTP("/metrics", fmt.Sprintf("eks_hybrid_gateway_vtep_agents_behind %d\n", len(behind)))
	}
	want(4) // enable-vtep, vtep-mask, and either network
	apply := func(data map[string]any) {
		t.Helper()
		o := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]any{"name": "cilium-config"}, "data": data}}
		if _, err := admin.system("configmaps").Apply(t.Context(), "cilium-config", o, metav1.ApplyOptions{FieldManager: "helm", Force: true}); err != nil {
			t.Fatal(err)
		}
	}
	set := map[string]any{
		"enable-vtep": "true", "vtep-endpoint": "198.18.0.10 198.18.0.10", "vtep-cidr": "10.0.0.0/16 10.1.0.0/16",
		"vtep-mask": "255.255.0.0", "vtep-mac": "02:68:c6:12:00:0a 02:68:c6:12:00:0a", "debug": "false",
	}
	apply(set)
	want(0)
	admin.agent("cilium-old", "node1", time.Now().Add(-time.Hour))
	admin.agent("cilium-new", "node2", time.Now().Add(time.Hour))
	want(0, "node1")
	// Of two pods on a node, the newer one is the agent.
	admin.agent("cilium-newer", "node1", time.Now().Add(time.Hour))
	want(0)
	// A change by somebody else to something else is none of ours.
	if _, err := admin.system("configmaps").Patch(t.Context(), "cilium-config", types.MergePatchType, []byte(`{"data":{"other":"x"}}`), metav1.PatchOptions{FieldManager: "another"}); err != nil {
		t.Fatal(err)
	}
	set["vtep-mac"] = "02:68:c6:12:00:0a 02:00:00:00:00:01"
	apply(set)
	want(1)
	if err := admin.system("configmaps").Delete(t.Context(), "cilium-config", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	want(4)
}

// agent makes a pod of Cilium's agent, which runs since the given time.
func (c cluster) agent(name, node string, since time.Time) {
	c.t.Helper()
	o := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "Pod",
		"metadata": map[string]any{"name": name, "labels": map[string]any{"k8s-app": "cilium"}},
		"spec":     map[string]any{"nodeName": node, "containers": []any{map[string]any{"name": "cilium-agent", "image": "cilium"}}},
	}}
	if _, err := c.system("pods").Create(c.t.Context(), o, metav1.CreateOptions{}); err != nil {
		c.t.Fatal(err)
	}
	status := fmt.Sprintf(`{"status":{"containerStatuses":[{"name":"cilium-agent","image":"cilium","imageID":"","ready":true,"restartCount":0,"state":{"running":{"startedAt":%q}}}]}}`, since.UTC().Format(time.RFC3339))
	if _, err := c.system("pods").Patch(c.t.Context(), name, types.MergePatchType, []byte(status), metav1.PatchOptions{}, "status"); err != nil {
		c.t.Fatal(err)
	}
}
