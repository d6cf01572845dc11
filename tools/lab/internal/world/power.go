package world

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/hybridgateway/gateway/tools/lab/internal/netns"
	"github.com/hybridgateway/gateway/tools/lab/internal/nft"
)

const nic = "eth0"

// PowerOff cuts the power of a VPC host: its NIC loses carrier, so what is sent
// to it vanishes and nobody is told, and its memory, as far as the kernel's
// network state is concerned, is gone: devices, routes, rules, filters.
// Processes are the caller's to kill; what they do meanwhile is lost as well.
func (w *World) PowerOff(name string) error {
	h, err := w.machineHost(name)
	if err != nil {
		return err
	}
	return errors.Join(h.SetUp(nic, false), forget(h))
}

// PowerOn boots the host again, as empty as it was at first.
func (w *World) PowerOn(name string) error {
	m, err := w.Machine(name)
	if err != nil {
		return err
	}
	h, err := w.machineHost(name)
	if err != nil {
		return err
	}
	s := w.subnetOf(m)
	if err := forget(h); err != nil {
		return err
	}
	if err := h.SetUp(nic, true); err != nil {
		return err
	}
	if err := h.AddAddr(nic, netip.PrefixFrom(m.IP, s.cidr.Bits())); err != nil {
		return err
	}
	return h.SetRoute(anywhere, s.router(), nic)
}

func (w *World) machineHost(name string) (*netns.Host, error) {
	if _, err := w.Machine(name); err != nil {
		return nil, err
	}
	return w.Host(name)
}

// forget removes from a host's kernel everything but its NIC and loopback.
func forget(h *netns.Host) error {
	return errors.Join(forgetDevices(h), forgetRules(h), forgetRoutes(h), nft.FlushAll(h))
}

func forgetDevices(h *netns.Host) error {
	links, err := h.Netlink().LinkList()
	if err != nil {
		return fmt.Errorf("list devices of %s: %w", h.Name(), err)
	}
	var errs []error
	for _, l := range links {
		switch l.Attrs().Name {
		case "lo":
		case nic:
			errs = append(errs, forgetClassifiers(h, l))
		default:
			if err := h.Netlink().LinkDel(l); err != nil && !errors.Is(err, unix.ENODEV) {
				errs = append(errs, fmt.Errorf("delete device %s of %s: %w", l.Attrs().Name, h.Name(), err))
			}
		}
	}
	return errors.Join(errs...)
}

// forgetClassifiers removes what is attached to the NIC's ingress and egress.
func forgetClassifiers(h *netns.Host, l netlink.Link) error {
	qdiscs, err := h.Netlink().QdiscList(l)
	if err != nil {
		return fmt.Errorf("list queueing disciplines of %s: %w", h.Name(), err)
	}
	for _, q := range qdiscs {
		if t := q.Type(); t != "clsact" && t != "ingress" {
			continue
		}
		if err := h.Netlink().QdiscDel(q); err != nil {
			return fmt.Errorf("delete %s of %s: %w", q.Type(), h.Name(), err)
		}
	}
	return nil
}

func forgetRules(h *netns.Host) error {
	rules, err := h.Netlink().RuleList(netlink.FAMILY_V4)
	if err != nil {
		return fmt.Errorf("list rules of %s: %w", h.Name(), err)
	}
	for _, r := range rules {
		if r.Priority == 0 || r.Priority >= 32766 {
			continue // the kernel's own
		}
		if err := h.Netlink().RuleDel(&r); err != nil {
			return fmt.Errorf("delete rule %s of %s: %w", r, h.Name(), err)
		}
	}
	return nil
}

func forgetRoutes(h *netns.Host) error {
	routes, err := h.Netlink().RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{Table: unix.RT_TABLE_UNSPEC}, netlink.RT_FILTER_TABLE)
	if err != nil {
		return fmt.Errorf("list routes of %s: %w", h.Name(), err)
	}
	for _, r := range routes {
		if r.Protocol == unix.RTPROT_KERNEL {
			continue // comes and goes with an address
		}
		if err := h.Netlink().RouteDel(&r); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("delete route %s of %s: %w", r, h.Name(), err)
		}
	}
	return nil
}
