package plan

import (
	"fmt"
	"net/netip"
	"slices"
)

// AddressLabel marks the addresses of the loopback interface that are ours (`ip address show label lo:hgw`).
const AddressLabel = "lo:hgw"

// The operations on the address that every gateway carries.
type (
	// AddAddress gives the loopback interface an address.
	AddAddress struct{ Addr netip.Addr }
	// DeleteAddress takes an address of ours from the loopback interface.
	DeleteAddress struct{ Addr netip.Addr }
)

func (AddAddress) kind() string    { return "address-add" }
func (DeleteAddress) kind() string { return "address-delete" }

func (o AddAddress) String() string    { return fmt.Sprintf("address add %s dev lo", o.Addr) }
func (o DeleteAddress) String() string { return fmt.Sprintf("address delete %s dev lo", o.Addr) }

// planAddress has the host carry the tunnel's address. One that is on an interface already, whoever put it there, will do.
// What it adds comes before the device sends from it: packets with a source that the host does not have cannot leave it. What
// it removes are addresses of ours that are no longer wanted, once the device no longer sends from them.
func planAddress(d Desired, a Actual) (adds, removals []Op) {
	local := d.Device.Local
	if d.Carry && !a.Host.HasLocal {
		adds = append(adds, AddAddress{local})
	}
	for _, addr := range a.Host.Carried {
		if d.Complete && (!d.Carry || addr != local) {
			removals = append(removals, DeleteAddress{addr})
		}
	}
	return adds, removals
}

// isOwn tells whether an address is one of this gateway's.
func (d Desired) isOwn(a netip.Addr) bool { return a == d.Device.Local || a == d.Source }

func (a *Actual) applyToAddress(op Op) {
	switch o := op.(type) {
	case AddAddress:
		a.Host.HasLocal = true
		a.Host.Carried = append(slices.Clone(a.Host.Carried), o.Addr)
	case DeleteAddress:
		a.Host.Carried = slices.DeleteFunc(slices.Clone(a.Host.Carried), func(have netip.Addr) bool { return have == o.Addr })
	}
}
