package app

import (
	"net/netip"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"

	"github.com/hybridgateway/gateway/libs/daemon"
	"github.com/hybridgateway/gateway/libs/netnstest"
	tunnelv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/tunnel/v1"
)

// TestPrivilegedPurge: a purge removes from the kernel all that is the gateway's and nothing else; it stays removed whatever the registry tells,
// and is made again by the next process.
func TestPrivilegedPurge(t *testing.T) { inEachMode(t, purge) }

func purge(t *testing.T, mode string) {
	w := newWorldTo(t, floatingVTEP)
	w.registry.both(t)
	foreign := &netlink.Route{Dst: netnstest.IPNet(netip.MustParsePrefix("100.99.0.0/24")), Gw: netip.MustParseAddr("10.0.1.1").AsSlice(), Protocol: 4}
	if err := w.gateway.Netlink.RouteAdd(foreign); err != nil {
		t.Fatal(err)
	}
	before := w.kernelState(t)
	flags := []string{mode, "--floating-vtep=" + floatingVTEP + "/32", "--clamp-mss=on"}
	process := w.dataplane(t, flags...)
	w.ready(t, 2)
	if programmed := w.kernelState(t); len(programmed) != len(before)+6 { // device, two routes, two tables, one address
		t.Errorf("before the purge: %v", programmed)
	}

	conn, err := daemon.Dial(filepath.Join(w.dir, daemon.Dataplane+".sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for range 2 { // the second finds nothing
		answer, err := tunnelv1.NewTunnelServiceClient(conn).Purge(t.Context(), &tunnelv1.PurgeRequest{})
		if err != nil || len(answer.GetLeft()) > 0 {
			t.Fatalf("left %v, error %v", answer.GetLeft(), err)
		}
		if left := w.kernelState(t); strings.Join(left, "\n") != strings.Join(before, "\n") {
			t.Errorf("after the purge:\n%s\nwant\n%s", strings.Join(left, "\n"), strings.Join(before, "\n"))
		}
	}
	w.state(t, "purged", func(s *tunnelv1.Tunnel) bool {
		return !s.GetReady() && strings.HasPrefix(s.GetReason(), "purged") && s.GetVteps() == 0 && s.GetRoutes() == 0
	})
	w.registry.put(t, "node1", nodeIP(1), podNet(1), "100.70.0.0/24")
	w.registry.put(t, "node3", "192.168.2.13", "100.66.0.0/24")
	if answer, err := tunnelv1.NewTunnelServiceClient(conn).Purge(t.Context(), &tunnelv1.PurgeRequest{}); err != nil || len(answer.GetLeft()) > 0 {
		t.Errorf("left %v, error %v", answer.GetLeft(), err)
	}
	if left := w.kernelState(t); strings.Join(left, "\n") != strings.Join(before, "\n") {
		t.Errorf("a purged gateway programs:\n%s", strings.Join(left, "\n"))
	}

	_ = process.Process.Kill()
	_ = process.Wait()
	w.dataplane(t, flags...)
	w.ready(t, 3)
	reaches(t, w.cloud, cloudIP, newEcho(t, w.nodes[0], podIP(1)))
}

// kernelState lists the interfaces, the routes, the addresses and the tables of nftables that the gateway's kernel has.
func (w *world) kernelState(t *testing.T) []string {
	t.Helper()
	var out []string
	links, err := w.gateway.Netlink.LinkList()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range links {
		out = append(out, "interface "+l.Attrs().Name)
	}
	routes, err := w.gateway.Netlink.RouteList(nil, netlink.FAMILY_V4)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range routes {
		out = append(out, "route "+r.String())
	}
	addrs, err := w.gateway.Netlink.AddrList(nil, netlink.FAMILY_V4)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		out = append(out, "address "+a.String())
	}
	err = w.gateway.Do(func() error {
		c, err := nftables.New()
		if err != nil {
			return err
		}
		tables, err := c.ListTables()
		for _, table := range tables {
			out = append(out, "table "+table.Name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}
