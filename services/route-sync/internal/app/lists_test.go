package app_test

import (
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	routesv1 "github.com/hybridgateway/gateway/proto/gen/hybridgateway/routes/v1"
	"github.com/hybridgateway/gateway/services/route-sync/internal/config"
	"github.com/hybridgateway/gateway/tools/ec2standin"
)

// useList makes the list pl-1 with all networks, and has eni-b behind it in every table, instead of routes to CIDRs.
func (r *rig) useList() {
	list := ec2standin.PrefixList{ID: "pl-1", Name: "pods", MaxEntries: len(r.config.PodCIDRs)}
	for _, p := range r.config.PodCIDRs {
		list.Entries = append(list.Entries, ec2standin.PrefixListEntry{CIDR: p.Prefix})
	}
	r.must(r.ec2.AddPrefixList(list))
	for _, t := range r.config.RouteTables {
		r.must(r.ec2.SetListRoute(string(t), "pl-1", ec2standin.ToENI("eni-b")))
		for _, p := range r.config.PodCIDRs {
			r.must(r.ec2.RemoveRoute(string(t), p.Prefix))
		}
	}
	r.config.PrefixLists = []config.PrefixList{"pl-1"}
}

// noGap watches every state of the VPC from now on: each network must be reached by way of a gateway.
func (r *rig) noGap() (gaps *atomic.Int64) {
	gaps = &atomic.Int64{}
	networks := r.config.PodCIDRs
	r.t.Cleanup(r.ec2.OnChange(func(s ec2standin.Snapshot) {
		if got := reached(s, networks); got["eni-a"]+got["eni-b"] != len(s.RouteTables)*len(networks) {
			gaps.Add(1)
		}
	}))
	return gaps
}

func (r *rig) wantNoGap(gaps *atomic.Int64) {
	r.t.Helper()
	if n := gaps.Load(); n != 0 {
		r.t.Errorf("%d changes left a network unreachable", n)
	}
}

func TestTakeoverOfAPrefixListIsOneCallPerTable(t *testing.T) {
	const tables, networks = 10, 20
	r := newRig(t, tables, networks)
	r.useList()
	r.config.ReconcileInterval = hour
	r.config.WriteBurst, r.config.WriteRate = 50, 5
	r.standby()
	r.await("the list was read", func() bool { return r.ec2.CallCounts()["GetManagedPrefixListEntries"] >= 1 })
	r.await("all probes were made", func() bool { return r.ec2.CallCounts()["DeleteRoute (dry run)"] >= tables })
	gaps := r.noGap()
	r.ec2.SetFaults(ec2standin.Faults{Latency: 100 * time.Millisecond, Throttle: ec2standin.EC2Throttle()})
	r.ec2.ResetCalls()
	r.lead(2, "eni-a", hour)
	r.await("the routes converged", func() bool { return r.converged() == 2 })
	if got := r.reached(); got["eni-a"] != tables*networks {
		t.Errorf("packets go to %v", got)
	}
	if routes, calls := r.written(); len(routes) != tables || r.ec2.CallCounts()["ReplaceRoute"] != calls {
		t.Errorf("wrote %v, calls: %v", routes, r.ec2.CallCounts())
	}
	r.wantNoGap(gaps)
}

// From CIDRs to a list that is made for it, and back, with packets finding a gateway at every moment.
func TestMigrationBetweenTheKindsHasNoGap(t *testing.T) {
	r := newRig(t, 3, 4)
	r.standby()
	r.lead(2, "eni-a", hour)
	r.await("CIDRs converged", func() bool { return r.converged() == 2 })
	all := r.config.PodCIDRs
	r.config.PodCIDRs = all[1:] // the first is given up below
	gaps := r.noGap()
	r.config.PodCIDRs = all
	r.ec2.SetPrefixListDuration(300 * time.Millisecond)

	restart := func() {
		r.stopItems()
		r.stopApp()
		r.startApp()
	}
	r.config.ManagePrefixList = true
	restart()
	r.await("the list carries all", func() bool {
		s := r.ec2.Snapshot()
		return r.converged() == 2 && len(s.PrefixLists) == 1 && len(s.PrefixLists[0].Entries) == 4 && r.count(s) == [2]int{0, 3}
	})
	if list := r.ec2.Snapshot().PrefixLists[0]; list.MaxEntries != 4 || list.Name != "eks-hybrid-gateway-default-298c69bb-ipv4" {
		t.Errorf("the list is %+v", list)
	}

	// One network more, one less: entries come before entries go, and room before entries.
	r.config.PodCIDRs = append(r.config.PodCIDRs[1:], config.PodCIDR{Prefix: netip.MustParsePrefix("100.80.0.0/24")})
	restart()
	r.await("the list is in step", func() bool {
		s := r.ec2.Snapshot()
		l := s.PrefixLists[0]
		return r.converged() == 2 && len(l.Entries) == 4 && l.Entries[3].CIDR == netip.MustParsePrefix("100.80.0.0/24") && l.MaxEntries == 4 && r.count(s) == [2]int{0, 3}
	})
	r.config.PodCIDRs = r.config.PodCIDRs[:3] // those that were there from the beginning

	r.config.ManagePrefixList = false
	restart()
	r.await("CIDRs carry all, and the list is gone", func() bool {
		s := r.ec2.Snapshot()
		return r.converged() == 2 && len(s.PrefixLists) == 0 && r.count(s) == [2]int{9, 0}
	})
	if got := r.reached(); got["eni-a"] != 9 {
		t.Errorf("packets go to %v", got)
	}
	r.wantNoGap(gaps)
}

// count is how many routes to CIDRs of pods and how many to lists there are.
func (r *rig) count(s ec2standin.Snapshot) (n [2]int) {
	pods := netip.MustParsePrefix("100.64.0.0/10")
	for _, t := range s.RouteTables {
		for _, route := range t.Routes {
			if pods.Overlaps(route.Destination) {
				n[0]++
			}
		}
		n[1] += len(t.ListRoutes)
	}
	return n
}

// IPv6 networks have routes, and a list, of their own.
func TestBothFamilies(t *testing.T) {
	r := newRig(t, 2, 1)
	six := netip.MustParsePrefix("fd00:10::/56")
	r.config.PodCIDRs = append(r.config.PodCIDRs, config.PodCIDR{Prefix: six})
	r.standby()
	r.lead(2, "eni-a", hour)
	r.await("converged", func() bool { return r.converged() == 2 && r.reached()["eni-a"] == 4 })
	r.config.ManagePrefixList = true
	r.stopItems()
	r.stopApp()
	gaps := r.noGap()
	r.startApp()
	r.await("two lists carry all", func() bool {
		s := r.ec2.Snapshot()
		return r.converged() == 2 && len(s.PrefixLists) == 2 && r.count(s) == [2]int{0, 4} && r.reached()["eni-a"] == 4
	})
	r.wantNoGap(gaps)
}

// The address of a floating VTEP is led to the active gateway too, in tables of its own.
func TestFloatingVTEP(t *testing.T) {
	r := newRig(t, 2, 1)
	r.must(r.ec2.AddRouteTable(ec2standin.RouteTable{ID: "rtb-edge", VPC: "vpc-1"}))
	vtep := netip.MustParsePrefix("198.18.0.10/32")
	r.config.FloatingVTEP = config.Floating{Prefix: vtep}
	r.config.FloatingTables = []config.RouteTable{"rtb-edge"}
	r.standby()
	r.lead(2, "eni-a", hour)
	r.await("converged", func() bool { return r.converged() == 2 })
	for _, table := range r.ec2.Snapshot().RouteTables {
		route, there := table.Route(vtep)
		if edge := table.ID == "rtb-edge"; there != edge || there && route.Target.ID != "eni-a" {
			t.Errorf("%s has %v, %v", table.ID, route, there)
		}
		if _, there := table.Route(r.config.PodCIDRs[0].Prefix); there == (table.ID == "rtb-edge") {
			t.Errorf("%s has the pods' route: %v", table.ID, there)
		}
	}
	if got := r.items.get("route/rtb-edge/198.18.0.10/32").GetRoute(); got.GetState() != routesv1.State_STATE_IN_SYNC {
		t.Errorf("got %v", got)
	}
}
