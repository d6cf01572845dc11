package world

import (
	"errors"
	"fmt"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/hybridgateway/gateway/tools/lab/internal/netns"
	"github.com/hybridgateway/gateway/tools/lab/internal/nft"
)

// The NICs of a VPC host. Only gateways may have the second.
const (
	nic           = "eth0"
	managementNIC = "eth1"
)

// PowerOff cuts the power of a VPC host: its NIC loses carrier, so what is sent
// to it vanishes and nobody is told, and its memory, as far as the kernel's
// network state is concerned, is gone: devices, routes, rules, filters.
// Processes are the caller's to kill; what they do meanwhile is lost as well.
func (w *World) PowerOff(name string) error {
	m, h, err := w.machineHost(name)
	if err != nil {
		return err
	}
	var errs []error
	for _, n := range w.nics(m) {
		errs = append(errs, h.SetUp(n.device, false))
	}
	return errors.Join(append(errs, forget(h))...)
}

// PowerOn boots the host again, as empty as it was at first.
func (w *World) PowerOn(name string) error {
	m, h, err := w.machineHost(name)
	if err != nil {
		return err
	}
	if err := forget(h); err != nil {
		return err
	}
	for _, n := range w.nics(m) {
		if err := n.plugIn(h); err != nil {
			return err
		}
	}
	return nil
}

// plugIn makes a NIC work again, whatever was lost of its settings.
func (n nicOf) plugIn(h *netns.Host) error {
	if err := h.SetUp(n.device, true); err != nil {
		return err
	}
	if err := h.AddAddr(n.device, n.addr); err != nil {
		return err
	}
	for _, dst := range n.routes {
		if err := h.SetRoute(dst, n.router, n.device); err != nil {
			return err
		}
	}
	return nil
}

// BreakNIC kills the first NIC of a VPC host, and leaves a second one and all that
// runs alone. Silently, the link stays up and nothing passes; otherwise it goes down.
func (w *World) BreakNIC(name string, silently bool) error {
	_, h, err := w.machineHost(name)
	if err != nil {
		return err
	}
	if silently {
		return w.Fabric.Silence(name, true)
	}
	return h.SetUp(nic, false)
}

// MendNIC undoes BreakNIC; for a NIC that works it does nothing.
func (w *World) MendNIC(name string) error {
	m, h, err := w.machineHost(name)
	if err != nil {
		return err
	}
	return errors.Join(w.Fabric.Silence(name, false), w.nics(m)[0].plugIn(h))
}

// machineHost is a VPC host with its namespace.
func (w *World) machineHost(name string) (Machine, *netns.Host, error) {
	m, err := w.Machine(name)
	if err != nil {
		return Machine{}, nil, err
	}
	h, err := w.Host(name)
	return m, h, err
}

// forget removes from a host's kernel everything but its NICs and loopback.
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
		case nic, managementNIC:
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
