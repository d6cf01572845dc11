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
}

// TableSnapshot is a route table with all its routes, local ones included.
type TableSnapshot struct {
	RouteTable
	Routes []Route
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
	for _, r := range t.Routes {
		if r.Destination.Contains(to) && (!found || r.Destination.Bits() > best.Destination.Bits()) {
			best, found = r, true
		}
	}
	return best, found
}

// Route returns the route with exactly this destination.
func (t TableSnapshot) Route(destination netip.Prefix) (Route, bool) {
	i := slices.IndexFunc(t.Routes, func(r Route) bool { return r.Destination == destination.Masked() })
	if i < 0 {
		return Route{}, false
	}
	return t.Routes[i], true
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
