package gateway

import (
	"fmt"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// device is the tunnel device, nil when there is none.
func (g *Gateway) device() (netlink.Link, error) {
	links, err := g.Host.Netlink().LinkList()
	if err != nil {
		return nil, fmt.Errorf("list devices of %s: %w", g.Name, err)
	}
	for _, l := range links {
		if l.Attrs().Name == Device {
			return l, nil
		}
	}
	return nil, nil
}

// HasDevice tells whether the tunnel device exists.
func (g *Gateway) HasDevice() (bool, error) {
	l, err := g.device()
	return l != nil, err
}

// KernelEntries lists what the kernel holds on the tunnel device, as text:
// routes, neighbours and FDB entries, sorted.
func (g *Gateway) KernelEntries() ([]string, error) {
	link, err := g.device()
	if err != nil || link == nil {
		return nil, err
	}
	index := link.Attrs().Index
	routes, err := g.Host.Netlink().RouteListFiltered(netlink.FAMILY_V4,
		&netlink.Route{LinkIndex: index, Table: unix.RT_TABLE_UNSPEC}, netlink.RT_FILTER_OIF|netlink.RT_FILTER_TABLE)
	if err != nil {
		return nil, fmt.Errorf("list routes of %s: %w", g.Name, err)
	}
	var out []string
	for _, r := range routes {
		out = append(out, fmt.Sprintf("route %s via %s", r.Dst, r.Gw))
	}
	for _, kind := range []struct {
		name   string
		family int
	}{{"neighbour", netlink.FAMILY_V4}, {"fdb", unix.AF_BRIDGE}} {
		entries, err := g.Host.Netlink().NeighList(index, kind.family)
		if err != nil {
			return nil, fmt.Errorf("list %s entries of %s: %w", kind.name, g.Name, err)
		}
		for _, n := range entries {
			if n.LinkIndex == index {
				out = append(out, fmt.Sprintf("%s %s %s", kind.name, n.IP, n.HardwareAddr))
			}
		}
	}
	slices.Sort(out)
	return out, nil
}
