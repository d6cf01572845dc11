package cilium

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/hybridgateway/gateway/services/vtep-registry/internal/registry"
)

// registered is the ConfigMap, in kube-system, that holds the VTEPs which are no Kubernetes
// nodes: a key for each.
const registered = "hybrid-gateway-vteps"

// RegisteredName begins the names of VTEPs that operators registered. No node has a name like it.
const RegisteredName = "registered/"

// Registration is a VTEP that an operator registers.
type Registration struct {
	IP       string    `json:"ip"`
	PodCIDRs []string  `json:"podCIDRs"`
	Since    time.Time `json:"since"`
}

// Registered are all VTEPs that operators registered.
type Registered struct {
	Nodes   []registry.Node
	Version string // resourceVersion of the ConfigMap; empty when there is none
}

// Errors of Register and Deregister, beside those of the API server.
var (
	ErrNotRegistered = errors.New("no VTEP of that name is registered")
	ErrFull          = errors.New("the ConfigMap kube-system/" + registered + " takes no more VTEPs")
)

// WatchRegistered tells of them until ctx ends.
func (c *Client) WatchRegistered(ctx context.Context, w Watch[Registered]) error {
	return run(ctx, c, source{resource: configMaps, path: registeredPath(), name: registered}, parseRegistered, w)
}

func registeredPath() string { return "/api/v1/namespaces/" + namespace + "/" + configMaps }

// Register writes one and returns all as they then are. One that is there is changed; it keeps
// the time since when it is registered.
func (c *Client) Register(ctx context.Context, name string, r Registration) (Registered, error) {
	found, exists, err := c.readRegistered(ctx)
	if err != nil {
		return Registered{}, err
	}
	var old Registration
	if text, known := parseData(found)[name]; known && json.Unmarshal([]byte(text), &old) == nil && !old.Since.IsZero() {
		r.Since = old.Since
	}
	text, err := json.Marshal(r)
	if err != nil {
		return Registered{}, fmt.Errorf("encode VTEP %s: %w", name, err)
	}
	value := string(text)
	return c.writeRegistered(ctx, exists, map[string]*string{name: &value})
}

// Deregister removes one and returns what is left.
func (c *Client) Deregister(ctx context.Context, name string) (Registered, error) {
	found, exists, err := c.readRegistered(ctx)
	if err != nil {
		return Registered{}, err
	}
	if _, known := parseData(found)[name]; !known {
		return Registered{}, ErrNotRegistered
	}
	return c.writeRegistered(ctx, exists, map[string]*string{name: nil})
}

func (c *Client) readRegistered(ctx context.Context) (o *object, exists bool, err error) {
	o = &object{}
	err = c.rest.Get().AbsPath(registeredPath(), registered).Do(ctx).Into(o)
	if apierrors.IsNotFound(err) {
		return o, false, nil
	}
	return o, err == nil, explain("get", configMaps, err)
}

// writeRegistered changes single keys, so that two who register at once do not undo each other.
func (c *Client) writeRegistered(ctx context.Context, exists bool, data map[string]*string) (Registered, error) {
	body, err := json.Marshal(map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap", "metadata": map[string]string{"name": registered}, "data": data,
	})
	if err != nil {
		return Registered{}, fmt.Errorf("encode ConfigMap %s: %w", registered, err)
	}
	var written object
	if !exists {
		err = c.rest.Post().AbsPath(registeredPath()).Param("fieldManager", fieldManager).Body(body).Do(ctx).Into(&written)
	}
	if exists || apierrors.IsAlreadyExists(err) {
		err = c.rest.Patch(types.MergePatchType).AbsPath(registeredPath(), registered).Param("fieldManager", fieldManager).Body(body).Do(ctx).Into(&written)
	}
	switch {
	case apierrors.IsInvalid(err), apierrors.IsRequestEntityTooLargeError(err):
		return Registered{}, fmt.Errorf("%w: %w", ErrFull, err)
	case err != nil:
		return Registered{}, explain("write", configMaps, err)
	}
	return parseRegistered(&written), nil
}

// parseRegistered reads the ConfigMap. What cannot be used becomes a flaw of that VTEP.
func parseRegistered(o *object) Registered {
	r := Registered{Version: o.ResourceVersion}
	data := parseData(o)
	for _, key := range slices.Sorted(maps.Keys(data)) {
		n := registry.Node{Name: RegisteredName + clip(key), Source: registry.Registered, Created: o.CreationTimestamp.Time}
		flaw := func(reason registry.Reason, format string, args ...any) {
			n.Flaws = append(n.Flaws, registry.Refusal{Reason: reason, Detail: fmt.Sprintf(format, args...)})
		}
		var entry Registration
		if err := json.Unmarshal([]byte(data[key]), &entry); err != nil {
			flaw(registry.Malformed, "its entry in the ConfigMap %s/%s cannot be read: %s", namespace, registered, clip(err.Error()))
			r.Nodes = append(r.Nodes, n)
			continue
		}
		if !entry.Since.IsZero() {
			n.Created = entry.Since
		}
		n.Address = parseAddress("ip", []string{entry.IP}, flaw)
		if len(entry.PodCIDRs) > registry.MaxCIDRs {
			flaw(registry.TooManyCIDRs, "%d pod networks are listed, more than %d", len(entry.PodCIDRs), registry.MaxCIDRs)
		} else {
			n.PodCIDRs = parseCIDRs(entry.PodCIDRs, flaw)
		}
		r.Nodes = append(r.Nodes, n)
	}
	return r
}
