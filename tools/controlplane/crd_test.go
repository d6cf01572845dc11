package main

import (
	"fmt"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// endpoint is a valid entry of a CiliumVTEPConfig with some fields changed;
// nil removes one.
func endpoint(changes map[string]any) map[string]any {
	e := map[string]any{"name": "vpc-gateway", "tunnelEndpoint": "10.0.1.10", "cidr": "10.0.0.0/16", "mac": "02:00:0a:00:01:0a"}
	for k, v := range changes {
		if v == nil {
			delete(e, k)
			continue
		}
		e[k] = v
	}
	return e
}

func vtepConfig(name string, endpoints ...any) *unstructured.Unstructured {
	return ciliumObject("CiliumVTEPConfig", name, map[string]any{"spec": map[string]any{"endpoints": endpoints}})
}

func manyEndpoints(n int) []any {
	var all []any
	for i := range n {
		all = append(all, endpoint(map[string]any{"name": fmt.Sprintf("vpc-gateway-%d", i), "cidr": fmt.Sprintf("10.%d.0.0/16", i)}))
	}
	return all
}

func TestCiliumVTEPConfigValidation(t *testing.T) {
	client := dynamicClient(t, shared.Get(t).Kubeconfig())
	one := func(field string, value any) []any { return []any{endpoint(map[string]any{field: value})} }
	for _, tt := range []struct {
		what      string
		endpoints []any
		refusal   string // part of the message; empty when accepted
	}{
		{"one endpoint", one("name", "vpc-gateway"), ""},
		{"eight endpoints", manyEndpoints(8), ""},
		{"no endpoint", []any{}, "should have at least 1 items"},
		{"nine endpoints", manyEndpoints(9), "must have at most 8 items"},
		{"same name twice", []any{endpoint(nil), endpoint(map[string]any{"cidr": "10.1.0.0/16"})}, "Duplicate value"},
		{"same CIDR twice", []any{endpoint(nil), endpoint(map[string]any{"name": "b"})}, ""},

		{"no name", one("name", nil), "spec.endpoints[0].name"},
		{"name of one character", one("name", "a"), ""},
		{"name of 63 characters", one("name", strings.Repeat("a", 63)), ""},
		{"name of 64 characters", one("name", strings.Repeat("a", 64)), "spec.endpoints[0].name"},
		{"empty name", one("name", ""), "spec.endpoints[0].name"},
		{"name with capitals", one("name", "Gateway"), "spec.endpoints[0].name"},
		{"name that ends with a dash", one("name", "gateway-"), "spec.endpoints[0].name"},
		{"name that starts with a dash", one("name", "-gateway"), "spec.endpoints[0].name"},

		{"no tunnelEndpoint", one("tunnelEndpoint", nil), "spec.endpoints[0].tunnelEndpoint"},
		{"IPv6 tunnelEndpoint", one("tunnelEndpoint", "fd00::1"), "spec.endpoints[0].tunnelEndpoint"},
		{"tunnelEndpoint with a number too large", one("tunnelEndpoint", "10.0.0.256"), "spec.endpoints[0].tunnelEndpoint"},
		{"host name as tunnelEndpoint", one("tunnelEndpoint", "gateway"), "spec.endpoints[0].tunnelEndpoint"},
		{"highest tunnelEndpoint", one("tunnelEndpoint", "255.255.255.255"), ""},

		{"no cidr", one("cidr", nil), "spec.endpoints[0].cidr"},
		{"cidr without length", one("cidr", "10.0.0.0"), "spec.endpoints[0].cidr"},
		{"cidr of length 0", one("cidr", "0.0.0.0/0"), ""},
		{"cidr of length 32", one("cidr", "10.0.0.1/32"), ""},
		{"cidr of length 33", one("cidr", "10.0.0.0/33"), "spec.endpoints[0].cidr"},
		{"IPv6 cidr", one("cidr", "fd00::/64"), "spec.endpoints[0].cidr"},
		{"two cidrs", one("cidr", "10.0.0.0/16,10.1.0.0/16"), "spec.endpoints[0].cidr"},

		{"no mac", one("mac", nil), "spec.endpoints[0].mac"},
		{"mac in capitals", one("mac", "02:AB:CD:EF:00:01"), ""},
		{"mac with dashes", one("mac", "02-00-0a-00-01-0a"), "spec.endpoints[0].mac"},
		{"mac of five bytes", one("mac", "02:00:0a:00:01"), "spec.endpoints[0].mac"},
		{"mac of seven bytes", one("mac", "02:00:0a:00:01:0a:0b"), "spec.endpoints[0].mac"},
	} {
		t.Run(tt.what, func(t *testing.T) {
			name := "validation-" + strings.ToLower(strings.ReplaceAll(tt.what, " ", "-"))
			err := create(t.Context(), client, ciliumResource("ciliumvtepconfigs"), vtepConfig(name, tt.endpoints...))
			switch {
			case tt.refusal == "" && err != nil:
				t.Errorf("refused: %v", err)
			case tt.refusal != "" && !apierrors.IsInvalid(err):
				t.Errorf("error %v, want an invalid object", err)
			case tt.refusal != "" && !strings.Contains(err.Error(), tt.refusal):
				t.Errorf("refused with %q, want %q in it", err, tt.refusal)
			}
		})
	}
}

func TestCiliumVTEPConfigNeedsSpec(t *testing.T) {
	client := dynamicClient(t, shared.Get(t).Kubeconfig())
	for _, fields := range []map[string]any{{}, {"spec": map[string]any{}}} {
		err := create(t.Context(), client, ciliumResource("ciliumvtepconfigs"), ciliumObject("CiliumVTEPConfig", "empty", fields))
		if !apierrors.IsInvalid(err) {
			t.Errorf("%v: error %v, want an invalid object", fields, err)
		}
	}
}

func TestCiliumVTEPConfigStatusIsApart(t *testing.T) {
	ctx := t.Context()
	client := dynamicClient(t, shared.Get(t).Kubeconfig()).Resource(ciliumResource("ciliumvtepconfigs"))
	status := map[string]any{"endpointStatuses": []any{map[string]any{
		"name": "vpc-gateway", "synced": true, "lastSyncTime": "2026-01-02T03:04:05Z", "error": "none",
	}}}
	wanted := vtepConfig("with-status", endpoint(nil))
	wanted.Object["status"] = status
	created, err := client.Create(ctx, wanted, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, found := created.Object["status"]; found {
		t.Error("a create sets the status")
	}
	created.Object["status"] = status
	updated, err := client.UpdateStatus(ctx, created, metav1.UpdateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got, _, _ := unstructured.NestedSlice(updated.Object, "status", "endpointStatuses"); len(got) != 1 {
		t.Errorf("status %v", updated.Object["status"])
	}
	if updated.GetGeneration() != created.GetGeneration() {
		t.Error("a status update changes the generation")
	}
}

func TestCiliumVTEPConfigHasShortName(t *testing.T) {
	found, err := clientset(t, shared.Get(t).Kubeconfig()).Discovery().ServerResourcesForGroupVersion("cilium.io/v2")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range found.APIResources {
		if r.Name == "ciliumvtepconfigs" {
			if r.Namespaced || len(r.ShortNames) != 1 || r.ShortNames[0] != "cvtep" {
				t.Errorf("resource %+v", r)
			}
			return
		}
	}
	t.Errorf("ciliumvtepconfigs is not among %+v", found.APIResources)
}

func TestCiliumNodeTakesWhatNodesWrite(t *testing.T) {
	ctx := t.Context()
	client := dynamicClient(t, shared.Get(t).Kubeconfig())
	node := ciliumObject("CiliumNode", "takes-all", map[string]any{"spec": map[string]any{
		"addresses":  []any{map[string]any{"type": "InternalIP", "ip": "192.168.1.1"}, map[string]any{"type": "CiliumInternalIP", "ip": "100.64.0.1"}},
		"ipam":       map[string]any{"podCIDRs": []any{"100.64.0.0/24", "100.64.1.0/24"}, "pools": map[string]any{}},
		"encryption": map[string]any{"key": int64(1)},
	}})
	if err := create(ctx, client, ciliumResource("ciliumnodes"), node); err != nil {
		t.Fatal(err)
	}
	got, err := client.Resource(ciliumResource("ciliumnodes")).Get(ctx, "takes-all", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if key, _, _ := unstructured.NestedInt64(got.Object, "spec", "encryption", "key"); key != 1 {
		t.Errorf("an unknown field is lost: %v", got.Object["spec"])
	}
	// Nonsense in the fields is for their readers to cope with; a wrong type is not.
	absurd := ciliumObject("CiliumNode", "absurd", map[string]any{"spec": map[string]any{
		"addresses": []any{map[string]any{"type": "InternalIP", "ip": "not an address"}},
		"ipam":      map[string]any{"podCIDRs": []any{"999.0.0.0/99"}},
	}})
	if err := create(ctx, client, ciliumResource("ciliumnodes"), absurd); err != nil {
		t.Errorf("absurd values: %v", err)
	}
	wrong := ciliumObject("CiliumNode", "wrong", map[string]any{"spec": map[string]any{"ipam": map[string]any{"podCIDRs": "100.64.0.0/24"}}})
	if err := create(ctx, client, ciliumResource("ciliumnodes"), wrong); !apierrors.IsInvalid(err) {
		t.Errorf("wrong type: error %v, want an invalid object", err)
	}
}
