package registry

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/hybridgateway/gateway/libs/netaddr"
)

// Flaw adds to what could not be read of a node.
func (n *Node) Flaw(reason Reason, format string, args ...any) {
	n.Flaws = append(n.Flaws, Refusal{Reason: reason, Detail: fmt.Sprintf(format, args...)})
}

// ReadAddress takes the first IPv4 address of those that a node names, as it is for Cilium.
// what is the name of the field.
func (n *Node) ReadAddress(what string, texts []string) {
	var bad error
	for _, text := range texts {
		a, err := netaddr.ParseIPv4(Clip(text))
		if err == nil {
			n.Address = a
			return
		}
		if v6, err := netip.ParseAddr(Clip(text)); err == nil && !v6.Is4() {
			continue
		}
		bad = err
	}
	switch {
	case bad != nil:
		n.Flaw(BadAddress, "the %s %s", what, bad)
	case len(texts) > 0:
		n.Flaw(NotIPv4, "its only %s is IPv6: %q", what, Clip(texts[0]))
	default:
		n.Flaw(NoAddress, "the object names no %s", what)
	}
}

// ReadPodCIDRs takes the IPv4 networks, at most MaxCIDRs. IPv6 ones beside them are a
// dual-stack node's, and none of our business.
func (n *Node) ReadPodCIDRs(texts []string) {
	if len(texts) > MaxCIDRs {
		n.Flaw(TooManyCIDRs, "%d pod networks are listed, more than %d", len(texts), MaxCIDRs)
		return
	}
	ipv6 := 0
	for _, text := range texts {
		p, err := netaddr.ParseIPv4Prefix(Clip(text))
		if err == nil {
			n.PodCIDRs = append(n.PodCIDRs, p)
			continue
		}
		if v6, err := netip.ParsePrefix(Clip(text)); err == nil && !v6.Addr().Is4() {
			ipv6++
			continue
		}
		n.Flaw(BadCIDR, "the pod network %s", err)
	}
	if ipv6 > 0 && ipv6 == len(texts) {
		n.Flaw(NotIPv4, "all its pod networks are IPv6, the first is %q", Clip(texts[0]))
	}
}

// Clip bounds what is shown of a text from outside. No address or network is as long. It
// stays valid UTF-8, as protobuf demands.
func Clip(s string) string {
	const longest = 100
	if len(s) <= longest {
		return s
	}
	return strings.ToValidUTF8(s[:longest], "") + "…"
}
