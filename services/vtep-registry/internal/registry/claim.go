package registry

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/hybridgateway/gateway/libs/netaddr"
)

// claim is a node's wish after the checks that concern nobody else.
type claim struct {
	address  netip.Addr     // invalid when it cannot be granted
	cidrs    []netip.Prefix // sorted, disjoint, all inside the scope
	refusals []Refusal
}

// judge checks a node against the scope.
func (s Scope) judge(n Node) claim {
	c := claim{refusals: slices.Clone(n.Flaws)}
	if n.Address.IsValid() {
		if contained(s.Nodes, netip.PrefixFrom(n.Address, n.Address.BitLen())) {
			c.address = n.Address
		} else {
			c.refuse(AddressOutside, "the node address %s is not in the node networks %s", n.Address, list(s.Nodes))
		}
	}
	if len(n.PodCIDRs) > MaxCIDRs {
		c.refuse(TooManyCIDRs, "%d pod networks are listed, more than %d", len(n.PodCIDRs), MaxCIDRs)
		return c
	}
	for _, p := range disjoint(n.PodCIDRs) {
		switch {
		// What is taken out of the pod networks lies inside them, so it is looked for first.
		case len(overlapping(s.Services, p)) > 0:
			c.refuse(CIDRInServices, "the pod network %s overlaps the service network %s", p, list(overlapping(s.Services, p)))
		case len(overlapping(s.Underlay, p)) > 0:
			c.refuse(CIDRInUnderlay, "the pod network %s overlaps the underlay's %s", p, list(overlapping(s.Underlay, p)))
		case contained(s.Pods, p):
			c.cidrs = append(c.cidrs, p)
		case len(overlapping(s.VPC, p)) > 0:
			c.refuse(CIDRInVPC, "the pod network %s overlaps the VPC's %s", p, list(overlapping(s.VPC, p)))
		case len(overlapping(s.Nodes, p)) > 0:
			c.refuse(CIDRInNodes, "the pod network %s overlaps the node networks %s", p, list(overlapping(s.Nodes, p)))
		default:
			c.refuse(CIDROutside, "the pod network %s is not inside the pod networks %s", p, list(s.Pods))
		}
	}
	if len(n.PodCIDRs) == 0 && len(n.Flaws) == 0 {
		c.refuse(NoCIDR, "no pod network is listed yet")
	}
	return c
}

func (c *claim) refuse(reason Reason, format string, args ...any) {
	c.refusals = append(c.refusals, Refusal{reason, fmt.Sprintf(format, args...)})
}

// disjoint sorts networks and leaves out those that lie in another of them: the same
// node holds both either way.
func disjoint(cidrs []netip.Prefix) []netip.Prefix {
	sorted := slices.Clone(cidrs)
	slices.SortFunc(sorted, netip.Prefix.Compare)
	// A network sorts after the wider ones that contain it, and of two networks either
	// one contains the other or they are disjoint.
	kept := sorted[:0]
	for _, p := range sorted {
		if len(kept) == 0 || !netaddr.Contains(kept[len(kept)-1], p) {
			kept = append(kept, p)
		}
	}
	return kept
}

func contained(outer []netip.Prefix, p netip.Prefix) bool {
	return slices.ContainsFunc(outer, func(o netip.Prefix) bool { return netaddr.Contains(o, p) })
}

func overlapping(networks []netip.Prefix, p netip.Prefix) []netip.Prefix {
	var found []netip.Prefix
	for _, o := range networks {
		if o.Overlaps(p) {
			found = append(found, o)
		}
	}
	return found
}

func list(networks []netip.Prefix) string {
	s := ""
	for i, p := range networks {
		if i > 0 {
			s += ", "
		}
		s += p.String()
	}
	return s
}
