package plan

import (
	"cmp"
	"net/netip"
	"slices"
	"strconv"

	"github.com/hybridgateway/gateway/libs/netaddr"
)

// FindingKind says how far a finding reaches.
type FindingKind uint8

// The kinds of findings.
const (
	Blocking FindingKind = iota // the tunnel as a whole cannot work; Reason says what to do
	Refused                     // one VTEP, or one pod network of it, is not programmed
	Conflict                    // somebody else has a route for a pod network
	Warning                     // works, but not as it should
)

func (k FindingKind) String() string {
	switch k {
	case Blocking:
		return "blocking"
	case Refused:
		return "refused"
	case Conflict:
		return "conflict"
	default:
		return "warning"
	}
}

// Finding is something the plan cannot or must not change.
type Finding struct {
	Kind    FindingKind
	Node    string       // the VTEP concerned; empty when none is
	PodCIDR netip.Prefix // the pod network concerned; invalid when none or all are
	Reason  string
}

func (f Finding) String() string {
	s := f.Kind.String()
	if f.Node != "" {
		s += " node " + f.Node
	}
	if f.PodCIDR.IsValid() {
		s += " " + f.PodCIDR.String()
	}
	return s + ": " + f.Reason
}

// Target is a desired state, checked, in the shape in which it is compared with the kernel.
type Target struct {
	desired    Desired
	fdb        map[MAC]netip.Addr
	neighbours map[netip.Addr]MAC
	routes     map[netip.Prefix]owner
	findings   []Finding
}

type owner struct {
	node string
	via  netip.Addr
}

// Programmed counts the VTEPs and the pod networks of the target that a has.
func (t Target) Programmed(a Actual) (vteps, routes int) {
	for addr, mac := range t.neighbours {
		if a.Neighbours[addr].MAC == mac && len(a.FDB[mac]) > 0 {
			vteps++
		}
	}
	for dst, own := range t.routes {
		if slices.Contains(a.Routes[dst], t.route(dst, own.via)) {
			routes++
		}
	}
	return vteps, routes
}

// Compile checks every VTEP by itself and against the others. What cannot be programmed, or would cut off
// somebody else, becomes a finding of kind Refused; all the rest is programmed.
//
// The registry has admitted the VTEPs before, so these checks are the second line: they keep the tunnel from
// swallowing its own outer packets, whatever the registry lets through.
func Compile(d Desired) Target {
	t := Target{
		desired:    d,
		fdb:        make(map[MAC]netip.Addr, len(d.VTEPs)),
		neighbours: make(map[netip.Addr]MAC, len(d.VTEPs)),
		routes:     make(map[netip.Prefix]owner, len(d.VTEPs)),
	}
	vteps := slices.Clone(d.VTEPs)
	slices.SortFunc(vteps, func(a, b VTEP) int { return cmp.Compare(a.Node, b.Node) })

	good := t.refuseUnusable(vteps)
	covered, swallowing := refuseSwallowing(good)
	for _, v := range good {
		if f, bad := covered[v.Node]; bad {
			t.findings = append(t.findings, f)
			continue
		}
		mac := netaddr.VTEPMAC(v.Underlay)
		t.fdb[mac] = v.Underlay
		t.neighbours[v.Underlay] = mac
		for _, cidr := range v.PodCIDRs {
			if f, bad := swallowing[claim{v.Node, cidr}]; bad {
				t.findings = append(t.findings, f)
				continue
			}
			if other, taken := t.routes[cidr]; taken {
				if other.node != v.Node {
					t.refuse(v.Node, cidr, "node "+other.node+" has the same pod network")
				}
				continue
			}
			t.routes[cidr] = owner{node: v.Node, via: v.Underlay}
		}
	}
	return t
}

func (t *Target) refuse(node string, cidr netip.Prefix, reason string) {
	t.findings = append(t.findings, Finding{Kind: Refused, Node: node, PodCIDR: cidr, Reason: reason})
}

// refuseUnusable returns the VTEPs with the pod networks that make sense by themselves.
func (t *Target) refuseUnusable(vteps []VTEP) []VTEP {
	good := make([]VTEP, 0, len(vteps))
	for _, v := range vteps {
		if reason := unusableAddr(v.Underlay, t.desired.Device.Local); reason != "" {
			t.refuse(v.Node, netip.Prefix{}, reason)
			continue
		}
		kept := VTEP{Node: v.Node, Underlay: v.Underlay, PodCIDRs: make([]netip.Prefix, 0, len(v.PodCIDRs))}
		for _, cidr := range v.PodCIDRs {
			if reason := unusableCIDR(cidr, t.desired.Device.Local); reason != "" {
				t.refuse(v.Node, cidr, reason)
				continue
			}
			kept.PodCIDRs = append(kept.PodCIDRs, cidr.Masked())
		}
		good = append(good, kept)
	}
	return good
}

func unusableAddr(a, local netip.Addr) string {
	switch {
	case !a.Is4():
		return "its underlay address is not IPv4"
	case a == local:
		return "its underlay address " + a.String() + " is this gateway's own"
	case a.IsUnspecified(), a.IsLoopback(), a.IsMulticast(), a.IsLinkLocalUnicast(), a.As4()[0] >= 240, a.As4()[0] == 0:
		return "its underlay address " + a.String() + " is not a unicast address of a host"
	}
	return ""
}

func unusableCIDR(c netip.Prefix, local netip.Addr) string {
	switch {
	case !c.IsValid() || !c.Addr().Is4():
		return "the pod network is not IPv4"
	case c.Bits() < 8:
		return "the pod network is wider than a /8"
	case c.Contains(local):
		return "the pod network contains this gateway's address " + local.String()
	case c.Addr().IsLoopback(), c.Addr().IsMulticast(), c.Addr().As4()[0] >= 240, c.Addr().As4()[0] == 0,
		netip.PrefixFrom(netip.AddrFrom4([4]byte{169, 254}), 16).Overlaps(c): // link-local: instance metadata is there
		return "the pod network is not one that hosts on other links can have"
	}
	return ""
}

type claim struct {
	node string
	cidr netip.Prefix
}

// refuseSwallowing finds pod networks with the underlay address of a node inside: the route would draw the
// outer packets to that node into the tunnel. Either the network or the address is wrong. A network that covers
// several other nodes, or its own, is refused; a node that alone lies inside another's network is refused itself,
// so that one bad object takes down no more than it has to.
func refuseSwallowing(vteps []VTEP) (nodes map[string]Finding, claims map[claim]Finding) {
	type place struct {
		addr netip.Addr
		node string
	}
	places := make([]place, 0, len(vteps))
	for _, v := range vteps {
		places = append(places, place{v.Underlay, v.Node})
	}
	slices.SortFunc(places, func(a, b place) int {
		return cmp.Or(a.addr.Compare(b.addr), cmp.Compare(a.node, b.node))
	})
	nodes, claims = map[string]Finding{}, map[claim]Finding{}
	for _, v := range vteps {
		for _, cidr := range v.PodCIDRs {
			from, _ := slices.BinarySearchFunc(places, cidr.Addr(), func(p place, a netip.Addr) int { return p.addr.Compare(a) })
			to := from
			for to < len(places) && cidr.Contains(places[to].addr) {
				to++
			}
			if from == to {
				continue
			}
			inside := places[from:to]
			refuse := func(reason string) {
				claims[claim{v.Node, cidr}] = Finding{Kind: Refused, Node: v.Node, PodCIDR: cidr, Reason: reason}
			}
			switch {
			case cidr.Contains(v.Underlay):
				refuse("the pod network contains the node's own underlay address " + v.Underlay.String())
			case inside[0].addr != inside[len(inside)-1].addr:
				refuse("the pod network contains the underlay addresses of " + strconv.Itoa(len(inside)) + " nodes, the first is " + inside[0].node)
			default:
				for _, p := range inside {
					nodes[p.node] = Finding{Kind: Refused, Node: p.node,
						Reason: "its underlay address " + p.addr.String() + " lies in the pod network " + cidr.String() + " of node " + v.Node}
				}
			}
		}
	}
	return nodes, claims
}
