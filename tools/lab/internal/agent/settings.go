package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/hybridgateway/gateway/tools/lab/internal/onprem"
)

// ConfigMap is what a Cilium without CiliumVTEPConfig has its settings in.
const ConfigMap = "cilium-config"

var configMaps = schema.GroupVersionResource{Version: "v1", Resource: "configmaps"}

// Configure does what the agent of a Cilium without CiliumVTEPConfig does: it reads its
// settings once, when it starts, and never again
// (https://docs.cilium.io/en/stable/network/vtep/). It tries until it has done so, or ctx
// ends.
func Configure(ctx context.Context, c Config) error {
	for wait := firstRetry; ; wait = min(2*wait, lastRetry) {
		err := configure(ctx, c)
		if err == nil {
			return nil
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return fmt.Errorf("configure Cilium on %s: %w", c.Name, err)
		}
	}
}

func configure(ctx context.Context, c Config) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	o, err := c.Client.Resource(configMaps).Namespace("kube-system").Get(ctx, ConfigMap, metav1.GetOptions{})
	if err != nil {
		return fmt.Errorf("read ConfigMap %s: %w", ConfigMap, err)
	}
	data, _, err := unstructured.NestedStringMap(o.Object, "data")
	if err != nil {
		return fmt.Errorf("read ConfigMap %s: %w", ConfigMap, err)
	}
	vteps, err := parseSettings(data)
	if err != nil {
		return fmt.Errorf("ConfigMap %s: %w", ConfigMap, err)
	}
	return c.Map.SetVTEPs(vteps)
}

// parseSettings reads the four lists, which have as many entries each, and the one mask.
func parseSettings(data map[string]string) ([]onprem.Endpoint, error) {
	if data["enable-vtep"] != "true" {
		return nil, errors.New("enable-vtep is not true")
	}
	tunnels, cidrs, macs := strings.Fields(data["vtep-endpoint"]), strings.Fields(data["vtep-cidr"]), strings.Fields(data["vtep-mac"])
	if len(tunnels) == 0 || len(tunnels) != len(cidrs) || len(cidrs) != len(macs) {
		return nil, fmt.Errorf("vtep-endpoint, vtep-cidr and vtep-mac have %d, %d and %d entries", len(tunnels), len(cidrs), len(macs))
	}
	mask, err := netip.ParseAddr(data["vtep-mask"])
	if err != nil || !mask.Is4() {
		return nil, fmt.Errorf("vtep-mask %q is not an IPv4 mask", data["vtep-mask"])
	}
	bits, _ := net.IPMask(mask.AsSlice()).Size()
	var list []onprem.Endpoint
	for i := range cidrs {
		v := parse(ConfigMap, map[string]any{"cidr": cidrs[i], "tunnelEndpoint": tunnels[i], "mac": macs[i]})
		if v.problem != "" {
			return nil, errors.New(v.problem)
		}
		v.endpoint.CIDR = netip.PrefixFrom(v.endpoint.CIDR.Addr(), bits)
		list = append(list, v.endpoint)
	}
	return list, nil
}
