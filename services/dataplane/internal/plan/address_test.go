package plan

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/hybridgateway/gateway/libs/netaddr"
)

var floating = netip.MustParseAddr("198.18.0.10")

// floats is desired with an address that every gateway carries.
func floats(vteps ...VTEP) Desired {
	d := desired(vteps...)
	d.Device.Local, d.Device.MAC, d.Carry = floating, netaddr.VTEPMAC(floating), true
	return d
}

func TestCarriedAddress(t *testing.T) {
	a1 := vtep("a", "192.168.1.11", "100.64.1.0/24")
	route := "100.64.1.0/24 via 192.168.1.11 dev hybrid_vxlan0 src 10.0.1.10 onlink proto 104"
	former := netip.MustParseAddr("198.18.0.9")
	carrying := func(change func(*Actual)) Actual {
		a := bare()
		run(&a, Plan(floats(a1), a).Ops)
		change(&a)
		return a
	}
	unsure := floats(a1)
	unsure.Complete = false
	for _, c := range []struct {
		name    string
		desired Desired
		actual  Actual
		ops     []string
	}{
		{"the address comes before the device that sends from it", floats(a1), bare(), []string{
			"address add 198.18.0.10 dev lo",
			"device add hybrid_vxlan0 vni 2 port 8472 local 198.18.0.10 mac 02:68:c6:12:00:0a mtu 1450",
			"device set hybrid_vxlan0 forwarding 1 rp_filter 0 send_redirects 0 addrgenmode none",
			"device set hybrid_vxlan0 up",
			"fdb set 02:68:c0:a8:01:0b dst 192.168.1.11",
			"neighbour set 192.168.1.11 mac 02:68:c0:a8:01:0b",
			"route add " + route,
		}},
		{"nothing to do", floats(a1), carrying(func(*Actual) {}), nil},
		{"somebody has removed it", floats(a1), carrying(func(a *Actual) { a.Host.HasLocal, a.Host.Carried = false, nil }), []string{
			"address add 198.18.0.10 dev lo",
		}},
		{"one that the node has already is adopted", floats(a1), carrying(func(a *Actual) { a.Host.Carried = nil }), nil},
		{"one that is no longer wanted goes", floats(a1), carrying(func(a *Actual) { a.Host.Carried = append(a.Host.Carried, former) }), []string{
			"address delete 198.18.0.9 dev lo",
		}},
		{"but not before the list is whole", unsure, carrying(func(a *Actual) { a.Host.Carried = append(a.Host.Carried, former) }), nil},
		{"from the floating mode to the other", desired(a1), carrying(func(*Actual) {}), []string{
			"device set hybrid_vxlan0 local 10.0.1.10",
			"device set hybrid_vxlan0 mac 02:68:0a:00:01:0a",
			"address delete 198.18.0.10 dev lo",
			"neighbour set 192.168.1.11 mac 02:68:c0:a8:01:0b",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := Plan(c.desired, c.actual)
			if got := lines(r.Ops); !slices.Equal(got, c.ops) || len(r.Findings) > 0 {
				t.Errorf("findings %v, got", r.Findings)
				for _, line := range got {
					t.Error(line)
				}
			}
			run(&c.actual, r.Ops)
			if again := Plan(c.desired, c.actual).Ops; len(again) > 0 {
				t.Errorf("left to do: %v", again)
			}
		})
	}
}

// Neither the node's own address nor the one that all gateways carry can be a node's, or lie among pods.
func TestOwnAddressesAreRefused(t *testing.T) {
	for _, v := range []VTEP{
		vtep("a", "198.18.0.10", "100.64.1.0/24"), vtep("a", "10.0.1.10", "100.64.1.0/24"),
		vtep("a", "192.168.1.11", "198.18.0.0/24"), vtep("a", "192.168.1.11", "10.0.0.0/20"),
	} {
		if r := Plan(floats(v), bare()); len(r.Findings) != 1 || r.Findings[0].Kind != Refused {
			t.Errorf("%v: findings %v", v, r.Findings)
		}
	}
	target := Compile(floats())
	for addr, explained := range map[string]bool{"10.0.1.10": false, "198.18.0.10": false, "10.0.1.11": true} {
		if c := (Change{Kind: ChangeHost, Gone: true, Addr: netip.MustParseAddr(addr)}); target.Explains(bare(), c) != explained {
			t.Errorf("%s is gone: explained %v", addr, !explained)
		}
	}
}
