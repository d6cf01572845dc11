package cilium

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/dynamic"

	"github.com/hybridgateway/gateway/libs/apiservertest"
	"github.com/hybridgateway/gateway/services/vtep-registry/internal/publish"
)

// crds are the definitions in a file of tools/controlplane/crds.
func crds(t *testing.T, file string) []*unstructured.Unstructured {
	t.Helper()
	f, err := os.Open(filepath.Join("..", "..", "..", "..", "tools", "controlplane", "crds", file))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var all []*unstructured.Unstructured
	for d := yaml.NewYAMLOrJSONDecoder(f, 4096); ; {
		o := &unstructured.Unstructured{}
		switch err := d.Decode(&o.Object); {
		case errors.Is(err, io.EOF):
			return all
		case err != nil:
			t.Fatal(err)
		}
		all = append(all, o)
	}
}

// install puts the definitions in the place of those that are there. A scope cannot be
// changed, so replace begins with a deletion.
func (c cluster) install(file string, replace bool) {
	c.t.Helper()
	all := c.dynamic.Resource(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: definitions})
	for _, o := range crds(c.t, file) {
		if replace {
			c.remove(o.GetName())
		}
		if _, err := all.Apply(c.t.Context(), o.GetName(), o, metav1.ApplyOptions{FieldManager: "test", Force: true}); err != nil {
			c.t.Fatal(err)
		}
	}
}

func (c cluster) remove(definition string) {
	c.t.Helper()
	all := c.dynamic.Resource(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: definitions})
	_ = all.Delete(c.t.Context(), definition, metav1.DeleteOptions{})
	eventually(c.t, func() error {
		if _, err := all.Get(c.t.Context(), definition, metav1.GetOptions{}); err == nil {
			return fmt.Errorf("%s is still there", definition)
		}
		return nil
	})
}

func TestDetect(t *testing.T) {
	for file, want := range map[string]Dialect{
		"ciliumvtepconfigs.yaml": {Version: "v2", Form: Named},
		"dialects/per-node.yaml": {Version: "v2alpha1", Form: PerNode},
		"dialects/plain.yaml":    {Version: "v2alpha1", Form: Plain, Namespaced: true, MTU: true},
		"dialects/upgraded.yaml": {Version: "v2", Form: Named},
		"ciliumnodes.yaml":       {},
	} {
		spec, err := json.Marshal(crds(t, file)[0].Object["spec"])
		if err != nil {
			t.Fatal(err)
		}
		got, err := detect(spec)
		if got != want || (err == nil) != want.Known() {
			t.Errorf("%s: got %+v, %v", file, got, err)
		}
	}
	for text, want := range map[string]string{
		`7`:  "cannot be read",
		`{}`: "none of the forms",
		`{"versions":[{"name":"v2","served":false,"schema":{"openAPIV3Schema":{"properties":{"spec":{"properties":{"endpoints":{"items":{"properties":{"name":{},"tunnelEndpoint":{},"cidr":{},"mac":{}}}}}}}}}}]}`: "none of the forms",
		`{"versions":[{"name":"v3","served":true,"schema":{"openAPIV3Schema":{"properties":{"spec":{"properties":{"endpoints":{"items":{"properties":{"address":{}}}}}}}}}}]}`:                                      "(v3) has none of the forms that this program knows",
	} {
		if _, err := detect(json.RawMessage(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// configEvents follows all CiliumVTEPConfigs.
type configEvents struct {
	t       *testing.T
	client  *Client
	events  chan Event[publish.Object]
	reports chan Event[NodeReports]
	mu      sync.Mutex
	errs    []string
}

func watchConfigs(t *testing.T, server *apiservertest.Server) *configEvents {
	t.Helper()
	client, err := NewClient(server.ServiceAccountKubeconfig(apiservertest.VTEPRegistry))
	if err != nil {
		t.Fatal(err)
	}
	w := &configEvents{t: t, client: client, events: make(chan Event[publish.Object]), reports: make(chan Event[NodeReports])}
	log := slog.New(slog.DiscardHandler)
	ctx, cancel := context.WithCancel(t.Context())
	var tasks sync.WaitGroup
	tasks.Go(func() {
		_ = client.WatchConfigs(ctx, Configs{
			Watch:       Watch[publish.Object]{Events: w.events, Report: w.report, Log: log},
			Definitions: w.report,
			Nodes:       Watch[NodeReports]{Events: w.reports, Report: w.report, Log: log},
		})
	})
	t.Cleanup(func() { cancel(); tasks.Wait(); client.Close() })
	return w
}

func (w *configEvents) report(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil {
		w.errs = append(w.errs, err.Error())
	}
}

func (w *configEvents) reported(text string) {
	w.t.Helper()
	eventually(w.t, func() error {
		w.mu.Lock()
		defer w.mu.Unlock()
		if !strings.Contains(strings.Join(w.errs, "\n"), text) {
			return fmt.Errorf("reported %q, not %q", w.errs, text)
		}
		return nil
	})
}

func (w *configEvents) next() Event[publish.Object] {
	w.t.Helper()
	select {
	case e := <-w.events:
		return e
	case <-time.After(patience):
		w.t.Fatal("no event")
		return Event[publish.Object]{}
	}
}

// until waits for the snapshot in the dialect.
func (w *configEvents) until(d Dialect) Event[publish.Object] {
	w.t.Helper()
	for {
		if e := w.next(); e.Whole && e.Dialect == d {
			return e
		}
	}
}

// nextReports waits for an agent that reports something. It may have done so before the list.
func (w *configEvents) nextReports() NodeReports {
	w.t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case e := <-w.reports:
			for _, r := range append(e.Snapshot, e.Value) {
				if len(r.Reports) > 0 {
					return r
				}
			}
		case <-deadline:
			w.t.Fatal("no agent reports anything")
		}
	}
}

// Each form is written and read back, its status too, and the way from one to the next is
// followed while running: a Cilium without any, early adopters', upstream's, both while it is
// upgraded, EKS's.
func TestDialects(t *testing.T) {
	server := apiservertest.Start(t)
	admin := administrator(t, server)
	admin.remove("ciliumvtepconfigs.cilium.io")
	w := watchConfigs(t, server)
	w.until(Dialect{})
	w.reported("the API server has no ciliumvtepconfigs.cilium.io: install a Cilium that has CiliumVTEPConfig, or use --vtep-mode=floating")

	plain := Dialect{Version: "v2alpha1", Form: Plain, Namespaced: true, MTU: true}
	admin.install("dialects/plain.yaml", true)
	w.until(plain)
	w.check(plain, "kube-system/eks-hybrid-gateway", admin.in("v2alpha1").Namespace("kube-system"),
		`{"mtu":1450,"port":8472,"vni":2,"vtepEndpoints":[{"cidr":"10.0.0.0/16","ip":"10.0.1.10","mac":"02:68:0a:00:01:0a"}]}`,
		`{"status":{"active":true,"lastReconciledAt":"2026-04-01T12:00:00Z"}}`)
	admin.patch(admin.in("v2alpha1").Namespace("kube-system"), "eks-hybrid-gateway", `{"spec":{"vni":7}}`)
	if e := w.next(); e.Value.Flaw != "it has VNI 7 and port 8472" {
		t.Errorf("got %+v", e)
	}

	perNode := Dialect{Version: "v2alpha1", Form: PerNode}
	admin.install("dialects/per-node.yaml", true)
	w.until(perNode)
	w.check(perNode, "hybrid-gateway", admin.in("v2alpha1"),
		`{"vtepEndpoints":[{"cidr":"10.0.0.0/16","mac":"02:68:0a:00:01:0a","name":"vpc-gateway","tunnelEndpoint":"10.0.1.10"}]}`, "")
	node := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "cilium.io/v2alpha1", "kind": "CiliumVTEPNodeConfig", "metadata": map[string]any{"name": "node1"}}}
	nodeConfigs := admin.dynamic.Resource(schema.GroupVersionResource{Group: group, Version: "v2alpha1", Resource: vtepNodeConfigs})
	eventually(t, func() error {
		_, err := nodeConfigs.Create(t.Context(), node, metav1.CreateOptions{})
		return err
	})
	admin.patch(nodeConfigs, "node1", `{"status":{"vtepEndpointStatuses":[{"name":"vpc-gateway","synced":false,"error":"map full"}]}}`)
	if got := fmt.Sprint(w.nextReports()); got != "{node1 [{vpc-gateway false  map full}]}" {
		t.Error(got)
	}

	named := Dialect{Version: "v2", Form: Named}
	admin.install("dialects/upgraded.yaml", false)
	e := w.until(named)
	if len(e.Snapshot) != 1 || e.Snapshot[0].Epoch != "2" || len(e.Snapshot[0].Endpoints) != 0 {
		t.Errorf("what was written in the old form is, in the new one, %+v", e.Snapshot)
	}
	w.check(named, "hybrid-gateway", admin.in("v2"),
		`{"endpoints":[{"cidr":"10.0.0.0/16","mac":"02:68:0a:00:01:0a","name":"vpc-gateway","tunnelEndpoint":"10.0.1.10"}]}`,
		`{"status":{"endpointStatuses":[{"name":"vpc-gateway","synced":true,"lastSyncTime":"2026-04-01T12:00:00Z"}]}}`)
	admin.install("ciliumvtepconfigs.yaml", true)
	w.until(Dialect{})
	w.until(named)
}

// patch changes an object, and its status if the patch has one.
func (c cluster) patch(there dynamic.ResourceInterface, name, patch string) {
	c.t.Helper()
	var of []string
	if strings.HasPrefix(patch, `{"status"`) {
		of = []string{"status"}
	}
	if _, err := there.Patch(c.t.Context(), name, types.MergePatchType, []byte(patch), metav1.PatchOptions{}, of...); err != nil {
		c.t.Fatal(err)
	}
}

func (c cluster) in(version string) dynamic.NamespaceableResourceInterface {
	return c.dynamic.Resource(schema.GroupVersionResource{Group: group, Version: version, Resource: vtepConfigs})
}

// check writes the target, first as a new object or over what is there, then once more; what
// the API server has is then spec, and the reports are those of the status, if one is given.
func (w *configEvents) check(d Dialect, key string, there dynamic.ResourceInterface, spec, status string) {
	w.t.Helper()
	ctx := w.t.Context()
	target := d.Target("")
	if target.Key() != key {
		w.t.Fatalf("the target is %s, want %s", target.Key(), key)
	}
	found, err := w.client.Read(ctx, target)
	if err != nil {
		w.t.Fatal(err)
	}
	first := decision(publish.Create, "", 1)
	if found != nil {
		first = decision(publish.Update, found.Version, 1)
	}
	written, err := w.client.Write(ctx, target, first)
	if err != nil {
		w.t.Fatal(err)
	}
	written, err = w.client.Write(ctx, target, decision(publish.Update, written.Version, 2))
	if err != nil || written.Name != key || written.Epoch != "2" || written.Flaw != "" || len(written.Endpoints) != 1 || written.Endpoints[0] != first.Content.Endpoints[0] {
		w.t.Fatalf("written: %+v, %v", written, err)
	}
	for {
		if e := w.next(); e.Name == key && e.Value.Epoch == "2" {
			break
		}
	}
	o, err := there.Get(ctx, target.Name, metav1.GetOptions{})
	if err != nil {
		w.t.Fatal(err)
	}
	if got, err := json.Marshal(o.Object["spec"]); err != nil || string(got) != spec {
		w.t.Errorf("the spec is %s, %v\nwant %s", got, err, spec)
	}
	if status == "" {
		return
	}
	if _, err := there.Patch(ctx, target.Name, types.MergePatchType, []byte(status), metav1.PatchOptions{}, "status"); err != nil {
		w.t.Fatal(err)
	}
	want := publish.Report{Endpoint: "vpc-gateway", Synced: true, Time: "2026-04-01T12:00:00Z"}
	if e := w.next(); len(e.Value.Reports) != 1 || e.Value.Reports[0] != want {
		w.t.Errorf("reports of %+v", e)
	}
}
