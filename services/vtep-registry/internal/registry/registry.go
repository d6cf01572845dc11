package registry

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
)

// Registry is the state of all claims. It is used by one goroutine.
type Registry struct {
	scope     Scope
	nodes     map[string]*node
	addresses map[netip.Addr]string // address -> the node that holds it
	networks  holdings
	// waiting are the nodes that were refused something because another node holds it.
	waiting  map[string]*node
	admitted int
	stale    int
	refused  map[Reason]int
}

// node is a known node: what it claims, what it holds, what was told about it.
type node struct {
	Node
	claim claim
	// address and networks are what it holds; nothing while it is quarantined.
	address  netip.Addr
	networks []netip.Prefix
	told     VTEP // zero when nothing was told yet
}

// New makes a registry that knows no nodes.
func New(scope Scope) *Registry {
	return &Registry{
		scope:     scope,
		nodes:     make(map[string]*node),
		addresses: make(map[netip.Addr]string),
		waiting:   make(map[string]*node),
		refused:   make(map[Reason]int),
	}
}

// Admitted is the number of admitted nodes.
func (r *Registry) Admitted() int { return r.admitted }

// Stale is the number of nodes that are only remembered.
func (r *Registry) Stale() int { return r.stale }

// Node is what is known of the named node's object.
func (r *Registry) Node(name string) (Node, bool) {
	n, known := r.nodes[name]
	if !known {
		return Node{}, false
	}
	return n.Node, true
}

// Refused counts, by reason, the refusals that stand.
func (r *Registry) Refused() map[Reason]int { return maps.Clone(r.refused) }

// Held are the VTEPs that are admitted, by name: what is worth to be remembered.
func (r *Registry) Held() []VTEP {
	held := make([]VTEP, 0, r.admitted)
	for _, n := range r.nodes {
		if n.told.Admitted {
			held = append(held, n.told)
		}
	}
	slices.SortFunc(held, func(a, b VTEP) int { return cmp.Compare(a.Node, b.Node) })
	return held
}

// Remember claims again what was held in an earlier life, before anybody else may, so that
// first come keeps beyond a restart. What its owners do not claim any more goes with the first
// Reset. It returns what Apply does.
func (r *Registry) Remember(held []VTEP) []Change {
	events := make([]Event, 0, len(held))
	for _, v := range held {
		events = append(events, Event{Node: Node{Name: v.Node, Source: v.Source, Address: v.Address, PodCIDRs: v.PodCIDRs, Stale: true}})
	}
	return r.Apply(events...)
}

// Reset makes nodes the whole truth of their source: all others of it are gone. It returns
// what Apply does.
func (r *Registry) Reset(source Source, nodes []Node) []Change {
	events := make([]Event, 0, len(nodes))
	listed := make(map[string]bool, len(nodes))
	for _, n := range nodes {
		listed[n.Name] = true
		events = append(events, Event{Node: n})
	}
	for name, n := range r.nodes {
		if n.Source == source && !listed[name] {
			events = append(events, Event{Node: Node{Name: name}, Deleted: true})
		}
	}
	return r.Apply(events...)
}

// Apply settles a batch of events and returns what changed: deletions by name, then
// quarantines, then admissions, oldest node first. Of several events of one node the
// last counts. Events that change no verdict return nothing.
func (r *Registry) Apply(events ...Event) []Change {
	last := make(map[string]Event, len(events))
	for _, e := range events {
		last[e.Node.Name] = e
	}
	var changes []Change
	touched := make(map[string]*node, len(last))
	released := false
	for name, e := range last {
		n := r.nodes[name]
		switch {
		case e.Deleted && n == nil:
			continue
		case e.Deleted:
			released = r.hold(n, netip.Addr{}, nil) || released
			r.count(n.told, -1)
			delete(r.nodes, name)
			delete(r.waiting, name)
			changes = append(changes, Change{VTEP: VTEP{Node: name}, Deleted: true})
			continue
		case n == nil:
			n = &node{}
			r.nodes[name] = n
		}
		n.Node, n.claim = e.Node, r.scope.judge(e.Node)
		released = r.letGo(n) || released
		touched[name] = n
	}
	slices.SortFunc(changes, func(a, b Change) int { return cmp.Compare(a.VTEP.Node, b.VTEP.Node) })
	return append(changes, r.tell(r.settle(touched, released))...)
}

// letGo releases what the node no longer claims. It keeps what lies inside a wider new
// claim, and of what it holds the part that a narrower new claim names.
func (r *Registry) letGo(n *node) (released bool) {
	address := n.address
	if address != n.claim.address {
		address = netip.Addr{}
	}
	var kept []netip.Prefix
	for _, p := range n.claim.cidrs {
		if contained(n.networks, p) {
			kept = append(kept, p)
		}
	}
	for _, p := range n.networks {
		if !slices.Contains(kept, p) && contained(n.claim.cidrs, p) {
			kept = append(kept, p)
		}
	}
	return r.hold(n, address, kept)
}

// hold makes the given what the node holds. What it does not hold yet must be free.
func (r *Registry) hold(n *node, address netip.Addr, networks []netip.Prefix) (released bool) {
	if n.address != address {
		if n.address.IsValid() {
			delete(r.addresses, n.address)
			released = true
		}
		if address.IsValid() {
			r.addresses[address] = n.Name
		}
		n.address = address
	}
	for _, p := range n.networks {
		if !slices.Contains(networks, p) {
			r.networks.release(p)
			released = true
		}
	}
	for _, p := range networks {
		if !slices.Contains(n.networks, p) {
			r.networks.take(p, n.Name)
		}
	}
	n.networks = networks
	return released
}

// settle tries the touched nodes and, once anything is released, those that wait. It
// returns the verdicts on all it tried. What is granted stays granted, so that it ends.
func (r *Registry) settle(touched map[string]*node, released bool) map[*node]VTEP {
	verdicts := make(map[*node]VTEP, len(touched))
	for try := touched; ; {
		if released {
			try = maps.Clone(try)
			maps.Copy(try, r.waiting)
		}
		released = false
		for _, n := range oldestFirst(try) {
			verdict, let := r.try(n)
			verdicts[n] = verdict
			released = released || let
		}
		if !released {
			return verdicts
		}
		try = map[string]*node{}
	}
}

// try grants the node what it claims and nobody else holds.
func (r *Registry) try(n *node) (v VTEP, released bool) {
	v = VTEP{Node: n.Name, Source: n.Source, Stale: n.Stale, Address: n.Address, Refusals: slices.Clone(n.claim.refusals)}
	contested := false
	refuse := func(reason Reason, detail string) {
		contested = true
		v.Refusals = append(v.Refusals, Refusal{reason, detail})
	}
	address := n.claim.address
	if holder, taken := r.addresses[address]; taken && holder != n.Name {
		refuse(AddressTaken, "the node address "+address.String()+" is held by node "+holder)
		address = netip.Addr{}
	}
	for _, p := range n.claim.cidrs {
		if holder := r.networks.holder(p, n.Name); holder != "" {
			refuse(CIDRTaken, "the pod network "+p.String()+" overlaps one that is held by node "+holder)
			continue
		}
		v.PodCIDRs = append(v.PodCIDRs, p)
	}
	v.Admitted = address.IsValid() && len(v.PodCIDRs) > 0
	if v.Admitted {
		released = r.hold(n, address, v.PodCIDRs)
	} else {
		released = r.hold(n, netip.Addr{}, nil)
		v.PodCIDRs = disjoint(n.PodCIDRs[:min(len(n.PodCIDRs), MaxCIDRs)])
	}
	if contested {
		r.waiting[n.Name] = n
	} else {
		delete(r.waiting, n.Name)
	}
	return v, released
}

// tell turns verdicts that differ from what was told before into changes.
func (r *Registry) tell(verdicts map[*node]VTEP) []Change {
	changed := make(map[string]*node, len(verdicts))
	for n, v := range verdicts {
		if n.told.equal(v) {
			continue
		}
		r.count(n.told, -1)
		r.count(v, +1)
		n.told = v
		changed[v.Node] = n
	}
	var quarantined, admitted []Change
	for _, n := range oldestFirst(changed) {
		if n.told.Admitted {
			admitted = append(admitted, Change{VTEP: n.told})
		} else {
			quarantined = append(quarantined, Change{VTEP: n.told})
		}
	}
	return append(quarantined, admitted...)
}

func (r *Registry) count(v VTEP, by int) {
	if v.Admitted {
		r.admitted += by
	}
	if v.Stale {
		r.stale += by
	}
	for _, f := range v.Refusals {
		r.refused[f.Reason] += by
		if r.refused[f.Reason] == 0 {
			delete(r.refused, f.Reason)
		}
	}
}

func oldestFirst(nodes map[string]*node) []*node {
	return slices.SortedFunc(maps.Values(nodes), func(a, b *node) int {
		return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.Name, b.Name))
	})
}
