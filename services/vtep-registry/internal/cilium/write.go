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
func (c *Client) Write(ctx context.Context, t Target, d publish.Decision) (publish.Object, error) {
	body, err := json.Marshal(content(t, d))
	if err != nil {
		return publish.Object{}, fmt.Errorf("encode %s %s: %w", vtepConfigKind, t.Key(), err)
	}
	var written object
	if d.Verdict == publish.Create {
		err = c.rest.Post().AbsPath(t.path()).Param("fieldManager", fieldManager).Body(body).Do(ctx).Into(&written)
	} else {
		err = c.rest.Patch(types.MergePatchType).AbsPath(t.path(), t.Name).Param("fieldManager", fieldManager).Body(body).Do(ctx).Into(&written)
	}
	switch {
	case err == nil:
		return t.Dialect.parseConfig(&written), nil
	case apierrors.IsConflict(err), apierrors.IsAlreadyExists(err), d.Verdict == publish.Update && apierrors.IsNotFound(err):
		return publish.Object{}, fmt.Errorf("%s %s %s: %w: %w", d.Verdict, vtepConfigKind, t.Key(), ErrStale, err)
	}
	return publish.Object{}, explain(d.Verdict.String(), vtepConfigs, err)
}

// Read returns the target; nil when there is none.
func (c *Client) Read(ctx context.Context, t Target) (*publish.Object, error) {
	var o object
	err := c.rest.Get().AbsPath(t.path(), t.Name).Do(ctx).Into(&o)
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, explain("get", vtepConfigs, err)
	}
	config := t.Dialect.parseConfig(&o)
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

// What Cilium is told beside endpoints, in the form that asks for it.
const (
	// vni is taken by Cilium for the identity "world".
	vni  = 2
	port = 8472
	// mtu is that of the tunnel over an Internet path of 1500: IPv4, UDP, VXLAN and Ethernet
	// headers take 50.
	mtu = 1450
)

func content(t Target, d publish.Decision) manifest {
	m := manifest{
		APIVersion: t.Dialect.APIVersion(),
		Kind:       vtepConfigKind,
		Metadata: manifestMetadata{
			Name:            t.Name,
			ResourceVersion: d.Version,
			Annotations: map[string]string{
				epochAnnotation:   strconv.FormatUint(d.Content.Epoch, 10),
				gatewayAnnotation: d.Content.Gateway,
			},
		},
	}
	list := make([]configEndpoint, len(d.Content.Endpoints))
	for i, e := range d.Content.Endpoints {
		list[i] = configEndpoint{CIDR: e.CIDR, MAC: e.MAC}
		if t.Dialect.Form == Plain {
			list[i].IP = e.TunnelEndpoint
		} else {
			list[i].Name, list[i].TunnelEndpoint = e.Name, e.TunnelEndpoint
		}
	}
	switch t.Dialect.Form {
	case Named:
		m.Spec.Endpoints = list
	case PerNode:
		m.Spec.VTEPEndpoints = list
	case Plain:
		m.Spec.VTEPEndpoints, m.Spec.VNI, m.Spec.Port = list, vni, port
		if t.Dialect.MTU {
			m.Spec.MTU = mtu
		}
	}
	return m
}
