package world_test

import (
	"bufio"
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/hybridgateway/gateway/tools/ec2standin"
	"github.com/hybridgateway/gateway/tools/lab/internal/netns"
	"github.com/hybridgateway/gateway/tools/lab/internal/nft"
	"github.com/hybridgateway/gateway/tools/lab/internal/world"
)

// icmpSent reads how many destination-unreachable messages a host has sent.
func icmpSent(t testing.TB, h *netns.Host) int {
	t.Helper()
	return snmp(t, h, "Icmp:", "OutDestUnreachs")
}

// snmp reads one of a host's protocol counters.
func snmp(t testing.TB, h *netns.Host, protocol, name string) int {
	t.Helper()
	var names, values []string
	must(t, h.Do(func() error {
		f, err := os.Open("/proc/thread-self/net/snmp")
		if err != nil {
			return err
		}
		defer f.Close()
		for s := bufio.NewScanner(f); s.Scan(); {
			if fields := strings.Fields(s.Text()); fields[0] == protocol {
				names, values = values, fields
			}
		}
		return nil
	}))
	i := slices.Index(names, name)
	if i < 0 {
		t.Fatalf("no counter %s %s", protocol, name)
	}
	v, err := strconv.Atoi(values[i])
	must(t, err)
	return v
}

func TestPrivilegedPowerOffIsSilentAndForgets(t *testing.T) {
	w, srv := tunnelled(t, "p", world.Options{})
	gw := hostOf(t, w, "gw1")
	// Things a gateway may have in its kernel besides the tunnel.
	eth0, err := gw.Link("eth0")
	must(t, err)
	must(t, gw.Netlink().QdiscAdd(&netlink.GenericQdisc{
		QdiscAttrs: netlink.QdiscAttrs{LinkIndex: eth0.Attrs().Index, Handle: netlink.MakeHandle(0xffff, 0), Parent: netlink.HANDLE_CLSACT},
		QdiscType:  "clsact",
	}))
	rule := netlink.NewRule()
	rule.Priority, rule.Table, rule.IifName = 50, 77, "eth0"
	must(t, gw.Netlink().RuleAdd(rule))
	must(t, gw.Netlink().RouteAdd(&netlink.Route{Dst: netns.IPNet(world.OnPremNetwork), Table: 77, Type: unix.RTN_BLACKHOLE}))
	must(t, nft.NewTable(gw, nftables.TableFamilyIPv4, "mine").Commit(func(b *nft.Batch) { b.Counter("x") }))

	p := flow(t, w, "ec2-2", "node1-pod1", "100.64.1.10", time.Millisecond)
	received(t, p, 10)
	fabric, wan := hostOf(t, w, "fabric"), hostOf(t, w, "wan")
	before := icmpSent(t, fabric) + icmpSent(t, wan)
	must(t, w.PowerOff("gw1"))
	eventually(t, "nothing arrives any more", func() bool {
		a, b := p.There.LastArrival(), p.Back.LastArrival()
		waitSent(t, p, 50)
		return a.Equal(p.There.LastArrival()) && b.Equal(p.Back.LastArrival())
	})
	// A peer that has a connection to it learns nothing either.
	c, err := hostOf(t, w, "gw2").Dial(context.Background(), "udp4", netip.AddrPortFrom(machineOf(t, w, "gw1").IP, 9999).String())
	must(t, err)
	defer c.Close()
	for range 50 {
		if _, err := c.Write([]byte("alive?")); err != nil {
			t.Errorf("write to a dead host: %v, want silence", err)
			break
		}
		must(t, c.SetReadDeadline(time.Now().Add(2*time.Millisecond)))
		if _, err := c.Read(make([]byte, 10)); !isTimeout(err) {
			t.Errorf("read from a dead host: %v, want silence", err)
			break
		}
	}
	if after := icmpSent(t, fabric) + icmpSent(t, wan); after != before {
		t.Errorf("%d ICMP errors about a dead host", after-before)
	}

	// The other gateway takes over.
	steer(t, w, srv, "gw2")
	_, n := p.There.Counts()
	received(t, p, n+10)
	p.Stop()

	must(t, w.PowerOn("gw1"))
	forgotten(t, gw)
	if d := dialEcho(t, w, "gw1"); d != nil {
		t.Errorf("not reachable after a boot: %v", d)
	}
	plainGateway(t, w, "gw1", 2)
	steer(t, w, srv, "gw1")
	p = flow(t, w, "ec2-2", "node1-pod1", "100.64.1.10", time.Millisecond)
	received(t, p, 50)
	whole(t, p)
}

func isTimeout(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}

// forgotten checks that a host has a bare kernel.
func forgotten(t testing.TB, h *netns.Host) {
	t.Helper()
	links, err := h.Netlink().LinkList()
	must(t, err)
	if len(links) != 2 {
		t.Errorf("devices after a boot: %d, want lo and eth0", len(links))
	}
	rules, err := h.Netlink().RuleList(netlink.FAMILY_V4)
	must(t, err)
	if len(rules) != 3 {
		t.Errorf("rules after a boot: %v", rules)
	}
	routes, err := h.Netlink().RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{Table: unix.RT_TABLE_UNSPEC}, netlink.RT_FILTER_TABLE)
	must(t, err)
	for _, r := range routes {
		if r.Protocol != unix.RTPROT_KERNEL && r.Dst != nil && !r.Dst.IP.IsUnspecified() {
			t.Errorf("route after a boot: %s", r)
		}
	}
	conn, err := h.Nftables()
	must(t, err)
	if tables, err := conn.ListTables(); err != nil || len(tables) != 0 {
		t.Errorf("packet filter after a boot: %v, %v", tables, err)
	}
	eth0, err := h.Link("eth0")
	must(t, err)
	qdiscs, err := h.Netlink().QdiscList(eth0)
	must(t, err)
	for _, q := range qdiscs {
		if q.Type() == "clsact" {
			t.Error("classifiers after a boot")
		}
	}
	if v, err := h.ReadSysctl("ipv4/ip_forward"); err != nil || v != "1" {
		t.Errorf("ip_forward after a boot: %q, %v", v, err)
	}
}

// dialEcho connects from an EC2 pod to a listener on the host.
func dialEcho(t testing.TB, w *world.World, name string) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	addr := netip.AddrPortFrom(machineOf(t, w, name).IP, 7).String()
	l, err := hostOf(t, w, name).Listen(ctx, "tcp4", addr)
	if err != nil {
		return err
	}
	defer l.Close()
	c, err := hostOf(t, w, "ec2-1").Dial(ctx, "tcp4", addr)
	if err != nil {
		return err
	}
	return c.Close()
}

func TestPrivilegedPartitionLossDelayMTU(t *testing.T) {
	w, _ := tunnelled(t, "x", world.Options{Nodes: 1})
	p := flow(t, w, "ec2-1", "node1-pod1", "100.64.1.10", time.Millisecond)
	received(t, p, 10)

	// One direction only, then both.
	must(t, w.Cut("gw1", "node1"))
	eventually(t, "cut counted", func() bool { d, err := w.Fabric.Drops(); return err == nil && d.Cut > 20 })
	_, n := p.Back.Counts()
	eventually(t, "the way back still works", func() bool { _, now := p.Back.Counts(); return now > n+20 })
	must(t, w.Partition("gw1", "node1"))
	eventually(t, "the way back is cut", func() bool {
		_, before := p.Back.Counts()
		waitSent(t, p, 50)
		_, after := p.Back.Counts()
		return before == after
	})
	must(t, w.Heal("node1", "gw1"))
	_, n = p.There.Counts()
	received(t, p, n+20)
	p.Stop()

	// Two hosts of one subnet, and a VPC host from the control plane.
	must(t, w.Partition("gw1", "cp"))
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if c, err := hostOf(t, w, "gw1").Dial(ctx, "tcp4", machineOf(t, w, "cp").IP.String()+":1"); !isTimeout(err) {
		t.Errorf("dial across a partition: %v, %v; want silence", c, err)
	}
	must(t, w.HealAll())
	if c, err := hostOf(t, w, "gw1").Dial(context.Background(), "tcp4", machineOf(t, w, "cp").IP.String()+":1"); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("dial after healing: %v, %v; want refused", c, err)
	}

	must(t, w.WAN.SetLoss(0.5))
	p = flow(t, w, "ec2-1", "node1-pod1", "100.64.1.10", time.Millisecond)
	waitSent(t, p, 400)
	there, back := p.Stop()
	for _, r := range []int{there.Lost * 100 / there.Sent, back.Lost * 100 / back.Sent} {
		if r < 30 || r > 70 {
			t.Errorf("lost %d %%, want about 50", r)
		}
	}
	must(t, w.WAN.SetLoss(0))

	delays(t, w)

	must(t, w.SetWANMTU(1400))
	tooBig(t, w)
}

// delays checks that a round trip takes at least twice the delay and that
// nothing is lost when it comes, changes and goes.
func delays(t *testing.T, w *world.World) {
	t.Helper()
	rtt := func() time.Duration {
		t.Helper()
		// A refused connection takes one round trip, and no process.
		start := time.Now()
		_, err := hostOf(t, w, "gw1").Dial(context.Background(), "tcp4", "192.168.1.11:1")
		if !errors.Is(err, unix.ECONNREFUSED) {
			t.Fatal(err)
		}
		return time.Since(start)
	}
	p := flow(t, w, "ec2-1", "node1-pod1", "100.64.1.10", time.Millisecond)
	received(t, p, 20)
	must(t, w.WAN.SetDelay(40*time.Millisecond))
	if d := rtt(); d < 80*time.Millisecond {
		t.Errorf("round trip with a delay of 40 ms took %v", d)
	}
	must(t, w.WAN.SetDelay(5*time.Millisecond))
	_, n := p.There.Counts()
	received(t, p, n+50)
	if d := rtt(); d < 10*time.Millisecond {
		t.Errorf("round trip with a delay of 5 ms took %v", d)
	}
	there, back := p.Stop()
	if there.Lost+back.Lost > 0 {
		t.Errorf("a delay lost packets: %s; %s", there, back)
	}
	must(t, w.WAN.SetDelay(0))
	must(t, w.WAN.SetDelay(0))
	if _, err := hostOf(t, w, "wan").Link("delay0"); err == nil {
		t.Error("delay device stays")
	}
	rtt()
}

// tooBig checks that a packet too big for the WAN is refused with the MTU of
// the WAN, when it must not be fragmented.
func tooBig(t *testing.T, w *world.World) {
	t.Helper()
	c, err := hostOf(t, w, "gw1").Dial(context.Background(), "udp4", "192.168.1.11:9")
	must(t, err)
	defer c.Close()
	raw, err := c.(*net.UDPConn).SyscallConn()
	must(t, err)
	must(t, raw.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DO)
	}))
	must(t, err)
	eventually(t, "path MTU learnt", func() bool {
		_, err := c.Write(make([]byte, 1450))
		return errors.Is(err, unix.EMSGSIZE)
	})
	var mtu int
	must(t, raw.Control(func(fd uintptr) { mtu, err = unix.GetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_MTU) }))
	must(t, err)
	if mtu != 1400 {
		t.Errorf("path MTU %d, want 1400", mtu)
	}
}

func TestPrivilegedGatewayTables(t *testing.T) {
	// With a table for what comes in from the WAN, an address outside the VPC
	// can be sent to a gateway from there.
	w, srv := stand(t, "g", world.Options{Nodes: 1, IngressTable: world.MainTable})
	floating := netip.MustParsePrefix("198.51.100.1/32")
	gw := hostOf(t, w, "gw2")
	must(t, gw.AddAddr("lo", floating))
	l, err := gw.Listen(context.Background(), "tcp4", "198.51.100.1:80")
	must(t, err)
	defer l.Close()
	must(t, srv.SetRoute(world.MainTable, floating, ec2standin.ToENI(machineOf(t, w, "gw2").ENI)))
	must(t, w.Fabric.Err())
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c, err := hostOf(t, w, "node1").Dial(ctx, "tcp4", "198.51.100.1:80")
	must(t, err)
	must(t, c.Close())
}
