package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"google.golang.org/grpc"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/hybridgateway/gateway/libs/daemon"
	"github.com/hybridgateway/gateway/libs/netaddr"
	"github.com/hybridgateway/gateway/libs/netnstest"
	tunnelv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/tunnel/v1"
	"github.com/hybridgateway/gateway/services/dataplane/internal/config"
	"github.com/hybridgateway/gateway/services/dataplane/internal/plan"
)

// TestPrivilegedPackets: both ways through the tunnel, addresses unchanged, and from the gateway itself.
func TestPrivilegedPackets(t *testing.T) { inEachMode(t, packets) }

func packets(t *testing.T, mode string) {
	w := newWorld(t)
	w.dataplane(t, mode) // finds its address by itself
	w.state(t, "waiting for the registry", func(s *tunnelv1.Tunnel) bool {
		return !s.GetReady() && strings.Contains(s.GetReason(), "vtep-registry")
	})
	if got := w.get(t, "/readyz"); !strings.Contains(got, "503") {
		t.Errorf("/readyz before the snapshot: %s", got)
	}
	w.registry.both(t)
	s := w.ready(t, 2)
	if s.GetVtepIp() != gatewayIP || s.GetMac() != "02:68:0a:00:01:0a" || s.GetMtu() != 1450 || s.GetVni() != 2 || s.GetPort() != 8472 || s.GetRoutes() != 2 {
		t.Errorf("state %v", s)
	}

	cloud := newEcho(t, w.cloud, cloudIP)
	pod1, pod2 := newEcho(t, w.nodes[0], podIP(1)), newEcho(t, w.nodes[1], podIP(2))
	reaches(t, w.cloud, cloudIP, pod1)
	reaches(t, w.cloud, cloudIP, pod2)
	reaches(t, w.nodes[0], podIP(1), cloud)
	reaches(t, w.nodes[1], podIP(2), cloud)
	reaches(t, w.gateway, gatewayIP, pod1)
	if !pod1.seen(cloudIP) || !pod1.seen(gatewayIP) || !cloud.seen(podIP(1)) || !cloud.seen(podIP(2)) {
		t.Error("somebody saw another source address than the sender's")
	}
	w.state(t, "counting", func(s *tunnelv1.Tunnel) bool {
		return s.GetCounters().GetRxPackets() > 0 && s.GetCounters().GetTxPackets() > 0
	})

	metrics := w.get(t, "/metrics")
	for _, want := range []string{
		`eks_hybrid_gateway_vxlan_packets_total{dir="rx"}`, `eks_hybrid_gateway_vxlan_packets_total{dir="tx"}`,
		`eks_hybrid_gateway_guard_dropped_total{reason="outer-source"} 0`, `eks_hybrid_gateway_guard_dropped_total{reason="inner-source"} 0`,
		`eks_hybrid_gateway_tunnel_ready 1`, `eks_hybrid_gateway_tunnel_entries{kind="route"} 2`, `eks_hybrid_gateway_tunnel_ops_total{kind="route-add"} 2`,
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("no %s in /metrics", want)
		}
	}
	if got := w.get(t, "/readyz"); !strings.Contains(got, "200") {
		t.Errorf("/readyz: %s", got)
	}
}

// TestPrivilegedRestartLosesNothing: stop and start, and kill -9 and start, under a probe in both directions.
func TestPrivilegedRestartLosesNothing(t *testing.T) {
	inEachMode(t, func(t *testing.T, mode string) {
		t.Run("with the node's address", func(t *testing.T) { restart(t, newWorld(t), mode) })
		t.Run("with one that every gateway carries", func(t *testing.T) {
			restart(t, newWorldTo(t, floatingVTEP), mode, "--floating-vtep="+floatingVTEP+"/32")
		})
	})
}

func restart(t *testing.T, w *world, args ...string) {
	t.Helper()
	w.registry.both(t)
	process := w.dataplane(t, args...)
	if s, vtep := w.ready(t, 2), w.vtep; s.GetVtepIp() != vtep || s.GetMac() != netaddr.VTEPMAC(netip.MustParseAddr(vtep)).String() {
		t.Errorf("state %v", s)
	}
	cloud, pod := newEcho(t, w.cloud, cloudIP), newEcho(t, w.nodes[0], podIP(1))
	reaches(t, w.cloud, cloudIP, pod)
	reaches(t, w.nodes[0], podIP(1), cloud)
	reaches(t, w.gateway, gatewayIP, pod)
	index := w.gateway.Link(t, DeviceName).Attrs().Index

	down := startProbe(t, w.cloud, cloudIP, pod, time.Millisecond)
	up := startProbe(t, w.nodes[0], podIP(1), cloud, time.Millisecond)
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		down.advance(t, 50)
		if err := process.Process.Signal(signal); err != nil {
			t.Fatal(err)
		}
		_ = process.Wait()
		down.advance(t, 200) // forwarding goes on without a process
		process = w.dataplane(t, args...)
		w.ready(t, 2)
		down.advance(t, 50)
	}
	for name, p := range map[string]*probe{"to the pod": down, "from the pod": up} {
		if sent, lost := p.finish(); lost > 0 || sent < 500 {
			t.Errorf("%s: %d of %d packets lost", name, lost, sent)
		}
	}
	if w.gateway.Link(t, DeviceName).Attrs().Index != index {
		t.Error("the device was made anew")
	}
}

// TestPrivilegedRememberedList: registry and dataplane start anew while the API server is away, and the registry has never written down
// that node2 came. Its packets go on, in both directions, while the list is only remembered and when it is confirmed.
func TestPrivilegedRememberedList(t *testing.T) {
	w := newWorld(t)
	w.registry.both(t)
	process := w.dataplane(t)
	w.ready(t, 2)
	cloud, pod := newEcho(t, w.cloud, cloudIP), newEcho(t, w.nodes[1], podIP(2))
	reaches(t, w.cloud, cloudIP, pod)
	reaches(t, w.nodes[1], podIP(2), cloud)
	down := startProbe(t, w.cloud, cloudIP, pod, time.Millisecond)
	up := startProbe(t, w.nodes[1], podIP(2), cloud, time.Millisecond)
	_ = process.Process.Kill()
	_ = process.Wait()

	w.registry.stop()
	w.registry = newRegistry(t, w.registry.socket)
	w.registry.remember(t, "node1", nodeIP(1), podNet(1))
	w.registry.remember(t, "node3", "192.168.2.13", "100.66.0.0/24")
	w.registry.log.MarkSynced()
	w.dataplane(t)
	s := w.ready(t, 2)
	if len(s.GetProblems()) != 1 || !strings.Contains(s.GetProblems()[0], "vtep-registry remembers") {
		t.Errorf("problems %v", s.GetProblems())
	}
	down.advance(t, 200)
	w.registry.put(t, "node1", nodeIP(1), podNet(1))
	w.registry.log.Delete(t.Context(), "node3")
	w.registry.put(t, "node2", nodeIP(2), podNet(2))
	w.state(t, "confirmed", func(s *tunnelv1.Tunnel) bool { return len(s.GetProblems()) == 0 && s.GetVteps() == 2 })
	eventually(t, "the node that has gone leaves nothing", func() bool {
		routes, err := w.gateway.Netlink.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{Protocol: netlink.RouteProtocol(plan.RouteProtocol)}, netlink.RT_FILTER_PROTOCOL)
		return err == nil && len(routes) == 2
	})
	down.advance(t, 50)
	for name, p := range map[string]*probe{"to the pod": down, "from the pod": up} {
		if sent, lost := p.finish(); lost > 0 || sent < 250 {
			t.Errorf("%s: %d of %d packets lost", name, lost, sent)
		}
	}
}

// TestPrivilegedNodesComeAndGo: nodes that come, go, change and are nonsense lose no packet of another, and leave nothing behind.
func TestPrivilegedNodesComeAndGo(t *testing.T) { inEachMode(t, nodesComeAndGo) }

func nodesComeAndGo(t *testing.T, mode string) {
	w := newWorld(t)
	w.registry.both(t)
	w.dataplane(t, mode)
	w.ready(t, 2)
	pod := newEcho(t, w.nodes[0], podIP(1))
	reaches(t, w.cloud, cloudIP, pod)
	p := startProbe(t, w.cloud, cloudIP, pod, time.Millisecond)
	for i := range 20 {
		w.registry.put(t, "node2", nodeIP(2), podNet(2), "100.70.0.0/16")
		w.registry.put(t, "bad", "nonsense", "100.71.0.0/16")
		w.registry.put(t, "worse", gatewayIP, podNet(1), "0.0.0.0/0")
		w.registry.put(t, "zz", nodeIP(2), podNet(1))
		w.registry.put(t, "node1", nodeIP(1), podNet(1), "100.72.0.0/16")
		if i%2 == 0 {
			w.registry.log.Delete(t.Context(), "node2")
		}
		p.advance(t, 10)
	}
	for _, node := range []string{"node2", "bad", "worse", "zz"} {
		w.registry.log.Delete(t.Context(), node)
	}
	w.state(t, "with one node", func(s *tunnelv1.Tunnel) bool {
		return s.GetVteps() == 1 && s.GetRoutes() == 2 && len(s.GetProblems()) == 0
	})
	if sent, lost := p.finish(); lost > 0 {
		t.Errorf("%d of %d packets lost", lost, sent)
	}
	w.registry.log.Delete(t.Context(), "node1")
	w.state(t, "empty", func(s *tunnelv1.Tunnel) bool { return s.GetVteps() == 0 && s.GetRoutes() == 0 })
	routes, err := w.gateway.Netlink.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{Protocol: netlink.RouteProtocol(plan.RouteProtocol)}, netlink.RT_FILTER_PROTOCOL)
	if err != nil || len(routes) > 0 {
		t.Errorf("routes left behind: %v, error %v", routes, err)
	}
	index := w.gateway.Link(t, DeviceName).Attrs().Index
	neighbours, err := w.gateway.Netlink.NeighList(index, netlink.FAMILY_V4)
	if err != nil {
		t.Error(err)
	}
	fdb, err := w.gateway.Netlink.NeighList(index, syscall.AF_BRIDGE)
	if err != nil {
		t.Error(err)
	}
	for _, n := range append(neighbours, fdb...) {
		if n.State&netlink.NUD_PERMANENT != 0 {
			t.Errorf("left behind: %v", n)
		}
	}
}

// TestPrivilegedSwap: two nodes swap their networks; a third party's packets are not concerned, and no route is ever missing.
func TestPrivilegedSwap(t *testing.T) { inEachMode(t, swap) }

func swap(t *testing.T, mode string) {
	w := newWorld(t)
	w.registry.both(t)
	w.registry.put(t, "node3", "192.168.2.13", "100.66.0.0/24")
	w.dataplane(t, mode)
	w.ready(t, 3)
	updates := make(chan netlink.RouteUpdate, 64)
	done := make(chan struct{})
	defer close(done)
	if err := w.gateway.Do(func() error { return netlink.RouteSubscribe(updates, done) }); err != nil {
		t.Fatal(err)
	}
	w.registry.put(t, "node2", nodeIP(2), "100.66.0.0/24")
	w.registry.put(t, "node3", "192.168.2.13", podNet(2))
	want := map[string]string{"100.66.0.0/24": nodeIP(2), podNet(2): "192.168.2.13"}
	eventually(t, "the networks are swapped", func() bool {
		routes, err := w.gateway.Netlink.RouteList(nil, netlink.FAMILY_V4)
		if err != nil {
			return false // a change interrupted the list
		}
		right := 0
		for _, r := range routes {
			if r.Dst != nil && want[r.Dst.String()] == r.Gw.String() {
				right++
			}
		}
		return right == len(want)
	})
	for len(updates) > 0 {
		if u := <-updates; u.Dst != nil && u.Dst.String() == podNet(1) {
			t.Errorf("the route of a node that did not change was touched: %v", u)
		}
	}
}

// TestPrivilegedRepair: what somebody else removes or changes is back soon.
func TestPrivilegedRepair(t *testing.T) { inEachMode(t, repair) }

func repair(t *testing.T, mode string) {
	w := newWorld(t)
	w.registry.both(t)
	w.dataplane(t, mode)
	w.ready(t, 2)
	pod := newEcho(t, w.nodes[0], podIP(1))
	h := w.gateway.Netlink
	device := func() netlink.Link { return w.gateway.Link(t, DeviceName) }
	mac := netaddr.VTEPMAC(netip.MustParseAddr(nodeIP(1)))
	node := netip.MustParseAddr(nodeIP(1)).AsSlice()
	cases := []struct {
		name string
		harm func() error
	}{
		{"route removed", func() error {
			return h.RouteDel(&netlink.Route{Dst: netnstest.IPNet(netip.MustParsePrefix(podNet(1)))})
		}},
		{"route replaced", func() error {
			return h.RouteReplace(&netlink.Route{Dst: netnstest.IPNet(netip.MustParsePrefix(podNet(1))), LinkIndex: device().Attrs().Index,
				Gw: netip.MustParseAddr(nodeIP(2)).AsSlice(), Flags: int(netlink.FLAG_ONLINK), Protocol: netlink.RouteProtocol(plan.RouteProtocol)})
		}},
		{"neighbour removed", func() error {
			return h.NeighDel(&netlink.Neigh{LinkIndex: device().Attrs().Index, IP: node})
		}},
		{"neighbour changed", func() error {
			return h.NeighSet(&netlink.Neigh{LinkIndex: device().Attrs().Index, IP: node, HardwareAddr: []byte{2, 1, 1, 1, 1, 1}, State: netlink.NUD_PERMANENT})
		}},
		{"FDB entry removed", func() error {
			return h.NeighDel(&netlink.Neigh{LinkIndex: device().Attrs().Index, Family: syscall.AF_BRIDGE, Flags: netlink.NTF_SELF, HardwareAddr: mac[:], IP: node})
		}},
		{"FDB entry changed", func() error {
			return h.NeighSet(&netlink.Neigh{LinkIndex: device().Attrs().Index, Family: syscall.AF_BRIDGE, Flags: netlink.NTF_SELF, HardwareAddr: mac[:],
				IP: netip.MustParseAddr(nodeIP(2)).AsSlice(), State: netlink.NUD_PERMANENT})
		}},
		{"device down", func() error { return h.LinkSetDown(device()) }},
		{"device removed", func() error { return h.LinkDel(device()) }},
		{"MTU changed", func() error { return h.LinkSetMTU(device(), 1300) }},
		{"MAC changed", func() error { return h.LinkSetHardwareAddr(device(), []byte{2, 1, 1, 1, 1, 1}) }},
		{"all of nftables flushed", func() error {
			return w.gateway.Do(func() error {
				c, err := nftables.New()
				if err != nil {
					return err
				}
				c.FlushRuleset()
				if err := c.Flush(); err != nil {
					return err
				}
				flushed := time.Now()
				defer func() { t.Logf("the guard was back after %v", time.Since(flushed)) }()
				for time.Since(flushed) < 10*time.Second { // the regular check comes later
					tables, err := c.ListTables()
					if err != nil || len(tables) > 0 {
						return err
					}
					time.Sleep(time.Millisecond)
				}
				return errors.New("the guard is not put back")
			})
		}},
		{"forwarding switched off", func() error { w.gateway.Sysctl(t, "net/ipv4/ip_forward", "0"); return nil }},
	}
	for _, c := range cases {
		if mode == programming(config.ProgrammingFlow) && strings.HasPrefix(c.name, "FDB") {
			continue // it has none
		}
		t.Run(c.name, func(t *testing.T) {
			reaches(t, w.cloud, cloudIP, pod)
			if err := c.harm(); err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			eventually(t, "the device is as it was", func() bool {
				link, err := h.LinkByName(DeviceName)
				return err == nil && link.Attrs().MTU == 1450 && link.Attrs().HardwareAddr.String() == "02:68:0a:00:01:0a"
			})
			reaches(t, w.cloud, cloudIP, pod)
			t.Logf("repaired after %v at most", time.Since(start))
			if time.Since(start) > 10*time.Second {
				t.Error("repaired only by the regular check")
			}
			w.ready(t, 2)
		})
	}
}

// TestPrivilegedNICMTU: the tunnel follows the interface's MTU.
func TestPrivilegedNICMTU(t *testing.T) {
	w := newWorld(t)
	w.registry.both(t)
	w.dataplane(t)
	w.ready(t, 2)
	if err := w.gateway.Netlink.LinkSetMTU(w.gateway.Link(t, "eth0"), 1400); err != nil {
		t.Fatal(err)
	}
	w.state(t, "smaller", func(s *tunnelv1.Tunnel) bool { return s.GetMtu() == 1350 })
}

// TestPrivilegedBlocked: another tunnel on the same port is named, and the tunnel comes up when it is gone.
func TestPrivilegedBlocked(t *testing.T) {
	w := newWorld(t)
	w.registry.both(t)
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "cilium_vxlan"
	if err := w.gateway.Netlink.LinkAdd(&netlink.Vxlan{LinkAttrs: attrs, Port: 8472, FlowBased: true}); err != nil {
		t.Fatal(err)
	}
	w.gateway.SetUp(t, "cilium_vxlan")
	w.dataplane(t)
	w.state(t, "blocked", func(s *tunnelv1.Tunnel) bool { return !s.GetReady() && strings.Contains(s.GetReason(), "cilium_vxlan") })
	if err := w.gateway.Netlink.LinkDel(w.gateway.Link(t, "cilium_vxlan")); err != nil {
		t.Fatal(err)
	}
	w.ready(t, 2)
}

// TestPrivilegedRunEnds: the whole service in this process starts and stops without a goroutine left (see TestMain), and its health
// service and reflection answer.
func TestPrivilegedRunEnds(t *testing.T) {
	w := newWorld(t)
	w.registry.both(t)
	c, err := config.Parse([]string{"--socket-dir=" + w.dir, "--http-listen=127.0.0.1:0", "--node-ip=" + gatewayIP, "--log-level=error", "--vpc-cidrs=10.0.0.0/16"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- w.gateway.Do(func() error { return Run(ctx, c) }) }()
	w.ready(t, 2)
	conn, err := daemon.Dial(c.Socket(daemon.Dataplane))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	health, err := healthv1.NewHealthClient(conn).Check(t.Context(), &healthv1.HealthCheckRequest{}, grpc.WaitForReady(true))
	if err != nil || health.GetStatus() != healthv1.HealthCheckResponse_SERVING {
		t.Errorf("health %v, error %v", health, err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("Run: %v", err)
	}
	if w.gateway.Link(t, DeviceName).Attrs().OperState == netlink.OperDown {
		t.Error("the device was taken down")
	}
}

// TestPrivilegedTenThousand: the tunnel for many nodes, from an empty kernel, with one more node, after a restart, and down to nothing.
func TestPrivilegedTenThousand(t *testing.T) { inEachMode(t, tenThousand) }

func tenThousand(t *testing.T, mode string) {
	w := newWorld(t)
	const n = 10_000
	for i := range n {
		w.registry.put(t, fmt.Sprint("n", i), fmt.Sprintf("172.16.%d.%d", i/250, 1+i%250), fmt.Sprintf("100.%d.%d.0/24", 64+i/250, i%250))
	}
	process := w.dataplane(t, mode)
	w.state(t, "started", func(s *tunnelv1.Tunnel) bool { return s.GetMtu() > 0 })
	took := func(what string, f func()) {
		start := time.Now()
		f()
		t.Logf("%s: %v", what, time.Since(start))
	}
	took("all programmed", func() { w.registry.log.MarkSynced(); w.ready(t, n) })
	took("one more", func() { w.registry.put(t, "more", "192.168.1.11", "10.99.1.0/24"); w.ready(t, n+1) })
	took("restart", func() {
		_ = process.Process.Kill()
		_ = process.Wait()
		process = w.dataplane(t, mode)
		w.ready(t, n+1)
	})
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", process.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if strings.HasPrefix(line, "VmRSS") || strings.HasPrefix(line, "VmHWM") {
			t.Log(strings.TrimSpace(line))
		}
	}
	took("all removed", func() {
		for i := range n {
			w.registry.log.Delete(t.Context(), fmt.Sprint("n", i))
		}
		w.state(t, "almost empty", func(s *tunnelv1.Tunnel) bool { return s.GetVteps() == 1 && s.GetRoutes() == 1 })
	})
}
