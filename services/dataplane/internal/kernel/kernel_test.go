package kernel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/hybridgateway/gateway/libs/netaddr"
	"github.com/hybridgateway/gateway/libs/netnstest"
	"github.com/hybridgateway/gateway/services/dataplane/internal/plan"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	local      = netip.MustParseAddr("10.0.1.10")
	guardRules = plan.GuardRules{VNI: 2, Port: 8472, VPC: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/16"), netip.MustParsePrefix("10.9.0.0/16")}}
	device     = plan.Device{Name: "hybrid_vxlan0", VNI: 2, Port: 8472, Local: local, MAC: netaddr.VTEPMAC(local)}
)

// gateway is a namespace with a NIC, a default route, and a Kernel.
func gateway(t testing.TB) (*netnstest.Namespace, *Kernel) {
	t.Helper()
	ns, router := netnstest.New(t), netnstest.New(t)
	netnstest.Veth(t, ns, "eth0", "10.0.1.10/24", router, "to-gw", "10.0.1.1/24")
	ns.Route(t, "0.0.0.0/0", "10.0.1.1")
	return ns, open(t, ns)
}

func open(t testing.TB, ns *netnstest.Namespace) *Kernel {
	t.Helper()
	var k *Kernel
	err := ns.Do(func() (err error) {
		k, err = Open(Config{Device: device.Name, Node: local, Local: local, Guard: guardRules})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Close)
	return k
}

func vtep(node, underlay string, cidrs ...string) plan.VTEP {
	v := plan.VTEP{Node: node, Underlay: netip.MustParseAddr(underlay)}
	for _, c := range cidrs {
		v.PodCIDRs = append(v.PodCIDRs, netip.MustParsePrefix(c))
	}
	return v
}

func desired(vteps ...plan.VTEP) plan.Desired {
	return plan.Desired{Device: device, Source: local, VTEPs: vteps, Complete: true, Guard: true}
}

// inEachMode runs a test for both ways of programming.
func inEachMode(t *testing.T, test func(t *testing.T, in mode)) {
	t.Helper()
	for name, in := range modes {
		t.Run(name, func(t *testing.T) { test(t, in) })
	}
}

// mode is a way of programming: it makes a state that is desired one that is desired in this way.
type mode func(d plan.Desired) plan.Desired

var modes = map[string]mode{"node": perNode, "flow": flowBased}

func perNode(d plan.Desired) plan.Desired { return d }

func flowBased(d plan.Desired) plan.Desired {
	d.Device.Flow = true
	return d
}

func dump(t testing.TB, k *Kernel) plan.Actual {
	t.Helper()
	a, err := k.Dump()
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// converge plans and applies, and checks that nothing is left to do and that the plan's own picture is the kernel's.
func converge(t testing.TB, k *Kernel, d plan.Desired) plan.Result {
	t.Helper()
	before := dump(t, k)
	r := plan.Plan(d, before)
	for _, f := range k.Apply(r.Ops) {
		t.Errorf("apply: %v", f)
	}
	after := dump(t, k)
	if again := plan.Plan(d, after); len(again.Ops) > 0 {
		t.Fatalf("left to do: %v", again.Ops)
	}
	for _, op := range r.Ops {
		before.Apply(op)
	}
	if !reflect.DeepEqual(tunnel(before), tunnel(after)) {
		t.Fatalf("predicted\n%+v\nbut is\n%+v", tunnel(before), tunnel(after))
	}
	return r
}

// tunnel is the part of a state that is ours.
func tunnel(a plan.Actual) plan.Actual {
	out := plan.Actual{Guard: a.Guard, Clamp: a.Clamp, Link: a.Link, FDB: map[plan.MAC][]plan.FDBEntry{}, Neighbours: map[netip.Addr]plan.Neighbour{}, Routes: map[netip.Prefix][]plan.Route{}}
	for mac, e := range a.FDB {
		out.FDB[mac] = e
	}
	for addr, n := range a.Neighbours {
		if n.Permanent {
			out.Neighbours[addr] = n
		}
	}
	for dst, routes := range a.Routes {
		if mine := slices.DeleteFunc(slices.Clone(routes), func(r plan.Route) bool { return !r.Ours() }); len(mine) > 0 {
			out.Routes[dst] = mine
		}
	}
	return out
}

func kinds(ops []plan.Op) string {
	var out []string
	for _, op := range ops {
		out = append(out, plan.Kind(op))
	}
	return strings.Join(out, " ")
}

func TestPrivilegedFromNothing(t *testing.T) {
	ns, k := gateway(t)
	a := dump(t, k)
	if a.Link != nil || a.Host.Forwarding || a.Host.NIC == nil || a.Host.NIC.Name != "eth0" || a.Host.NIC.MTU != 1500 {
		t.Fatalf("an empty gateway is %+v", a)
	}
	converge(t, k, desired(vtep("a", "192.168.1.11", "100.64.1.0/24"), vtep("b", "192.168.1.12", "100.64.2.0/24", "100.65.2.0/24")))

	link := ns.Link(t, device.Name).(*netlink.Vxlan)
	if link.VxlanId != 2 || link.Port != 8472 || link.Learning || link.UDPCSum || !link.SrcAddr.Equal(net.IP(local.AsSlice())) ||
		link.MTU != 1450 || link.HardwareAddr.String() != "02:68:0a:00:01:0a" || link.Flags&net.FlagUp == 0 {
		t.Errorf("the device is %+v", link)
	}
	if addrs, err := ns.Netlink.AddrList(link, netlink.FAMILY_V6); err != nil || len(addrs) > 0 {
		t.Errorf("the device has IPv6 addresses %v, error %v", addrs, err)
	}
	routes, err := ns.Netlink.RouteGet(net.ParseIP("100.65.2.9"))
	if err != nil || len(routes) != 1 || routes[0].LinkIndex != link.Index || !routes[0].Src.Equal(net.IP(local.AsSlice())) {
		t.Errorf("route to a pod: %v, error %v", routes, err)
	}
	routes, err = ns.Netlink.RouteGet(net.ParseIP("192.168.1.11"))
	if err != nil || len(routes) != 1 || routes[0].LinkIndex != ns.Link(t, "eth0").Attrs().Index {
		t.Errorf("outer packets must leave by the NIC; route to a node: %v, error %v", routes, err)
	}

	converge(t, k, desired())
	if a := tunnel(dump(t, k)); len(a.FDB)+len(a.Neighbours)+len(a.Routes) > 0 {
		t.Errorf("left behind: %+v", a)
	}
}

func TestPrivilegedDefaultAddress(t *testing.T) {
	ns, _ := gateway(t)
	ns.Run(t, func() {
		if got, err := DefaultAddress(); err != nil || got != local {
			t.Errorf("got %v, error %v", got, err)
		}
	})
	netnstest.New(t).Run(t, func() {
		if got, err := DefaultAddress(); !errors.Is(err, ErrNoDefaultRoute) {
			t.Errorf("without a network: %v, error %v", got, err)
		}
	})
}

// TestPrivilegedAddressOnLoopback: the local address may be on lo, as where addresses are announced by a routing
// daemon; the underlay is then the interface of the default route.
func TestPrivilegedAddressOnLoopback(t *testing.T) {
	ns, router := netnstest.New(t), netnstest.New(t)
	netnstest.Veth(t, ns, "eth0", "10.9.0.2/24", router, "to-gw", "10.9.0.1/24")
	ns.Route(t, "0.0.0.0/0", "10.9.0.1")
	ns.SetUp(t, "lo", "10.0.1.10/32")
	k := open(t, ns)
	if nic := dump(t, k).Host.NIC; nic == nil || nic.Name != "eth0" {
		t.Fatalf("NIC is %+v", nic)
	}
	converge(t, k, desired(vtep("a", "192.168.1.11", "100.64.1.0/24")))
}

func TestPrivilegedAdopt(t *testing.T) {
	cases := []struct {
		name   string
		change func(v *netlink.Vxlan)
		want   string
	}{
		{"learning, no local address, other MTU", func(v *netlink.Vxlan) { v.Learning, v.SrcAddr = true, nil },
			"device-set device-set device-set device-set device-set device-set"},
		{"with a default remote", func(v *netlink.Vxlan) { v.Group = net.ParseIP("192.168.1.77") }, ""},
		{"bound to the NIC", func(v *netlink.Vxlan) { v.VtepDevIndex = -1 }, ""},
		{"other VNI", func(v *netlink.Vxlan) { v.VxlanId = 3 }, "device-delete device-add device-set device-set"},
		{"other port", func(v *netlink.Vxlan) { v.Port = 4789 }, "device-delete device-add device-set device-set"},
		{"flow-based", func(v *netlink.Vxlan) { v.FlowBased = true }, "device-delete device-add device-set device-set"},
		{"policy extension", func(v *netlink.Vxlan) { v.GBP = true }, "device-delete device-add device-set device-set"},
		{"IPv6 outside", func(v *netlink.Vxlan) { v.SrcAddr = net.ParseIP("fd00::1") }, "device-delete device-add device-set device-set"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			ns, k := gateway(t)
			ns.Sysctl(t, "net/ipv4/ip_forward", "1")
			attrs := netlink.NewLinkAttrs()
			attrs.Name = device.Name
			v := &netlink.Vxlan{LinkAttrs: attrs, VxlanId: 2, Port: 8472, SrcAddr: local.AsSlice()}
			c.change(v)
			if v.VtepDevIndex != 0 {
				v.VtepDevIndex = ns.Link(t, "eth0").Attrs().Index
			}
			if err := ns.Netlink.LinkAdd(v); err != nil {
				t.Fatal(err)
			}
			before := ns.Link(t, device.Name).Attrs().Index
			r := converge(t, k, desired(vtep("a", "192.168.1.11", "100.64.1.0/24")))
			kept := ns.Link(t, device.Name).Attrs().Index == before
			if c.want == "" || strings.HasPrefix(c.want, "device-set") {
				if !kept {
					t.Errorf("a compatible device was replaced: %v", r.Ops)
				}
			} else if kept {
				t.Errorf("an incompatible device was kept: %v", r.Ops)
			}
			if c.want != "" && !strings.HasPrefix(kinds(r.Ops), "guard-set "+c.want) {
				t.Errorf("ops %v, want guard-set %s", r.Ops, c.want)
			}
		})
	}
}

// TestPrivilegedModeChange: a device of the other mode is replaced, and what comes after it is what a fresh start makes.
func TestPrivilegedModeChange(t *testing.T) {
	vteps := many(20)
	for name, order := range map[string][2]mode{"to flow": {perNode, flowBased}, "to node": {flowBased, perNode}} {
		t.Run(name, func(t *testing.T) {
			_, k := gateway(t)
			converge(t, k, order[0](desired(vteps...)))
			d := order[1](desired(vteps...))
			if r := converge(t, k, d); !strings.HasPrefix(kinds(r.Ops), "device-delete device-add") {
				t.Errorf("ops %v", r.Ops)
			}
			_, fresh := gateway(t)
			converge(t, fresh, d)
			if got, want := tunnel(dump(t, k)), tunnel(dump(t, fresh)); !reflect.DeepEqual(got, want) {
				t.Errorf("it is\n%+v\nwant\n%+v", got, want)
			}
		})
	}
}

// TestPrivilegedForeignEncap: what others change about the outer packets of a route of ours is seen and put right.
func TestPrivilegedForeignEncap(t *testing.T) {
	_, k := gateway(t)
	d := flowBased(desired(vtep("a", "192.168.1.11", "100.64.1.0/24")))
	converge(t, k, d)
	sound := dump(t, k).Routes[d.VTEPs[0].PodCIDRs[0]][0]
	for name, change := range map[string]func(e *plan.Encap){
		"other remote":     func(e *plan.Encap) { e.Remote = netip.MustParseAddr("192.168.1.12") },
		"other local":      func(e *plan.Encap) { e.Local = netip.MustParseAddr("10.0.1.11") },
		"other VNI":        func(e *plan.Encap) { e.VNI = 3 },
		"no fragmentation": func(e *plan.Encap) { e.DF = true },
		"none":             func(e *plan.Encap) { *e = plan.Encap{} },
	} {
		r := sound
		change(&r.Encap)
		if failures := k.Apply([]plan.Op{plan.ReplaceRoute{Route: r}}); len(failures) > 0 {
			t.Fatal(failures)
		}
		if got := dump(t, k).Routes[r.Dst]; len(got) != 1 || got[0] != r {
			t.Errorf("%s: the kernel has %v, want %v", name, got, r)
		}
		if r := converge(t, k, d); kinds(r.Ops) != "route-replace" {
			t.Errorf("%s: ops %v", name, r.Ops)
		}
	}
	// With a TTL of its own, in the place of ours and to a network that nobody has.
	l, err := k.device()
	if err != nil {
		t.Fatal(err)
	}
	for dst, want := range map[string]string{sound.Dst.String(): "route-replace", "100.64.9.0/24": "route-delete"} {
		r := sound
		r.Dst, r.Encap = netip.MustParsePrefix(dst), plan.Encap{}
		m := routeMessage(unix.RTM_NEWROUTE, unix.NLM_F_CREATE|unix.NLM_F_REPLACE, l.index, r)
		m.attr(unix.RTA_ENCAP_TYPE, binary.NativeEndian.AppendUint16(nil, lwtunnelEncapIP)...)
		m.nest(unix.RTA_ENCAP|unix.NLA_F_NESTED, func() {
			m.attrAddr(lwtunnelIPDst, sound.Encap.Remote)
			m.attr(lwtunnelIPTTL, 9)
		})
		if err := k.conn.doOne(m); err != nil {
			t.Fatal(err)
		}
		if r := converge(t, k, d); kinds(r.Ops) != want {
			t.Errorf("a TTL of its own: ops %v, want %s", r.Ops, want)
		}
	}
}

func TestPrivilegedForeign(t *testing.T) { inEachMode(t, foreignRoute) }

func foreignRoute(t *testing.T, in mode) {
	ns, k := gateway(t)
	eth0 := ns.Link(t, "eth0").Attrs().Index
	foreign := &netlink.Route{Dst: netnstest.IPNet(netip.MustParsePrefix("100.64.1.0/24")), Gw: net.ParseIP("10.0.1.1"), Protocol: 4}
	if err := ns.Netlink.RouteAdd(foreign); err != nil {
		t.Fatal(err)
	}
	a := vtep("a", "192.168.1.11", "100.64.1.0/24", "100.64.9.0/24")
	r := converge(t, k, in(desired(a)))
	if len(r.Findings) != 1 || r.Findings[0].Kind != plan.Conflict {
		t.Errorf("findings %v", r.Findings)
	}
	routes, err := ns.Netlink.RouteGet(net.ParseIP("100.64.1.1"))
	if err != nil || routes[0].LinkIndex != eth0 {
		t.Errorf("the foreign route was overwritten: %v, error %v", routes, err)
	}
	// A route that appears between dump and apply is not overwritten either.
	late := plan.Route{Dst: netip.MustParsePrefix("100.64.1.0/24"), Via: a.Underlay, Src: local, Dev: device.Name, Protocol: plan.RouteProtocol, Onlink: true}
	if failures := k.Apply([]plan.Op{plan.AddRoute{Route: late}}); len(failures) != 1 || !strings.Contains(failures[0].Error(), "file exists") {
		t.Errorf("failures %v", failures)
	}
	if err := ns.Netlink.RouteDel(foreign); err != nil {
		t.Fatal(err)
	}
	if r := converge(t, k, in(desired(a))); kinds(r.Ops) != "route-add" {
		t.Errorf("ops %v", r.Ops)
	}
}

func TestPrivilegedRival(t *testing.T) {
	ns, k := gateway(t)
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "cilium_vxlan"
	if err := ns.Netlink.LinkAdd(&netlink.Vxlan{LinkAttrs: attrs, Port: 8472, FlowBased: true}); err != nil {
		t.Fatal(err)
	}
	ns.SetUp(t, "cilium_vxlan")
	r := plan.Plan(desired(), dump(t, k))
	if len(r.Ops) > 0 || len(r.Blocked()) != 1 || !strings.Contains(r.Blocked()[0], "cilium_vxlan") {
		t.Errorf("ops %v, blocked %v", r.Ops, r.Blocked())
	}
}

// TestPrivilegedPortTaken: what only shows when the device is brought up is explained as well, and nothing after it is tried.
func TestPrivilegedPortTaken(t *testing.T) {
	ns, k := gateway(t)
	err := ns.Do(func() error {
		taken, err := net.ListenPacket("udp4", "0.0.0.0:8472")
		if err == nil {
			t.Cleanup(func() { taken.Close() })
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	failures := k.Apply(plan.Plan(desired(vtep("a", "192.168.1.11", "100.64.1.0/24")), dump(t, k)).Ops)
	if len(failures) != 1 || !strings.Contains(failures[0].Error(), "UDP port is in use") {
		t.Errorf("failures %v", failures)
	}
}

func TestPrivilegedFailureStopsNothing(t *testing.T) { inEachMode(t, failureStopsNothing) }

func failureStopsNothing(t *testing.T, in mode) {
	_, k := gateway(t)
	d := in(desired(vtep("a", "192.168.1.11", "100.64.1.0/24")))
	converge(t, k, d)
	bad := plan.AddRoute{Route: plan.Route{Dst: netip.MustParsePrefix("100.66.0.0/24"), Via: netip.MustParseAddr("192.168.1.11"),
		Src: netip.MustParseAddr("9.9.9.9"), Dev: device.Name, Protocol: plan.RouteProtocol, Onlink: true}}
	d.VTEPs = append(d.VTEPs, vtep("b", "192.168.1.12", "100.64.2.0/24"))
	ops := append([]plan.Op{bad}, plan.Plan(d, dump(t, k)).Ops...)
	failures := k.Apply(ops)
	if len(failures) != 1 || failures[0].Op != plan.Op(bad) || !strings.Contains(failures[0].Error(), "route add 100.66.0.0/24") {
		t.Errorf("failures %v", failures)
	}
	if left := plan.Plan(d, dump(t, k)).Ops; len(left) > 0 {
		t.Errorf("left to do: %v", left)
	}
	gone := []plan.Op{plan.DeleteRoute(bad), plan.DeleteNeighbour{Addr: local}, plan.DeleteFDB{MAC: plan.MAC{2}}}
	if failures := k.Apply(gone); len(failures) > 0 {
		t.Errorf("removing what is absent fails: %v", failures)
	}
}

// TestPrivilegedReadOnlySysctl: with /proc/sys read-only, as in a container without privileges, the tunnel works on a host that
// forwards, and says what to do on one that does not.
func TestPrivilegedReadOnlySysctl(t *testing.T) {
	ns, _ := gateway(t)
	k := openReadOnly(t, ns)
	failures := k.Apply(plan.Plan(desired(), dump(t, k)).Ops)
	if len(failures) != 1 || !strings.Contains(failures[0].Error(), "set net.ipv4.ip_forward=1 on the node") || !errors.Is(failures[0], unix.EROFS) {
		t.Errorf("failures %v", failures)
	}
	ns.Sysctl(t, "net/ipv4/ip_forward", "1")
	converge(t, k, desired(vtep("a", "192.168.1.11", "100.64.1.0/24")))
}

func TestPrivilegedNoNetAdmin(t *testing.T) {
	ns, _ := gateway(t)
	ns.Sysctl(t, "net/ipv4/ip_forward", "1")
	ns.Run(t, func() {
		// The thread ends with this function, and with it the loss of all capabilities.
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		if err := unix.Capset(&header, &make([]unix.CapUserData, 2)[0]); err != nil {
			t.Error(err)
			return
		}
		k, err := Open(Config{Device: device.Name, Node: local, Local: local})
		if err != nil {
			t.Error(err)
			return
		}
		defer k.Close()
		a, err := k.Dump()
		if err != nil {
			t.Error(err)
			return
		}
		failures := k.Apply(plan.Plan(desired(), a).Ops)
		if len(failures) != 1 || !strings.Contains(failures[0].Error(), "the capability NET_ADMIN is missing") {
			t.Errorf("failures %v", failures)
		}
	})
}

func TestPrivilegedStrictRPFilter(t *testing.T) {
	ns, k := gateway(t)
	ns.Sysctl(t, "net/ipv4/conf/all/rp_filter", "1")
	r := converge(t, k, desired())
	if a := dump(t, k); a.Link.Conf.RPFilter != 2 || len(r.Findings) != 1 || r.Findings[0].Kind != plan.Warning {
		t.Errorf("rp_filter of the device is %d, findings %v", a.Link.Conf.RPFilter, r.Findings)
	}
}

func many(n int) []plan.VTEP {
	vteps := make([]plan.VTEP, n)
	for i := range vteps {
		vteps[i] = vtep(fmt.Sprintf("node-%d", i), fmt.Sprintf("192.168.%d.%d", i/250, 1+i%250), fmt.Sprintf("100.%d.%d.0/24", 64+i/250, i%250))
	}
	return vteps
}

func TestPrivilegedMany(t *testing.T) { inEachMode(t, manyNodes) }

func manyNodes(t *testing.T, in mode) {
	_, k := gateway(t)
	d := in(desired(many(10000)...))
	fdb := 10000
	if d.Device.Flow {
		fdb = 0
	}
	converge(t, k, d)
	a := tunnel(dump(t, k))
	if len(a.FDB) != fdb || len(a.Neighbours) != 10000 || len(a.Routes) != 10000 || len(a.Guard.Sources) != 10000 || len(a.Guard.Outers) != 10000 {
		t.Errorf("%d FDB entries, %d neighbours, %d routes", len(a.FDB), len(a.Neighbours), len(a.Routes))
	}
	converge(t, k, in(desired()))
	a = tunnel(dump(t, k))
	if len(a.FDB)+len(a.Neighbours)+len(a.Routes)+len(a.Guard.Sources)+len(a.Guard.Outers) > 0 {
		t.Errorf("left behind: %d FDB entries, %d neighbours, %d routes", len(a.FDB), len(a.Neighbours), len(a.Routes))
	}
}

func BenchmarkPrivileged10000(b *testing.B) {
	_, k := gateway(b)
	vteps := many(10000)
	for b.Loop() {
		for _, d := range []plan.Desired{desired(vteps...), desired()} {
			if failures := k.Apply(plan.Plan(d, dump(b, k)).Ops); len(failures) > 0 {
				b.Fatal(failures[0])
			}
		}
	}
}
