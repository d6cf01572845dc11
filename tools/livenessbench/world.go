package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// world is a bridge with some network namespaces on it, none of which has a name.
type world struct {
	hub    netns.NsHandle
	handle *netlink.Handle
	places []netns.NsHandle
}

func newWorld(places int) (w *world, err error) {
	w = &world{}
	defer func() {
		if err != nil {
			w.close()
		}
	}()
	if w.hub, err = newNamespace(); err != nil {
		return w, err
	}
	if w.handle, err = netlink.NewHandleAt(w.hub); err != nil {
		return w, fmt.Errorf("open netlink: %w", err)
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "bench"
	bridge := &netlink.Bridge{LinkAttrs: attrs}
	if err := errors.Join(w.handle.LinkAdd(bridge), w.handle.LinkSetUp(bridge)); err != nil {
		return w, fmt.Errorf("make the bridge: %w", err)
	}
	for i := range places {
		if err := w.addPlace(i, bridge); err != nil {
			return w, fmt.Errorf("make place %d: %w", i, err)
		}
	}
	return w, nil
}

func (w *world) addPlace(i int, bridge netlink.Link) error {
	ns, err := newNamespace()
	if err != nil {
		return err
	}
	w.places = append(w.places, ns)
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MasterIndex = portName(i), bridge.Attrs().Index
	err = w.handle.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "eth0", PeerNamespace: netlink.NsFd(ns)})
	if err != nil {
		return fmt.Errorf("make a wire: %w", err)
	}
	h, err := netlink.NewHandleAt(ns)
	if err != nil {
		return fmt.Errorf("open netlink: %w", err)
	}
	defer h.Close()
	eth, err := h.LinkByName("eth0")
	if err != nil {
		return fmt.Errorf("find eth0: %w", err)
	}
	ip := &netlink.Addr{IPNet: &net.IPNet{IP: address(i).AsSlice(), Mask: net.CIDRMask(24, 32)}}
	return errors.Join(h.AddrAdd(eth, ip), h.LinkSetUp(eth), w.setWire(i, true))
}

func portName(i int) string { return fmt.Sprintf("port%d", i) }

func address(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 99, 0, byte(i + 1)}) }

// setWire connects or cuts the wire of a place.
func (w *world) setWire(i int, up bool) error {
	port, err := w.handle.LinkByName(portName(i))
	if err != nil {
		return fmt.Errorf("find the wire of place %d: %w", i, err)
	}
	if up {
		err = w.handle.LinkSetUp(port)
	} else {
		err = w.handle.LinkSetDown(port)
	}
	if err != nil {
		return fmt.Errorf("set the wire of place %d: %w", i, err)
	}
	return nil
}

// setLoss drops this percentage of the packets that arrive at each place, independently.
func (w *world) setLoss(percent int) error {
	for i, ns := range w.places {
		c, err := nftables.New(nftables.WithNetNSFd(int(ns)))
		if err != nil {
			return fmt.Errorf("open nftables: %w", err)
		}
		c.FlushRuleset()
		if percent > 0 {
			table := c.AddTable(&nftables.Table{Family: nftables.TableFamilyIPv4, Name: "bench"})
			chain := c.AddChain(&nftables.Chain{
				Name: "loss", Table: table, Type: nftables.ChainTypeFilter,
				Hooknum: nftables.ChainHookInput, Priority: nftables.ChainPriorityFilter,
			})
			c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{
				&expr.Numgen{Register: 1, Type: 1 /* random */, Modulus: 100},
				&expr.Byteorder{SourceRegister: 1, DestRegister: 1, Op: expr.ByteorderHton, Len: 4, Size: 4},
				&expr.Cmp{Op: expr.CmpOpLt, Register: 1, Data: binaryutil.BigEndian.PutUint32(uint32(percent))},
				&expr.Counter{},
				&expr.Verdict{Kind: expr.VerdictDrop},
			}})
		}
		if err := c.Flush(); err != nil {
			return fmt.Errorf("set the loss at place %d: %w", i, err)
		}
	}
	return nil
}

func (w *world) close() {
	if w.handle != nil {
		w.handle.Close()
	}
	for _, ns := range append(w.places, w.hub) {
		if ns.IsOpen() {
			_ = ns.Close() // the namespace goes with its last holder
		}
	}
}

func newNamespace() (ns netns.NsHandle, err error) {
	err = elsewhere(func() error {
		ns, err = netns.New()
		return err
	})
	if err != nil {
		return ns, fmt.Errorf("make a network namespace: %w", err)
	}
	return ns, nil
}

// elsewhere calls f on a thread that comes back to the namespace it was in.
func elsewhere(f func() error) error {
	runtime.LockOSThread()
	home, err := netns.Get()
	if err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("find this network namespace: %w", err)
	}
	defer home.Close()
	err = f()
	if back := netns.Set(home); back != nil {
		// The thread stays locked, so that nothing else runs on it.
		return errors.Join(err, fmt.Errorf("come back to this network namespace: %w", back))
	}
	runtime.UnlockOSThread()
	return err
}

func inside(ns netns.NsHandle, f func() error) error {
	return elsewhere(func() error {
		if err := netns.Set(ns); err != nil {
			return fmt.Errorf("enter a network namespace: %w", err)
		}
		return f()
	})
}
