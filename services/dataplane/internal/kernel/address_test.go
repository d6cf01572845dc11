package kernel

import (
	"net/netip"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/hybridgateway/gateway/libs/netaddr"
	"github.com/hybridgateway/gateway/libs/netnstest"
	"github.com/hybridgateway/gateway/services/dataplane/internal/plan"
)

var floating = netip.MustParseAddr("198.18.0.10")

// floats is desired with an address that every gateway carries.
func floats(vteps ...plan.VTEP) plan.Desired {
	d := desired(vteps...)
	d.Device.Local, d.Device.MAC, d.Carry = floating, netaddr.VTEPMAC(floating), true
	return d
}

// floatingGateway is a gateway whose tunnel has an address that every gateway carries.
func floatingGateway(t *testing.T) (*netnstest.Namespace, *Kernel) {
	t.Helper()
	ns, _ := gateway(t)
	ns.SetUp(t, "lo")
	var k *Kernel
	err := ns.Do(func() (err error) {
		k, err = Open(Config{Device: device.Name, Node: local, Local: floating, Guard: guardRules})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	return ns, k
}

func addresses(t *testing.T, ns *netnstest.Namespace) (list []netlink.Addr) {
	t.Helper()
	all, err := ns.Netlink.AddrList(ns.Link(t, "lo"), netlink.FAMILY_V4)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range all {
		if !a.IP.IsLoopback() {
			list = append(list, a)
		}
	}
	return list
}

// The address is made, put back, kept by a process that ends, moved and removed; one that somebody else has given the node is
// adopted and stays.
func TestPrivilegedCarriedAddress(t *testing.T) {
	ns, k := floatingGateway(t)
	a := vtep("a", "192.168.1.11", "100.64.1.0/24")
	converge(t, k, floats(a))
	list := addresses(t, ns)
	if len(list) != 1 || list[0].Label != plan.AddressLabel || list[0].IPNet.String() != "198.18.0.10/32" {
		t.Fatalf("addresses %v", list)
	}
	if at := dump(t, k); at.Link.Local != floating || at.Link.MAC != netaddr.VTEPMAC(floating) || at.Host.NIC == nil || at.Host.NIC.Name != "eth0" {
		t.Errorf("device %+v, NIC %+v", at.Link, at.Host.NIC)
	}
	changes := watch(t, ns, k)
	if err := ns.Netlink.AddrDel(ns.Link(t, "lo"), &list[0]); err != nil {
		t.Fatal(err)
	}
	await(t, changes, "the address went", func(c plan.Change) bool {
		return c.Kind == plan.ChangeHost && c.Gone && c.Addr == floating && !plan.Compile(floats(a)).Explains(dump(t, k), c)
	})
	if r := converge(t, k, floats(a)); kinds(r.Ops) != "address-add" {
		t.Errorf("ops %v", r.Ops)
	}
	// Twice is as once.
	if failures := k.Apply([]plan.Op{plan.AddAddress{Addr: floating}}); len(failures) > 0 {
		t.Error(failures)
	}
	k.Close()
	if len(addresses(t, ns)) != 1 {
		t.Error("the address ended with the process")
	}

	// The mode is left.
	k = open(t, ns)
	r := converge(t, k, desired(a))
	if got := kinds(r.Ops); got != "device-set device-set address-delete neighbour-set" || len(addresses(t, ns)) != 0 {
		t.Errorf("ops %s, addresses %v", got, addresses(t, ns))
	}
	if failures := k.Apply([]plan.Op{plan.DeleteAddress{Addr: floating}}); len(failures) > 0 {
		t.Error(failures)
	}
}

func TestPrivilegedForeignAddressIsAdopted(t *testing.T) {
	ns, k := floatingGateway(t)
	ns.SetUp(t, "lo", "198.18.0.10/32")
	if r := converge(t, k, floats()); kinds(r.Ops) != "guard-set forwarding-set device-add device-set device-set" {
		t.Errorf("ops %v", r.Ops)
	}
	converge(t, k, desired())
	if len(addresses(t, ns)) != 1 {
		t.Error("an address of somebody else was removed")
	}
}
