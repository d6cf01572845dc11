package cilium

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/hybridgateway/gateway/services/vtep-registry/internal/publish"
	"github.com/hybridgateway/gateway/services/vtep-registry/internal/registry"
)

func nodeObject(spec string) *object {
	return &object{
		ObjectMeta: metav1.ObjectMeta{Name: "n", CreationTimestamp: metav1.NewTime(time.Unix(1000, 0))},
		Spec:       json.RawMessage(spec),
	}
}

// line is a node as one line.
func line(n registry.Node) string {
	var parts []string
	if n.Address.IsValid() {
		parts = append(parts, n.Address.String())
	}
	for _, p := range n.PodCIDRs {
		parts = append(parts, p.String())
	}
	for _, f := range n.Flaws {
		parts = append(parts, fmt.Sprintf("[%s: %s]", f.Reason, f.Detail))
	}
	return strings.Join(parts, " ")
}

func nodeSpecs() map[string]string {
	const good = `"ipam":{"podCIDRs":["100.64.1.0/24"]}`
	return map[string]string{
		`{"addresses":[{"type":"InternalIP","ip":"192.168.1.1"}],` + good + `}`:                                                             "192.168.1.1 100.64.1.0/24",
		`{"addresses":[{"type":"InternalIP","ip":"192.168.1.1"}],"ipam":{"podCIDRs":["100.64.2.0/24","100.64.1.0/24"]}}`:                    "192.168.1.1 100.64.2.0/24 100.64.1.0/24",
		`{"addresses":[{"type":"CiliumInternalIP","ip":"100.64.1.7"},{"type":"InternalIP","ip":"192.168.1.1"}],` + good + `}`:               "192.168.1.1 100.64.1.0/24",
		`{"addresses":[{"type":"InternalIP","ip":"fd00::1"},{"type":"InternalIP","ip":"192.168.1.1"}],` + good + `}`:                        "192.168.1.1 100.64.1.0/24",
		`{"addresses":[{"type":"InternalIP","ip":"192.168.1.1"},{"type":"InternalIP","ip":"192.168.1.2"}],` + good + `}`:                    "192.168.1.1 100.64.1.0/24",
		`{"addresses":[{"type":"InternalIP","ip":"192.168.1.1"}],"ipam":{"podCIDRs":["fd00:1::/64","100.64.1.0/24"]}}`:                      "192.168.1.1 100.64.1.0/24",
		`{"addresses":[{"type":"InternalIP","ip":"192.168.1.1"}],"ipam":{"podCIDRs":["fd00:1::/64"]}}`:                                      `192.168.1.1 [not-ipv4: all its pod networks are IPv6, the first is "fd00:1::/64"]`,
		`{"addresses":[{"type":"InternalIP","ip":"fd00::1"}],` + good + `}`:                                                                 `100.64.1.0/24 [not-ipv4: its only InternalIP is IPv6: "fd00::1"]`,
		`{"addresses":[{"type":"ExternalIP","ip":"192.168.1.1"}],` + good + `}`:                                                             "100.64.1.0/24 [no-address: the object names no InternalIP]",
		`{"addresses":[{"type":"InternalIP","ip":"192.168.1"}],` + good + `}`:                                                               `100.64.1.0/24 [bad-address: the InternalIP "192.168.1" is not an IPv4 address such as 10.0.1.10]`,
		`{"addresses":[{"type":"InternalIP","ip":"0.0.0.0"}],` + good + `}`:                                                                 `100.64.1.0/24 [bad-address: the InternalIP "0.0.0.0" is not an address of one host on a network]`,
		`{"addresses":[{"type":"InternalIP","ip":"::ffff:192.168.1.1"}],` + good + `}`:                                                      `100.64.1.0/24 [not-ipv4: its only InternalIP is IPv6: "::ffff:192.168.1.1"]`,
		`{"addresses":[{"type":"InternalIP"}],` + good + `}`:                                                                                `100.64.1.0/24 [bad-address: the InternalIP "" is not an IPv4 address such as 10.0.1.10]`,
		`{"addresses":[{"type":"InternalIP","ip":"192.168.1.1"}],"ipam":{"podCIDRs":["100.64.1.5/24","100.64.2.0/33","","100.64.3.0/24"]}}`: `192.168.1.1 100.64.3.0/24 [bad-cidr: the pod network "100.64.1.5/24" has bits set below its mask: write 100.64.1.0/24] [bad-cidr: the pod network "100.64.2.0/33" is not an IPv4 CIDR such as 10.0.0.0/16] [bad-cidr: the pod network "" is not an IPv4 CIDR such as 10.0.0.0/16]`,
		`{"addresses":[{"type":"InternalIP","ip":"192.168.1.1"}]}`:                                                                          "192.168.1.1",
		`{}`:                          "[no-address: the object names no InternalIP]",
		``:                            "[no-address: the object names no InternalIP]",
		`null`:                        "[no-address: the object names no InternalIP]",
		`"text"`:                      "[malformed: the object is no CiliumNode: a string is in the place of spec]",
		`{"addresses":"192.168.1.1"}`: "[malformed: the object is no CiliumNode: a string is in the place of spec.addresses]",
		`{"addresses":[{"type":"InternalIP","ip":"` + strings.Repeat("1", 5000) + `"}],` + good + `}`:                            `100.64.1.0/24 [bad-address: the InternalIP "` + strings.Repeat("1", 100) + `…" is not an IPv4 address such as 10.0.1.10]`,
		`{"addresses":[{"type":"InternalIP","ip":"192.168.1.1"}],"ipam":{"podCIDRs":[` + strings.Repeat(`"x",`, 5000) + `"x"]}}`: "192.168.1.1 [too-many-cidrs: 5001 pod networks are listed, more than 128]",
	}
}

func TestParseNode(t *testing.T) {
	for spec, want := range nodeSpecs() {
		got := parseNode(nodeObject(spec))
		if line(got) != want {
			t.Errorf("%.200s\n got %s\nwant %s", spec, line(got), want)
		}
		if got.Name != "n" || !got.Created.Equal(time.Unix(1000, 0)) {
			t.Errorf("got %+v", got)
		}
	}
}

// Whatever an object says, parsing and judging end, what is used is inside the scope,
// and what is said about it is bounded.
func FuzzParseNode(f *testing.F) {
	for spec := range nodeSpecs() {
		f.Add([]byte(spec))
	}
	f.Add([]byte(`{"addresses":[{"type":"InternalIP","ip":"192.168.1.1"}],"ipam":{"podCIDRs":["0.0.0.0/0","100.64.0.0/10","10.0.0.0/8"]}}`))
	scope := registry.Scope{
		Nodes: []netip.Prefix{netip.MustParsePrefix("192.168.0.0/16")},
		Pods:  []netip.Prefix{netip.MustParsePrefix("100.64.0.0/10")},
		VPC:   []netip.Prefix{netip.MustParsePrefix("10.0.0.0/16")},
	}
	f.Fuzz(func(t *testing.T, spec []byte) {
		n := parseNode(nodeObject(string(spec)))
		r := registry.New(scope)
		changes := r.Reset(registry.CiliumNode, []registry.Node{n, {Name: "healthy", Created: time.Unix(1, 0), Address: netip.MustParseAddr("192.168.200.1"),
			PodCIDRs: []netip.Prefix{netip.MustParsePrefix("100.127.255.0/24")}}})
		if len(changes) != 2 {
			t.Fatalf("got %v", changes)
		}
		for _, c := range changes {
			if c.VTEP.Node == "healthy" && !c.VTEP.Admitted {
				t.Errorf("a healthy node suffered: %v", c)
			}
			if reason := c.VTEP.Reason(); len(reason) > 4096 || !utf8.ValidString(reason) || strings.Contains(reason, "\n") {
				t.Errorf("a reason of %d bytes that is no line of text: %q", len(reason), reason)
			}
			for _, p := range c.VTEP.PodCIDRs {
				if c.VTEP.Admitted && (!scope.Pods[0].Contains(p.Addr()) || p.Bits() < 10 || p != p.Masked()) {
					t.Errorf("admitted %v", c)
				}
			}
			if c.VTEP.Admitted && !scope.Nodes[0].Contains(c.VTEP.Address) {
				t.Errorf("admitted %v", c)
			}
		}
	})
}

func TestParseConfig(t *testing.T) {
	o := &object{
		ObjectMeta: metav1.ObjectMeta{Name: "hybrid-gateway", ResourceVersion: "17", Annotations: map[string]string{epochAnnotation: "4", gatewayAnnotation: "gw-a", "other": "x"}},
		Spec:       json.RawMessage(`{"endpoints":[{"name":"vpc-gateway","tunnelEndpoint":"10.0.1.10","cidr":"10.0.0.0/16","mac":"02:68:0a:00:01:0a","extra":1}],"more":true}`),
	}
	want := publish.Object{Name: "hybrid-gateway", Version: "17", Epoch: "4", Gateway: "gw-a",
		Endpoints: []publish.Endpoint{{Name: "vpc-gateway", TunnelEndpoint: "10.0.1.10", CIDR: "10.0.0.0/16", MAC: "02:68:0a:00:01:0a"}}}
	if diff := cmp.Diff(want, Dialect{Version: "v2", Form: Named}.parseConfig(o)); diff != "" {
		t.Error(diff)
	}
	for _, spec := range []string{"", "null", `"x"`, `{"endpoints":{}}`, `{"endpoints":[1]}`} {
		o.Spec = json.RawMessage(spec)
		if got := (Dialect{Version: "v2", Form: Named}).parseConfig(o); got.Version != "17" || len(got.Endpoints) > 1 {
			t.Errorf("%s: got %+v", spec, got)
		}
	}
}
