package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"

	"github.com/hybridgateway/gateway/tools/lab/internal/demo"
	"github.com/hybridgateway/gateway/tools/lab/internal/gateway"
)

// testDrain takes the gateways out of service one after the other, under a probe in both directions.
func (s *suite) testDrain(t *testing.T) {
	t.Run("hand over", s.testDrainKeepsForwarding)
	t.Run("purge", s.testDrainPurge)
}

func (s *suite) testDrainKeepsForwarding(t *testing.T) {
	h := s.healthy(t)
	pair := s.probes(t)
	out, err := s.hgctl(within(t), h.Active, "drain")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{h.Standby.Name + " leads shard default", h.Active.Name + " leads nothing, and goes on forwarding"} {
		if !strings.Contains(out, want) {
			t.Errorf("hgctl says %q, want %q", out, want)
		}
	}
	if err := demo.WaitActive(within(t), s.Lab, h.Standby); err != nil {
		t.Error(err)
	}
	received(t, pair, 20)
	lostNothing(t, pair)
	if entries, err := h.Active.KernelEntries(); err != nil || len(entries) == 0 {
		t.Errorf("a drained gateway keeps its entries; it has %v, error %v", entries, err)
	}
}

// testDrainPurge removes the tunnel of the gateway that leads. Then the other one is the last, and refuses to go unless it is
// forced.
func (s *suite) testDrainPurge(t *testing.T) {
	h := s.healthy(t)
	pair := s.probes(t)
	out, err := s.hgctl(within(t), h.Active, "drain", "--purge", "--yes")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out, "nothing of "+h.Active.Name+" is left on its node") {
		t.Errorf("hgctl says %q", out)
	}
	received(t, pair, 20)
	lostNothing(t, pair)
	if left := s.leftIn(t, h.Active); len(left) > 0 {
		t.Errorf("left in the kernel of %s: %v", h.Active.Name, left)
	}

	if out, err := s.hgctl(within(t), h.Standby, "drain", "--purge", "--yes"); err == nil {
		t.Errorf("the last gateway lets itself be removed: it says %q", out)
	} else {
		t.Log(err)
	}
	if entries, err := h.Standby.KernelEntries(); err != nil || len(entries) == 0 {
		t.Errorf("the last gateway has %v, error %v", entries, err)
	}
	s.forceLast(t, h.Standby)
	s.startAnew(t, gateway.Dataplane, gateway.RouteSync)
	s.healthy(t)
}

// forceLast removes the last gateway although it refuses: first the VPC's routes, which nobody else would take over, then
// its tunnel.
func (s *suite) forceLast(t *testing.T, last *gateway.Gateway) {
	t.Helper()
	out, err := s.hgctl(within(t), last, "drain", "--purge", "--force", "--yes")
	if err != nil {
		t.Fatal(err)
	}
	routes, tunnel, found := strings.Cut(out, "nothing that the gateways own is left")
	if !found || !strings.Contains(tunnel, "nothing of "+last.Name+" is left on its node") {
		t.Errorf("hgctl says %q and then %q", routes, tunnel)
	}
	s.noRoutes(t)
	if left := s.leftIn(t, last); len(left) > 0 {
		t.Errorf("left in the kernel of %s: %v", last.Name, left)
	}
}

// leftIn lists what is the gateway's in the kernel of its node.
func (s *suite) leftIn(t *testing.T, g *gateway.Gateway) []string {
	t.Helper()
	left, err := g.KernelEntries()
	if err != nil {
		t.Fatal(err)
	}
	if there, err := g.HasDevice(); err != nil || there {
		left = append(left, fmt.Sprintf("device (error %v)", err))
	}
	const ours = 104 // the protocol number of the gateway's routes
	routes, err := g.Host.Netlink().RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{Protocol: ours}, netlink.RT_FILTER_PROTOCOL)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range routes {
		left = append(left, "route "+r.String())
	}
	addrs, err := g.Host.Netlink().AddrList(nil, netlink.FAMILY_V4)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		if a.Label == "lo:hgw" {
			left = append(left, "address "+a.String())
		}
	}
	err = g.Host.Do(func() error {
		c, err := nftables.New()
		if err != nil {
			return err
		}
		tables, err := c.ListTables()
		for _, table := range tables {
			if strings.HasPrefix(table.Name, "hybrid_gateway") {
				left = append(left, "table "+table.Name)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return left
}
