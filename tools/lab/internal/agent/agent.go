package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/connrotation"

	"github.com/hybridgateway/gateway/tools/lab/internal/netns"
	"github.com/hybridgateway/gateway/tools/lab/internal/onprem"
)

// Resource is what agents read.
var Resource = schema.GroupVersionResource{Group: "cilium.io", Version: "v2", Resource: "ciliumvtepconfigs"}

const (
	firstRetry = 100 * time.Millisecond
	lastRetry  = 2 * time.Second
	// requestTimeout bounds everything but the watch itself.
	requestTimeout = 10 * time.Second
	// watchTimeout ends a watch in good time, so that a connection that died
	// without a word is noticed.
	watchTimeout = 5 * time.Minute
)

// Map is the VTEP map of a node; onprem.Node is one.
type Map interface {
	SetVTEPs([]onprem.Endpoint) error
}

// Config is what an agent works on.
type Config struct {
	Name   string            // of the node, for the log
	Client dynamic.Interface // see Client
	Map    Map
	Log    *slog.Logger // default: none
}

// Client connects to an API server from inside a host's namespace. The server's
// address in the configuration must be a literal IP address. Call the returned
// function when the client is no longer used.
func Client(c *rest.Config, h *netns.Host) (dynamic.Interface, func(), error) {
	c = rest.CopyConfig(c)
	connections := connrotation.NewDialer(h.Dial)
	c.Dial = connections.DialContext
	hc, err := rest.HTTPClientFor(c)
	if err != nil {
		return nil, nil, fmt.Errorf("configure API client of %s: %w", h.Name(), err)
	}
	d, err := dynamic.NewForConfigAndClient(c, hc)
	if err != nil {
		return nil, nil, fmt.Errorf("make API client of %s: %w", h.Name(), err)
	}
	// Those in use are closed too: a watch that has just ended may still hold one, and
	// nothing tells it later that the world is gone.
	return d, connections.CloseAll, nil
}

type agent struct {
	Config
	objects map[string]*unstructured.Unstructured
	told    map[string]told // what this agent last wrote, by object
}

// told is a report that was written.
type told struct {
	uid        types.UID
	generation int64
	report     report
}

// Run does the agent's work until ctx ends. The node's map stays as it is then.
func Run(ctx context.Context, c Config) {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	c.Log = c.Log.With("node", c.Name)
	a := &agent{Config: c, told: map[string]told{}}
	wait := firstRetry
	for ctx.Err() == nil {
		started := time.Now()
		err := a.follow(ctx)
		if ctx.Err() != nil {
			return
		}
		if time.Since(started) > lastRetry {
			wait = firstRetry
		}
		if err != nil {
			a.Log.Debug("agent lost the API server", "error", err, "retry_in", wait)
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
		wait = min(2*wait, lastRetry)
	}
}

// follow lists and watches; nil when the watch ended in the normal way.
func (a *agent) follow(ctx context.Context) error {
	version, err := a.list(ctx)
	if err != nil {
		return err
	}
	a.apply(ctx)
	for ctx.Err() == nil {
		if version, err = a.watch(ctx, version); err != nil {
			return err
		}
	}
	return nil
}

func (a *agent) list(ctx context.Context) (version string, err error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	list, err := a.Client.Resource(Resource).List(ctx, metav1.ListOptions{})
	if err != nil {
		return "", fmt.Errorf("list %s: %w", Resource.Resource, err)
	}
	a.objects = map[string]*unstructured.Unstructured{}
	for i := range list.Items {
		a.objects[list.Items[i].GetName()] = &list.Items[i]
	}
	return list.GetResourceVersion(), nil
}

// watch applies changes until the watch ends, and returns the version from
// which another can go on.
func (a *agent) watch(ctx context.Context, version string) (string, error) {
	seconds := int64(watchTimeout / time.Second)
	w, err := a.Client.Resource(Resource).Watch(ctx, metav1.ListOptions{
		ResourceVersion: version, AllowWatchBookmarks: true, TimeoutSeconds: &seconds,
	})
	if err != nil {
		return "", fmt.Errorf("watch %s: %w", Resource.Resource, err)
	}
	defer w.Stop()
	started := time.Now()
	events := 0
	for e := range w.ResultChan() {
		events++
		o, ok := e.Object.(*unstructured.Unstructured)
		if e.Type == watch.Error || !ok {
			return "", fmt.Errorf("watch %s: %w", Resource.Resource, apierrors.FromObject(e.Object))
		}
		version = o.GetResourceVersion()
		switch e.Type {
		case watch.Added, watch.Modified:
			a.objects[o.GetName()] = o
		case watch.Deleted:
			delete(a.objects, o.GetName())
			delete(a.told, o.GetName())
		default:
			continue
		}
		a.apply(ctx)
	}
	if events == 0 && time.Since(started) < time.Second {
		return "", errors.New("watch ended at once")
	}
	return version, nil
}

// apply writes the node's map, then the status.
func (a *agent) apply(ctx context.Context) {
	var objects []*unstructured.Unstructured
	for _, name := range slices.Sorted(maps.Keys(a.objects)) {
		objects = append(objects, a.objects[name])
	}
	verdicts := resolve(objects)
	failed := a.Map.SetVTEPs(endpoints(verdicts))
	if failed != nil {
		a.Log.Error("agent could not write its map", "error", failed)
	}
	all := reports(verdicts, failed)
	for _, o := range objects {
		a.tell(ctx, o, all[o.GetName()])
	}
}

// tell reports in an object's status: once for every generation of it, so that
// its time says when the newest was applied, and when the report has changed or
// has been lost. That another agent sees things differently is left standing.
func (a *agent) tell(ctx context.Context, o *unstructured.Unstructured, r report) {
	now, last := reported(o), a.told[o.GetName()]
	if last.uid == o.GetUID() && last.generation == o.GetGeneration() && maps.Equal(last.report, r) && now.names(r) {
		return
	}
	if err := a.writeStatus(ctx, o, r); err != nil && !apierrors.IsNotFound(err) {
		a.Log.Debug("agent could not write status", "object", o.GetName(), "error", err)
		return
	}
	a.told[o.GetName()] = told{uid: o.GetUID(), generation: o.GetGeneration(), report: r}
}

func (a *agent) writeStatus(ctx context.Context, o *unstructured.Unstructured, r report) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	stamp := time.Now().UTC().Format(time.RFC3339)
	statuses := []map[string]any{}
	for _, name := range slices.Sorted(maps.Keys(r)) {
		s := map[string]any{"name": name, "synced": r[name] == "", "lastSyncTime": stamp}
		if r[name] != "" {
			s["error"] = r[name]
		}
		statuses = append(statuses, s)
	}
	body, err := json.Marshal(map[string]any{
		// A status for an object of the same name but another life is refused.
		"metadata": map[string]any{"uid": o.GetUID()},
		"status":   map[string]any{"endpointStatuses": statuses},
	})
	if err != nil {
		return fmt.Errorf("encode status: %w", err)
	}
	_, err = a.Client.Resource(Resource).Patch(ctx, o.GetName(), types.MergePatchType, body, metav1.PatchOptions{}, "status")
	if err != nil {
		return fmt.Errorf("patch status of %s: %w", o.GetName(), err)
	}
	return nil
}
