package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	vtepsv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/vteps/v1"
	"github.com/hybridgateway/gateway/tools/lab/internal/cluster"
	"github.com/hybridgateway/gateway/tools/lab/internal/demo"
	"github.com/hybridgateway/gateway/tools/lab/internal/gateway"
	"github.com/hybridgateway/gateway/tools/lab/internal/lab"
	"github.com/hybridgateway/gateway/tools/lab/internal/world"
)

var (
	errStillLeads = errors.New("a gateway still leads")
	errNotYet     = errors.New("the standby does not lead yet")
	errStillThere = errors.New("the process is still there")
)

// testDrift changes what the gateway has written behind its back.
func (s *suite) testDrift(t *testing.T) {
	t.Run("VPC route deleted", func(t *testing.T) {
		h := s.healthy(t)
		table, dst := s.World.RouteTables()[0], s.World.PodNetworks()[0]
		if err := s.EC2.RemoveRoute(table, dst); err != nil {
			t.Fatal(err)
		}
		s.healthy(t)
		m, err := s.World.Machine(h.Active.Name)
		if err != nil {
			t.Fatal(err)
		}
		snapshot, _ := s.EC2.Snapshot().Table(table)
		if r, ok := snapshot.Route(dst); !ok || r.Target.ID != m.ENI {
			t.Errorf("route is %v, want %s", r, m.ENI)
		}
	})
	if s.Options.VTEPMode == lab.Floating {
		s.testFloatingDrift(t)
	} else {
		s.testPublishedDrift(t)
	}
	t.Run("kernel entries deleted", func(t *testing.T) {
		h := s.healthy(t)
		want, err := h.Active.KernelEntries()
		if err != nil {
			t.Fatal(err)
		}
		wipe(t, h.Active)
		if err := demo.WaitEntries(within(t), h.Active, want); err != nil {
			t.Error(err)
		}
	})
	t.Run("kernel device deleted", func(t *testing.T) {
		h := s.healthy(t)
		want, err := h.Active.KernelEntries()
		if err != nil {
			t.Fatal(err)
		}
		link, err := h.Active.Host.Link(gateway.Device)
		if err != nil {
			t.Fatal(err)
		}
		if err := h.Active.Host.Netlink().LinkDel(link); err != nil {
			t.Fatal(err)
		}
		if err := demo.WaitEntries(within(t), h.Active, want); err != nil {
			t.Error(err)
		}
		s.healthy(t)
	})
}

func (s *suite) testPublishedDrift(t *testing.T) {
	t.Run("CiliumVTEPConfig deleted", func(t *testing.T) {
		h := s.healthy(t)
		if err := s.Cluster.DeleteVTEPConfig(within(t)); err != nil {
			t.Fatal(err)
		}
		s.waitPublished(t, h.Active)
	})
	t.Run("CiliumVTEPConfig changed", func(t *testing.T) {
		h := s.healthy(t)
		patch := []byte(`{"spec":{"endpoints":[{"name":"vpc-gateway","tunnelEndpoint":"10.0.9.9","cidr":"10.0.0.0/16","mac":"02:00:00:00:00:09"}]}}`)
		if _, err := s.Cluster.Nodes.Resource(cluster.CiliumVTEPConfigs).Patch(within(t), cluster.VTEPConfigName, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
		s.waitPublished(t, h.Active)
	})
}

// waitPublished waits until the API server and every node's map name a gateway.
func (s *suite) waitPublished(t *testing.T, g *gateway.Gateway) {
	t.Helper()
	err := lab.Poll(within(t), "the CiliumVTEPConfig", func(ctx context.Context) error {
		list, err := s.Cluster.VTEPEndpoints(ctx)
		if err != nil {
			return err
		}
		if len(list) != 1 || list[0].TunnelEndpoint != g.NodeIP.String() || list[0].CIDR != world.VPCNetwork.String() {
			return fmt.Errorf("it says %v, want %s", list, g.NodeIP)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	s.healthy(t)
}

// wipe deletes all routes, neighbours and FDB entries of the tunnel device.
func wipe(t *testing.T, g *gateway.Gateway) {
	t.Helper()
	link, err := g.Host.Link(gateway.Device)
	if err != nil {
		t.Fatal(err)
	}
	nl := g.Host.Netlink()
	routes, err := nl.RouteList(link, netlink.FAMILY_V4)
	if err != nil {
		t.Fatal(err)
	}
	if len(routes) == 0 {
		t.Fatal("no routes to delete")
	}
	for _, r := range routes {
		if err := nl.RouteDel(&r); err != nil {
			t.Fatal(err)
		}
	}
	for _, family := range []int{netlink.FAMILY_V4, 7 /* AF_BRIDGE */} {
		entries, err := nl.NeighList(link.Attrs().Index, family)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range entries {
			if n.LinkIndex != link.Attrs().Index {
				continue
			}
			if err := nl.NeighDel(&n); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// testBadNodes registers nodes that claim what they must not, or nothing that
// makes sense. None may disturb the others.
func (s *suite) testBadNodes(t *testing.T) {
	s.healthy(t)
	want := map[string][]string{}
	for _, g := range s.Gateways {
		entries, err := g.KernelEntries()
		if err != nil {
			t.Fatal(err)
		}
		if len(entries) == 0 {
			t.Fatalf("%s holds nothing", g.Name)
		}
		want[g.Name] = entries
	}
	bad := map[string]struct{ ips, cidrs []string }{
		"bad-no-address":   {nil, []string{"100.64.50.0/24"}},
		"bad-ipv6-only":    {[]string{"fd00::1"}, []string{"100.64.51.0/24"}},
		"bad-nonsense":     {[]string{"192.168.1.999"}, []string{"not-a-network"}},
		"bad-outside":      {[]string{"192.168.1.60"}, []string{"203.0.113.0/24"}},
		"bad-vpc":          {[]string{"192.168.1.61"}, []string{"10.0.1.0/24"}},
		"bad-everything":   {[]string{"192.168.1.62"}, []string{"0.0.0.0/0"}},
		"bad-duplicate":    {[]string{"192.168.1.63"}, []string{"100.64.1.0/24"}},
		"bad-duplicate-ip": {[]string{"192.168.1.11"}, []string{"100.64.53.0/24"}},
		"bad-foreign-ip":   {[]string{"8.8.8.8"}, []string{"100.64.54.0/24"}},
	}
	pair := s.probes(t)
	for name, b := range bad {
		if err := s.Cluster.CreateNode(within(t), cluster.RawCiliumNode(name, b.ips, b.cidrs)); err != nil {
			t.Fatal(err)
		}
	}
	for _, g := range s.Gateways {
		s.waitQuarantined(t, g, slices.Collect(maps.Keys(bad)))
	}
	// Both forward, so both must refuse.
	for _, g := range s.Gateways {
		if err := demo.WaitEntries(within(t), g, want[g.Name]); err != nil {
			t.Errorf("a bad node is in the kernel of %s: %v", g.Name, err)
		}
	}
	for name := range bad {
		if err := s.Cluster.DeleteNode(within(t), name); err != nil {
			t.Error(err)
		}
	}
	lostNothing(t, pair)
	s.healthy(t)
}

// waitQuarantined waits until a gateway shows all of the nodes as quarantined.
func (s *suite) waitQuarantined(t *testing.T, g *gateway.Gateway, nodes []string) {
	t.Helper()
	err := lab.Poll(within(t), g.Name+" to quarantine the bad nodes", func(ctx context.Context) error {
		st, err := s.Operator.Status(ctx, g)
		if err != nil {
			return err
		}
		missing := map[string]bool{}
		for _, name := range nodes {
			missing[name] = true
		}
		for _, v := range st.GetVteps() {
			if missing[v.GetNode()] && v.GetState() == vtepsv1.State_STATE_QUARANTINED && v.GetReason() != "" {
				delete(missing, v.GetNode())
			}
		}
		if len(missing) > 0 {
			return fmt.Errorf("not quarantined: %v", missing)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func (s *suite) testNodes(t *testing.T) {
	s.healthy(t)
	pair := s.probes(t)
	before := s.entries(t)
	spec := demo.NewNode(9)
	spec.PodCIDRs = append(spec.PodCIDRs, netip.MustParsePrefix("100.65.9.0/24"))
	took, err := demo.Join(within(t), s.Lab, spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("forwarding after %s", took)
	s.healthy(t)
	if err := demo.LeaveClean(within(t), s.Lab, spec); err != nil {
		t.Fatal(err)
	}
	for _, g := range s.Gateways {
		if err := demo.WaitEntries(within(t), g, before[g.Name]); err != nil {
			t.Error(err)
		}
	}
	lostNothing(t, pair)
}

// testTelemetry looks for the documented metrics.
func (s *suite) testTelemetry(t *testing.T) {
	h := s.healthy(t)
	for _, tt := range []struct {
		service, want string
	}{
		{gateway.Election, `eks_hybrid_gateway_lease_holder{pod="` + h.Active.Name + `"} 1`},
		{gateway.VtepRegistry, "eks_hybrid_gateway_vtep_count 3"},
		{gateway.Dataplane, `eks_hybrid_gateway_vxlan_packets_total{dir="rx"}`},
		{gateway.Dataplane, `eks_hybrid_gateway_vxlan_packets_total{dir="tx"}`},
		{gateway.RouteSync, "eks_hybrid_gateway_route_reconcile_errors_total"},
	} {
		client := &http.Client{
			Timeout:   10 * time.Second,
			Transport: &http.Transport{DialContext: h.Active.Host.Dial, DisableKeepAlives: true},
		}
		resp, err := client.Get("http://" + gateway.HealthAddress(tt.service) + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(body), tt.want) {
			t.Errorf("/metrics of %s has no %s", tt.service, tt.want)
		}
	}
}
