package onprem

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"slices"
)

// Endpoint is one entry of the node's VTEP map.
type Endpoint struct {
	CIDR           netip.Prefix     // destinations behind it
	TunnelEndpoint netip.Addr       // where VXLAN packets go
	MAC            net.HardwareAddr // inner destination
}

// mac is a hardware address that can be compared.
type mac [6]byte

func (m mac) String() string { return net.HardwareAddr(m[:]).String() }

// hop is where packets for a CIDR go: the next hop stands for the inner MAC.
type hop struct {
	next   netip.Addr
	tunnel netip.Addr
}

// vtepState is the VTEP map as the kernel has it.
type vtepState struct {
	hops   map[mac]netip.Addr   // next hops, each with a neighbour entry
	routes map[netip.Prefix]hop // by CIDR
}

func newVTEPState() vtepState {
	return vtepState{hops: map[mac]netip.Addr{}, routes: map[netip.Prefix]hop{}}
}

// vtepOp is one operation on the kernel.
type vtepOp struct {
	kind vtepOpKind
	cidr netip.Prefix
	hop  hop
	mac  mac
}

type vtepOpKind int

// In the order of a plan: a next hop is known before a route uses it, and
// forgotten after the last route has left it.
const (
	setHop vtepOpKind = iota
	setRoute
	delRoute
	delHop
)

func (o vtepOp) String() string {
	switch o.kind {
	case setHop:
		return fmt.Sprintf("hop set %s %s", o.hop.next, o.mac)
	case setRoute:
		return fmt.Sprintf("route set %s tunnel %s via %s", o.cidr, o.hop.tunnel, o.hop.next)
	case delRoute:
		return fmt.Sprintf("route del %s", o.cidr)
	default:
		return fmt.Sprintf("hop del %s %s", o.hop.next, o.mac)
	}
}

// hopNet is where next hops are taken from; nothing else in a node uses it.
var hopNet = netip.MustParsePrefix("169.254.66.0/24")

// planVTEPs gives the operations that make the kernel's map the wanted one.
// Routes are replaced in place, so no packet for a CIDR that stays is lost.
func planVTEPs(want []Endpoint, have vtepState) ([]vtepOp, error) {
	var ops []vtepOp
	hops := map[mac]netip.Addr{}
	used := map[netip.Addr]bool{}
	for _, a := range have.hops {
		used[a] = true
	}
	routes := map[netip.Prefix]hop{}
	for _, e := range want {
		if err := e.validate(); err != nil {
			return nil, err
		}
		cidr := e.CIDR.Masked()
		if _, twice := routes[cidr]; twice {
			return nil, fmt.Errorf("endpoint for %s: given twice", cidr)
		}
		m := mac(e.MAC)
		next, ok := hops[m]
		if !ok {
			if next, ok = have.hops[m]; !ok {
				next = freeHop(used)
				used[next] = true
				ops = append(ops, vtepOp{kind: setHop, hop: hop{next: next}, mac: m})
			}
			hops[m] = next
		}
		routes[cidr] = hop{next: next, tunnel: e.TunnelEndpoint}
	}
	for cidr, h := range routes {
		if old, ok := have.routes[cidr]; !ok || old != h {
			ops = append(ops, vtepOp{kind: setRoute, cidr: cidr, hop: h})
		}
	}
	for cidr, h := range have.routes {
		if _, ok := routes[cidr]; !ok {
			ops = append(ops, vtepOp{kind: delRoute, cidr: cidr, hop: h})
		}
	}
	for m, next := range have.hops {
		if _, ok := hops[m]; !ok {
			ops = append(ops, vtepOp{kind: delHop, hop: hop{next: next}, mac: m})
		}
	}
	slices.SortFunc(ops, func(a, b vtepOp) int {
		return cmp.Or(cmp.Compare(a.kind, b.kind), a.cidr.Addr().Compare(b.cidr.Addr()),
			cmp.Compare(a.cidr.Bits(), b.cidr.Bits()), a.hop.next.Compare(b.hop.next))
	})
	return ops, nil
}

func (e Endpoint) validate() error {
	switch {
	case !e.CIDR.IsValid() || !e.CIDR.Addr().Is4():
		return fmt.Errorf("endpoint for %s: not an IPv4 prefix", e.CIDR)
	case !e.TunnelEndpoint.Is4():
		return fmt.Errorf("endpoint for %s: tunnel endpoint %s is not an IPv4 address", e.CIDR, e.TunnelEndpoint)
	case len(e.MAC) != 6:
		return fmt.Errorf("endpoint for %s: MAC address %s is not of 6 bytes", e.CIDR, e.MAC)
	}
	return nil
}

func freeHop(used map[netip.Addr]bool) netip.Addr {
	a := hopNet.Addr().Next()
	for used[a] {
		a = a.Next()
	}
	return a
}

// apply records an operation that has been carried out.
func (s vtepState) apply(o vtepOp) {
	switch o.kind {
	case setHop:
		s.hops[o.mac] = o.hop.next
	case delHop:
		delete(s.hops, o.mac)
	case setRoute:
		s.routes[o.cidr] = o.hop
	case delRoute:
		delete(s.routes, o.cidr)
	}
}
