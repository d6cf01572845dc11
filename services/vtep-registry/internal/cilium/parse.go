package cilium

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/hybridgateway/gateway/libs/netaddr"
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
	flaw := func(reason registry.Reason, format string, args ...any) {
		n.Flaws = append(n.Flaws, registry.Refusal{Reason: reason, Detail: fmt.Sprintf(format, args...)})
	}
	var spec nodeSpec
	if len(o.Spec) > 0 {
		if err := json.Unmarshal(o.Spec, &spec); err != nil {
			flaw(registry.Malformed, "the object is no CiliumNode: %s", misfit(err))
			return n
		}
	}
	var internal []string
	for _, a := range spec.Addresses {
		if a.Type == internalIP {
			internal = append(internal, a.IP)
		}
	}
	n.Address = parseAddress(internal, flaw)
	if len(spec.IPAM.PodCIDRs) > registry.MaxCIDRs {
		flaw(registry.TooManyCIDRs, "%d pod networks are listed, more than %d", len(spec.IPAM.PodCIDRs), registry.MaxCIDRs)
		return n
	}
	n.PodCIDRs = parseCIDRs(spec.IPAM.PodCIDRs, flaw)
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
		return fmt.Sprintf("a %s is in the place of %s", clip(wrong.Value), strings.TrimSuffix("spec."+wrong.Field, "."))
	}
	return clip(err.Error())
}

// parseAddress is the first IPv4 address of a node's InternalIPs, as it is for Cilium.
func parseAddress(texts []string, flaw func(registry.Reason, string, ...any)) netip.Addr {
	var bad error
	for _, text := range texts {
		a, err := netaddr.ParseIPv4(clip(text))
		if err == nil {
			return a
		}
		if v6, err := netip.ParseAddr(clip(text)); err == nil && !v6.Is4() {
			continue
		}
		bad = err
	}
	switch {
	case bad != nil:
		flaw(registry.BadAddress, "the %s %s", internalIP, bad)
	case len(texts) > 0:
		flaw(registry.NotIPv4, "its only %s is IPv6: %q", internalIP, clip(texts[0]))
	default:
		flaw(registry.NoAddress, "the object names no %s", internalIP)
	}
	return netip.Addr{}
}

// parseCIDRs are the IPv4 networks. IPv6 ones beside them are a dual-stack node's, and
// none of our business.
func parseCIDRs(texts []string, flaw func(registry.Reason, string, ...any)) []netip.Prefix {
	var cidrs []netip.Prefix
	ipv6 := 0
	for _, text := range texts {
		p, err := netaddr.ParseIPv4Prefix(clip(text))
		if err == nil {
			cidrs = append(cidrs, p)
			continue
		}
		if v6, err := netip.ParsePrefix(clip(text)); err == nil && !v6.Addr().Is4() {
			ipv6++
			continue
		}
		flaw(registry.BadCIDR, "the pod network %s", err)
	}
	if ipv6 > 0 && ipv6 == len(texts) {
		flaw(registry.NotIPv4, "all its pod networks are IPv6, the first is %q", clip(texts[0]))
	}
	return cidrs
}

// parseConfig reads a CiliumVTEPConfig.
func parseConfig(o *object) publish.Object {
	c := publish.Object{
		Name:    o.Name,
		Version: o.ResourceVersion,
		Epoch:   o.Annotations[epochAnnotation],
		Gateway: o.Annotations[gatewayAnnotation],
	}
	var spec configSpec
	if err := json.Unmarshal(o.Spec, &spec); err != nil {
		return c // no endpoints that anybody can use
	}
	for _, e := range spec.Endpoints {
		c.Endpoints = append(c.Endpoints, publish.Endpoint{Name: e.Name, TunnelEndpoint: e.TunnelEndpoint, CIDR: e.CIDR, MAC: e.MAC})
	}
	return c
}

// configSpec is a CiliumVTEPConfig's in the cilium.io/v2 form.
type configSpec struct {
	Endpoints []configEndpoint `json:"endpoints"`
}

type configEndpoint struct {
	Name           string `json:"name"`
	TunnelEndpoint string `json:"tunnelEndpoint"`
	CIDR           string `json:"cidr"`
	MAC            string `json:"mac"`
}

// clip bounds what is shown of a text from outside. No address or network is as long. It
// stays valid UTF-8, as protobuf demands.
func clip(s string) string {
	const longest = 100
	if len(s) <= longest {
		return s
	}
	return strings.ToValidUTF8(s[:longest], "") + "…"
}
