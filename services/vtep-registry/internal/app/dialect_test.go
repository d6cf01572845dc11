package app

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/dynamic"

	"github.com/hybridgateway/gateway/libs/apiservertest"
	vtepsv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/vteps/v1"
)

// install puts the definitions of a file of tools/controlplane/crds in the place of those that
// are there.
func (c cluster) install(file string) {
	c.t.Helper()
	f, err := os.Open(filepath.Join("..", "..", "..", "..", "tools", "controlplane", "crds", file))
	if err != nil {
		c.t.Fatal(err)
	}
	defer f.Close()
	all := c.client.Resource(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: definitions})
	for d := yaml.NewYAMLOrJSONDecoder(f, 4096); ; {
		o := &unstructured.Unstructured{}
		switch err := d.Decode(&o.Object); {
		case errors.Is(err, io.EOF):
			return
		case err != nil:
			c.t.Fatal(err)
		}
		old, err := all.Get(c.t.Context(), o.GetName(), metav1.GetOptions{})
		if err == nil && fmt.Sprint(old.Object["spec"].(map[string]any)["scope"]) != fmt.Sprint(o.Object["spec"].(map[string]any)["scope"]) {
			if err := all.Delete(c.t.Context(), o.GetName(), metav1.DeleteOptions{}); err != nil {
				c.t.Fatal(err)
			}
			eventually(c.t, func() error {
				if _, err := all.Get(c.t.Context(), o.GetName(), metav1.GetOptions{}); err == nil {
					return fmt.Errorf("%s is still there", o.GetName())
				}
				return nil
			})
		}
		if _, err := all.Apply(c.t.Context(), o.GetName(), o, metav1.ApplyOptions{FieldManager: "test", Force: true}); err != nil {
			c.t.Fatal(err)
		}
	}
}

func (c cluster) configsIn(version string) dynamic.NamespaceableResourceInterface {
	return c.client.Resource(schema.GroupVersionResource{Group: "cilium.io", Version: version, Resource: configs})
}

func (c cluster) awaitSpec(there dynamic.ResourceInterface, name, epoch, spec string) {
	c.t.Helper()
	eventually(c.t, func() error {
		o, err := there.Get(c.t.Context(), name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		got, err := json.Marshal(o.Object["spec"])
		if err == nil && (string(got) != spec || o.GetAnnotations()["hybrid-gateway/epoch"] != epoch) {
			err = fmt.Errorf("epoch %s: %s", o.GetAnnotations()["hybrid-gateway/epoch"], got)
		}
		return err
	})
}

// Cilium is exchanged for one with another form of CiliumVTEPConfig while the gateway leads:
// each is told in its own, with no word from anybody, and what agents report is seen.
func TestCiliumIsUpgraded(t *testing.T) {
	server := apiservertest.Start(t)
	admin := administrator(t, server)
	admin.install("dialects/plain.yaml")
	g := start(t, server, "gw-a", "10.0.1.10", "--vpc-cidrs=10.0.0.0/16")
	g.lead(1, time.Hour)
	admin.awaitSpec(admin.configsIn("v2alpha1").Namespace("kube-system"), "eks-hybrid-gateway", "1",
		`{"mtu":1450,"port":8472,"vni":2,"vtepEndpoints":[{"cidr":"10.0.0.0/16","ip":"10.0.1.10","mac":"02:68:0a:00:01:0a"}]}`)

	admin.install("dialects/per-node.yaml")
	const list = `ndpoints":[{"cidr":"10.0.0.0/16","mac":"02:68:0a:00:01:0a","name":"vpc-gateway","tunnelEndpoint":"10.0.1.10"}]}`
	admin.awaitSpec(admin.configsIn("v2alpha1"), "hybrid-gateway", "1", `{"vtepE`+list)
	nodeConfigs := admin.client.Resource(schema.GroupVersionResource{Group: "cilium.io", Version: "v2alpha1", Resource: nodeReports})
	for _, node := range []string{"node1", "node2"} {
		eventually(t, func() error {
			_, err := nodeConfigs.Create(t.Context(), &unstructured.Unstructured{Object: map[string]any{
				"apiVersion": "cilium.io/v2alpha1", "kind": "CiliumVTEPNodeConfig", "metadata": map[string]any{"name": node}}}, metav1.CreateOptions{})
			return err
		})
	}
	report := func(node, status string) {
		t.Helper()
		if _, err := nodeConfigs.Patch(t.Context(), node, types.MergePatchType, []byte(`{"status":{"vtepEndpointStatuses":[`+status+`]}}`), metav1.PatchOptions{}, "status"); err != nil {
			t.Fatal(err)
		}
	}
	report("node1", `{"name":"vpc-gateway","synced":true,"lastSyncTime":"2026-04-01T12:00:00Z"}`)
	report("node2", `{"name":"vpc-gateway","synced":false,"error":"map full"}`)
	g.awaitHTTP("/metrics", `eks_hybrid_gateway_vtep_endpoints{state="synced"} 1`)
	g.awaitHTTP("/metrics", `eks_hybrid_gateway_vtep_endpoints{state="failed"} 1`)
	g.awaitHTTP("/metrics", `eks_hybrid_gateway_vtep_taken_duration_seconds_count 1`)

	admin.install("dialects/upgraded.yaml")
	admin.awaitSpec(admin.configsIn("v2"), "hybrid-gateway", "1", `{"e`+list)
	g.awaitHTTP("/metrics", `eks_hybrid_gateway_vtep_endpoints{state="synced"} 0`)
	admin.report("2026-04-01T12:00:00Z")
	g.awaitHTTP("/metrics", `eks_hybrid_gateway_vtep_endpoints{state="synced"} 1`)
	g.awaitHTTP("/metrics", `eks_hybrid_gateway_vtep_taken_duration_seconds_count 2`)
	// The same endpoint under another epoch is nothing new for Cilium.
	g.lead(2, time.Hour)
	admin.awaitSpec(admin.configsIn("v2"), "hybrid-gateway", "2", `{"e`+list)
	g.awaitHTTP("/metrics", `eks_hybrid_gateway_vtep_endpoints{state="synced"} 1`)
	// Another address is.
	g.ip = "10.0.1.99"
	g.lead(3, time.Hour)
	g.awaitHTTP("/metrics", `eks_hybrid_gateway_vtep_endpoints{state="pending"} 1`)
	admin.report("2026-04-01T12:00:05Z")
	g.awaitHTTP("/metrics", `eks_hybrid_gateway_vtep_taken_duration_seconds_count 3`)
	p, err := g.operators().GetPublication(t.Context(), &vtepsv1.GetPublicationRequest{})
	if got := fmt.Sprint(p.GetMode(), " ", p.GetApiVersion(), " ", p.GetObject(), " ", p.GetEpoch(), " ", p.GetEndpoints()[0].GetEndpoint(), " ", p.GetEndpoints()[0].GetSynced(), " ", p.GetProblems()); err != nil ||
		got != "MODE_PUBLISHED cilium.io/v2 hybrid-gateway 3 vpc-gateway true []" {
		t.Errorf("published: %s, %v", got, err)
	}
}

// report is what Cilium says in the object itself.
func (c cluster) report(at string) {
	c.t.Helper()
	status := `{"status":{"endpointStatuses":[{"name":"vpc-gateway","synced":true,"lastSyncTime":"` + at + `"}]}}`
	if _, err := c.configsIn("v2").Patch(c.t.Context(), "hybrid-gateway", types.MergePatchType, []byte(status), metav1.PatchOptions{}, "status"); err != nil {
		c.t.Fatal(err)
	}
}
