package cilium

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/hybridgateway/gateway/services/vtep-registry/internal/publish"
)

// fieldManager is our name in the object's managedFields.
const fieldManager = "hybrid-gateway"

// ErrStale says that the object is no longer as it was when the write was decided on.
// Read it and decide anew.
var ErrStale = errors.New("the object was changed, created or deleted meanwhile")

// Write carries out a Create or an Update and returns the object as it then is. Update
// touches our annotations and the endpoints, nothing else, and only if the object still
// has the decision's version.
func (c *Client) Write(ctx context.Context, name string, d publish.Decision) (publish.Object, error) {
	body, err := json.Marshal(content(name, d))
	if err != nil {
		return publish.Object{}, fmt.Errorf("encode %s %s: %w", vtepConfigKind, name, err)
	}
	var written object
	if d.Verdict == publish.Create {
		err = c.rest.Post().Resource(vtepConfigs).Param("fieldManager", fieldManager).Body(body).Do(ctx).Into(&written)
	} else {
		err = c.rest.Patch(types.MergePatchType).Resource(vtepConfigs).Name(name).Param("fieldManager", fieldManager).Body(body).Do(ctx).Into(&written)
	}
	switch {
	case err == nil:
		return parseConfig(&written), nil
	case apierrors.IsConflict(err), apierrors.IsAlreadyExists(err), d.Verdict == publish.Update && apierrors.IsNotFound(err):
		return publish.Object{}, fmt.Errorf("%s %s %s: %w: %w", d.Verdict, vtepConfigKind, name, ErrStale, err)
	}
	return publish.Object{}, explain(d.Verdict.String(), vtepConfigs, err)
}

// Read returns the named CiliumVTEPConfig; nil when there is none.
func (c *Client) Read(ctx context.Context, name string) (*publish.Object, error) {
	var o object
	err := c.rest.Get().Resource(vtepConfigs).Name(name).Do(ctx).Into(&o)
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, explain("get", vtepConfigs, err)
	}
	config := parseConfig(&o)
	return &config, nil
}

// manifest is a CiliumVTEPConfig as we write it: the whole of a new one, or what a merge
// patch (RFC 7386) is to change of an old one.
type manifest struct {
	APIVersion string           `json:"apiVersion"`
	Kind       string           `json:"kind"`
	Metadata   manifestMetadata `json:"metadata"`
	Spec       configSpec       `json:"spec"`
}

type manifestMetadata struct {
	Name            string            `json:"name"`
	ResourceVersion string            `json:"resourceVersion,omitempty"`
	Annotations     map[string]string `json:"annotations"`
}

func content(name string, d publish.Decision) manifest {
	m := manifest{
		APIVersion: group + "/" + version,
		Kind:       vtepConfigKind,
		Metadata: manifestMetadata{
			Name:            name,
			ResourceVersion: d.Version,
			Annotations: map[string]string{
				epochAnnotation:   strconv.FormatUint(d.Content.Epoch, 10),
				gatewayAnnotation: d.Content.Gateway,
			},
		},
	}
	for _, e := range d.Content.Endpoints {
		m.Spec.Endpoints = append(m.Spec.Endpoints, configEndpoint{Name: e.Name, TunnelEndpoint: e.TunnelEndpoint, CIDR: e.CIDR, MAC: e.MAC})
	}
	return m
}
