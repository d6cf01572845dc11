package kernel

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/hybridgateway/gateway/services/dataplane/internal/plan"
)

// loopback is the loopback interface's index in every network namespace (LOOPBACK_IFINDEX in the kernel's include/net/flow.h).
const loopback = 1

// address is an IPv4 address of an interface.
type address struct {
	index int32
	addr  netip.Addr
	label string
}

func parseAddress(body []byte) (address, error) {
	if len(body) < unix.SizeofIfAddrmsg {
		return address{}, errTruncated
	}
	a := address{index: int32(u32(body[4:]))}
	return a, attrs(body[unix.SizeofIfAddrmsg:], func(typ uint16, v []byte) {
		switch {
		// On a point-to-point interface IFA_ADDRESS is the other end.
		case typ == unix.IFA_LOCAL, typ == unix.IFA_ADDRESS && !a.addr.IsValid():
			a.addr = addr(v)
		case typ == unix.IFA_LABEL:
			a.label = text(v)
		}
	})
}

func dumpAddresses() *message { return ifaddr(unix.RTM_GETADDR, unix.NLM_F_DUMP, 0) }

// dumpHost reads which addresses the host has, and finds the interface with the node's own: its index, or 0.
func (k *Kernel) dumpHost(h *plan.Host) (holder int32, err error) {
	err = k.conn.get(dumpAddresses, func() { holder, h.HasLocal, h.Carried = 0, false, nil }, func(_ uint16, body []byte) error {
		a, err := parseAddress(body)
		if err != nil {
			return err
		}
		if a.addr == k.config.Node {
			holder = a.index
		}
		h.HasLocal = h.HasLocal || a.addr == k.config.Local
		if a.index == loopback && a.label == plan.AddressLabel {
			h.Carried = append(h.Carried, a.addr)
		}
		return nil
	})
	return holder, err
}

func addAddress(a netip.Addr) *message {
	return ifaddr(unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_REPLACE, loopback).
		attrAddr(unix.IFA_LOCAL, a).attrAddr(unix.IFA_ADDRESS, a).attr(unix.IFA_LABEL, append([]byte(plan.AddressLabel), 0)...)
}

// deleteAddress removes the address only where it has our label: without IFA_LABEL the kernel takes the first that fits.
func deleteAddress(a netip.Addr) *message {
	return ifaddr(unix.RTM_DELADDR, 0, loopback).attrAddr(unix.IFA_LOCAL, a).attr(unix.IFA_LABEL, append([]byte(plan.AddressLabel), 0)...)
}

// ifaddr is a message about IPv4 addresses, of which each is a network of its own.
func ifaddr(typ, flags uint16, index uint32) *message {
	header := make([]byte, unix.SizeofIfAddrmsg)
	header[0] = unix.AF_INET
	if index != 0 {
		header[1] = 32
		binary.NativeEndian.PutUint32(header[4:], index)
	}
	return newMessage(typ, flags).raw(header...)
}
