package cilium

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/hybridgateway/gateway/services/vtep-registry/internal/registered"
)

// configMapName is the ConfigMap, in kube-system, that holds the VTEPs which are no Kubernetes
// nodes: a key for each.
const configMapName = "hybrid-gateway-vteps"

// ConfigMap is where registered VTEPs are when they are not in etcd. It is safe for concurrent use.
type ConfigMap struct {
	client *Client
	log    *slog.Logger
}

// ConfigMap is the one for the client's API server.
func (c *Client) ConfigMap(log *slog.Logger) *ConfigMap { return &ConfigMap{c, log} }

// Watch tells of all, and again after each change, until ctx ends. report is called with the
// reason when the API server cannot be read, and with nil when it was.
func (m *ConfigMap) Watch(ctx context.Context, tell chan<- registered.All, report func(error)) error {
	ctx, cancel := context.WithCancel(ctx)
	events := make(chan Event[registered.All])
	var tasks sync.WaitGroup
	tasks.Go(func() {
		relay(ctx, events, tell, func(e Event[registered.All]) registered.All {
			switch {
			case e.Deleted:
				return registered.All{Version: e.Value.Version}
			case !e.Whole:
				return e.Value
			case len(e.Snapshot) == 0:
				return registered.All{Version: e.Version}
			}
			return e.Snapshot[0]
		})
	})
	defer tasks.Wait()
	defer cancel()
	return run(ctx, m.client, source{resource: configMaps, path: registeredPath(), name: configMapName}, parseRegistered, Watch[registered.All]{Events: events, Report: report, Log: m.log})
}

// relay passes on what a watch tells, in another shape, until ctx ends.
func relay[A, B any](ctx context.Context, from <-chan A, to chan<- B, shape func(A) B) {
	for {
		select {
		case <-ctx.Done():
			return
		case a := <-from:
			select {
			case <-ctx.Done():
				return
			case to <- shape(a):
			}
		}
	}
}

func registeredPath() string { return "/api/v1/namespaces/" + namespace + "/" + configMaps }

// Register writes one and returns all as they then are. One that is there is changed; it keeps
// the time since when it is registered.
func (m *ConfigMap) Register(ctx context.Context, name string, e registered.Entry) (registered.All, error) {
	found, exists, err := m.read(ctx)
	if err != nil {
		return registered.All{}, err
	}
	text, err := registered.Encode(e, parseData(found)[name])
	if err != nil {
		return registered.All{}, err
	}
	return m.write(ctx, exists, map[string]*string{name: &text})
}

// Deregister removes one and returns what is left.
func (m *ConfigMap) Deregister(ctx context.Context, name string) (registered.All, error) {
	found, exists, err := m.read(ctx)
	if err != nil {
		return registered.All{}, err
	}
	if _, known := parseData(found)[name]; !known {
		return registered.All{}, registered.ErrNotRegistered
	}
	return m.write(ctx, exists, map[string]*string{name: nil})
}

func (m *ConfigMap) read(ctx context.Context) (o *object, exists bool, err error) {
	o = &object{}
	err = m.client.rest.Get().AbsPath(registeredPath(), configMapName).Do(ctx).Into(o)
	if apierrors.IsNotFound(err) {
		return o, false, nil
	}
	return o, err == nil, explain("get", configMaps, err)
}

// write changes single keys, so that two who register at once do not undo each other.
func (m *ConfigMap) write(ctx context.Context, exists bool, data map[string]*string) (registered.All, error) {
	body, err := json.Marshal(map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]string{"name": configMapName}, "data": data,
	})
	if err != nil {
		return registered.All{}, fmt.Errorf("encode ConfigMap %s: %w", configMapName, err)
	}
	var written object
	if !exists {
		err = m.client.rest.Post().AbsPath(registeredPath()).Param("fieldManager", fieldManager).Body(body).Do(ctx).Into(&written)
	}
	if exists || apierrors.IsAlreadyExists(err) {
		err = m.client.rest.Patch(types.MergePatchType).AbsPath(registeredPath(), configMapName).Param("fieldManager", fieldManager).Body(body).Do(ctx).Into(&written)
	}
	switch {
	case apierrors.IsInvalid(err), apierrors.IsRequestEntityTooLargeError(err):
		return registered.All{}, fmt.Errorf("%w: the ConfigMap %s/%s takes no more: %w", registered.ErrFull, namespace, configMapName, err)
	case err != nil:
		return registered.All{}, explain("write", configMaps, err)
	}
	return parseRegistered(&written), nil
}

// parseRegistered reads the ConfigMap.
func parseRegistered(o *object) registered.All {
	where := "the ConfigMap " + namespace + "/" + configMapName
	return registered.All{Nodes: registered.Parse(parseData(o), o.CreationTimestamp.Time, where), Version: o.ResourceVersion}
}
