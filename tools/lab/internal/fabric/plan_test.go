package fabric

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hybridgateway/gateway/tools/ec2standin"
)

var (
	pfx  = netip.MustParsePrefix
	addr = netip.MustParseAddr
)

// vpc is a stand-in with two gateways and an EC2 pod, two tables and a WAN.
func vpc(t testing.TB) (*ec2standin.Server, Topology) {
	t.Helper()
	s := ec2standin.New(ec2standin.Config{})
	for _, err := range []error{
		s.AddVPC(ec2standin.VPC{ID: "vpc-1", CIDRs: []netip.Prefix{pfx("10.0.0.0/16"), pfx("fd00::/56")}}),
		s.AddGateway(ec2standin.Gateway{ID: "vgw-1"}),
		s.AddGateway(ec2standin.Gateway{ID: "igw-1"}),
		s.AddGateway(ec2standin.Gateway{ID: "tgw-1"}),
		s.AddSubnet(ec2standin.Subnet{ID: "subnet-a", VPC: "vpc-1", CIDR: pfx("10.0.1.0/24")}),
		s.AddSubnet(ec2standin.Subnet{ID: "subnet-b", VPC: "vpc-1", CIDR: pfx("10.0.2.0/24")}),
		s.AddRouteTable(ec2standin.RouteTable{ID: "rtb-m", VPC: "vpc-1", Main: true}),
		s.AddRouteTable(ec2standin.RouteTable{ID: "rtb-a", VPC: "vpc-1", Subnets: []string{"subnet-a"}}),
		s.AddInstance(ec2standin.Instance{ID: "i-1"}),
		s.AddInstance(ec2standin.Instance{ID: "i-2"}),
		s.AddENI(ec2standin.ENI{ID: "eni-1", Subnet: "subnet-a", PrivateIP: addr("10.0.1.10"), Instance: "i-1"}),
		s.AddENI(ec2standin.ENI{ID: "eni-2", Subnet: "subnet-b", PrivateIP: addr("10.0.2.10"), Instance: "i-2",
			SecondaryIPs: []netip.Addr{addr("10.0.2.11")}}),
		s.AddENI(ec2standin.ENI{ID: "eni-3", Subnet: "subnet-a", PrivateIP: addr("10.0.1.20"), SourceDestCheck: true}),
		s.AddENI(ec2standin.ENI{ID: "eni-none", Subnet: "subnet-a", PrivateIP: addr("10.0.1.99")}),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return s, Topology{
		Ports: []Port{
			{"v-gw1", addr("10.0.1.10")}, {"v-gw2", addr("10.0.2.10")}, {"v-ec2", addr("10.0.1.20")},
		},
		OnPrem: []netip.Prefix{pfx("192.168.0.0/16")},
	}
}

func empty() Programme {
	return Programme{Routes: map[RouteKey]Hop{}, Rules: map[string]string{}, Checked: map[string]bool{}}
}

func lines(ops []Op) []string {
	var out []string
	for _, o := range ops {
		out = append(out, o.String())
	}
	return out
}

func TestPlanFromNothing(t *testing.T) {
	s, top := vpc(t)
	local := func(table string) []string {
		return []string{
			"route set " + table + " 0.0.0.0/0 drop",
			"route set " + table + " 10.0.0.0/16 drop",
			"route set " + table + " 10.0.1.10/32 local v-gw1",
			"route set " + table + " 10.0.1.20/32 local v-ec2",
			"route set " + table + " 10.0.2.10/32 local v-gw2",
			"route set " + table + " 10.0.2.11/32 via v-gw2",
		}
	}
	var want []string
	want = append(want, local("ingress")...)
	want = append(want, local("own")...)
	want = append(want, "route set own 192.168.0.0/16 wan")
	want = append(want, local("rtb-a")...)
	want = append(want, local("rtb-m")...)
	want = append(want,
		"rule add v-ec2 table rtb-a",
		"rule add v-gw1 table rtb-a",
		"rule add v-gw2 table rtb-m",
		"rule add wan0 table ingress",
		"check on v-ec2",
	)
	if d := cmp.Diff(want, lines(Plan(Desired(s.Snapshot(), top), empty()))); d != "" {
		t.Error(d)
	}
}

func TestPlanOfOneChange(t *testing.T) {
	pods := pfx("100.64.1.0/24")
	gateway := func(id string) ec2standin.Target {
		return ec2standin.Target{Kind: ec2standin.TargetGateway, ID: id}
	}
	addList := func(s *ec2standin.Server) error {
		return s.AddPrefixList(ec2standin.PrefixList{ID: "pl-1", MaxEntries: 5,
			Entries: []ec2standin.PrefixListEntry{{CIDR: pods}, {CIDR: pfx("100.64.2.0/24")}}})
	}
	routeToList := func(s *ec2standin.Server) error {
		return errors.Join(addList(s), s.SetListRoute("rtb-a", "pl-1", ec2standin.ToENI("eni-1")))
	}
	for _, tt := range []struct {
		name   string
		before func(*ec2standin.Server) error
		change func(*ec2standin.Server) error
		want   []string
	}{
		{"nothing", nil, nil, nil},
		{"route added",
			nil, func(s *ec2standin.Server) error { return s.SetRoute("rtb-a", pods, ec2standin.ToENI("eni-1")) },
			[]string{"route set rtb-a 100.64.1.0/24 via v-gw1"}},
		{"route moved",
			func(s *ec2standin.Server) error { return s.SetRoute("rtb-a", pods, ec2standin.ToENI("eni-1")) },
			func(s *ec2standin.Server) error { return s.SetRoute("rtb-a", pods, ec2standin.ToENI("eni-2")) },
			[]string{"route set rtb-a 100.64.1.0/24 via v-gw2"}},
		{"route removed",
			func(s *ec2standin.Server) error { return s.SetRoute("rtb-a", pods, ec2standin.ToENI("eni-1")) },
			func(s *ec2standin.Server) error { return s.RemoveRoute("rtb-a", pods) },
			[]string{"route del rtb-a 100.64.1.0/24"}},
		{"target stopped",
			func(s *ec2standin.Server) error { return s.SetRoute("rtb-a", pods, ec2standin.ToENI("eni-1")) },
			func(s *ec2standin.Server) error { return s.SetInstanceState("i-1", ec2standin.InstanceStopped) },
			[]string{"route set rtb-a 100.64.1.0/24 drop"}},
		{"to the WAN", nil,
			func(s *ec2standin.Server) error { return s.SetRoute("rtb-m", pods, gateway("vgw-1")) },
			[]string{"route set rtb-m 100.64.1.0/24 wan"}},
		{"to a transit gateway", nil,
			func(s *ec2standin.Server) error {
				return s.SetRoute("rtb-m", pods, ec2standin.Target{Kind: ec2standin.TargetTransitGateway, ID: "tgw-1"})
			},
			[]string{"route set rtb-m 100.64.1.0/24 wan"}},
		{"to the internet, which there is not", nil,
			func(s *ec2standin.Server) error { return s.SetRoute("rtb-m", pods, gateway("igw-1")) },
			[]string{"route set rtb-m 100.64.1.0/24 drop"}},
		{"to an interface without a host", nil,
			func(s *ec2standin.Server) error { return s.SetRoute("rtb-m", pods, ec2standin.ToENI("eni-none")) },
			[]string{"route set rtb-m 100.64.1.0/24 drop"}},
		{"IPv6 routes are not ours", nil,
			func(s *ec2standin.Server) error { return s.SetRoute("rtb-m", pfx("::/0"), gateway("igw-1")) }, nil},
		{"route to a prefix list added", addList,
			func(s *ec2standin.Server) error { return s.SetListRoute("rtb-a", "pl-1", ec2standin.ToENI("eni-1")) },
			[]string{"route set rtb-a 100.64.1.0/24 via v-gw1", "route set rtb-a 100.64.2.0/24 via v-gw1"}},
		{"route to a prefix list moved", routeToList,
			func(s *ec2standin.Server) error { return s.SetListRoute("rtb-a", "pl-1", ec2standin.ToENI("eni-2")) },
			[]string{"route set rtb-a 100.64.1.0/24 via v-gw2", "route set rtb-a 100.64.2.0/24 via v-gw2"}},
		{"route to a prefix list removed", routeToList,
			func(s *ec2standin.Server) error { return s.RemoveListRoute("rtb-a", "pl-1") },
			[]string{"route del rtb-a 100.64.1.0/24", "route del rtb-a 100.64.2.0/24"}},
		{"prefix list changed", routeToList,
			func(s *ec2standin.Server) error {
				return s.SetPrefixListEntries("pl-1", ec2standin.PrefixListEntry{CIDR: pfx("100.64.2.0/24")},
					ec2standin.PrefixListEntry{CIDR: pfx("100.64.2.64/26")})
			},
			[]string{"route set rtb-a 100.64.2.64/26 via v-gw1", "route del rtb-a 100.64.1.0/24"}},
		{"a route to a CIDR beats that to a prefix list", routeToList,
			func(s *ec2standin.Server) error { return s.SetRoute("rtb-a", pods, ec2standin.ToENI("eni-2")) },
			[]string{"route set rtb-a 100.64.1.0/24 via v-gw2"}},
		{"what a route to a CIDR has hidden comes back",
			func(s *ec2standin.Server) error {
				return errors.Join(routeToList(s), s.SetRoute("rtb-a", pods, gateway("vgw-1")))
			},
			func(s *ec2standin.Server) error { return s.RemoveRoute("rtb-a", pods) },
			[]string{"route set rtb-a 100.64.1.0/24 via v-gw1"}},
		{"target of a prefix list stopped", routeToList,
			func(s *ec2standin.Server) error { return s.SetInstanceState("i-1", ec2standin.InstanceStopped) },
			[]string{"route set rtb-a 100.64.1.0/24 drop", "route set rtb-a 100.64.2.0/24 drop"}},
		{"subnet moves to another table", nil,
			func(s *ec2standin.Server) error { return s.Associate("rtb-m", "subnet-a") },
			[]string{
				"rule add v-ec2 table rtb-m", "rule add v-gw1 table rtb-m",
				"rule del v-ec2 table rtb-a", "rule del v-gw1 table rtb-a",
			}},
		{"check on and off", nil,
			func(s *ec2standin.Server) error {
				if err := s.SetSourceDestCheck("eni-3", false); err != nil {
					return err
				}
				return s.SetSourceDestCheck("eni-1", true)
			},
			[]string{"check on v-gw1", "check off v-ec2"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, top := vpc(t)
			if tt.before != nil {
				if err := tt.before(s); err != nil {
					t.Fatal(err)
				}
			}
			have := Desired(s.Snapshot(), top)
			if tt.change != nil {
				if err := tt.change(s); err != nil {
					t.Fatal(err)
				}
			}
			if d := cmp.Diff(tt.want, lines(Plan(Desired(s.Snapshot(), top), have))); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestIngressTable(t *testing.T) {
	s, top := vpc(t)
	top.IngressTable = "rtb-a"
	if got := Desired(s.Snapshot(), top).Rules[WANPort]; got != "rtb-a" {
		t.Errorf("rule of the WAN port: %s", got)
	}
}

// TestPlanWalk goes from any programme to any other, and looks at every state
// on the way: what both deliver, every one between them delivers too.
func TestPlanWalk(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	random := func() Programme {
		p := empty()
		for i := range 30 {
			k := RouteKey{fmt.Sprintf("rtb-%d", i%3), netip.PrefixFrom(netip.AddrFrom4([4]byte{100, 64, byte(i), 0}), 24)}
			if r.IntN(3) > 0 {
				p.Routes[k] = Hop{Kind: HopVia, Port: fmt.Sprintf("v-%d", r.IntN(3))}
			}
		}
		for i := range 4 {
			if r.IntN(3) > 0 {
				p.Rules[fmt.Sprintf("v-%d", i)] = fmt.Sprintf("rtb-%d", r.IntN(3))
			}
			if r.IntN(2) > 0 {
				p.Checked[fmt.Sprintf("v-%d", i)] = true
			}
		}
		return p
	}
	now := empty()
	for step := range 500 {
		from, want := now.clone(), random()
		for _, o := range Plan(want, now) {
			now.Apply(o)
			for k := range want.Routes {
				if _, before := from.Routes[k]; before && now.Routes[k] == (Hop{}) {
					t.Fatalf("step %d: no route %v after %s", step, k, o)
				}
			}
			for port := range want.Rules {
				if from.Rules[port] != "" && now.Rules[port] == "" {
					t.Fatalf("step %d: no rule for %s after %s", step, port, o)
				}
			}
		}
		if !reflect.DeepEqual(now, want) {
			t.Fatalf("step %d: %s", step, cmp.Diff(want, now))
		}
		if again := Plan(want, now); len(again) > 0 {
			t.Fatalf("step %d: again: %v", step, lines(again))
		}
	}
}
