package plan

import "fmt"

// DF is what the device does with the outer packets' "don't fragment" bit (IFLA_VXLAN_DF in include/uapi/linux/if_link.h).
//
// With it set, a router on the way that cannot pass an outer packet on says so to this host (ICMP "fragmentation needed", RFC 1191); the
// kernel keeps that size for the node's address, and for what is routed into the tunnel to that node 50 bytes less. When forwarding goes by
// it (net.ipv4.ip_forward_use_pmtu), the sender of an inner packet that is too large is told so in turn, and nothing is ever fragmented.
// Without that setting the inner packet would be lost without a word: then the bit stays clear, and routers fragment.
type DF uint8

// What the device does with the bit.
const (
	DFUnset DF = iota
	DFSet
	DFInherit // as the inner packet has it
)

func (d DF) String() string {
	switch d {
	case DFUnset:
		return "unset"
	case DFSet:
		return "set"
	default:
		return "inherit"
	}
}

type (
	// SetDF changes what the device does with the bit.
	SetDF struct {
		Name string
		DF   DF
	}
	// SetForwardPMTU sets net.ipv4.ip_forward_use_pmtu=1.
	SetForwardPMTU struct{}
)

func (SetDF) kind() string          { return "device-set" }
func (SetForwardPMTU) kind() string { return "forwarding-set" }

func (o SetDF) String() string          { return fmt.Sprintf("device set %s df %s", o.Name, o.DF) }
func (o SetForwardPMTU) String() string { return "sysctl set net.ipv4.ip_forward_use_pmtu 1" }

// wantDF is the wanted use of the bit on a host.
func (d Desired) wantDF(h Host) DF {
	if d.OuterDF && (h.ForwardPMTU || !h.ForwardPMTUFixed) {
		return DFSet
	}
	return DFUnset
}

// pathMTUWarning says that outer packets may be fragmented though they should not.
func (d Desired) pathMTUWarning(h Host) (Finding, bool) {
	return Finding{Kind: Warning, Reason: "net.ipv4.ip_forward_use_pmtu is 0 and this process may not set it: where the path to a node carries less than the " +
		"tunnel needs, packets are fragmented on their way; set it to 1 on the node, or say what the path carries (--underlay-mtu)"}, d.OuterDF && d.wantDF(h) == DFUnset
}
