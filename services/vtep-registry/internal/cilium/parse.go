package cilium

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/hybridgateway/gateway/services/vtep-registry/internal/publish"
	"github.com/hybridgateway/gateway/services/vtep-registry/internal/registry"
)

// Annotations of the CiliumVTEPConfig that we write.
const (
	epochAnnotation   = "hybrid-gateway/epoch"
	gatewayAnnotation = "hybrid-gateway/gateway-id"
)

// internalIP is the type of the address that tunnel packets go to.
const internalIP = "InternalIP"

// parseNode reads a CiliumNode. What cannot be used becomes a flaw.
func parseNode(o *object) registry.Node {
	n := registry.Node{Name: o.Name, Created: o.CreationTimestamp.Time, UID: string(o.UID), Generation: o.Generation}
	var spec nodeSpec
	if len(o.Spec) > 0 {
		if err := json.Unmarshal(o.Spec, &spec); err != nil {
			n.Flaw(registry.Malformed, "the object is no CiliumNode: %s", misfit(err))
			return n
		}
	}
	var internal []string
	for _, a := range spec.Addresses {
		if a.Type == internalIP {
			internal = append(internal, a.IP)
		}
	}
	n.ReadAddress(internalIP, internal)
	n.ReadPodCIDRs(spec.IPAM.PodCIDRs)
	return n
}

// nodeSpec is what we need of a CiliumNode's spec.
type nodeSpec struct {
	Addresses []struct {
		Type string `json:"type"`
		IP   string `json:"ip"`
	} `json:"addresses"`
	IPAM struct {
		PodCIDRs []string `json:"podCIDRs"`
	} `json:"ipam"`
}

// misfit says in the words of the object what a decoder says in those of Go.
func misfit(err error) string {
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return fmt.Sprintf("a %s is in the place of %s", registry.Clip(wrong.Value), strings.TrimSuffix("spec."+wrong.Field, "."))
	}
	return registry.Clip(err.Error())
}

// parseConfig reads a CiliumVTEPConfig of the dialect.
func (d Dialect) parseConfig(o *object) publish.Object {
	c := publish.Object{
		Name:    o.Name,
		Version: o.ResourceVersion,
		Epoch:   o.Annotations[epochAnnotation],
		Gateway: o.Annotations[gatewayAnnotation],
	}
	if d.Namespaced {
		c.Name = o.Namespace + "/" + o.Name
	}
	var spec configSpec
	if err := json.Unmarshal(o.Spec, &spec); err != nil {
		return c // no endpoints that anybody can use
	}
	list := spec.Endpoints
	if d.Form != Named {
		list = spec.VTEPEndpoints
	}
	for i, e := range list {
		if d.Form == Plain {
			e.Name, e.TunnelEndpoint = publish.EndpointName(i, len(list)), e.IP
		}
		c.Endpoints = append(c.Endpoints, publish.Endpoint{Name: e.Name, TunnelEndpoint: e.TunnelEndpoint, CIDR: e.CIDR, MAC: e.MAC})
	}
	if d.Form == Plain && (spec.VNI != vni || spec.Port != port) {
		c.Flaw = fmt.Sprintf("it has VNI %d and port %d", spec.VNI, spec.Port)
	}
	c.Reports = parseReports(o, d, c.Endpoints)
	return c
}

// parseReports reads what Cilium says about endpoints in the status of an object.
func parseReports(o *object, d Dialect, endpoints []publish.Endpoint) []publish.Report {
	var status configStatus
	if len(o.Status) == 0 || json.Unmarshal(o.Status, &status) != nil {
		return nil
	}
	if d.Form == Plain {
		// Said of all endpoints at once.
		var reports []publish.Report
		for _, e := range endpoints {
			reports = append(reports, publish.Report{Endpoint: e.Name, Synced: status.Active, Time: registry.Clip(status.LastReconciledAt)})
		}
		return reports
	}
	var reports []publish.Report
	for _, e := range append(status.EndpointStatuses, status.VTEPEndpointStatuses...) {
		reports = append(reports, publish.Report{Endpoint: registry.Clip(e.Name), Synced: e.Synced, Time: registry.Clip(e.LastSyncTime), Error: registry.Clip(e.Error)})
		if len(reports) == publish.MaxEndpoints {
			break
		}
	}
	return reports
}

// NodeReports are what Cilium's agent of one node says.
type NodeReports struct {
	Node    string
	Reports []publish.Report
}

// parseNodeConfig reads a CiliumVTEPNodeConfig.
func parseNodeConfig(o *object) NodeReports {
	return NodeReports{Node: o.Name, Reports: parseReports(o, Dialect{Form: PerNode}, nil)}
}

// configSpec is a CiliumVTEPConfig's in any form.
type configSpec struct {
	Endpoints     []configEndpoint `json:"endpoints,omitempty"`
	VTEPEndpoints []configEndpoint `json:"vtepEndpoints,omitempty"`
	VNI           int              `json:"vni,omitempty"`
	Port          int              `json:"port,omitempty"`
	MTU           int              `json:"mtu,omitempty"`
}

type configEndpoint struct {
	Name           string `json:"name,omitempty"`
	TunnelEndpoint string `json:"tunnelEndpoint,omitempty"`
	IP             string `json:"ip,omitempty"`
	CIDR           string `json:"cidr"`
	MAC            string `json:"mac"`
}

// configStatus is that of any form.
type configStatus struct {
	EndpointStatuses     []endpointStatus `json:"endpointStatuses"`
	VTEPEndpointStatuses []endpointStatus `json:"vtepEndpointStatuses"`
	Active               bool             `json:"active"`
	LastReconciledAt     string           `json:"lastReconciledAt"`
}

type endpointStatus struct {
	Name         string `json:"name"`
	Synced       bool   `json:"synced"`
	LastSyncTime string `json:"lastSyncTime"`
	Error        string `json:"error"`
}
