package cluster

import (
	"context"
	"fmt"
	"net/netip"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Resources of Cilium's.
var (
	CiliumNodes       = schema.GroupVersionResource{Group: "cilium.io", Version: "v2", Resource: "ciliumnodes"}
	CiliumVTEPConfigs = schema.GroupVersionResource{Group: "cilium.io", Version: "v2", Resource: "ciliumvtepconfigs"}
)

// VTEPConfigName is the object that the product writes.
const VTEPConfigName = "hybrid-gateway"

// hybridLabel marks the CiliumNode of a hybrid node.
const (
	hybridLabel = "eks.amazonaws.com/compute-type"
	hybridValue = "hybrid"
)

// CiliumNode makes the object that a node's Cilium agent registers with.
func CiliumNode(name string, ip netip.Addr, podCIDRs []netip.Prefix) *unstructured.Unstructured {
	var cidrs []string
	for _, c := range podCIDRs {
		cidrs = append(cidrs, c.String())
	}
	return RawCiliumNode(name, []string{ip.String()}, cidrs)
}

// RawCiliumNode is CiliumNode for values that may be wrong.
func RawCiliumNode(name string, ips, podCIDRs []string) *unstructured.Unstructured {
	addresses := make([]any, 0, len(ips))
	for _, ip := range ips {
		addresses = append(addresses, map[string]any{"type": "InternalIP", "ip": ip})
	}
	cidrs := make([]any, 0, len(podCIDRs))
	for _, c := range podCIDRs {
		cidrs = append(cidrs, c)
	}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "cilium.io/v2",
		"kind":       "CiliumNode",
		"metadata":   map[string]any{"name": name, "labels": map[string]any{hybridLabel: hybridValue}},
		"spec": map[string]any{
			"addresses": addresses,
			"ipam":      map[string]any{"podCIDRs": cidrs},
		},
	}}
}

// CreateNode registers a node.
func (c *Cluster) CreateNode(ctx context.Context, node *unstructured.Unstructured) error {
	if _, err := c.Nodes.Resource(CiliumNodes).Create(ctx, node, metav1.CreateOptions{}); err != nil {
		return fmt.Errorf("create CiliumNode %s: %w", node.GetName(), err)
	}
	return nil
}

// DeleteNode takes a node's registration away; one that is absent is fine.
func (c *Cluster) DeleteNode(ctx context.Context, name string) error {
	err := c.Nodes.Resource(CiliumNodes).Delete(ctx, name, metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("delete CiliumNode %s: %w", name, err)
	}
	return nil
}

// Endpoint is what the on-premises side is told about a VPC network.
type Endpoint struct{ CIDR, TunnelEndpoint, MAC string }

// VTEPEndpoints reads the product's CiliumVTEPConfig.
func (c *Cluster) VTEPEndpoints(ctx context.Context) ([]Endpoint, error) {
	o, err := c.Nodes.Resource(CiliumVTEPConfigs).Get(ctx, VTEPConfigName, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("read CiliumVTEPConfig %s: %w", VTEPConfigName, err)
	}
	list, _, err := unstructured.NestedSlice(o.Object, "spec", "endpoints")
	if err != nil {
		return nil, fmt.Errorf("read CiliumVTEPConfig %s: %w", VTEPConfigName, err)
	}
	var out []Endpoint
	for _, item := range list {
		m, ok := item.(map[string]any)
		if !ok {
			continue
		}
		text := func(key string) string { s, _, _ := unstructured.NestedString(m, key); return s }
		out = append(out, Endpoint{CIDR: text("cidr"), TunnelEndpoint: text("tunnelEndpoint"), MAC: text("mac")})
	}
	return out, nil
}

// DeleteVTEPConfig deletes the product's CiliumVTEPConfig behind its back.
func (c *Cluster) DeleteVTEPConfig(ctx context.Context) error {
	if err := c.Nodes.Resource(CiliumVTEPConfigs).Delete(ctx, VTEPConfigName, metav1.DeleteOptions{}); err != nil {
		return fmt.Errorf("delete CiliumVTEPConfig %s: %w", VTEPConfigName, err)
	}
	return nil
}
