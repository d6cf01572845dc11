package plan

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"strconv"

	"github.com/hybridgateway/gateway/libs/netaddr"
)

// Target is a desired state, checked, in the shape in which it is compared with the kernel. A change of one VTEP costs what that VTEP and
// those that are at odds with it have, however many others there are.
//
// Every VTEP is checked by itself and against the others. What cannot be programmed, or would cut off somebody else, becomes a finding
// of kind Refused; all the rest is programmed. The registry has admitted the VTEPs before, so these checks are the second line: they keep
// the tunnel from swallowing its own outer packets, whatever the registry lets through.
type Target struct {
	desired Desired // less the VTEPs

	// What the VTEPs claim, less what makes no sense by itself.
	vteps   map[string]VTEP
	places  []place                   // sorted
	claims  map[netip.Prefix][]string // nodes by pod network, sorted
	lengths [33]int                   // how many pod networks have this prefix length

	// What is wanted of the kernel.
	fdb        map[MAC]netip.Addr
	neighbours map[netip.Addr]MAC
	routes     map[netip.Prefix]owner
	vias       map[netip.Addr]int // how many routes go there

	senseless map[string][]Finding // by node: what makes no sense by itself
	refused   map[string][]Finding // by node: what the others stand against
}

type owner struct {
	node string
	via  netip.Addr
}

// place is where a node is on the underlay.
type place struct {
	addr netip.Addr
	node string
}

func comparePlaces(a, b place) int {
	return cmp.Or(a.addr.Compare(b.addr), cmp.Compare(a.node, b.node))
}

// Compile makes a target. Of several VTEPs of one node the last counts.
func Compile(d Desired) *Target {
	t := &Target{desired: d}
	t.desired.VTEPs = nil
	t.replace(d.VTEPs)
	return t
}

// replace makes vteps all that is desired.
func (t *Target) replace(vteps []VTEP) {
	n := len(vteps)
	t.vteps, t.places, t.claims, t.lengths = make(map[string]VTEP, n), make([]place, 0, n), make(map[netip.Prefix][]string, n), [33]int{}
	t.fdb, t.neighbours = make(map[MAC]netip.Addr, n), make(map[netip.Addr]MAC, n)
	t.routes, t.vias = make(map[netip.Prefix]owner, n), make(map[netip.Addr]int, n)
	t.senseless, t.refused = map[string][]Finding{}, map[string][]Finding{}
	last := make(map[string]VTEP, n)
	for _, v := range vteps {
		last[v.Node] = v
	}
	touched := newScope()
	for _, v := range last {
		good, ok := t.makeSense(v)
		if !ok {
			continue
		}
		t.vteps[good.Node] = good
		t.places = append(t.places, place{good.Underlay, good.Node})
		t.claim(good)
		touched.addrs[good.Underlay] = struct{}{}
	}
	slices.SortFunc(t.places, comparePlaces)
	t.settle(touched)
}

// put adds a VTEP or changes the one of that node, and drop removes one; s gets all that may be wanted otherwise than before.
func (t *Target) put(v VTEP, s *scope) {
	good, ok := t.makeSense(v)
	t.change(v.Node, good, ok, s)
}

func (t *Target) drop(node string, s *scope) {
	delete(t.senseless, node)
	t.change(node, VTEP{}, false, s)
}

func (t *Target) change(node string, now VTEP, there bool, s *scope) {
	old, was := t.vteps[node]
	touched := newScope()
	reach := func() {
		if was {
			t.reach(old, touched)
		}
		if there {
			t.reach(now, touched)
		}
	}
	reach()
	if was {
		t.unclaim(old)
		i, _ := slices.BinarySearchFunc(t.places, place{old.Underlay, node}, comparePlaces)
		t.places = slices.Delete(t.places, i, i+1)
		delete(t.vteps, node)
		delete(t.refused, node)
	}
	if there {
		t.vteps[node] = now
		i, _ := slices.BinarySearchFunc(t.places, place{now.Underlay, node}, comparePlaces)
		t.places = slices.Insert(t.places, i, place{now.Underlay, node})
		t.claim(now)
	}
	reach()
	t.settle(touched)
	s.add(touched)
}

// reach adds to s what v has a say in: what it has itself, the pod networks with its address inside, and whoever is alone in one of all
// these networks. It is called before a change and after it.
func (t *Target) reach(v VTEP, s *scope) {
	s.addrs[v.Underlay] = struct{}{}
	add := func(network netip.Prefix) {
		s.networks[network] = struct{}{}
		if inside := t.inside(network); len(inside) > 0 && sameAddr(inside) {
			s.addrs[inside[0].addr] = struct{}{}
		}
	}
	for _, network := range v.PodCIDRs {
		add(network)
	}
	for network := range t.around(v.Underlay) {
		add(network)
	}
}

// around yields the pod networks that contain a, the longest prefix first.
func (t *Target) around(a netip.Addr) func(yield func(netip.Prefix) bool) {
	return func(yield func(netip.Prefix) bool) {
		for bits := 32; bits >= 0; bits-- {
			if t.lengths[bits] == 0 {
				continue
			}
			network := netip.PrefixFrom(a, bits).Masked()
			if len(t.claims[network]) > 0 && !yield(network) {
				return
			}
		}
	}
}

// inside are the nodes with their underlay address in a network.
func (t *Target) inside(network netip.Prefix) []place {
	from, _ := slices.BinarySearchFunc(t.places, network.Addr(), func(p place, a netip.Addr) int { return p.addr.Compare(a) })
	n, _ := slices.BinarySearchFunc(t.places[from:], network, func(p place, within netip.Prefix) int {
		if within.Contains(p.addr) {
			return -1
		}
		return 1
	})
	return t.places[from : from+n]
}

func sameAddr(places []place) bool { return places[0].addr == places[len(places)-1].addr }

func (t *Target) claim(v VTEP) {
	for _, network := range v.PodCIDRs {
		nodes := t.claims[network]
		if len(nodes) == 0 {
			t.lengths[network.Bits()]++
		}
		i, _ := slices.BinarySearch(nodes, v.Node)
		t.claims[network] = slices.Insert(nodes, i, v.Node)
	}
}

func (t *Target) unclaim(v VTEP) {
	for _, network := range v.PodCIDRs {
		nodes := t.claims[network]
		if len(nodes) == 1 {
			t.lengths[network.Bits()]--
			delete(t.claims, network)
			continue
		}
		i, _ := slices.BinarySearch(nodes, v.Node)
		t.claims[network] = slices.Delete(nodes, i, i+1)
	}
}

// settle brings what is wanted up to date, for the addresses and networks in s and what depends on them, and adds the latter to s.
func (t *Target) settle(s *scope) {
	nodes := map[string]struct{}{}
	for addr := range s.addrs {
		_, covered := t.covered(addr)
		here := t.inside(netip.PrefixFrom(addr, 32))
		mac := netaddr.VTEPMAC(addr)
		s.macs[mac] = struct{}{}
		if len(here) > 0 && !covered {
			t.neighbours[addr] = mac
			if !t.desired.Device.Flow {
				t.fdb[mac] = addr
			}
		} else {
			delete(t.neighbours, addr)
			delete(t.fdb, mac)
		}
		for _, p := range here {
			nodes[p.node] = struct{}{}
			for _, network := range t.vteps[p.node].PodCIDRs {
				s.networks[network] = struct{}{}
			}
		}
	}
	for network := range s.networks {
		t.assign(network, s)
		for _, node := range t.claims[network] {
			nodes[node] = struct{}{}
		}
	}
	for node := range nodes {
		t.findRefused(t.vteps[node])
	}
}

// assign gives a network to the first node, by name, of those that claim it and may have it.
func (t *Target) assign(network netip.Prefix, s *scope) {
	if old, was := t.routes[network]; was {
		s.sources[Source{Outer: old.via, Inner: network}] = struct{}{}
		delete(t.routes, network)
		if t.vias[old.via]--; t.vias[old.via] == 0 {
			delete(t.vias, old.via)
		}
	}
	for _, node := range t.claims[network] {
		via := t.vteps[node].Underlay
		if _, wanted := t.neighbours[via]; !wanted || t.swallows(via, network) != "" {
			continue
		}
		t.routes[network] = owner{node: node, via: via}
		t.vias[via]++
		s.sources[Source{Outer: via, Inner: network}] = struct{}{}
		return
	}
}

// findRefused brings what is refused of v for the sake of others up to date.
func (t *Target) findRefused(v VTEP) {
	var refused []Finding
	if f, covered := t.covered(v.Underlay); covered {
		f.Node = v.Node
		refused = append(refused, f)
	} else {
		for _, network := range v.PodCIDRs {
			reason := t.swallows(v.Underlay, network)
			if other := t.routes[network].node; reason == "" && other != v.Node {
				reason = "node " + other + " has the same pod network"
			}
			if reason != "" {
				refused = append(refused, Finding{Kind: Refused, Node: v.Node, PodCIDR: network, Reason: reason})
			}
		}
	}
	if len(refused) == 0 {
		delete(t.refused, v.Node)
		return
	}
	t.refused[v.Node] = refused
}

// findings are all that is refused, by node.
func (t *Target) findings() []Finding {
	nodes := slices.AppendSeq(slices.Collect(maps.Keys(t.senseless)), maps.Keys(t.refused))
	slices.Sort(nodes)
	var out []Finding
	for _, node := range slices.Compact(nodes) {
		out = append(append(out, t.senseless[node]...), t.refused[node]...)
	}
	return out
}

// A pod network with the underlay address of a node inside would draw the outer packets to that node into the tunnel. Either the network
// or the address is wrong. A network that covers several other nodes, or its own, is refused (swallows); a node that alone lies inside
// another's network is refused itself (covered), so that one bad object takes down no more than it has to.

// swallows says why a network that a node at via claims is refused; it is empty when it is not.
func (t *Target) swallows(via netip.Addr, network netip.Prefix) string {
	if network.Contains(via) {
		return "the pod network contains the node's own underlay address " + via.String()
	}
	inside := t.inside(network)
	if len(inside) == 0 || sameAddr(inside) {
		return ""
	}
	return "the pod network contains the underlay addresses of " + strconv.Itoa(len(inside)) + " nodes, the first is " + inside[0].node
}

// covered tells whether the nodes at an address lie alone in the pod network of another.
func (t *Target) covered(addr netip.Addr) (f Finding, covered bool) {
	for network := range t.around(addr) {
		if inside := t.inside(network); len(inside) == 0 || !sameAddr(inside) {
			continue
		}
		for _, node := range t.claims[network] {
			if t.vteps[node].Underlay == addr {
				continue
			}
			return Finding{Kind: Refused, Reason: "its underlay address " + addr.String() + " lies in the pod network " + network.String() + " of node " + node}, true
		}
	}
	return f, false
}

// makeSense returns v with the pod networks that make sense by themselves, and what is wrong with the others as senseless. ok is false
// when its address makes none.
func (t *Target) makeSense(v VTEP) (good VTEP, ok bool) {
	delete(t.senseless, v.Node)
	refuse := func(cidr netip.Prefix, reason string) {
		t.senseless[v.Node] = append(t.senseless[v.Node], Finding{Kind: Refused, Node: v.Node, PodCIDR: cidr, Reason: reason})
	}
	if reason := t.desired.unusableAddr(v.Underlay); reason != "" {
		refuse(netip.Prefix{}, reason)
		return VTEP{}, false
	}
	good = VTEP{Node: v.Node, Underlay: v.Underlay, PodCIDRs: make([]netip.Prefix, 0, len(v.PodCIDRs))}
	for _, cidr := range v.PodCIDRs {
		if reason := t.desired.unusableCIDR(cidr); reason != "" {
			refuse(cidr, reason)
		} else if network := cidr.Masked(); !slices.Contains(good.PodCIDRs, network) {
			good.PodCIDRs = append(good.PodCIDRs, network)
		}
	}
	return good, true
}

func (d Desired) unusableAddr(a netip.Addr) string {
	switch {
	case !a.Is4():
		return "its underlay address is not IPv4"
	case d.isOwn(a):
		return "its underlay address " + a.String() + " is this gateway's own"
	case a.IsUnspecified(), a.IsLoopback(), a.IsMulticast(), a.IsLinkLocalUnicast(), a.As4()[0] >= 240, a.As4()[0] == 0:
		return "its underlay address " + a.String() + " is not a unicast address of a host"
	}
	return ""
}

func (d Desired) unusableCIDR(c netip.Prefix) string {
	switch {
	case !c.IsValid() || !c.Addr().Is4():
		return "the pod network is not IPv4"
	case c.Bits() < 8:
		return "the pod network is wider than a /8"
	case c.Contains(d.Device.Local):
		return "the pod network contains this gateway's address " + d.Device.Local.String()
	case d.Source.IsValid() && c.Contains(d.Source):
		return "the pod network contains this gateway's address " + d.Source.String()
	case c.Addr().IsLoopback(), c.Addr().IsMulticast(), c.Addr().As4()[0] >= 240, c.Addr().As4()[0] == 0,
		netip.PrefixFrom(netip.AddrFrom4([4]byte{169, 254}), 16).Overlaps(c): // link-local: instance metadata is there
		return "the pod network is not one that hosts on other links can have"
	}
	return ""
}
