package cilium

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/hybridgateway/gateway/libs/apiservertest"
	"github.com/hybridgateway/gateway/services/vtep-registry/internal/publish"
	"github.com/hybridgateway/gateway/services/vtep-registry/internal/registered/registeredtest"
	"github.com/hybridgateway/gateway/services/vtep-registry/internal/registry"
)

// patience is how long a test waits for what must come, many times what it needs.
const patience = time.Minute

var shared apiservertest.Shared

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(shared.Wrap(m))
}

// cluster is an API server as an administrator sees it.
type cluster struct {
	t       *testing.T
	dynamic dynamic.Interface
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
	return cluster{t, client}
}

func (c cluster) resource(name string) dynamic.ResourceInterface {
	return c.dynamic.Resource(schema.GroupVersionResource{Group: group, Version: version, Resource: name})
}

// node creates or updates a CiliumNode with the label test=<label>.
func (c cluster) node(label, name, address string, cidrs ...string) {
	c.t.Helper()
	list := make([]any, len(cidrs))
	for i, p := range cidrs {
		list[i] = p
	}
	c.apply(nodes, map[string]any{
		"apiVersion": "cilium.io/v2", "kind": "CiliumNode",
		"metadata": map[string]any{"name": name, "labels": map[string]any{"test": label}},
		"spec": map[string]any{
			"addresses": []any{map[string]any{"type": "InternalIP", "ip": address}},
			"ipam":      map[string]any{"podCIDRs": list},
		},
	})
}

func (c cluster) apply(resource string, content map[string]any) {
	c.t.Helper()
	o := &unstructured.Unstructured{Object: content}
	if _, err := c.resource(resource).Apply(c.t.Context(), o.GetName(), o, metav1.ApplyOptions{FieldManager: "test", Force: true}); err != nil {
		c.t.Fatal(err)
	}
}

func (c cluster) delete(resource, name string) {
	c.t.Helper()
	if err := c.resource(resource).Delete(context.WithoutCancel(c.t.Context()), name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
		c.t.Fatal(err)
	}
}

// watching follows the nodes of one label.
type watching struct {
	t      *testing.T
	events chan Event[registry.Node]

	mu      sync.Mutex
	reports []error
}

func watchNodes(t *testing.T, kubeconfig, selector string) *watching {
	t.Helper()
	client, err := NewClient(kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	w := &watching{t: t, events: make(chan Event[registry.Node])}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		done <- client.WatchNodes(ctx, selector, Watch[registry.Node]{Events: w.events, Report: w.report, Log: slog.New(slog.NewTextHandler(io.Discard, nil))})
	}()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-done:
			if !errors.Is(err, context.Canceled) {
				t.Errorf("the watch ended with %v", err)
			}
		case <-time.After(patience):
			t.Error("the watch does not end")
		}
		client.Close()
	})
	return w
}

func (w *watching) report(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.reports = append(w.reports, err)
}

// reported waits for a report that fits.
func (w *watching) reported(fits func(error) bool) {
	w.t.Helper()
	deadline := time.Now().Add(patience)
	for time.Now().Before(deadline) {
		w.mu.Lock()
		for _, err := range w.reports {
			if fits(err) {
				w.reports = nil
				w.mu.Unlock()
				return
			}
		}
		w.mu.Unlock()
		time.Sleep(10 * time.Millisecond) // between two looks
	}
	w.t.Fatalf("no such report")
}

func (w *watching) next() string {
	w.t.Helper()
	select {
	case e := <-w.events:
		switch {
		case e.Whole:
			var lines []string
			for _, n := range e.Snapshot {
				lines = append(lines, n.Name+" "+line(n))
			}
			return "snapshot " + strings.Join(lines, "; ")
		case e.Deleted:
			return "deleted " + e.Name
		}
		return e.Name + " " + line(e.Value)
	case <-time.After(patience):
		w.t.Fatal("no event")
		return ""
	}
}

func (w *watching) want(events ...string) {
	w.t.Helper()
	for _, want := range events {
		if got := w.next(); got != want {
			w.t.Fatalf("got %q, want %q", got, want)
		}
	}
}

func TestNodesAreFollowed(t *testing.T) {
	server := shared.Get(t)
	admin := administrator(t, server)
	for _, name := range []string{"follow-a", "follow-b", "follow-other"} {
		t.Cleanup(func() { admin.delete(nodes, name) })
	}
	admin.node("follow", "follow-a", "192.168.1.1", "100.64.1.0/24")
	admin.node("another", "follow-other", "192.168.1.9", "100.64.9.0/24")

	w := watchNodes(t, server.ServiceAccountKubeconfig(apiservertest.VTEPRegistry), "test=follow")
	w.want("snapshot follow-a 192.168.1.1 100.64.1.0/24")
	admin.node("follow", "follow-b", "192.168.1.2", "100.64.2.0/24", "100.64.3.0/24")
	w.want("follow-b 192.168.1.2 100.64.2.0/24 100.64.3.0/24")
	admin.node("follow", "follow-b", "192.168.1.3", "100.64.3.0/24")
	w.want("follow-b 192.168.1.3 100.64.3.0/24")
	admin.node("follow", "follow-b", "nonsense")
	w.want(`follow-b [bad-address: the InternalIP "nonsense" is not an IPv4 address such as 10.0.1.10]`)
	admin.node("another", "follow-b", "192.168.1.3", "100.64.3.0/24")
	w.want("deleted follow-b")
	admin.delete(nodes, "follow-a")
	w.want("deleted follow-a")
	admin.node("follow", "follow-a", "192.168.1.1", "100.64.1.0/24")
	w.want("follow-a 192.168.1.1 100.64.1.0/24")
}

// The API server goes and comes back: what is known stays, and what changed is seen.
func TestAPIServerOutage(t *testing.T) {
	server := apiservertest.Start(t)
	admin := administrator(t, server)
	admin.node("outage", "a", "192.168.1.1", "100.64.1.0/24")
	w := watchNodes(t, server.ServiceAccountKubeconfig(apiservertest.VTEPRegistry), "test=outage")
	w.want("snapshot a 192.168.1.1 100.64.1.0/24")

	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	w.reported(func(err error) bool { return err != nil && strings.Contains(err.Error(), "connection refused") })
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	w.reported(func(err error) bool { return err == nil })
	admin.node("outage", "b", "192.168.1.2", "100.64.2.0/24")
	for {
		// A list may come first, with or without b.
		if e := w.next(); strings.Contains(e, "b 192.168.1.2 100.64.2.0/24") {
			break
		} else if !strings.HasPrefix(e, "snapshot a 192.168.1.1 100.64.1.0/24") {
			t.Fatalf("got %q", e)
		}
	}
}

func TestAbsentCRD(t *testing.T) {
	server := apiservertest.Start(t)
	admin := administrator(t, server)
	definitions := admin.dynamic.Resource(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"})
	definition, err := definitions.Get(t.Context(), nodes+"."+group, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := definitions.Delete(t.Context(), definition.GetName(), metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		if _, err := admin.resource(nodes).List(t.Context(), metav1.ListOptions{}); !apierrors.IsNotFound(err) {
			return fmt.Errorf("the resource is still served: %w", err)
		}
		return nil
	})
	w := watchNodes(t, server.ServiceAccountKubeconfig(apiservertest.VTEPRegistry), "")
	w.reported(func(err error) bool {
		return err != nil && strings.Contains(err.Error(), "the API server has no ciliumnodes.cilium.io: is a Cilium with VTEP support installed?")
	})
	unstructured.RemoveNestedField(definition.Object, "metadata", "resourceVersion")
	unstructured.RemoveNestedField(definition.Object, "metadata", "uid")
	if _, err := definitions.Create(t.Context(), definition, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	w.want("snapshot ")
	w.reported(func(err error) bool { return err == nil })
}

func TestNoPermission(t *testing.T) {
	server := shared.Get(t)
	w := watchNodes(t, server.ServiceAccountKubeconfig(apiservertest.Election), "")
	w.reported(func(err error) bool {
		return err != nil && strings.Contains(err.Error(), "not permitted: apply deploy/rbac/vtep-registry.yaml")
	})
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

func decision(v publish.Verdict, version string, epoch uint64) publish.Decision {
	return publish.Decision{Verdict: v, Version: version, Content: publish.Content{Epoch: epoch, Gateway: "gw-a",
		Endpoints: []publish.Endpoint{{Name: "vpc-gateway", TunnelEndpoint: "10.0.1.10", CIDR: "10.0.0.0/16", MAC: "02:68:0a:00:01:0a"}}}}
}

// Create, update, and all the ways in which the object may have changed meanwhile, with
// no more permissions than the product's manifests give.
func TestWrite(t *testing.T) {
	server := shared.Get(t)
	admin := administrator(t, server)
	const name = "hybrid-gateway"
	target := Dialect{Version: "v2", Form: Named}.Target("")
	admin.delete(vtepConfigs, name)
	t.Cleanup(func() { admin.delete(vtepConfigs, name) })
	client, err := NewClient(server.ServiceAccountKubeconfig(apiservertest.VTEPRegistry))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	ctx := t.Context()

	if o, err := client.Read(ctx, target); o != nil || err != nil {
		t.Fatalf("got %v, %v", o, err)
	}
	if _, err := client.Write(ctx, target, decision(publish.Update, "1", 1)); !errors.Is(err, ErrStale) {
		t.Errorf("update of an absent object: %v", err)
	}
	first, err := client.Write(ctx, target, decision(publish.Create, "", 1))
	if err != nil || first.Epoch != "1" || first.Gateway != "gw-a" || len(first.Endpoints) != 1 {
		t.Fatalf("got %+v, %v", first, err)
	}
	if _, err := client.Write(ctx, target, decision(publish.Create, "", 1)); !errors.Is(err, ErrStale) {
		t.Errorf("create of a present object: %v", err)
	}

	// Somebody labels it and adds an endpoint: the label stays, the endpoint goes.
	patch := `{"metadata":{"labels":{"theirs":"yes"},"annotations":{"theirs":"too"}},"spec":{"endpoints":[{"name":"x","tunnelEndpoint":"192.0.2.1","cidr":"10.0.0.0/8","mac":"02:00:00:00:00:01"}]}}`
	if _, err := admin.resource(vtepConfigs).Patch(ctx, name, types.MergePatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Write(ctx, target, decision(publish.Update, first.Version, 2)); !errors.Is(err, ErrStale) {
		t.Errorf("update of an old version: %v", err)
	}
	found, err := client.Read(ctx, target)
	if err != nil || found.Epoch != "1" || found.Endpoints[0].Name != "x" {
		t.Fatalf("got %+v, %v", found, err)
	}
	second, err := client.Write(ctx, target, decision(publish.Update, found.Version, 2))
	if err != nil || second.Epoch != "2" || len(second.Endpoints) != 1 || second.Endpoints[0].Name != "vpc-gateway" {
		t.Fatalf("got %+v, %v", second, err)
	}
	o, err := admin.resource(vtepConfigs).Get(ctx, name, metav1.GetOptions{})
	if err != nil || o.GetLabels()["theirs"] != "yes" || o.GetAnnotations()["theirs"] != "too" {
		t.Errorf("what is not ours was not left alone: %v, %v", o, err)
	}

	if _, err := client.Write(ctx, target.Dialect.Target("other"), decision(publish.Update, "1", 1)); !apierrors.IsForbidden(err) {
		t.Errorf("update of another name: %v", err)
	}
	bad := decision(publish.Update, second.Version, 3)
	bad.Content.Endpoints[0].MAC = "none"
	if _, err := client.Write(ctx, target, bad); err == nil || errors.Is(err, ErrStale) {
		t.Errorf("an object that the schema refuses: %v", err)
	}
}

// Registered VTEPs in the ConfigMap, with no more permissions than the product's manifests give.
func TestRegisteredContract(t *testing.T) {
	server := apiservertest.Start(t)
	admin := administrator(t, server)
	maps := admin.dynamic.Resource(schema.GroupVersionResource{Version: "v1", Resource: configMaps}).Namespace(namespace)
	registeredtest.Run(t, registeredtest.Backend{
		Open: func(t *testing.T) registeredtest.Store {
			t.Helper()
			client, err := NewClient(server.ServiceAccountKubeconfig(apiservertest.VTEPRegistry))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(client.Close)
			return client.ConfigMap(slog.New(slog.DiscardHandler))
		},
		Write: func(t *testing.T, name, text string) {
			t.Helper()
			body, err := json.Marshal(map[string]any{"data": map[string]string{name: text}})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := maps.Patch(t.Context(), configMapName, types.MergePatchType, body, metav1.PatchOptions{}); err != nil {
				t.Fatal(err)
			}
		},
		Stop: server.Stop, Start: server.Start,
	})
}
