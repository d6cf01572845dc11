package plan

import (
	"net/netip"
	"testing"

	"github.com/hybridgateway/gateway/libs/netaddr"
)

func TestExplains(t *testing.T) {
	v := vtep("a", "192.168.1.11", "100.64.1.0/24")
	mac := netaddr.VTEPMAC(v.Underlay)
	a := programmed(v)
	target := Compile(desired(v))
	mine := a.Routes[v.PodCIDRs[0]][0]
	changed := mine
	changed.Via = netip.MustParseAddr("192.168.1.12")
	elsewhere := foreign("172.16.0.0/16", "10.0.1.1", "eth1", 0)
	inTheWay := foreign("100.64.1.0/24", "10.0.1.1", "eth1", 0)
	cases := []struct {
		name   string
		change Change
		want   bool
	}{
		{"lost notifications", Change{Kind: ChangeLost}, false},
		{"our device", Change{Kind: ChangeLink, Device: "hybrid_vxlan0", VXLAN: true}, false},
		{"the NIC", Change{Kind: ChangeLink, Device: "eth0"}, false},
		{"a pod's veth", Change{Kind: ChangeLink, Device: "veth12"}, true},
		{"another VXLAN device", Change{Kind: ChangeLink, Device: "cilium_vxlan", VXLAN: true}, false},
		{"our address", Change{Kind: ChangeHost, Addr: local}, false},
		{"another address", Change{Kind: ChangeHost, Addr: v.Underlay}, true},
		{"forwarding", Change{Kind: ChangeHost, Device: "all"}, false},
		{"forwarding of the NIC", Change{Kind: ChangeHost, Device: "eth0"}, false},
		{"forwarding of a pod's veth", Change{Kind: ChangeHost, Device: "veth12"}, true},
		{"our FDB entry comes", Change{Kind: ChangeFDB, Device: "hybrid_vxlan0", MAC: mac, Addr: v.Underlay, Permanent: true}, true},
		{"our FDB entry goes", Change{Kind: ChangeFDB, Gone: true, Device: "hybrid_vxlan0", MAC: mac, Addr: v.Underlay, Permanent: true}, false},
		{"our FDB entry is changed", Change{Kind: ChangeFDB, Device: "hybrid_vxlan0", MAC: mac, Addr: local, Permanent: true}, false},
		{"an FDB entry we removed goes", Change{Kind: ChangeFDB, Gone: true, Device: "hybrid_vxlan0", MAC: MAC{1}, Addr: local, Permanent: true}, true},
		{"an FDB entry of another device", Change{Kind: ChangeFDB, Device: "br0", MAC: MAC{1}, Addr: local}, true},
		{"our neighbour comes", Change{Kind: ChangeNeighbour, Device: "hybrid_vxlan0", MAC: mac, Addr: v.Underlay, Permanent: true}, true},
		{"our neighbour ages", Change{Kind: ChangeNeighbour, Device: "hybrid_vxlan0", MAC: mac, Addr: v.Underlay}, false},
		{"our neighbour goes", Change{Kind: ChangeNeighbour, Gone: true, Device: "hybrid_vxlan0", Addr: v.Underlay}, false},
		{"an ARP packet made a neighbour", Change{Kind: ChangeNeighbour, Device: "hybrid_vxlan0", MAC: MAC{2}, Addr: local}, true},
		{"somebody added a neighbour", Change{Kind: ChangeNeighbour, Device: "hybrid_vxlan0", MAC: MAC{2}, Addr: local, Permanent: true}, false},
		{"a neighbour we removed goes", Change{Kind: ChangeNeighbour, Gone: true, Device: "hybrid_vxlan0", Addr: local}, true},
		{"a neighbour of the NIC", Change{Kind: ChangeNeighbour, Device: "eth0", Addr: local}, true},
		{"our route comes", Change{Kind: ChangeRoute, Route: mine}, true},
		{"our route goes", Change{Kind: ChangeRoute, Gone: true, Route: mine}, false},
		{"our route is changed", Change{Kind: ChangeRoute, Route: changed}, false},
		{"a route we removed goes", Change{Kind: ChangeRoute, Gone: true, Route: changed}, true},
		{"a foreign route elsewhere", Change{Kind: ChangeRoute, Route: elsewhere}, true},
		{"a foreign route for a pod network", Change{Kind: ChangeRoute, Route: inTheWay}, false},
		{"the underlay's route goes", Change{Kind: ChangeRoute, Gone: true, Route: a.Routes[netip.MustParsePrefix("10.0.1.0/24")][0]}, false},
	}
	for _, c := range cases {
		if got := target.Explains(a, c.change); got != c.want {
			t.Errorf("%s: got %v, want %v", c.name, got, c.want)
		}
	}
}
