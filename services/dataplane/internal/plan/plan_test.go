package plan

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/hybridgateway/gateway/libs/netaddr"
)

var (
	local  = netip.MustParseAddr("10.0.1.10")
	device = Device{Name: "hybrid_vxlan0", VNI: 2, Port: 8472, Local: local, MAC: netaddr.VTEPMAC(local)}
)

func vtep(node, underlay string, cidrs ...string) VTEP {
	v := VTEP{Node: node, Underlay: netip.MustParseAddr(underlay)}
	for _, c := range cidrs {
		v.PodCIDRs = append(v.PodCIDRs, netip.MustParsePrefix(c))
	}
	return v
}

func desired(vteps ...VTEP) Desired {
	return Desired{Device: device, Source: local, VTEPs: vteps, Complete: true}
}

// modes are the two ways of programming, of a state that is desired.
var modes = map[string]func(d Desired) Desired{"node": func(d Desired) Desired { return d }, "flow": flow}

func flow(d Desired) Desired {
	d.Device.Flow = true
	return d
}

// inEachMode runs a test for both ways of programming.
func inEachMode(t *testing.T, test func(t *testing.T, in func(d Desired) Desired)) {
	t.Helper()
	for name, in := range modes {
		t.Run(name, func(t *testing.T) { test(t, in) })
	}
}

// bare is a host with one NIC, forwarding, and no tunnel.
func bare() Actual {
	return Actual{
		Host: Host{NIC: &NIC{Name: "eth0", MTU: 9001, Forwarding: true}, Forwarding: true},
		Routes: map[netip.Prefix][]Route{
			netip.MustParsePrefix("0.0.0.0/0"):   {{Dst: netip.MustParsePrefix("0.0.0.0/0"), Via: netip.MustParseAddr("10.0.1.1"), Dev: "eth0", Protocol: 3}},
			netip.MustParsePrefix("10.0.1.0/24"): {{Dst: netip.MustParsePrefix("10.0.1.0/24"), Src: local, Dev: "eth0", Protocol: 2}},
		},
	}
}

// programmed is a host with the tunnel as the plan for vteps leaves it.
func programmed(vteps ...VTEP) Actual { return programmedAs(desired(vteps...)) }

func programmedAs(d Desired) Actual {
	a := bare()
	run(&a, Plan(d, a).Ops)
	return a
}

func run(a *Actual, ops []Op) {
	for _, op := range ops {
		a.Apply(op)
	}
}

func lines[T interface{ String() string }](items []T) []string {
	out := []string{}
	for _, i := range items {
		out = append(out, i.String())
	}
	return out
}

func foreign(dst, via, dev string, metric uint32) Route {
	return Route{Dst: netip.MustParsePrefix(dst), Via: netip.MustParseAddr(via), Dev: dev, Metric: metric, Protocol: 4}
}

func addRoute(a *Actual, r Route) { a.Routes[r.Dst] = append(a.Routes[r.Dst], r) }

func TestPlan(t *testing.T) {
	a1 := vtep("a", "192.168.1.11", "100.64.1.0/24")
	b1 := vtep("b", "192.168.1.12", "100.64.2.0/24", "100.65.2.0/24")
	cases := []struct {
		name     string
		desired  Desired
		actual   func() Actual
		ops      []string
		findings []string
	}{
		{
			name: "from nothing", desired: desired(a1, b1), actual: bare,
			ops: []string{
				"device add hybrid_vxlan0 vni 2 port 8472 local 10.0.1.10 mac 02:68:0a:00:01:0a mtu 1450",
				"device set hybrid_vxlan0 forwarding 1 rp_filter 0 send_redirects 0 addrgenmode none",
				"device set hybrid_vxlan0 up",
				"fdb set 02:68:c0:a8:01:0b dst 192.168.1.11",
				"fdb set 02:68:c0:a8:01:0c dst 192.168.1.12",
				"neighbour set 192.168.1.11 mac 02:68:c0:a8:01:0b",
				"neighbour set 192.168.1.12 mac 02:68:c0:a8:01:0c",
				"route add 100.64.1.0/24 via 192.168.1.11 dev hybrid_vxlan0 src 10.0.1.10 onlink proto 104",
				"route add 100.64.2.0/24 via 192.168.1.12 dev hybrid_vxlan0 src 10.0.1.10 onlink proto 104",
				"route add 100.65.2.0/24 via 192.168.1.12 dev hybrid_vxlan0 src 10.0.1.10 onlink proto 104",
			},
		},
		{name: "nothing to do", desired: desired(a1, b1), actual: func() Actual { return programmed(a1, b1) }},
		{
			name: "a node leaves: removals in reverse", desired: desired(a1), actual: func() Actual { return programmed(a1, b1) },
			ops: []string{
				"route delete 100.64.2.0/24 via 192.168.1.12 dev hybrid_vxlan0 src 10.0.1.10 onlink proto 104",
				"route delete 100.65.2.0/24 via 192.168.1.12 dev hybrid_vxlan0 src 10.0.1.10 onlink proto 104",
				"neighbour delete 192.168.1.12",
				"fdb delete 02:68:c0:a8:01:0c",
			},
		},
		{
			name:    "nothing is removed before the snapshot is whole",
			desired: Desired{Device: device, Source: local, VTEPs: []VTEP{a1}}, actual: func() Actual { return programmed(b1) },
			ops: []string{
				"fdb set 02:68:c0:a8:01:0b dst 192.168.1.11",
				"neighbour set 192.168.1.11 mac 02:68:c0:a8:01:0b",
				"route add 100.64.1.0/24 via 192.168.1.11 dev hybrid_vxlan0 src 10.0.1.10 onlink proto 104",
			},
		},
		{
			name:    "a node is renumbered: its network moves in one step, add before delete",
			desired: desired(vtep("a", "192.168.1.99", "100.64.1.0/24"), b1), actual: func() Actual { return programmed(a1, b1) },
			ops: []string{
				"fdb set 02:68:c0:a8:01:63 dst 192.168.1.99",
				"neighbour set 192.168.1.99 mac 02:68:c0:a8:01:63",
				"route replace 100.64.1.0/24 via 192.168.1.99 dev hybrid_vxlan0 src 10.0.1.10 onlink proto 104",
				"neighbour delete 192.168.1.11",
				"fdb delete 02:68:c0:a8:01:0b",
			},
		},
		{
			name:    "two nodes swap addresses: routes only",
			desired: desired(vtep("a", "192.168.1.12", "100.64.1.0/24"), vtep("b", "192.168.1.11", "100.64.2.0/24", "100.65.2.0/24")),
			actual:  func() Actual { return programmed(a1, b1) },
			ops: []string{
				"route replace 100.64.1.0/24 via 192.168.1.12 dev hybrid_vxlan0 src 10.0.1.10 onlink proto 104",
				"route replace 100.64.2.0/24 via 192.168.1.11 dev hybrid_vxlan0 src 10.0.1.10 onlink proto 104",
				"route replace 100.65.2.0/24 via 192.168.1.11 dev hybrid_vxlan0 src 10.0.1.10 onlink proto 104",
			},
		},
		{
			name: "a compatible device is adopted", desired: desired(),
			actual: func() Actual {
				a := programmed(a1)
				a.Link.Learning, a.Link.MTU, a.Link.Local = true, 1500, netip.Addr{}
				a.Link.Conf.RPFilter = 1
				return a
			},
			ops: []string{
				"device set hybrid_vxlan0 nolearning",
				"device set hybrid_vxlan0 local 10.0.1.10",
				"device set hybrid_vxlan0 mtu 1450",
				"device set hybrid_vxlan0 forwarding 1 rp_filter 0 send_redirects 0 addrgenmode none",
				"route delete 100.64.1.0/24 via 192.168.1.11 dev hybrid_vxlan0 src 10.0.1.10 onlink proto 104",
				"neighbour delete 192.168.1.11",
				"fdb delete 02:68:c0:a8:01:0b",
			},
		},
		{
			name: "a changed MAC takes the neighbours with it", desired: desired(a1),
			actual: func() Actual { a := programmed(a1); a.Link.MAC = MAC{2, 1, 2, 3, 4, 5}; return a },
			ops: []string{
				"device set hybrid_vxlan0 mac 02:68:0a:00:01:0a",
				"neighbour set 192.168.1.11 mac 02:68:c0:a8:01:0b",
			},
		},
		{
			name: "an incompatible device is replaced, with all that was on it", desired: desired(a1),
			actual: func() Actual { a := programmed(a1); a.Link.VNI = 3; return a },
			ops: []string{
				"device delete hybrid_vxlan0: its VNI is 3, not 2",
				"device add hybrid_vxlan0 vni 2 port 8472 local 10.0.1.10 mac 02:68:0a:00:01:0a mtu 1450",
				"device set hybrid_vxlan0 forwarding 1 rp_filter 0 send_redirects 0 addrgenmode none",
				"device set hybrid_vxlan0 up",
				"fdb set 02:68:c0:a8:01:0b dst 192.168.1.11",
				"neighbour set 192.168.1.11 mac 02:68:c0:a8:01:0b",
				"route add 100.64.1.0/24 via 192.168.1.11 dev hybrid_vxlan0 src 10.0.1.10 onlink proto 104",
			},
		},
		{
			name: "foreign hands on our entries", desired: desired(a1, b1),
			actual: func() Actual {
				a := programmed(a1, b1)
				a.FDB[netaddr.VTEPMAC(a1.Underlay)] = []FDBEntry{{Remote: b1.Underlay, Permanent: true}}
				a.Neighbours[b1.Underlay] = Neighbour{MAC: MAC{2, 0, 0, 0, 0, 1}, Permanent: true}
				delete(a.Routes, b1.PodCIDRs[1])
				a.FDB[MAC{}] = []FDBEntry{{Remote: local, Permanent: true}}
				return a
			},
			ops: []string{
				"fdb set 02:68:c0:a8:01:0b dst 192.168.1.11",
				"neighbour set 192.168.1.12 mac 02:68:c0:a8:01:0c",
				"route add 100.65.2.0/24 via 192.168.1.12 dev hybrid_vxlan0 src 10.0.1.10 onlink proto 104",
				"fdb delete 00:00:00:00:00:00",
			},
		},
		{
			name: "a foreign route is a conflict", desired: desired(a1),
			actual: func() Actual {
				a := bare()
				addRoute(&a, foreign("100.64.1.0/24", "10.0.1.1", "eth0", 50))
				run(&a, Plan(desired(), a).Ops)
				return a
			},
			ops: []string{"fdb set 02:68:c0:a8:01:0b dst 192.168.1.11", "neighbour set 192.168.1.11 mac 02:68:c0:a8:01:0b"},
			findings: []string{`conflict node a 100.64.1.0/24: somebody else has the route "100.64.1.0/24 via 10.0.1.1 dev eth0 metric 50 proto 4"; ` +
				`the pod network is not programmed; remove it (ip route del 100.64.1.0/24 proto 4) or the node's claim`},
		},
		{
			name: "ours stays beside a foreign route that came later", desired: desired(a1),
			actual: func() Actual {
				a := programmed(a1)
				addRoute(&a, foreign("100.64.1.0/24", "10.0.1.1", "eth0", 50))
				return a
			},
			findings: []string{`conflict node a 100.64.1.0/24: somebody else has the route "100.64.1.0/24 via 10.0.1.1 dev eth0 metric 50 proto 4"; ` +
				`ours was there before and stays; remove it (ip route del 100.64.1.0/24 proto 4) or the node's claim`},
		},
		{
			name: "our leftovers: another metric, a duplicate, another device", desired: desired(a1),
			actual: func() Actual {
				a := programmed(a1)
				r := a.Routes[a1.PodCIDRs[0]][0]
				r.Metric = 7
				addRoute(&a, r)
				r.Metric, r.Via = 0, b1.Underlay
				addRoute(&a, r)
				r.Dst, r.Dev = netip.MustParsePrefix("100.66.0.0/16"), "eth0"
				addRoute(&a, r)
				return a
			},
			ops: []string{
				"route delete 100.64.1.0/24 via 192.168.1.12 dev hybrid_vxlan0 src 10.0.1.10 onlink proto 104",
				"route delete 100.64.1.0/24 via 192.168.1.11 dev hybrid_vxlan0 src 10.0.1.10 onlink metric 7 proto 104",
				"route delete 100.66.0.0/16 via 192.168.1.12 dev eth0 src 10.0.1.10 onlink proto 104",
			},
		},
		{
			name: "forwarding is switched on, loose rp_filter where none is impossible", desired: desired(),
			actual: func() Actual {
				a := bare()
				a.Host.Forwarding, a.Host.NIC.Forwarding, a.Host.AllRPFilter = false, false, 1
				return a
			},
			ops: []string{
				"sysctl set net.ipv4.ip_forward 1",
				"device add hybrid_vxlan0 vni 2 port 8472 local 10.0.1.10 mac 02:68:0a:00:01:0a mtu 1450",
				"device set hybrid_vxlan0 forwarding 1 rp_filter 2 send_redirects 0 addrgenmode none",
				"device set hybrid_vxlan0 up",
			},
			findings: []string{"warning: rp_filter is strict on eth0: packets that come in by another way than they go out are dropped; set net.ipv4.conf.eth0.rp_filter=2"},
		},
		{
			name: "blocked: no such address; what is there stays", desired: desired(b1),
			actual:   func() Actual { a := programmed(a1); a.Host.NIC = nil; return a },
			findings: []string{"blocking: the node address 10.0.1.10 is on no interface of this host: correct --node-ip"},
		},
		{
			name: "blocked: Cilium's own device", desired: desired(a1),
			actual: func() Actual {
				a := bare()
				a.Rivals = []Rival{{Name: "flannel.1", VNI: 1, Port: 8472, Up: true}, {Name: "cilium_vxlan", Port: 8472, FlowBased: true, Up: true}}
				return a
			},
			findings: []string{"blocking: device cilium_vxlan already takes all VXLAN on UDP 8472, as Cilium's does: run the gateway on nodes that have " +
				"no other VXLAN on this port (nodes with the cloud's own network plugin), or remove that device"},
		},
		{
			name: "flow-based: from nothing", desired: flow(desired(a1)), actual: bare,
			ops: []string{
				"device add hybrid_vxlan0 external port 8472 local 10.0.1.10 mac 02:68:0a:00:01:0a mtu 1450",
				"device set hybrid_vxlan0 forwarding 1 rp_filter 0 send_redirects 0 addrgenmode none",
				"device set hybrid_vxlan0 up",
				"neighbour set 192.168.1.11 mac 02:68:c0:a8:01:0b",
				"route add 100.64.1.0/24 encap vni 2 dst 192.168.1.11 src 10.0.1.10 via 192.168.1.11 dev hybrid_vxlan0 src 10.0.1.10 onlink metric 20 proto 104",
			},
		},
		{
			name: "flow-based: a node is renumbered", desired: flow(desired(vtep("a", "192.168.1.99", "100.64.1.0/24"))), actual: func() Actual { return programmedAs(flow(desired(a1))) },
			ops: []string{
				"neighbour set 192.168.1.99 mac 02:68:c0:a8:01:63",
				"route replace 100.64.1.0/24 encap vni 2 dst 192.168.1.99 src 10.0.1.10 via 192.168.1.99 dev hybrid_vxlan0 src 10.0.1.10 onlink metric 20 proto 104",
				"neighbour delete 192.168.1.11",
			},
		},
		{
			name: "flow-based: other outer addresses, options, and the other mode's entries", desired: flow(desired(a1, vtep("c", "192.168.1.13", "100.64.3.0/24"))),
			actual: func() Actual {
				a := programmedAs(flow(desired(a1, vtep("c", "192.168.1.13", "100.64.3.0/24"))))
				for dst, routes := range a.Routes {
					if r := &routes[0]; dst == a1.PodCIDRs[0] {
						r.Encap.Local = netip.MustParseAddr("10.0.1.11")
					} else if r.Ours() {
						r.Encap.Odd = true
					}
				}
				put(&a.FDB, netaddr.VTEPMAC(a1.Underlay), []FDBEntry{{Remote: a1.Underlay, Permanent: true}})
				return a
			},
			ops: []string{
				"route replace 100.64.1.0/24 encap vni 2 dst 192.168.1.11 src 10.0.1.10 via 192.168.1.11 dev hybrid_vxlan0 src 10.0.1.10 onlink metric 20 proto 104",
				"route replace 100.64.3.0/24 encap vni 2 dst 192.168.1.13 src 10.0.1.10 via 192.168.1.13 dev hybrid_vxlan0 src 10.0.1.10 onlink metric 18 proto 104",
				"fdb delete 02:68:c0:a8:01:0b",
			},
		},
		{
			name: "the other mode's device goes on until there is a list", actual: func() Actual { return programmed(a1) },
			desired:  func() Desired { d := flow(desired(a1, b1)); d.Complete = false; return d }(),
			findings: []string{"warning: device hybrid_vxlan0 is still programmed in the other way: it is made anew once there is a confirmed list of VTEPs"},
		},
		{
			name: "but not without its guard", actual: func() Actual { return programmed(a1) },
			desired: func() Desired {
				d := flow(desired(b1))
				d.Complete, d.Guard = false, true
				return d
			}(),
			ops:      []string{"guard set sources 3 lengths [24]"},
			findings: []string{"warning: device hybrid_vxlan0 is still programmed in the other way: it is made anew once there is a confirmed list of VTEPs"},
		},
		{
			name: "then it is made anew", desired: flow(desired(a1)), actual: func() Actual { return programmed(a1) },
			ops: []string{
				"device delete hybrid_vxlan0: it is not flow-based (external)",
				"device add hybrid_vxlan0 external port 8472 local 10.0.1.10 mac 02:68:0a:00:01:0a mtu 1450",
				"device set hybrid_vxlan0 forwarding 1 rp_filter 0 send_redirects 0 addrgenmode none",
				"device set hybrid_vxlan0 up",
				"neighbour set 192.168.1.11 mac 02:68:c0:a8:01:0b",
				"route add 100.64.1.0/24 encap vni 2 dst 192.168.1.11 src 10.0.1.10 via 192.168.1.11 dev hybrid_vxlan0 src 10.0.1.10 onlink metric 20 proto 104",
			},
		},
		{
			name: "blocked: a flow-based device cannot share the port", desired: flow(desired(a1)),
			actual: func() Actual {
				a := bare()
				a.Rivals = []Rival{{Name: "flannel.1", VNI: 1, Port: 8472, Up: true}, {Name: "vx9", VNI: 9, Port: 4789, Up: true}}
				return a
			},
			findings: []string{"blocking: device flannel.1 is on UDP 8472, which a flow-based device takes for itself: run the gateway on nodes that have " +
				"no other VXLAN on this port (nodes with the cloud's own network plugin), or remove that device, or program nodes one by one (--programming=node)"},
		},
		{
			name: "blocked: a device with our VNI and port under another name", desired: desired(a1),
			actual: func() Actual { a := bare(); a.Rivals = []Rival{{Name: "vx9", VNI: 2, Port: 8472}}; return a },
			findings: []string{"blocking: device vx9 already has VNI 2 on UDP 8472: run the gateway on nodes that have " +
				"no other VXLAN on this port (nodes with the cloud's own network plugin), or remove that device"},
		},
		{
			name: "blocked: NIC does not forward", desired: desired(a1),
			actual:   func() Actual { a := bare(); a.Host.NIC.Forwarding = false; return a },
			findings: []string{"blocking: interface eth0 does not forward: set net.ipv4.conf.eth0.forwarding=1"},
		},
		{
			name: "a pod network inside the underlay", desired: desired(vtep("a", "192.168.1.11", "10.0.1.128/25")),
			actual:   func() Actual { return programmed(vtep("a", "192.168.1.11")) },
			findings: []string{"refused node a 10.0.1.128/25: the pod network overlaps with the underlay network 10.0.1.0/24"},
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			actual := c.actual()
			before := actual.Clone()
			r := Plan(c.desired, actual)
			if got := lines(r.Ops); !slices.Equal(got, c.ops) {
				t.Errorf("ops:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(c.ops, "\n"))
			}
			if got := lines(r.Findings); !slices.Equal(got, c.findings) {
				t.Errorf("findings:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(c.findings, "\n"))
			}
			sameState(t, "the plan changed its input", actual, before)
			run(&actual, r.Ops)
			if again := Plan(c.desired, actual); len(again.Ops) > 0 {
				t.Errorf("a second plan is not empty:\n%s", strings.Join(lines(again.Ops), "\n"))
			}
		})
	}
}

func TestMTU(t *testing.T) {
	for _, c := range []struct{ underlay, nic, want int }{{0, 9001, 1450}, {0, 1500, 1450}, {0, 1400, 1350}, {9001, 9001, 8951}, {1500, 9001, 1450}} {
		if got := MTU(c.underlay, c.nic); got != c.want {
			t.Errorf("MTU(%d, %d) = %d, want %d", c.underlay, c.nic, got, c.want)
		}
	}
}
