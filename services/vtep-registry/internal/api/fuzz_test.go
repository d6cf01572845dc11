package api

import (
	"strings"
	"testing"

	vtepsv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/vteps/v1"
	"github.com/hybridgateway/gateway/services/vtep-registry/internal/registry"
)

// What an operator registers can be kept: its name is a key of a ConfigMap and of etcd.
func FuzzRegistration(f *testing.F) {
	f.Add("printer", "192.168.7.1", "100.64.7.0/24,100.64.8.0/24")
	f.Add("a/b", "::1", "")
	f.Add(strings.Repeat("x", 64), "0.0.0.0", "0.0.0.0/0")
	f.Fuzz(func(t *testing.T, name, ip, cidrs string) {
		r, err := parseRegistration(&vtepsv1.RegisterVtepRequest{Name: name, Ip: ip, PodCidrs: strings.Split(cidrs, ",")})
		if err != nil {
			return
		}
		if r.Name != name || len(name) > 63 || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
			t.Errorf("the name %q was taken", name)
		}
		if !r.IP.Is4() || len(r.PodCIDRs) == 0 || len(r.PodCIDRs) > registry.MaxCIDRs {
			t.Errorf("taken: %+v", r)
		}
		for _, p := range r.PodCIDRs {
			if !p.Addr().Is4() || p != p.Masked() {
				t.Errorf("the network %v was taken", p)
			}
		}
	})
}
