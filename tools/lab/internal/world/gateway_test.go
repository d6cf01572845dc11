package world_test

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/hybridgateway/gateway/tools/ec2standin"
	"github.com/hybridgateway/gateway/tools/lab/internal/netns"
	"github.com/hybridgateway/gateway/tools/lab/internal/onprem"
	"github.com/hybridgateway/gateway/tools/lab/internal/probe"
	"github.com/hybridgateway/gateway/tools/lab/internal/world"
)

// tunnel is the device of a bare kernel VXLAN gateway, set up by hand here.
const tunnel = "vx0"

// must stops the test on an error.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func hostOf(t testing.TB, w *world.World, name string) *netns.Host {
	t.Helper()
	h, err := w.Host(name)
	must(t, err)
	return h
}

func machineOf(t testing.TB, w *world.World, name string) world.Machine {
	t.Helper()
	m, err := w.Machine(name)
	must(t, err)
	return m
}

func gatewayMAC(ip netip.Addr) net.HardwareAddr {
	b := ip.As4()
	return net.HardwareAddr{2, 0, b[0], b[1], b[2], b[3]}
}

// plainGateway makes a host a gateway with the given VNI: device, forwarding
// database, neighbours and routes for all nodes there are.
func plainGateway(t testing.TB, w *world.World, name string, vni int) {
	t.Helper()
	m, h := machineOf(t, w, name), hostOf(t, w, name)
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU, attrs.HardwareAddr = tunnel, 1450, gatewayMAC(m.IP)
	must(t, h.Netlink().LinkAdd(&netlink.Vxlan{LinkAttrs: attrs, VxlanId: vni, Port: onprem.Port, SrcAddr: m.IP.AsSlice()}))
	must(t, h.SetUp(tunnel, true))
	l, err := h.Link(tunnel)
	must(t, err)
	for _, n := range w.Nodes() {
		mac := gatewayMAC(n.IP)
		must(t, h.Netlink().NeighSet(&netlink.Neigh{
			LinkIndex: l.Attrs().Index, Family: unix.AF_BRIDGE, Flags: netlink.NTF_SELF,
			State: netlink.NUD_PERMANENT, IP: n.IP.AsSlice(), HardwareAddr: mac,
		}))
		must(t, h.SetNeighbour(tunnel, n.IP, mac))
		for _, c := range n.PodCIDRs {
			must(t, h.SetRoute(c, n.IP, tunnel))
		}
	}
}

// steer makes a gateway the active one, on both sides.
func steer(t testing.TB, w *world.World, srv *ec2standin.Server, name string) {
	t.Helper()
	m := machineOf(t, w, name)
	for _, table := range w.RouteTables() {
		for _, n := range w.Nodes() {
			for _, c := range n.PodCIDRs {
				must(t, srv.SetRoute(table, c, ec2standin.ToENI(m.ENI)))
			}
		}
	}
	for _, n := range w.Nodes() {
		must(t, n.SetVTEPs([]onprem.Endpoint{{CIDR: world.VPCNetwork, TunnelEndpoint: m.IP, MAC: gatewayMAC(m.IP)}}))
	}
	must(t, w.Fabric.Err())
}

// tunnelled is a world with two bare gateways, the first one active.
func tunnelled(t *testing.T, kind string, o world.Options) (*world.World, *ec2standin.Server) {
	t.Helper()
	w, srv := stand(t, kind, o)
	for _, g := range w.Gateways() {
		plainGateway(t, w, g.Name, onprem.VNI)
	}
	steer(t, w, srv, "gw1")
	return w, srv
}

// flow is a two-way probe between a VPC host and a pod.
func flow(t testing.TB, w *world.World, machine, pod string, podIP string, interval time.Duration) *probe.Pair {
	t.Helper()
	m, mh, ph := machineOf(t, w, machine), hostOf(t, w, machine), hostOf(t, w, pod)
	ip := netip.MustParseAddr(podIP)
	p, err := probe.StartPair(context.Background(),
		probe.Config{Name: machine + " -> " + pod, From: mh, To: ph, Source: m.IP, Target: ip, Interval: interval},
		probe.Config{Name: pod + " -> " + machine, From: ph, To: mh, Source: ip, Target: m.IP, Interval: interval})
	must(t, err)
	return p
}

func received(t testing.TB, p *probe.Pair, n int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	must(t, p.WaitReceived(ctx, n))
}

// whole checks that a flow lost nothing and that each side saw the other's own
// address.
func whole(t testing.TB, p *probe.Pair) {
	t.Helper()
	there, back := p.Stop()
	for _, r := range []probe.Result{there, back} {
		t.Log(r)
		if r.Lost != 0 || r.Received == 0 {
			t.Errorf("%s: lost %d of %d", r.Name, r.Lost, r.Sent)
		}
	}
}

// waitSent waits until n more packets were sent in each direction.
func waitSent(t testing.TB, p *probe.Pair, n int) {
	t.Helper()
	there, _ := p.There.Counts()
	back, _ := p.Back.Counts()
	eventually(t, "probe sends", func() bool {
		a, _ := p.There.Counts()
		b, _ := p.Back.Counts()
		return a >= there+n && b >= back+n
	})
}

func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never happened: %s", what)
		}
	}
}
