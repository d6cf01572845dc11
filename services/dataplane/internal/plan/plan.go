package plan

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
)

// Result is what there is to do and what stands in the way.
type Result struct {
	Ops      []Op
	Findings []Finding
}

// Blocked returns the reasons why the tunnel as a whole cannot work.
func (r Result) Blocked() []string {
	var reasons []string
	for _, f := range r.Findings {
		if f.Kind == Blocking {
			reasons = append(reasons, f.Reason)
		}
	}
	return reasons
}

// Plan compares desired with actual. See [Target.Plan].
func Plan(d Desired, a Actual) Result { return Compile(d).Plan(a) }

// Plan returns the operations that turn actual into the target, in the order in which to carry them out; none
// when it is so already. It does not change actual. When something blocks the tunnel nothing is planned, and what
// is in the kernel stays as it is.
func (t *Target) Plan(a Actual) Result {
	l := Ledger{target: t}
	l.See(a)
	return l.Plan()
}

// planAll adds to r the operations for everything, after those for the device. What is found about routes goes into found as well.
func (t *Target) planAll(a Actual, underlay []netip.Prefix, device []Op, r Result, found map[netip.Prefix]Finding) Result {
	if len(device) > 0 {
		// Device operations take entries with them; what follows is planned against what they leave.
		a = a.Clone()
		for _, op := range device {
			a.Apply(op)
		}
	}
	before, after := t.planGuard(a)
	s := t.everything(a)
	entries := t.planEntries(a, s)
	routes := t.planRoutes(a, underlay, s, found)
	r.Findings = append(r.Findings, sortedFindings(found)...)
	r.Ops = slices.Concat(before, device, t.inOrder(entries, routes), after, t.planClamp(a))
	return r
}

// planPart returns the operations for what is in s, where device and guard are sound.
func (t *Target) planPart(a Actual, underlay []netip.Prefix, s *scope, found map[netip.Prefix]Finding) []Op {
	before, after := t.changeGuard(a, s)
	return slices.Concat(before, t.inOrder(t.planEntries(a, s), t.planRoutes(a, underlay, s, found)), after, t.planClamp(a))
}

// changes are operations to carry out before others, and in the reverse order of tables after them.
type changes struct{ sets, removals []Op }

// inOrder makes what is needed before what needs it, and removes it after. Nothing is removed until the VTEPs are the whole truth.
func (t *Target) inOrder(entries, routes changes) []Op {
	if !t.desired.Complete {
		return slices.Concat(entries.sets, routes.sets)
	}
	return slices.Concat(entries.sets, routes.sets, routes.removals, entries.removals)
}

func sortedFindings(found map[netip.Prefix]Finding) []Finding {
	return slices.SortedFunc(maps.Values(found), func(a, b Finding) int { return comparePrefixes(a.PodCIDR, b.PodCIDR) })
}

func (t *Target) blocking(a Actual) []Finding {
	var out []Finding
	block := func(format string, args ...any) {
		out = append(out, Finding{Kind: Blocking, Reason: fmt.Sprintf(format, args...)})
	}
	d := t.desired.Device
	nic := a.Host.NIC
	if reason := tooOld(a.Host.Release); reason != "" {
		block("%s", reason)
	}
	switch {
	case nic == nil:
		block("the node address %s is on no interface of this host: correct --node-ip", t.desired.Source)
	case !nic.Forwarding && a.Host.Forwarding:
		block("interface %s does not forward: set net.ipv4.conf.%s.forwarding=1", nic.Name, nic.Name)
	case MTU(t.desired.UnderlayMTU, nic.MTU) < 576:
		block("an underlay MTU of %d leaves no room for a tunnel: correct --underlay-mtu", MTU(t.desired.UnderlayMTU, nic.MTU)+Overhead)
	}
	for _, rival := range a.Rivals {
		if rival.Port != d.Port {
			continue
		}
		const advice = "run the gateway on nodes that have no other VXLAN on this port (nodes with the cloud's own network plugin), or remove that device"
		switch {
		case d.Flow && rival.Up && !rival.FlowBased:
			block("device %s is on UDP %d, which a flow-based device takes for itself: %s, or program nodes one by one (--programming=node)", rival.Name, d.Port, advice)
		case t.desired.Guard && rival.Up && !rival.FlowBased && rival.VNI != d.VNI:
			block("device %s has VNI %d on UDP %d, and the guard would cut it off: %s, or switch the guard off (--guard=off)", rival.Name, rival.VNI, d.Port, advice)
		case rival.FlowBased && rival.Up:
			block("device %s already takes all VXLAN on UDP %d, as Cilium's does: %s", rival.Name, d.Port, advice)
		case !rival.FlowBased && rival.VNI == d.VNI:
			block("device %s already has VNI %d on UDP %d: %s", rival.Name, d.VNI, d.Port, advice)
		}
	}
	return out
}

func (t *Target) warnings(a Actual) []Finding {
	var out []Finding
	if f, ok := t.desired.pathMTUWarning(a.Host); ok {
		out = append(out, f)
	}
	nic := a.Host.NIC
	if max(a.Host.AllRPFilter, nic.RPFilter) == 1 {
		out = append(out, Finding{Kind: Warning, Reason: fmt.Sprintf(
			"rp_filter is strict on %s: packets that come in by another way than they go out are dropped; set net.ipv4.conf.%s.rp_filter=2",
			nic.Name, nic.Name)})
	}
	return out
}

// planDevice gives the host the address that the device sends from, then sees to the device.
func (t *Target) planDevice(a Actual) []Op {
	adds, removals := planAddress(t.desired, a)
	return slices.Concat(adds, t.planLink(a), removals)
}

// planLink creates, adopts or replaces the device.
func (t *Target) planLink(a Actual) []Op {
	var ops []Op
	d := t.desired.Device
	mtu := MTU(t.desired.UnderlayMTU, a.Host.NIC.MTU)
	conf := wantConf(a.Host)
	if !a.Host.Forwarding {
		ops = append(ops, SetForwarding{})
	}
	df := t.desired.wantDF(a.Host)
	if df == DFSet && !a.Host.ForwardPMTU {
		ops = append(ops, SetForwardPMTU{})
	}
	link := a.Link
	if link != nil {
		if reason := incompatible(*link, d); reason != "" {
			ops = append(ops, DeleteDevice{Name: d.Name, Reason: reason})
			link = nil
		}
	}
	if link == nil {
		ops = append(ops, AddDevice{Device: d, MTU: mtu})
		if df != DFUnset {
			ops = append(ops, SetDF{Name: d.Name, DF: df})
		}
		return append(ops, SetConf{Name: d.Name, Conf: conf}, SetUp{Name: d.Name})
	}
	if link.Learning {
		ops = append(ops, SetNoLearning{Name: d.Name})
	}
	if link.Local != d.Local {
		ops = append(ops, SetLocal{Name: d.Name, Local: d.Local})
	}
	if link.DF != df {
		ops = append(ops, SetDF{Name: d.Name, DF: df})
	}
	if link.MTU != mtu {
		ops = append(ops, SetMTU{Name: d.Name, MTU: mtu})
	}
	if link.MAC != d.MAC {
		ops = append(ops, SetMAC{Name: d.Name, MAC: d.MAC})
	}
	if link.Conf != conf {
		ops = append(ops, SetConf{Name: d.Name, Conf: conf})
	}
	if !link.Up {
		ops = append(ops, SetUp{Name: d.Name})
	}
	return ops
}

// wantConf is the per-device setting. The kernel applies the larger of conf.all.rp_filter and the device's, so 0
// (no check) is possible only when all's is 0; otherwise 2 (loose) is the weakest there is.
func wantConf(h Host) Conf {
	c := Conf{Forwarding: 1, AddrGenNone: true}
	if h.AllRPFilter != 0 {
		c.RPFilter = 2
	}
	return c
}

// waiting tells whether everything but the guard stays as it is: a device that is programmed in the other way goes on until the VTEPs are the
// whole truth, so that it and all that was on it are made anew in one go.
func (t *Target) waiting(a Actual) (f Finding, waits bool) {
	d := t.desired.Device
	if t.desired.Complete || a.Link == nil || a.Link.Kind != "vxlan" || a.Link.FlowBased == d.Flow {
		return f, false
	}
	return Finding{Kind: Warning, Reason: fmt.Sprintf("device %s is still programmed in the other way: it is made anew once there is a confirmed list of VTEPs", d.Name)}, true
}

// incompatible says what makes a device of our name impossible to adopt, in attributes that the kernel does not change on
// an existing device.
func incompatible(l Link, d Device) string {
	switch {
	case l.Kind != "vxlan":
		return fmt.Sprintf("it is of kind %q, not vxlan", l.Kind)
	case l.FlowBased && !d.Flow:
		return "it is flow-based (external)"
	case d.Flow && !l.FlowBased:
		return "it is not flow-based (external)"
	case l.VNI != d.deviceVNI():
		return fmt.Sprintf("its VNI is %d, not %d", l.VNI, d.deviceVNI())
	case l.Port != d.Port:
		return fmt.Sprintf("its UDP port is %d, not %d", l.Port, d.Port)
	case l.Local.Is6():
		return "its outer addresses are IPv6"
	case l.Extension != "":
		return fmt.Sprintf("it has the extension %s", l.Extension)
	}
	return ""
}

// planEntries compares FDB and neighbours.
func (t *Target) planEntries(a Actual, s *scope) changes {
	var fdb []SetFDB
	var oldFDB []DeleteFDB
	for mac := range s.macs {
		remote, wanted := t.fdb[mac]
		have := a.FDB[mac]
		switch {
		case wanted && (len(have) != 1 || have[0] != FDBEntry{Remote: remote, Permanent: true}):
			fdb = append(fdb, SetFDB{MAC: mac, Remote: remote})
		case !wanted && len(have) > 0:
			oldFDB = append(oldFDB, DeleteFDB{MAC: mac})
		}
	}
	var neighbours []SetNeighbour
	var oldNeighbours []DeleteNeighbour
	for addr := range s.addrs {
		mac, wanted := t.neighbours[addr]
		have := a.Neighbours[addr]
		switch {
		case wanted && have != Neighbour{MAC: mac, Permanent: true}:
			neighbours = append(neighbours, SetNeighbour{Addr: addr, MAC: mac})
		case !wanted && have.Permanent: // what is not permanent the kernel made, and ages
			oldNeighbours = append(oldNeighbours, DeleteNeighbour{Addr: addr})
		}
	}
	slices.SortFunc(fdb, func(a, b SetFDB) int { return a.Remote.Compare(b.Remote) })
	slices.SortFunc(neighbours, func(a, b SetNeighbour) int { return a.Addr.Compare(b.Addr) })
	slices.SortFunc(oldNeighbours, func(a, b DeleteNeighbour) int { return a.Addr.Compare(b.Addr) })
	slices.SortFunc(oldFDB, func(a, b DeleteFDB) int { return slices.Compare(a.MAC[:], b.MAC[:]) })
	return changes{sets: appendOps(appendOps(nil, fdb), neighbours), removals: appendOps(appendOps(nil, oldNeighbours), oldFDB)}
}

// planRoutes compares routes. Adds and replacements come sorted before the removals. What it finds about a network of s replaces what
// was found about it before.
func (t *Target) planRoutes(a Actual, underlay []netip.Prefix, s *scope, found map[netip.Prefix]Finding) changes {
	var add []AddRoute
	var replace []ReplaceRoute
	var remove []DeleteRoute
	for dst := range s.networks {
		delete(found, dst)
		own, wanted := t.routes[dst]
		if with, clash := overlapping(underlay, dst); wanted && clash {
			wanted = false
			found[dst] = Finding{Kind: Refused, Node: own.node, PodCIDR: dst,
				Reason: "the pod network overlaps with the underlay network " + with.String()}
		}
		if !wanted {
			for _, r := range a.Routes[dst] {
				if r.Ours() {
					remove = append(remove, DeleteRoute{r})
				}
			}
			continue
		}
		want := t.route(dst, own.via, a.Host)
		d := diffRoutes(a.Routes[dst], want)
		remove = append(remove, d.stale...)
		if d.foreign != nil {
			found[dst] = Finding{Kind: Conflict, Node: own.node, PodCIDR: dst, Reason: d.reason()}
		}
		switch {
		case d.exact:
		case d.replaceable():
			replace = append(replace, ReplaceRoute{want})
		case d.foreign == nil:
			add = append(add, AddRoute{want})
		}
	}
	slices.SortFunc(add, func(a, b AddRoute) int { return compareRoutes(a.Route, b.Route) })
	slices.SortFunc(replace, func(a, b ReplaceRoute) int { return compareRoutes(a.Route, b.Route) })
	slices.SortFunc(remove, func(a, b DeleteRoute) int { return compareRoutes(a.Route, b.Route) })
	return changes{sets: appendOps(appendOps(nil, replace), add), removals: appendOps(nil, remove)}
}

// route is the route of a network. With a flow-based device it also says what the device itself says otherwise.
func (t *Target) route(dst netip.Prefix, via netip.Addr, h Host) Route {
	d := t.desired.Device
	r := Route{Dst: dst, Via: via, Src: t.desired.Source, Dev: d.Name, Protocol: RouteProtocol, Onlink: true}
	if d.Flow {
		r.Encap = Encap{Remote: via, Local: d.Local, VNI: d.VNI, DF: t.desired.wantDF(h) == DFSet}
		r.Metric = flowMetric(dst)
	}
	return r
}

// flowMetric spreads routes over metrics. When the kernel gets a route it looks at all that have the same metric, device and source
// (fib_find_info in net/ipv4/fib_semantics.c) and compares what they say about outer packets: with 10,000 nodes that takes seconds. We have
// one route to each network, so that its metric means nothing else.
func flowMetric(dst netip.Prefix) uint32 {
	const metrics = 32
	sum := uint32(dst.Bits())
	for _, b := range dst.Addr().As4() {
		sum = sum*31 + uint32(b)
	}
	return 1 + sum%metrics
}

type routeDiff struct {
	exact   bool          // the wanted route is there
	inPlace []Route       // other routes of ours with the wanted metric
	stale   []DeleteRoute // ours that have no place
	foreign *Route        // the first of somebody else's
	shared  bool          // a foreign route has the wanted metric
}

// diffRoutes looks at all routes to one destination.
func diffRoutes(have []Route, want Route) routeDiff {
	var d routeDiff
	for _, r := range have {
		switch {
		case !r.Ours():
			if d.foreign == nil {
				d.foreign = &r
			}
			d.shared = d.shared || r.Metric == want.Metric
		case r == want:
			d.exact = true
		case r.Metric == want.Metric:
			d.inPlace = append(d.inPlace, r)
		default:
			d.stale = append(d.stale, DeleteRoute{r})
		}
	}
	surplus := d.inPlace
	if !d.exact {
		surplus = d.inPlace[min(1, len(d.inPlace)):]
	}
	for _, r := range surplus {
		d.stale = append(d.stale, DeleteRoute{r})
	}
	return d
}

// replaceable tells whether the kernel will put the wanted route in the place of ours. It replaces the first
// route with that metric, which may be the foreign one when there is one.
func (d routeDiff) replaceable() bool { return !d.exact && len(d.inPlace) > 0 && !d.shared }

func (d routeDiff) reason() string {
	outcome := "the pod network is not programmed"
	if d.exact || len(d.inPlace) > 0 {
		outcome = "ours was there before and stays"
	}
	return fmt.Sprintf("somebody else has the route %q; %s; remove it (ip route del %s proto %d) or the node's claim",
		d.foreign, outcome, d.foreign.Dst, d.foreign.Protocol)
}

// underlayNetworks are the networks that the outer packets need: what is on-link at the NIC, and its gateways.
func underlayNetworks(a Actual) []netip.Prefix {
	if a.Host.NIC == nil {
		return nil
	}
	var out []netip.Prefix
	for dst, routes := range a.Routes {
		for _, r := range routes {
			if r.Ours() || r.Dev != a.Host.NIC.Name {
				continue
			}
			if !r.Via.IsValid() && dst.Bits() > 0 {
				out = append(out, dst)
			} else if r.Via.Is4() {
				out = append(out, netip.PrefixFrom(r.Via, 32))
			}
		}
	}
	slices.SortFunc(out, comparePrefixes)
	return slices.Compact(out)
}

func overlapping(networks []netip.Prefix, dst netip.Prefix) (netip.Prefix, bool) {
	i := slices.IndexFunc(networks, dst.Overlaps)
	if i < 0 {
		return netip.Prefix{}, false
	}
	return networks[i], true
}

func compareRoutes(a, b Route) int {
	return cmp.Or(comparePrefixes(a.Dst, b.Dst), cmp.Compare(a.Metric, b.Metric), a.Via.Compare(b.Via))
}

func comparePrefixes(a, b netip.Prefix) int {
	return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
}

func appendOps[T Op](ops []Op, more []T) []Op {
	for _, op := range more {
		ops = append(ops, op)
	}
	return ops
}
