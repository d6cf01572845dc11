// Package floating knows what cilium-config has to say for the floating mode, in which one
// VTEP address that never changes is carried by every gateway. It is pure.
//
// A Cilium without CiliumVTEPConfig reads its VTEPs from four lists of the same length, and
// one mask for all networks, when an agent starts
// (https://docs.cilium.io/en/stable/network/vtep/).
package floating

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/hybridgateway/gateway/libs/netaddr"
	"github.com/hybridgateway/gateway/services/vtep-registry/internal/registry"
)

// MaxEndpoints is how many VTEPs an agent takes.
const MaxEndpoints = 8

// Want is what the settings have to name: one entry per network.
type Want struct {
	VTEP netip.Addr
	MAC  netaddr.MAC
	// Networks are the VPC's, all of one length.
	Networks []netip.Prefix
}

// For is what is wanted for a VTEP address and the networks of the VPC. Networks of different
// lengths are cut into pieces of the longest, since there is one mask for all.
func For(vtep netip.Addr, vpc []netip.Prefix) (Want, error) {
	w := Want{VTEP: vtep, MAC: netaddr.VTEPMAC(vtep)}
	bits := 0
	for _, p := range vpc {
		bits = max(bits, p.Bits())
	}
	for _, p := range vpc {
		if pieces := uint64(1) << (bits - p.Bits()); uint64(len(w.Networks))+pieces > MaxEndpoints {
			return Want{}, fmt.Errorf("cilium-config has one mask for all networks: with one of length /%d, %s is more than the %d networks that an agent takes", bits, p, MaxEndpoints)
		}
		w.Networks = append(w.Networks, pieces(p, bits)...)
	}
	return w, nil
}

func pieces(p netip.Prefix, bits int) []netip.Prefix {
	var all []netip.Prefix
	for piece := netip.PrefixFrom(p.Addr(), bits); p.Contains(piece.Addr()); {
		all = append(all, piece)
		b := piece.Addr().As4()
		next := (uint64(b[0])<<24 | uint64(b[1])<<16 | uint64(b[2])<<8 | uint64(b[3])) + uint64(1)<<(32-bits)
		if next > 0xffffffff {
			break
		}
		piece = netip.PrefixFrom(netip.AddrFrom4([4]byte{byte(next >> 24), byte(next >> 16), byte(next >> 8), byte(next)}), bits)
	}
	return all
}

// Settings are the keys of cilium-config with their values.
func (w Want) Settings() map[string]string {
	repeat := func(s string) string {
		return strings.TrimSuffix(strings.Repeat(s+" ", len(w.Networks)), " ")
	}
	networks := make([]string, len(w.Networks))
	for i, p := range w.Networks {
		networks[i] = p.String()
	}
	return map[string]string{
		"enable-vtep":   "true",
		"vtep-endpoint": repeat(w.VTEP.String()),
		"vtep-cidr":     strings.Join(networks, " "),
		"vtep-mask":     w.mask(),
		"vtep-mac":      repeat(w.MAC.String()),
	}
}

func (w Want) mask() string { return net.IP(net.CIDRMask(w.Networks[0].Bits(), 32)).String() }

// Text is what operators have to set, once, in YAML.
func (w Want) Text() string {
	s := w.Settings()
	return fmt.Sprintf(`# Values of Cilium's Helm chart:
vtep:
  enabled: true
  endpoint: %q
  cidr: %q
  mask: %q
  mac: %q

# They become this in the ConfigMap cilium-config of the namespace kube-system:
data:
  enable-vtep: "true"
  vtep-endpoint: %q
  vtep-cidr: %q
  vtep-mask: %q
  vtep-mac: %q

# Agents read it when they start:
#   kubectl -n kube-system rollout restart daemonset/cilium
`, s["vtep-endpoint"], s["vtep-cidr"], s["vtep-mask"], s["vtep-mac"], s["vtep-endpoint"], s["vtep-cidr"], s["vtep-mask"], s["vtep-mac"])
}

// Check says what in cilium-config is not as it has to be, one line each. VTEPs beside ours
// are none of our business.
func (w Want) Check(data map[string]string) []string {
	var problems []string
	add := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	if data["enable-vtep"] != "true" {
		add("enable-vtep is %q: set it to \"true\"", registry.Clip(data["enable-vtep"]))
	}
	if data["vtep-mask"] != w.mask() {
		add("vtep-mask is %q: set it to %q", registry.Clip(data["vtep-mask"]), w.mask())
	}
	endpoints, cidrs, macs := list(data["vtep-endpoint"]), list(data["vtep-cidr"]), list(data["vtep-mac"])
	if len(endpoints) != len(cidrs) || len(cidrs) != len(macs) {
		add("vtep-endpoint, vtep-cidr and vtep-mac have %d, %d and %d entries: they need as many each", len(endpoints), len(cidrs), len(macs))
		return append(problems, tunnel(data)...)
	}
	for _, p := range w.Networks {
		at := slices.Index(cidrs, p.String())
		switch {
		case at < 0:
			add("vtep-cidr does not name %s", p)
		case endpoints[at] != w.VTEP.String():
			add("vtep-endpoint of %s is %q: set it to %q", p, registry.Clip(endpoints[at]), w.VTEP)
		case !strings.EqualFold(macs[at], w.MAC.String()):
			add("vtep-mac of %s is %q: set it to %q", p, registry.Clip(macs[at]), w.MAC)
		}
	}
	return append(problems, tunnel(data)...)
}

// tunnel checks what has the right value when it is not set.
func tunnel(data map[string]string) []string {
	var problems []string
	for key, want := range map[string]string{"tunnel-protocol": "vxlan", "tunnel-port": "8472"} {
		if got := data[key]; got != "" && got != "0" && got != want {
			problems = append(problems, fmt.Sprintf("%s is %q: set it to %q", key, registry.Clip(got), want))
		}
	}
	slices.Sort(problems)
	return problems
}

func list(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ' ' || r == ',' || r == '\n' || r == '\t' })
}

// Behind are the nodes whose agent runs since before the settings were changed, sorted. Times
// are in whole seconds, as Kubernetes keeps them.
func Behind(changed time.Time, started map[string]time.Time) []string {
	var nodes []string
	for node, at := range started {
		if at.Before(changed) {
			nodes = append(nodes, node)
		}
	}
	slices.Sort(nodes)
	return nodes
}
