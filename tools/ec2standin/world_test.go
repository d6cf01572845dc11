package ec2standin_test

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/hybridgateway/gateway/tools/ec2standin"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

// via says where a packet goes: target and state, or "nowhere".
func via(s ec2standin.Snapshot, subnet, to string) string {
	r, ok := s.Lookup(subnet, netip.MustParseAddr(to))
	if !ok {
		return "nowhere"
	}
	return r.Target.String() + " " + string(r.State)
}

func TestLookupFollowsAssociationsAndLongestMatch(t *testing.T) {
	s := newWorld(t, ec2standin.Config{})
	must(t, s.SetRoute("rtb-main", prefix("0.0.0.0/0"), ec2standin.Target{Kind: ec2standin.TargetGateway, ID: "igw-1"}))
	must(t, s.SetRoute("rtb-a", prefix("100.64.0.0/16"), ec2standin.ToENI("eni-gw1")))
	must(t, s.SetRoute("rtb-a", prefix("100.64.9.9/24"), ec2standin.ToENI("eni-gw2")))
	check := func(subnet, to, want string) {
		t.Helper()
		if got := via(s.Snapshot(), subnet, to); got != want {
			t.Errorf("%s to %s: %s, want %s", subnet, to, got, want)
		}
	}
	check("subnet-a", "10.0.2.1", "local active")
	check("subnet-a", "10.8.0.1", "local active")
	check("subnet-a", "100.64.1.1", "eni-gw1 active")
	check("subnet-a", "100.64.9.1", "eni-gw2 active")
	check("subnet-a", "192.0.2.1", "nowhere")
	check("subnet-b", "100.64.1.1", "nowhere")
	check("subnet-c", "100.64.1.1", "igw-1 active") // no table of its own: the main one
	check("subnet-x", "100.64.1.1", "nowhere")

	must(t, s.Associate("rtb-a", "subnet-b"))
	check("subnet-b", "100.64.1.1", "eni-gw1 active")
	must(t, s.AddVPCCIDR("vpc-1", prefix("100.65.0.0/16")))
	check("subnet-a", "100.65.1.1", "local active")
	must(t, s.DeleteRouteTable("rtb-a"))
	check("subnet-a", "100.64.1.1", "igw-1 active")
	must(t, s.RemoveRoute("rtb-main", prefix("0.0.0.0/0")))
	must(t, s.RemoveRoute("rtb-main", prefix("0.0.0.0/0")))
	check("subnet-a", "100.64.1.1", "nowhere")
}

func TestBlackholes(t *testing.T) {
	s := newWorld(t, ec2standin.Config{})
	to, addr := prefix("100.64.0.0/16"), "100.64.1.1"
	must(t, s.SetRoute("rtb-a", to, ec2standin.ToENI("eni-gw1")))
	steps := []struct {
		name string
		do   func() error
		want string
	}{
		{"stop", func() error { return s.SetInstanceState("i-gw1", ec2standin.InstanceStopped) }, "eni-gw1 blackhole"},
		{"start", func() error { return s.SetInstanceState("i-gw1", ec2standin.InstanceRunning) }, "eni-gw1 active"},
		{"detach", func() error { return s.AttachENI("eni-gw1", "", 0) }, "eni-gw1 blackhole"},
		{"attach", func() error { return s.AttachENI("eni-gw1", "i-gw2", 1) }, "eni-gw1 active"},
		{"delete", func() error { return s.DeleteENI("eni-gw1") }, "eni-gw1 blackhole"},
		{"other", func() error { return s.SetRoute("rtb-a", to, ec2standin.ToENI("eni-gw2")) }, "eni-gw2 active"},
		{"terminate", func() error { return s.SetInstanceState("i-gw2", ec2standin.InstanceTerminated) }, "eni-gw2 blackhole"},
		{"tgw", func() error {
			return s.SetRoute("rtb-a", to, ec2standin.Target{Kind: ec2standin.TargetTransitGateway, ID: "tgw-1"})
		}, "tgw-1 active"},
		{"tgw gone", func() error { return s.DeleteGateway("tgw-1") }, "tgw-1 blackhole"},
	}
	for _, step := range steps {
		must(t, step.do())
		if got := via(s.Snapshot(), "subnet-a", addr); got != step.want {
			t.Errorf("after %s: %s, want %s", step.name, got, step.want)
		}
	}
	if _, ok := s.Snapshot().ENI("eni-gw2"); ok {
		t.Error("a terminated instance kept its primary interface")
	}
}

func TestWorldRefusesWhatDoesNotFit(t *testing.T) {
	s := newWorld(t, ec2standin.Config{})
	before := s.Snapshot().Revision
	for want, err := range map[string]error{
		"must begin with vpc-":       s.AddVPC(ec2standin.VPC{ID: "net-1"}),
		"needs an IPv4 CIDR":         s.AddVPC(ec2standin.VPC{ID: "vpc-2"}),
		"exists already":             s.AddInstance(ec2standin.Instance{ID: "i-gw1"}),
		"not within the CIDRs":       s.AddSubnet(ec2standin.Subnet{ID: "subnet-x", VPC: "vpc-1", CIDR: prefix("10.1.0.0/24")}),
		`vpc "vpc-9"`:                s.AddRouteTable(ec2standin.RouteTable{ID: "rtb-x", VPC: "vpc-9"}),
		"is the main table":          s.AddRouteTable(ec2standin.RouteTable{ID: "rtb-x", VPC: "vpc-1", Main: true}),
		`subnet "subnet-9"`:          s.AddRouteTable(ec2standin.RouteTable{ID: "rtb-x", VPC: "vpc-1", Subnets: []string{"subnet-9"}}),
		"is not in subnet-a":         s.AddENI(ec2standin.ENI{ID: "eni-x", Subnet: "subnet-a", PrivateIP: netip.MustParseAddr("10.0.2.1")}),
		"device index 0":             s.AttachENI("eni-gw1", "i-gw2", 0),
		"no such state":              s.SetInstanceState("i-gw1", "asleep"),
		"is a local route":           s.SetRoute("rtb-a", prefix("10.0.0.0/16"), ec2standin.ToENI("eni-gw1")),
		`eni "eni-9"`:                s.SetSourceDestCheck("eni-9", false),
		"must begin with igw-, vgw-": s.AddGateway(ec2standin.Gateway{ID: "gw-1"}),
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error with %q", err, want)
		}
	}
	if after := s.Snapshot().Revision; after != before {
		t.Errorf("refused changes moved the revision from %d to %d", before, after)
	}
}

func TestSnapshotIsTheReceiversOwn(t *testing.T) {
	s := newWorld(t, ec2standin.Config{})
	a := s.Snapshot()
	a.RouteTables[0].Tags["x"], a.VPCs[0].CIDRs[0], a.VPCs[0].Tags["x"] = "y", prefix("1.0.0.0/8"), "y"
	a.RouteTables[0].Subnets[0] = "subnet-z"
	if b := s.Snapshot(); b.VPCs[0].CIDRs[0] != prefix("10.0.0.0/16") || b.VPCs[0].Tags["x"] != "" ||
		b.RouteTables[0].Tags["x"] != "" || b.RouteTables[0].Subnets[0] != "subnet-a" {
		t.Errorf("a change to a snapshot reached the server: %+v", b)
	}
}

func TestOnChangeRunsBeforeTheReply(t *testing.T) {
	s := newWorld(t, ec2standin.Config{})
	c := newClient(t, s)
	var revisions []uint64 // OnChange calls one at a time, and before the reply
	seen := map[string]bool{}
	stop := s.OnChange(func(now ec2standin.Snapshot) {
		revisions = append(revisions, now.Revision)
		for _, r := range now.RouteTables[0].Routes {
			seen[r.Destination.String()] = true
		}
	})
	for _, to := range []string{"198.51.100.0/25", "198.51.100.128/25"} {
		if _, err := c.CreateRoute(t.Context(), &ec2.CreateRouteInput{RouteTableId: aws.String("rtb-a"),
			DestinationCidrBlock: &to, NetworkInterfaceId: aws.String("eni-gw1")}); err != nil {
			t.Fatal(err)
		}
		if !seen[to] {
			t.Errorf("reply for %s came before its OnChange", to)
		}
	}
	stop()
	must(t, s.SetSourceDestCheck("eni-gw1", false))
	if len(revisions) != 3 || !slices.IsSorted(revisions) {
		t.Errorf("OnChange saw revisions %v, want the first and two changes", revisions)
	}
}

func TestSubscribeSkipsButNeverMissesTheLast(t *testing.T) {
	s := newWorld(t, ec2standin.Config{})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	changes := s.Subscribe(ctx)
	first := <-changes
	for range 100 {
		must(t, s.SetSourceDestCheck("eni-gw1", false))
	}
	last := s.Snapshot().Revision
	deadline := time.After(10 * time.Second)
	for got := first.Revision; got != last; {
		select {
		case now := <-changes:
			if now.Revision <= got {
				t.Fatalf("revision %d after %d", now.Revision, got)
			}
			got = now.Revision
		case <-deadline:
			t.Fatalf("revision %d did not come", last)
		}
	}
	cancel()
	for range changes { // ends when it is closed
	}
}

func TestConcurrentUse(t *testing.T) {
	s := newWorld(t, ec2standin.Config{})
	s.SetFaults(ec2standin.Faults{StaleReads: time.Millisecond, StaleFraction: 0.5, ErrorRate: 0.1})
	c := newClient(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	var watching, calling sync.WaitGroup
	watching.Go(func() {
		for range s.Subscribe(ctx) {
		}
	})
	for i := range 8 {
		calling.Go(func() {
			to, eni := []string{"198.51.100.0/25", "198.51.100.128/25"}[i%2], []string{"eni-gw1", "eni-gw2"}[i/4]
			for range 10 {
				// Errors are expected here; what is looked for is a data race.
				_, _ = c.CreateRoute(ctx, &ec2.CreateRouteInput{RouteTableId: aws.String("rtb-a"), DestinationCidrBlock: &to, NetworkInterfaceId: &eni})
				_, _ = c.ReplaceRoute(ctx, &ec2.ReplaceRouteInput{RouteTableId: aws.String("rtb-a"), DestinationCidrBlock: &to, NetworkInterfaceId: &eni})
				_, _ = c.DescribeRouteTables(ctx, &ec2.DescribeRouteTablesInput{})
				_, _ = c.DeleteRoute(ctx, &ec2.DeleteRouteInput{RouteTableId: aws.String("rtb-a"), DestinationCidrBlock: &to})
				s.FailNext("CreateRoute", "InternalError", 1)
				_, _ = s.Calls(), s.CallCounts()
			}
		})
	}
	calling.Wait()
	cancel()
	watching.Wait()
	if n := len(s.Calls()); n != 320 {
		t.Errorf("%d calls in the log, want 320", n)
	}
}
