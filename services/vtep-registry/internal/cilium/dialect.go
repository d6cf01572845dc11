package cilium

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/hybridgateway/gateway/services/vtep-registry/internal/registry"
)

// Form is how a CiliumVTEPConfig's spec spells its endpoints.
type Form uint8

// The forms, the least wanted first.
const (
	NoForm Form = iota
	// Plain is that of early adopters: vtepEndpoints[]{ip,mac,cidr}, vni, port, mtu. Its status
	// says active and lastReconciledAt.
	Plain
	// PerNode is the one proposed for upstream Cilium: vtepEndpoints[]{name,tunnelEndpoint,cidr,mac}
	// and a nodeSelector; the status is in a CiliumVTEPNodeConfig for each node
	// (https://github.com/cilium/design-cfps/pull/92).
	PerNode
	// Named is that of EKS builds of Cilium: endpoints[]{name,tunnelEndpoint,cidr,mac}; its status
	// has endpointStatuses.
	Named
)

// Dialect is the CiliumVTEPConfig that an API server serves; zero when it serves none that is
// known.
type Dialect struct {
	Version    string // of the group cilium.io
	Form       Form
	Namespaced bool
	// MTU is true when the form has a field for it.
	MTU bool
}

// Known tells whether anything can be written.
func (d Dialect) Known() bool { return d.Form != NoForm }

// APIVersion is the dialect's, or empty.
func (d Dialect) APIVersion() string {
	if !d.Known() {
		return ""
	}
	return group + "/" + d.Version
}

const (
	// namespace is where a namespaced CiliumVTEPConfig is.
	namespace = "kube-system"
	// Names of the object when the operator names none.
	usualName = "hybrid-gateway"
	plainName = "eks-hybrid-gateway"
)

// Target is the CiliumVTEPConfig that a gateway writes.
type Target struct {
	Dialect Dialect
	Name    string
}

// Target is the object with the given name, or with the one that the dialect's documents use.
func (d Dialect) Target(name string) Target {
	switch {
	case name != "":
	case d.Form == Plain:
		name = plainName
	default:
		name = usualName
	}
	return Target{d, name}
}

// Key is [NAMESPACE/]NAME, as publish.Object's Name.
func (t Target) Key() string {
	if t.Dialect.Namespaced {
		return namespace + "/" + t.Name
	}
	return t.Name
}

// path is where the API server has the target's kind.
func (t Target) path() string {
	p := t.Dialect.path()
	if t.Dialect.Namespaced {
		p = strings.TrimSuffix(p, vtepConfigs) + "namespaces/" + namespace + "/" + vtepConfigs
	}
	return p
}

// path is where the API server lists all objects of the dialect.
func (d Dialect) path() string { return "/apis/" + group + "/" + d.Version + "/" + vtepConfigs }

// errNoConfigs says that there is nothing to write to.
var errNoConfigs = errors.New("the API server has no " + vtepConfigs + "." + group + ": install a Cilium that has CiliumVTEPConfig, or use --vtep-mode=floating")

// definition is what is needed of a CustomResourceDefinition.
type definition struct {
	Scope    string `json:"scope"`
	Versions []struct {
		Name   string `json:"name"`
		Served bool   `json:"served"`
		Schema struct {
			OpenAPI struct {
				Properties map[string]schemaNode `json:"properties"`
			} `json:"openAPIV3Schema"`
		} `json:"schema"`
	} `json:"versions"`
}

// schemaNode is one node of a schema, as far as forms are told apart by it.
type schemaNode struct {
	Properties map[string]schemaNode `json:"properties"`
	Items      *struct {
		Properties map[string]json.RawMessage `json:"properties"`
	} `json:"items"`
}

func (s schemaNode) hasItems(field string, names ...string) bool {
	list := s.Properties[field]
	if list.Items == nil {
		return false
	}
	for _, n := range names {
		if _, has := list.Items.Properties[n]; !has {
			return false
		}
	}
	return true
}

func (s schemaNode) form() Form {
	switch {
	case s.hasItems("endpoints", "name", "tunnelEndpoint", "cidr", "mac"):
		return Named
	case s.hasItems("vtepEndpoints", "name", "tunnelEndpoint", "cidr", "mac"):
		return PerNode
	case s.hasItems("vtepEndpoints", "ip", "cidr", "mac"):
		return Plain
	}
	return NoForm
}

// detect finds the best dialect among the served versions of a CustomResourceDefinition.
func detect(spec json.RawMessage) (Dialect, error) {
	var d definition
	if err := json.Unmarshal(spec, &d); err != nil {
		return Dialect{}, fmt.Errorf("the definition of %s cannot be read: %w", vtepConfigKind, err)
	}
	var best Dialect
	var served []string
	for _, v := range d.Versions {
		if !v.Served {
			continue
		}
		served = append(served, v.Name)
		s := v.Schema.OpenAPI.Properties["spec"]
		if f := s.form(); f > best.Form || f == best.Form && v.Name == "v2" {
			_, mtu := s.Properties["mtu"]
			best = Dialect{Version: v.Name, Form: f, Namespaced: d.Scope == "Namespaced", MTU: mtu}
		}
	}
	if !best.Known() {
		slices.Sort(served)
		return Dialect{}, fmt.Errorf("the API server's %s (%s) has none of the forms that this program knows: update it", vtepConfigKind, registry.Clip(strings.Join(served, ", ")))
	}
	return best, nil
}
