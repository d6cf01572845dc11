package agent

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// object makes a CiliumVTEPConfig; an endpoint is "name cidr tunnel mac".
func object(name string, endpoints ...string) *unstructured.Unstructured {
	var list []any
	for _, e := range endpoints {
		f := strings.Fields(e)
		list = append(list, map[string]any{"name": f[0], "cidr": f[1], "tunnelEndpoint": f[2], "mac": f[3]})
	}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "cilium.io/v2", "kind": "CiliumVTEPConfig",
		"metadata": map[string]any{"name": name},
		"spec":     map[string]any{"endpoints": list},
	}}
}

const goodMAC = "02:00:00:00:00:01"

func TestResolve(t *testing.T) {
	for _, tt := range []struct {
		name    string
		objects []*unstructured.Unstructured
		want    []string
	}{
		{"none", nil, nil},
		{"one", []*unstructured.Unstructured{object("hg", "vpc 10.0.0.0/16 10.0.1.10 "+goodMAC)}, []string{
			"hg/vpc 10.0.0.0/16 10.0.1.10 " + goodMAC,
		}},
		{"host bits are cleared", []*unstructured.Unstructured{object("hg", "vpc 10.0.1.7/16 10.0.1.10 "+goodMAC)}, []string{
			"hg/vpc 10.0.0.0/16 10.0.1.10 " + goodMAC,
		}},
		{"two objects claim a CIDR, the rest applies", []*unstructured.Unstructured{
			object("a", "vpc 10.0.0.0/16 10.0.1.10 "+goodMAC, "more 10.1.0.0/16 10.0.1.10 "+goodMAC),
			object("b", "vpc 10.0.0.0/16 10.0.2.10 "+goodMAC),
		}, []string{
			"a/more 10.1.0.0/16 10.0.1.10 " + goodMAC,
			"a/vpc: cidr 10.0.0.0/16 is claimed more than once",
			"b/vpc: cidr 10.0.0.0/16 is claimed more than once",
		}},
		{"bad fields do not stop the others", []*unstructured.Unstructured{object("hg",
			"c nonsense 10.0.1.10 "+goodMAC, "t 10.1.0.0/16 ::1 "+goodMAC, "m 10.2.0.0/16 10.0.1.10 02:00",
			"good 10.0.0.0/16 10.0.1.10 "+goodMAC)}, []string{
			`hg/c: cidr "nonsense" is not an IPv4 prefix`,
			"hg/good 10.0.0.0/16 10.0.1.10 " + goodMAC,
			`hg/m: mac "02:00" is not a MAC address`,
			`hg/t: tunnelEndpoint "::1" is not an IPv4 address`,
		}},
		{"no endpoints at all", []*unstructured.Unstructured{{Object: map[string]any{"spec": "what"}}}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			for _, v := range resolve(tt.objects) {
				if v.problem != "" {
					got = append(got, fmt.Sprintf("%s/%s: %s", v.object, v.name, v.problem))
					continue
				}
				e := v.endpoint
				got = append(got, fmt.Sprintf("%s/%s %s %s %s", v.object, v.name, e.CIDR, e.TunnelEndpoint, e.MAC))
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestReports(t *testing.T) {
	v := resolve([]*unstructured.Unstructured{object("hg", "good 10.0.0.0/16 10.0.1.10 "+goodMAC, "bad x 10.0.1.10 "+goodMAC)})
	want := map[string]report{"hg": {"good": "", "bad": `cidr "x" is not an IPv4 prefix`}}
	if d := cmp.Diff(want, reports(v, nil)); d != "" {
		t.Error(d)
	}
	want["hg"]["good"] = "no device"
	if d := cmp.Diff(want, reports(v, errors.New("no device"))); d != "" {
		t.Error(d)
	}
}
