package e2e

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/hybridgateway/gateway/tools/ec2standin"
	"github.com/hybridgateway/gateway/tools/lab/internal/gateway"
	"github.com/hybridgateway/gateway/tools/lab/internal/lab"
	"github.com/hybridgateway/gateway/tools/lab/internal/world"
)

// testOperators has operators look after the VPC's side with hgctl.
func (s *suite) testOperators(t *testing.T) {
	t.Run("least policy", s.testPolicy)
	t.Run("foreign route", s.testForeignRoute)
	t.Run("purge", s.testPurge)
}

func (s *suite) testPolicy(t *testing.T) {
	h := s.healthy(t)
	document, err := s.hgctl(within(t), h.Standby, "iam-policy")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ec2standin.ParsePolicy([]byte(document)); err != nil {
		t.Errorf("%v in %s", err, document)
	}
	for _, table := range s.World.RouteTables() {
		if !strings.Contains(document, ":route-table/"+table+`"`) {
			t.Errorf("the policy does not name %s: %s", table, document)
		}
	}
}

// testForeignRoute takes a route away from the gateways, which leave it alone until the operator says otherwise.
func (s *suite) testForeignRoute(t *testing.T) {
	h := s.healthy(t)
	table, dst := s.World.RouteTables()[0], s.World.PodNetworks()[0]
	if err := s.EC2.SetRoute(table, dst, ec2standin.Target{Kind: ec2standin.TargetGateway, ID: world.VGW}); err != nil {
		t.Fatal(err)
	}
	err := lab.Poll(within(t), "the conflict to be shown", func(ctx context.Context) error {
		out, err := s.hgctl(ctx, h.Active, "routes")
		if err != nil {
			return err
		}
		if !strings.Contains(out, "conflict") || !strings.Contains(out, world.VGW) {
			return fmt.Errorf("routes are:\n%s", out)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if target := s.target(t, table, dst); target != world.VGW {
		t.Errorf("the route leads to %q although nobody gave it up", target)
	}
	if _, err := s.hgctl(within(t), h.Active, "routes", "adopt", table, dst.String()); err != nil {
		t.Fatal(err)
	}
	m, err := s.World.Machine(h.Active.Name)
	if err != nil {
		t.Fatal(err)
	}
	err = lab.Poll(within(t), "the route to be taken over", func(context.Context) error {
		if target := s.target(t, table, dst); target != m.ENI {
			return fmt.Errorf("it leads to %q", target)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	s.healthy(t)
}

// testPurge removes all that the gateways own, and then has them begin again.
func (s *suite) testPurge(t *testing.T) {
	h := s.healthy(t)
	for _, purge := range []struct {
		g    *gateway.Gateway
		says string
	}{
		{h.Standby, "it removed nothing, for it does not lead"},
		{h.Active, "nothing that the gateways own is left"},
	} {
		out, err := s.hgctl(within(t), purge.g, "purge", "--yes")
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(out, purge.says) {
			t.Errorf("%s says %s", purge.g.Name, out)
		}
	}
	s.noRoutes(t)
	s.startAnew(t, gateway.RouteSync)
	s.healthy(t)
}

// noRoutes expects that the VPC's tables have none of the gateways' routes, and still what is foreign.
func (s *suite) noRoutes(t *testing.T) {
	t.Helper()
	for _, table := range s.World.RouteTables() {
		for _, dst := range s.World.PodNetworks() {
			if target := s.target(t, table, dst); target != "" {
				t.Errorf("%s of %s still leads to %s", dst, table, target)
			}
		}
		if target := s.target(t, table, world.RemoteNetwork); target != world.VGW {
			t.Errorf("the foreign route of %s leads to %q now", table, target)
		}
	}
}

// startAnew kills services of all gateways and starts them again: what was told to remove everything keeps to it until then.
func (s *suite) startAnew(t *testing.T, services ...string) {
	t.Helper()
	for _, g := range s.Gateways {
		for _, service := range services {
			p := g.Process(service)
			if err := p.Kill(); err != nil {
				t.Fatal(err)
			}
			if err := p.Start(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// target is where a route leads to; empty when there is none.
func (s *suite) target(t *testing.T, table string, dst netip.Prefix) string {
	t.Helper()
	snapshot, ok := s.EC2.Snapshot().Table(table)
	if !ok {
		t.Fatalf("no table %s", table)
	}
	r, _ := snapshot.Route(dst)
	return r.Target.ID
}
