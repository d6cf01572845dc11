package registry

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Scope is what nodes may claim. The networks of the first three lists do not overlap.
type Scope struct {
	Nodes []netip.Prefix // networks of the nodes' own addresses
	Pods  []netip.Prefix // networks that pod networks are taken from
	VPC   []netip.Prefix
	// Services and Underlay are taken out of Pods: the cluster's service networks, and
	// networks that outer packets pass through or end in.
	Services []netip.Prefix
	Underlay []netip.Prefix
}

// Source is who claims. A name is claimed by one source only.
type Source uint8

// The sources.
const (
	CiliumNode Source = iota // a CiliumNode
	Registered               // an operator, for something that is no Kubernetes node
)

// Node is what one CiliumNode says, or one registration, as far as it could be read.
// Addresses and networks are IPv4.
type Node struct {
	Name    string
	Source  Source
	Created time.Time
	// Stale is true for what is only remembered from an earlier life of the service.
	Stale bool
	// UID and Generation tell one object, and one spec of it, from those before and after.
	UID        string
	Generation int64
	Address    netip.Addr     // invalid when there is none to use; a flaw then says why
	PodCIDRs   []netip.Prefix // those that could be read
	Flaws      []Refusal      // what could not be read
}

// Reason classifies refusals; it is the value of a metric's label.
type Reason string

// The reasons.
const (
	Malformed      Reason = "malformed"        // the object has another shape than a CiliumNode
	NoAddress      Reason = "no-address"       // it names no InternalIP
	NotIPv4        Reason = "not-ipv4"         // it has addresses or networks of IPv6 only
	BadAddress     Reason = "bad-address"      // its address cannot be one of a host
	AddressOutside Reason = "address-outside"  // its address is not in the node networks
	AddressTaken   Reason = "address-taken"    // another node holds its address
	NoCIDR         Reason = "no-cidr"          // it has no pod network yet
	TooManyCIDRs   Reason = "too-many-cidrs"   // it lists more than MaxCIDRs
	BadCIDR        Reason = "bad-cidr"         // text that is no network
	CIDRInVPC      Reason = "cidr-in-vpc"      // overlaps the VPC
	CIDRInNodes    Reason = "cidr-in-nodes"    // overlaps the node networks
	CIDRInServices Reason = "cidr-in-services" // overlaps a service network
	CIDRInUnderlay Reason = "cidr-in-underlay" // overlaps the underlay
	CIDROutside    Reason = "cidr-outside"     // not inside one of the pod networks
	CIDRTaken      Reason = "cidr-taken"       // overlaps what another node holds
)

// MaxCIDRs is how many pod networks one node may list. Cilium's multi-pool IPAM gives
// a node some tens at most.
const MaxCIDRs = 128

// Refusal says what was not granted, and why.
type Refusal struct {
	Reason Reason
	Detail string // one line for operators, naming the value
}

// VTEP is the verdict on one node.
type VTEP struct {
	Node     string
	Source   Source
	Stale    bool // see Node
	Admitted bool
	// Address and PodCIDRs (sorted) are what an admitted node holds, and what a
	// quarantined one claims, as far as it could be read.
	Address  netip.Addr
	PodCIDRs []netip.Prefix
	// Refusals are why the node is quarantined, or which claims of an admitted node were
	// not granted.
	Refusals []Refusal
}

// shownRefusals bounds the text that Reason makes.
const shownRefusals = 5

// Reason is the refusals as one line; empty when there are none.
func (v VTEP) Reason() string {
	var b strings.Builder
	for i, r := range v.Refusals {
		if i == shownRefusals {
			fmt.Fprintf(&b, "; and %d more", len(v.Refusals)-i)
			break
		}
		if i > 0 {
			b.WriteString("; ")
		}
		b.WriteString(r.Detail)
	}
	return b.String()
}

func (v VTEP) equal(o VTEP) bool {
	return v.Node == o.Node && v.Source == o.Source && v.Stale == o.Stale && v.Admitted == o.Admitted && v.Address == o.Address &&
		slices.Equal(v.PodCIDRs, o.PodCIDRs) && slices.Equal(v.Refusals, o.Refusals)
}

// String is the verdict as one line.
func (v VTEP) String() string {
	state := "admitted"
	if !v.Admitted {
		state = "quarantined"
	}
	s := fmt.Sprintf("%s %s", state, v.Node)
	if v.Stale {
		s = "stale " + s
	}
	if v.Address.IsValid() {
		s += " " + v.Address.String()
	}
	for _, p := range v.PodCIDRs {
		s += " " + p.String()
	}
	if len(v.Refusals) > 0 {
		s += ": " + v.Reason()
	}
	return s
}

// Event is one thing that happened to one node.
type Event struct {
	Node    Node // only its Name when Deleted
	Deleted bool
}

// Change is one thing to tell the followers. The zero VTEP but for its Node goes with a
// deletion.
type Change struct {
	VTEP    VTEP
	Deleted bool
}

// String is the change as one line.
func (c Change) String() string {
	if c.Deleted {
		return "delete " + c.VTEP.Node
	}
	return c.VTEP.String()
}
