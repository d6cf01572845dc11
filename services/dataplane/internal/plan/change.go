package plan

import (
	"net/netip"
	"slices"
)

// ChangeKind says what the kernel reported about.
type ChangeKind uint8

// The kinds of changes.
const (
	ChangeLost      ChangeKind = iota // notifications were lost: anything may have changed
	ChangeLink                        // an interface
	ChangeHost                        // an address, or a forwarding setting
	ChangeFDB                         // a forwarding entry of a VXLAN device
	ChangeNeighbour                   // an IPv4 neighbour
	ChangeRoute                       // an IPv4 route of the main table
	ChangeGuard                       // the packet guard
	ChangeClamp                       // the bound of the maximum segment size
)

func (k ChangeKind) String() string {
	return [...]string{"lost", "link", "host", "fdb", "neighbour", "route", "guard", "clamp"}[k]
}

// Change is one notification of the kernel, whoever caused it.
type Change struct {
	Kind      ChangeKind
	Gone      bool
	Device    string     // the interface's name; host: "all" for net.ipv4.conf.all
	VXLAN     bool       // link: it is a VXLAN device
	Addr      netip.Addr // FDB: the remote; neighbour: the address; host: the address, invalid when a setting changed
	MAC       MAC        // FDB, neighbour
	Permanent bool       // FDB, neighbour
	Route     Route
	Source    Source // guard: the source, with only Outer for an outer source, and neither for the rest of it
}

// Explains tells whether a, the dataplane's picture of the kernel, already accounts for the change, or the change
// does not concern the tunnel. Our own operations come back as notifications too; this is what tells them from those of others.
func (t *Target) Explains(a Actual, c Change) bool {
	name := t.desired.Device.Name
	isNIC := a.Host.NIC != nil && c.Device == a.Host.NIC.Name
	switch c.Kind {
	case ChangeLink:
		return !c.VXLAN && c.Device != name && !isNIC
	case ChangeHost:
		if c.Addr.IsValid() {
			return !t.desired.isOwn(c.Addr)
		}
		return c.Device != name && c.Device != "all" && !isNIC
	case ChangeFDB:
		if c.Device != name {
			return true
		}
		there := slices.Contains(a.FDB[c.MAC], FDBEntry{Remote: c.Addr, Permanent: c.Permanent})
		return there != c.Gone
	case ChangeNeighbour:
		if c.Device != name {
			return true
		}
		if _, wanted := t.neighbours[c.Addr]; !wanted && !c.Permanent {
			return true // the kernel's own, made by whatever ARP packet comes along
		}
		have, there := a.Neighbours[c.Addr]
		if c.Gone {
			return !there
		}
		return there && have == Neighbour{MAC: c.MAC, Permanent: c.Permanent}
	case ChangeGuard:
		return t.explainsGuard(a, c)
	case ChangeRoute:
		return t.explainsRoute(a, c)
	default:
		return false
	}
}

func (t *Target) explainsRoute(a Actual, c Change) bool {
	there := slices.Contains(a.Routes[c.Route.Dst], c.Route)
	if there != c.Gone {
		return true
	}
	_, wanted := t.routes[c.Route.Dst]
	onNIC := a.Host.NIC != nil && c.Route.Dev == a.Host.NIC.Name
	return !wanted && !c.Route.Ours() && !onNIC
}
