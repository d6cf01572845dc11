package plan

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/hybridgateway/gateway/libs/netaddr"
)

func TestCompileRefuses(t *testing.T) {
	good := vtep("good", "192.168.1.11", "100.64.1.0/24")
	other := vtep("other", "192.168.1.12", "100.64.2.0/24")
	cases := []struct {
		name     string
		bad      VTEP
		findings []string
	}{
		{"no address", VTEP{Node: "bad"}, []string{"refused node bad: its underlay address is not IPv4"}},
		{"IPv6", vtep("bad", "fd00::1", "100.64.9.0/24"), []string{"refused node bad: its underlay address is not IPv4"}},
		{"our own address", vtep("bad", "10.0.1.10", "100.64.9.0/24"), []string{"refused node bad: its underlay address 10.0.1.10 is this gateway's own"}},
		{"multicast", vtep("bad", "224.0.0.1"), []string{"refused node bad: its underlay address 224.0.0.1 is not a unicast address of a host"}},
		{"broadcast", vtep("bad", "255.255.255.255"), []string{"refused node bad: its underlay address 255.255.255.255 is not a unicast address of a host"}},
		{"IPv6 network", vtep("bad", "192.168.1.13", "fd00::/64"), []string{"refused node bad fd00::/64: the pod network is not IPv4"}},
		{"everything", vtep("bad", "192.168.1.13", "0.0.0.0/0"), []string{"refused node bad 0.0.0.0/0: the pod network is wider than a /8"}},
		{"our address inside", vtep("bad", "192.168.1.13", "10.0.0.0/16"), []string{"refused node bad 10.0.0.0/16: the pod network contains this gateway's address 10.0.1.10"}},
		{"multicast network", vtep("bad", "192.168.1.13", "224.0.0.0/24"), []string{"refused node bad 224.0.0.0/24: the pod network is not one that hosts on other links can have"}},
		{"instance metadata", vtep("bad", "192.168.1.13", "169.254.169.254/32"), []string{"refused node bad 169.254.169.254/32: the pod network is not one that hosts on other links can have"}},
		{"link-local inside", vtep("bad", "192.168.1.13", "169.0.0.0/8"), []string{"refused node bad 169.0.0.0/8: the pod network is not one that hosts on other links can have"}},
		{"its own address inside", vtep("bad", "100.64.9.1", "100.64.9.0/24"), []string{"refused node bad 100.64.9.0/24: the pod network contains the node's own underlay address 100.64.9.1"}},
		{"the other nodes inside", vtep("bad", "172.16.0.1", "192.168.0.0/16"), []string{"refused node bad 192.168.0.0/16: the pod network contains the underlay addresses of 2 nodes, the first is good"}},
		{"inside another's network", vtep("bad", "100.64.1.7", "100.64.9.0/24"), []string{"refused node bad: its underlay address 100.64.1.7 lies in the pod network 100.64.1.0/24 of node good"}},
		{"duplicate network", vtep("zbad", "192.168.1.13", "100.64.1.0/24"), []string{"refused node zbad 100.64.1.0/24: node good has the same pod network"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			target := Compile(desired(c.bad, other, good))
			if got := lines(target.findings()); !slices.Equal(got, c.findings) {
				t.Errorf("findings:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(c.findings, "\n"))
			}
			for _, v := range []VTEP{good, other} {
				if target.fdb[netaddr.VTEPMAC(v.Underlay)] != v.Underlay || target.routes[v.PodCIDRs[0]] != (owner{v.Node, v.Underlay}) {
					t.Errorf("node %s suffers from the bad one", v.Node)
				}
			}
		})
	}
}

func TestCompileKeepsWhatIsGoodOfAVTEP(t *testing.T) {
	l := NewLedger(desired(vtep("a", "192.168.1.11", "0.0.0.0/0", "100.64.1.7/24", "100.64.1.0/24", "100.65.1.0/24")))
	l.See(bare())
	if vteps, routes := l.Programmed(); vteps != 0 || routes != 0 {
		t.Errorf("before: %d VTEPs, %d routes", vteps, routes)
	}
	r := l.Plan()
	l.Applied(r.Ops)
	if vteps, routes := l.Programmed(); vteps != 1 || routes != 2 || len(r.Findings) != 1 {
		t.Errorf("%d VTEPs, %d routes, findings %v", vteps, routes, r.Findings)
	}
}

func TestMACOf(t *testing.T) {
	m := netaddr.VTEPMAC(netip.MustParseAddr("192.168.1.11"))
	if m.String() != "02:68:c0:a8:01:0b" || m[0]&1 != 0 || m[0]&2 == 0 {
		t.Errorf("got %s, want a locally administered unicast address", m)
	}
	if netaddr.VTEPMAC(netip.MustParseAddr("fd00::1")) != (MAC{}) {
		t.Error("IPv6 got a MAC")
	}
}
