package ec2standin

import (
	"context"
	"net/netip"
	"slices"
)

// Snapshot is the whole world at one moment. It shares nothing with the
// server: the receiver may keep and change it. Lists are sorted by id, routes
// by destination.
type Snapshot struct {
	Revision    uint64 // grows with every change; 0 is the empty world
	VPCs        []VPC
	Subnets     []Subnet
	RouteTables []TableSnapshot
	Instances   []Instance
	ENIs        []ENI
	Gateways    []Gateway
	PrefixLists []PrefixList
}

// TableSnapshot is a route table with all its routes, local ones included.
type TableSnapshot struct {
	RouteTable
	Routes     []Route     // to a CIDR
	ListRoutes []ListRoute // to a prefix list
}

// ListRoute is a route to a prefix list: one for each CIDR in it.
type ListRoute struct {
	PrefixList string
	Entries    []netip.Prefix // what is in the list now, sorted
	Target     Target
	State      RouteState
}

// Effective returns the routes that packets meet, by destination: prefix
// lists are replaced by what is in them. EC2 documents the priorities: of
// overlapping routes the longest prefix, of equal ones that to a CIDR before
// that to a prefix list, and of two lists always the same (here the one with
// the lower id).
func (t TableSnapshot) Effective() []Route {
	out := slices.Clone(t.Routes)
	taken := map[netip.Prefix]bool{}
	for _, r := range out {
		taken[r.Destination] = true
	}
	for _, l := range t.ListRoutes {
		for _, c := range l.Entries {
			if !taken[c] {
				taken[c] = true
				out = append(out, Route{Destination: c, PrefixList: l.PrefixList, Target: l.Target, State: l.State})
			}
		}
	}
	slices.SortFunc(out, func(a, b Route) int { return a.Destination.Compare(b.Destination) })
	return out
}

// TableFor returns the table that serves a subnet: the one associated with
// it, else the main table of its VPC.
func (s Snapshot) TableFor(subnet string) (TableSnapshot, bool) {
	i := slices.IndexFunc(s.Subnets, func(n Subnet) bool { return n.ID == subnet })
	if i < 0 {
		return TableSnapshot{}, false
	}
	main := -1
	for j, t := range s.RouteTables {
		if slices.Contains(t.Subnets, subnet) {
			return t, true
		}
		if t.Main && t.VPC == s.Subnets[i].VPC {
			main = j
		}
	}
	if main < 0 {
		return TableSnapshot{}, false
	}
	return s.RouteTables[main], true
}

// Lookup returns the route that a packet from a subnet to an address takes:
// the longest match in the subnet's table. A blackhole is returned too; it
// drops the packet.
func (s Snapshot) Lookup(subnet string, to netip.Addr) (Route, bool) {
	t, ok := s.TableFor(subnet)
	if !ok {
		return Route{}, false
	}
	return t.Lookup(to)
}

// Lookup returns the route of the longest match for an address.
func (t TableSnapshot) Lookup(to netip.Addr) (Route, bool) {
	best, found := Route{}, false
	for _, r := range t.Effective() {
		if r.Destination.Contains(to) && (!found || r.Destination.Bits() > best.Destination.Bits()) {
			best, found = r, true
		}
	}
	return best, found
}

// Route returns the route with exactly this CIDR as its destination.
func (t TableSnapshot) Route(destination netip.Prefix) (Route, bool) {
	i := slices.IndexFunc(t.Routes, func(r Route) bool { return r.Destination == destination.Masked() })
	if i < 0 {
		return Route{}, false
	}
	return t.Routes[i], true
}

// ListRoute returns the route to a prefix list.
func (t TableSnapshot) ListRoute(list string) (ListRoute, bool) {
	i := slices.IndexFunc(t.ListRoutes, func(r ListRoute) bool { return r.PrefixList == list })
	if i < 0 {
		return ListRoute{}, false
	}
	return t.ListRoutes[i], true
}

// PrefixList returns the prefix list with an id.
func (s Snapshot) PrefixList(id string) (PrefixList, bool) {
	i := slices.IndexFunc(s.PrefixLists, func(l PrefixList) bool { return l.ID == id })
	if i < 0 {
		return PrefixList{}, false
	}
	return s.PrefixLists[i], true
}

// Table returns the table with an id.
func (s Snapshot) Table(id string) (TableSnapshot, bool) {
	i := slices.IndexFunc(s.RouteTables, func(t TableSnapshot) bool { return t.ID == id })
	if i < 0 {
		return TableSnapshot{}, false
	}
	return s.RouteTables[i], true
}

// ENI returns the interface with an id.
func (s Snapshot) ENI(id string) (ENI, bool) {
	i := slices.IndexFunc(s.ENIs, func(e ENI) bool { return e.ID == id })
	if i < 0 {
		return ENI{}, false
	}
	return s.ENIs[i], true
}

// Snapshot returns the world as it is now.
func (s *Server) Snapshot() Snapshot { return s.head.Load().state.snapshot() }

// OnChange calls f with the world now, and after every change, one call at a
// time and in order, until stop is called. An API call is answered only after
// f has returned, so what f does (reprogramming a fabric, say) is in place
// when the client sees success. f must not call the methods that change the
// world, nor OnChange or stop.
func (s *Server) OnChange(f func(Snapshot)) (stop func()) {
	s.write.Lock()
	defer s.write.Unlock()
	w := &watcher{f: f}
	s.watchers = append(s.watchers, w)
	f(s.Snapshot())
	return func() {
		s.write.Lock()
		defer s.write.Unlock()
		s.watchers = slices.DeleteFunc(s.watchers, func(o *watcher) bool { return o == w })
	}
}

type watcher struct{ f func(Snapshot) }

// Subscribe delivers the world now and after changes until ctx ends, then
// closes the channel. A slow receiver skips intermediate states, never the
// last one, and holds nobody up.
func (s *Server) Subscribe(ctx context.Context) <-chan Snapshot {
	out := make(chan Snapshot)
	go func() {
		defer close(out)
		for {
			h := s.head.Load()
			select {
			case out <- h.state.snapshot():
			case <-h.superseded:
				continue
			case <-ctx.Done():
				return
			}
			select {
			case <-h.superseded:
			case <-ctx.Done():
				return
			}
		}
	}()
	return out
}
