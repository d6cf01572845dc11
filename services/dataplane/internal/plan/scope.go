package plan

import (
	"maps"
	"net/netip"
)

// scope is the part of target and kernel that a plan compares.
type scope struct {
	addrs    map[netip.Addr]struct{} // of neighbours
	macs     map[MAC]struct{}        // of FDB entries
	networks map[netip.Prefix]struct{}
	sources  map[Source]struct{} // of the guard
}

func newScope() *scope {
	return &scope{addrs: map[netip.Addr]struct{}{}, macs: map[MAC]struct{}{}, networks: map[netip.Prefix]struct{}{}, sources: map[Source]struct{}{}}
}

func (s *scope) add(o *scope) {
	maps.Copy(s.addrs, o.addrs)
	maps.Copy(s.macs, o.macs)
	maps.Copy(s.networks, o.networks)
	maps.Copy(s.sources, o.sources)
}

// everything is all that the target wants and all that the kernel has, less the guard.
func (t *Target) everything(a Actual) *scope {
	s := newScope()
	for addr, mac := range t.neighbours {
		s.addrs[addr], s.macs[mac] = struct{}{}, struct{}{}
	}
	for addr := range a.Neighbours {
		s.addrs[addr] = struct{}{}
	}
	for mac := range a.FDB {
		s.macs[mac] = struct{}{}
	}
	for network := range t.routes {
		s.networks[network] = struct{}{}
	}
	for network := range a.Routes {
		s.networks[network] = struct{}{}
	}
	return s
}
