package netns

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
)

// End is one end of a link between two hosts.
type End struct {
	Host *Host
	Name string           // of the device, at most 15 characters
	MAC  net.HardwareAddr // nil: the kernel chooses
	MTU  int              // bytes; 0: 1500
}

// Connect makes a virtual cable between two hosts, with both ends up. The
// devices never exist outside the two namespaces.
func Connect(a, b End) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.HardwareAddr, attrs.MTU = a.Name, a.MAC, mtu(a)
	veth := netlink.NewVeth(attrs)
	veth.PeerName, veth.PeerHardwareAddr, veth.PeerMTU = b.Name, b.MAC, uint32(mtu(b))
	veth.PeerNamespace = netlink.NsFd(b.Host.FD())
	if err := a.Host.nl.LinkAdd(veth); err != nil {
		return fmt.Errorf("connect %s of %s to %s of %s: %w", a.Name, a.Host.name, b.Name, b.Host.name, err)
	}
	for _, e := range []End{a, b} {
		if err := e.Host.SetUp(e.Name, true); err != nil {
			return err
		}
	}
	return nil
}

func mtu(e End) int {
	if e.MTU == 0 {
		return 1500
	}
	return e.MTU
}

// Link finds a device of the host.
func (h *Host) Link(name string) (netlink.Link, error) {
	l, err := h.nl.LinkByName(name)
	if err != nil {
		return nil, fmt.Errorf("find device %s of %s: %w", name, h.name, err)
	}
	return l, nil
}

// SetUp sets a device up or down.
func (h *Host) SetUp(name string, up bool) error {
	l, err := h.Link(name)
	if err != nil {
		return err
	}
	set, word := h.nl.LinkSetUp, "up"
	if !up {
		set, word = h.nl.LinkSetDown, "down"
	}
	if err := set(l); err != nil {
		return fmt.Errorf("set device %s of %s %s: %w", name, h.name, word, err)
	}
	return nil
}

// SetMTU sets the MTU of a device, in bytes.
func (h *Host) SetMTU(name string, mtu int) error {
	l, err := h.Link(name)
	if err != nil {
		return err
	}
	if err := h.nl.LinkSetMTU(l, mtu); err != nil {
		return fmt.Errorf("set MTU of device %s of %s to %d: %w", name, h.name, mtu, err)
	}
	return nil
}

// AddAddr gives a device an address.
func (h *Host) AddAddr(name string, addr netip.Prefix) error {
	l, err := h.Link(name)
	if err != nil {
		return err
	}
	if err := h.nl.AddrReplace(l, &netlink.Addr{IPNet: IPNet(addr)}); err != nil {
		return fmt.Errorf("add address %s to device %s of %s: %w", addr, name, h.name, err)
	}
	return nil
}

// SetRoute adds or replaces a route in the main table. Via may be the zero
// address, for destinations on the link itself; else it is taken to be on the
// link whatever the addresses say.
func (h *Host) SetRoute(dst netip.Prefix, via netip.Addr, device string) error {
	l, err := h.Link(device)
	if err != nil {
		return err
	}
	r := &netlink.Route{LinkIndex: l.Attrs().Index, Dst: IPNet(dst), Scope: netlink.SCOPE_LINK}
	if via.IsValid() {
		r.Gw, r.Scope, r.Flags = via.AsSlice(), netlink.SCOPE_UNIVERSE, int(netlink.FLAG_ONLINK)
	}
	if err := h.nl.RouteReplace(r); err != nil {
		return fmt.Errorf("set route %s via %s on %s of %s: %w", dst, via, device, h.name, err)
	}
	return nil
}

// SetNeighbour makes an address on a link known for good.
func (h *Host) SetNeighbour(device string, addr netip.Addr, mac net.HardwareAddr) error {
	l, err := h.Link(device)
	if err != nil {
		return err
	}
	if err := h.nl.NeighSet(&netlink.Neigh{
		LinkIndex: l.Attrs().Index, Family: netlink.FAMILY_V4, State: netlink.NUD_PERMANENT,
		IP: addr.AsSlice(), HardwareAddr: mac,
	}); err != nil {
		return fmt.Errorf("set neighbour %s (%s) on %s of %s: %w", addr, mac, device, h.name, err)
	}
	return nil
}

// MAC gives a device's address.
func (h *Host) MAC(device string) (net.HardwareAddr, error) {
	l, err := h.Link(device)
	if err != nil {
		return nil, err
	}
	return l.Attrs().HardwareAddr, nil
}

// Quiet prepares the namespace for devices to come: no IPv6, no reverse-path
// filter, no redirects, whatever the machine's own defaults are.
func (h *Host) Quiet() error {
	for _, s := range [][2]string{
		{"ipv6/conf/all/disable_ipv6", "1"},
		{"ipv6/conf/default/disable_ipv6", "1"},
		{"ipv4/conf/all/rp_filter", "0"},
		{"ipv4/conf/default/rp_filter", "0"},
		{"ipv4/conf/all/send_redirects", "0"},
		{"ipv4/conf/default/send_redirects", "0"},
		{"ipv4/conf/all/accept_redirects", "0"},
		{"ipv4/conf/default/accept_redirects", "0"},
	} {
		if err := h.Sysctl(s[0], s[1]); err != nil {
			return err
		}
	}
	return nil
}

// IPNet converts a prefix for netlink.
func IPNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
