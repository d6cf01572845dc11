package world_test

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"testing"
	"time"

	"github.com/hybridgateway/gateway/tools/ec2standin"
	"github.com/hybridgateway/gateway/tools/lab/internal/onprem"
	"github.com/hybridgateway/gateway/tools/lab/internal/world"
)

func TestPrivilegedFlowsGoThroughTheTunnel(t *testing.T) {
	w, _ := tunnelled(t, "f", world.Options{})
	for _, f := range []struct{ machine, pod, ip string }{
		{"ec2-1", "node1-pod1", "100.64.1.10"},
		{"ec2-2", "node2-pod1", "100.64.2.10"},
		{"lb", "node2-pod2", "100.65.2.10"},
		{"cp", "node3-pod1", "100.64.3.10"},
		{"aws", "node1-pod1", "100.64.1.10"},
	} {
		p := flow(t, w, f.machine, f.pod, f.ip, 5*time.Millisecond)
		received(t, p, 20)
		there, back := p.Stop()
		m := machineOf(t, w, f.machine)
		if there.Lost+back.Lost > 0 {
			t.Errorf("lost: %s; %s", there, back)
		}
		if len(there.Sources) != 1 || there.Sources[0] != m.IP {
			t.Errorf("%s: seen from %v, want %s", there.Name, there.Sources, m.IP)
		}
		if len(back.Sources) != 1 || back.Sources[0].String() != f.ip {
			t.Errorf("%s: seen from %v, want %s", back.Name, back.Sources, f.ip)
		}
	}
	for _, n := range w.Nodes() {
		c, err := n.Counters()
		must(t, err)
		if c.Received < 20 || c.Sent < 20 || c.WrongVNI != 0 {
			t.Errorf("%s: counters %+v, want at least 20 each way", n.Name, c)
		}
	}
	d, err := w.Fabric.Drops()
	must(t, err)
	if d.PodAddresses != 0 {
		t.Errorf("%d packets with pod addresses outside the tunnel", d.PodAddresses)
	}
}

func TestPrivilegedChangesOfRoutesLoseNothing(t *testing.T) {
	w, srv := tunnelled(t, "c", world.Options{RouteTables: 6})
	p := flow(t, w, "ec2-1", "node1-pod1", "100.64.1.10", time.Millisecond)
	q := flow(t, w, "ec2-2", "node2-pod2", "100.65.2.10", time.Millisecond)
	received(t, p, 10)
	for i := range 20 {
		steer(t, w, srv, []string{"gw2", "gw1"}[i%2])
		received(t, q, 20*(i+1))
	}
	// A subnet moves to another table that says the same.
	for range 5 {
		must(t, srv.Associate(world.TableB, machineOf(t, w, "ec2-1").Subnet))
		must(t, srv.Associate(world.TableA, machineOf(t, w, "ec2-1").Subnet))
	}
	must(t, w.Fabric.Err())
	whole(t, p)
	whole(t, q)
}

func TestPrivilegedRoutesFollowTheStandIn(t *testing.T) {
	w, srv := tunnelled(t, "r", world.Options{})
	cidr := netip.MustParsePrefix("100.64.1.0/24")
	p := flow(t, w, "ec2-1", "node1-pod1", "100.64.1.10", time.Millisecond)
	received(t, p, 10)

	silent := func(what string) {
		t.Helper()
		must(t, w.Fabric.Err())
		eventually(t, what+": nothing arrives any more", func() bool {
			_, before := p.There.Counts()
			waitSent(t, p, 50)
			_, after := p.There.Counts()
			return after == before
		})
	}
	again := func() {
		t.Helper()
		must(t, w.Fabric.Err())
		_, n := p.There.Counts()
		received(t, p, n+10)
	}

	must(t, srv.RemoveRoute(world.TableA, cidr))
	silent("route removed")
	must(t, srv.SetRoute(world.TableA, cidr, ec2standin.ToENI(machineOf(t, w, "gw2").ENI)))
	again()
	must(t, srv.SetInstanceState(machineOf(t, w, "gw2").Instance, ec2standin.InstanceStopped))
	silent("target stopped")
	must(t, srv.SetInstanceState(machineOf(t, w, "gw2").Instance, ec2standin.InstanceRunning))
	again()
	must(t, srv.SetRoute(world.TableA, netip.MustParsePrefix("100.64.1.10/32"), ec2standin.Target{Kind: ec2standin.TargetGateway, ID: world.VGW}))
	silent("a more specific route to the WAN")
	must(t, srv.RemoveRoute(world.TableA, netip.MustParsePrefix("100.64.1.10/32")))
	again()
	p.Stop()
	if d, err := w.Fabric.Drops(); err != nil || d.PodAddresses == 0 {
		t.Errorf("pod addresses sent to the WAN were not counted: %+v, %v", d, err)
	}
}

// A migration to a prefix list, moves of its route, and the way back.
func TestPrivilegedPrefixListsLoseNothing(t *testing.T) {
	w, srv := tunnelled(t, "l", world.Options{})
	p := flow(t, w, "ec2-1", "node1-pod1", "100.64.1.10", time.Millisecond)
	received(t, p, 10)
	list := ec2standin.PrefixList{ID: "pl-pods", MaxEntries: 20}
	for _, n := range w.Nodes() {
		for _, c := range n.PodCIDRs {
			list.Entries = append(list.Entries, ec2standin.PrefixListEntry{CIDR: c})
		}
	}
	must(t, srv.AddPrefixList(list))
	everywhere := func(do func(table string) error) {
		t.Helper()
		for _, table := range w.RouteTables() {
			must(t, do(table))
		}
		must(t, w.Fabric.Err())
		received(t, p, 10)
	}
	to := func(name string) ec2standin.Target { return ec2standin.ToENI(machineOf(t, w, name).ENI) }
	each := func(do func(cidr netip.Prefix) error) error {
		var errs []error
		for _, e := range list.Entries {
			errs = append(errs, do(e.CIDR))
		}
		return errors.Join(errs...)
	}
	everywhere(func(table string) error { return srv.SetListRoute(table, list.ID, to("gw2")) })
	everywhere(func(table string) error {
		return each(func(c netip.Prefix) error { return srv.RemoveRoute(table, c) })
	})
	for i := range 5 {
		everywhere(func(table string) error { return srv.SetListRoute(table, list.ID, to([]string{"gw1", "gw2"}[i%2])) })
	}
	must(t, srv.SetPrefixListEntries(list.ID, append(list.Entries, ec2standin.PrefixListEntry{CIDR: netip.MustParsePrefix("100.64.1.10/32")})...))
	everywhere(func(table string) error {
		return each(func(c netip.Prefix) error { return srv.SetRoute(table, c, to("gw1")) })
	})
	everywhere(func(table string) error { return srv.RemoveListRoute(table, list.ID) })
	whole(t, p)
}

func TestPrivilegedSourceDestCheck(t *testing.T) {
	w, srv := tunnelled(t, "k", world.Options{})
	p := flow(t, w, "ec2-1", "node1-pod1", "100.64.1.10", time.Millisecond)
	received(t, p, 10)
	gw := machineOf(t, w, "gw1")
	must(t, srv.SetSourceDestCheck(gw.ENI, true))
	must(t, w.Fabric.Err())
	count := func() uint64 {
		t.Helper()
		d, err := w.Fabric.Drops()
		must(t, err)
		return d.Check["v-gw1"]
	}
	eventually(t, "check drops", func() bool { return count() >= 20 })
	must(t, srv.SetSourceDestCheck(gw.ENI, false))
	_, n := p.There.Counts()
	received(t, p, n+10)
	there, back := p.Stop()
	if there.Lost == 0 || back.Lost == 0 {
		t.Errorf("nothing lost although checked: %s; %s", there, back)
	}
}

func TestPrivilegedNodesDoAsCilium(t *testing.T) {
	w, srv := tunnelled(t, "n", world.Options{})
	n, err := w.Node("node1")
	must(t, err)
	gw2 := machineOf(t, w, "gw2")

	// A node sends to where its map says and with exactly that MAC address: a
	// gateway with another one drops silently.
	must(t, n.SetVTEPs([]onprem.Endpoint{{CIDR: world.VPCNetwork, TunnelEndpoint: gw2.IP, MAC: gatewayMAC(n.IP)}}))
	p := flow(t, w, "ec2-1", "node1-pod1", "100.64.1.10", time.Millisecond)
	waitSent(t, p, 100)
	there, back := p.Stop()
	if there.Received == 0 || back.Received != 0 {
		t.Errorf("wrong MAC address: want only the way there to work: %s; %s", there, back)
	}

	// Without an entry, what a pod sends is dropped, not routed beside the tunnel.
	must(t, n.SetVTEPs(nil))
	before, err := w.Fabric.Drops()
	must(t, err)
	p = flow(t, w, "ec2-1", "node1-pod1", "100.64.1.10", time.Millisecond)
	waitSent(t, p, 100)
	there, back = p.Stop()
	if there.Received == 0 || back.Received != 0 {
		t.Errorf("no entry: want only the way there to work: %s; %s", there, back)
	}
	if after, err := w.Fabric.Drops(); err != nil || after.PodAddresses != before.PodAddresses {
		t.Errorf("pod packets left the node beside the tunnel: %+v, %v", after, err)
	}

	// From the VPC, only VNI 2 is accepted.
	steer(t, w, srv, "gw1")
	gw1 := hostOf(t, w, "gw1")
	l, err := gw1.Link(tunnel)
	must(t, err)
	must(t, gw1.Netlink().LinkDel(l))
	plainGateway(t, w, "gw1", 7)
	p = flow(t, w, "ec2-1", "node1-pod1", "100.64.1.10", time.Millisecond)
	waitSent(t, p, 100)
	there, _ = p.Stop()
	c, err := n.Counters()
	must(t, err)
	if there.Received != 0 || c.WrongVNI < 50 {
		t.Errorf("VNI 7: %s; %d counted as wrong", there, c.WrongVNI)
	}
}

func TestPrivilegedStreamsFit(t *testing.T) {
	w, _ := tunnelled(t, "s", world.Options{Nodes: 1})
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	const size = 16 << 20
	for _, way := range []struct{ from, to, addr string }{
		{"ec2-1", "node1-pod1", "100.64.1.10:5001"},
		{"node1-pod1", "ec2-1", "10.0.1.20:5001"},
	} {
		l, err := hostOf(t, w, way.to).Listen(ctx, "tcp4", way.addr)
		must(t, err)
		sent := make(chan error, 1)
		go func() {
			c, err := hostOf(t, w, way.from).Dial(ctx, "tcp4", way.addr)
			if err == nil {
				_, err = c.Write(make([]byte, size))
				err = errors.Join(err, c.Close())
			}
			sent <- err
		}()
		c, err := l.Accept()
		must(t, err)
		must(t, c.SetDeadline(time.Now().Add(time.Minute)))
		start := time.Now()
		n, err := io.Copy(io.Discard, c)
		must(t, err)
		must(t, <-sent)
		must(t, errors.Join(c.Close(), l.Close()))
		if n != size {
			t.Errorf("%s -> %s: %d bytes, want %d", way.from, way.to, n, size)
		}
		t.Logf("%s -> %s: %.1f Gbit/s", way.from, way.to, float64(n)*8/time.Since(start).Seconds()/1e9)
	}
	for _, name := range []string{"gw1", "node1", "fabric", "wan"} {
		if n := snmp(t, hostOf(t, w, name), "Ip:", "FragCreates"); n != 0 {
			t.Errorf("%s made %d fragments", name, n)
		}
	}
}
