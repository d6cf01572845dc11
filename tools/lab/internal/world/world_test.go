package world_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"go.uber.org/goleak"

	"github.com/hybridgateway/gateway/tools/ec2standin"
	"github.com/hybridgateway/gateway/tools/lab/internal/netns"
	"github.com/hybridgateway/gateway/tools/lab/internal/netns/netnstest"
	"github.com/hybridgateway/gateway/tools/lab/internal/world"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// stand builds a world that lives as long as the test.
func stand(t *testing.T, kind string, o world.Options) (*world.World, *ec2standin.Server) {
	t.Helper()
	o.Prefix = netnstest.Prefix(t, kind)
	o.EC2 = ec2standin.New(ec2standin.Config{})
	start := time.Now()
	w, err := world.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("built in %v", time.Since(start))
	t.Cleanup(func() {
		start := time.Now()
		if err := w.Close(); err != nil {
			t.Error(err)
		}
		t.Logf("closed in %v", time.Since(start))
		if left, _ := netns.List(o.Prefix); len(left) > 0 {
			t.Errorf("left over: %v", left)
		}
	})
	return w, o.EC2
}

func TestPrivilegedTheMachineItselfIsLeftAlone(t *testing.T) {
	before := machineNetwork(t)
	w, _ := stand(t, "m", world.Options{Gateways: 3, RouteTables: 12})
	if during := machineNetwork(t); during != before {
		t.Errorf("network of the machine while the world stands:\n%s\nwas:\n%s", during, before)
	}
	if n := len(w.RouteTables()); n != 12 {
		t.Errorf("%d route tables, want 12", n)
	}
	if n := len(w.Gateways()); n != 3 {
		t.Errorf("%d gateways, want 3", n)
	}
	if _, err := w.Host("nobody"); err == nil {
		t.Error("found a host that does not exist")
	}
	if _, err := w.Machine("node1"); err == nil {
		t.Error("a node is not a VPC host")
	}
	if err := w.PowerOff("node1"); err == nil {
		t.Error("power is for VPC hosts")
	}
	if err := w.Partition("gw1", "nobody"); err == nil {
		t.Error("cut off a host that does not exist")
	}
	must(t, w.Close())
	if after := machineNetwork(t); after != before {
		t.Errorf("network of the machine after the world:\n%s\nwas:\n%s", after, before)
	}
}

// machineNetwork describes the root namespace.
func machineNetwork(t testing.TB) string {
	t.Helper()
	var b strings.Builder
	links, err := netlink.LinkList()
	must(t, err)
	for _, l := range links {
		fmt.Fprintln(&b, l.Attrs().Index, l.Attrs().Name)
	}
	addrs, err := netlink.AddrList(nil, netlink.FAMILY_ALL)
	must(t, err)
	for _, a := range addrs {
		fmt.Fprintln(&b, a.IPNet)
	}
	routes, err := netlink.RouteList(nil, netlink.FAMILY_V4)
	must(t, err)
	for _, r := range routes {
		fmt.Fprintln(&b, r)
	}
	rules, err := netlink.RuleList(netlink.FAMILY_V4)
	must(t, err)
	for _, r := range rules {
		fmt.Fprintln(&b, r)
	}
	forward, err := os.ReadFile("/proc/sys/net/ipv4/ip_forward")
	must(t, err)
	fmt.Fprintf(&b, "forward %s", forward)
	return b.String()
}
