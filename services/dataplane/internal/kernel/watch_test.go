package kernel

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/hybridgateway/gateway/libs/netaddr"
	"github.com/hybridgateway/gateway/libs/netnstest"
	"github.com/hybridgateway/gateway/services/dataplane/internal/plan"
)

func watch(t *testing.T, ns *netnstest.Namespace, k *Kernel) <-chan plan.Change {
	t.Helper()
	return watchWith(t, ns, k.Watch)
}

func watchWith(t *testing.T, ns *netnstest.Namespace, subscribe func() (*Watcher, error)) <-chan plan.Change {
	t.Helper()
	var w *Watcher
	if err := ns.Do(func() (err error) { w, err = subscribe(); return err }); err != nil {
		t.Fatal(err)
	}
	changes := make(chan plan.Change, 1024)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- w.Run(ctx, changes) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("the watcher ended with %v", err)
		}
	})
	return changes
}

func await(t *testing.T, changes <-chan plan.Change, what string, ok func(plan.Change) bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		select {
		case c := <-changes:
			if ok(c) {
				return
			}
		case <-deadline:
			t.Fatalf("not told: %s", what)
		}
	}
}

func TestPrivilegedWatch(t *testing.T) {
	ns, k := gateway(t)
	d := desired(vtep("a", "192.168.1.11", "100.64.1.0/24"))
	converge(t, k, d)
	changes := watch(t, ns, k)
	h := ns.Netlink
	device := ns.Link(t, device.Name)
	mac := netaddr.VTEPMAC(netip.MustParseAddr("192.168.1.11"))
	node := net.ParseIP("192.168.1.11").To4()
	dst := netip.MustParsePrefix("100.64.1.0/24")
	steps := []struct {
		what string
		do   func() error
		want func(plan.Change) bool
	}{
		{"route removed", func() error { return h.RouteDel(&netlink.Route{Dst: netnstest.IPNet(dst)}) }, func(c plan.Change) bool {
			return c.Kind == plan.ChangeRoute && c.Gone && c.Route.Dst == dst && c.Route.Ours() && c.Route.Dev == "hybrid_vxlan0" && c.Route.Onlink
		}},
		{"neighbour removed", func() error { return h.NeighDel(&netlink.Neigh{LinkIndex: device.Attrs().Index, IP: node}) }, func(c plan.Change) bool {
			return c.Kind == plan.ChangeNeighbour && c.Addr.String() == "192.168.1.11" && c.Device == "hybrid_vxlan0" && (c.Gone || !c.Permanent)
		}},
		{"FDB entry removed", func() error {
			return h.NeighDel(&netlink.Neigh{LinkIndex: device.Attrs().Index, Family: syscall.AF_BRIDGE, Flags: netlink.NTF_SELF, HardwareAddr: mac[:], IP: node})
		}, func(c plan.Change) bool { return c.Kind == plan.ChangeFDB && c.Gone && c.MAC == mac }},
		{"forwarding", func() error { ns.Sysctl(t, "net/ipv4/ip_forward", "0"); return nil }, func(c plan.Change) bool {
			return c.Kind == plan.ChangeHost && c.Device == "all"
		}},
		{"address", func() error {
			return h.AddrAdd(device, &netlink.Addr{IPNet: netnstest.IPNet(netip.MustParsePrefix("10.77.0.1/32"))})
		}, func(c plan.Change) bool { return c.Kind == plan.ChangeHost && c.Addr.String() == "10.77.0.1" }},
		{"new interface", func() error {
			attrs := netlink.NewLinkAttrs()
			attrs.Name = "vx9"
			return h.LinkAdd(&netlink.Vxlan{LinkAttrs: attrs, VxlanId: 9, Port: 4789})
		}, func(c plan.Change) bool { return c.Kind == plan.ChangeLink && c.Device == "vx9" && c.VXLAN }},
		{"interface removed", func() error { return h.LinkDel(device) }, func(c plan.Change) bool {
			return c.Kind == plan.ChangeLink && c.Gone && c.Device == "hybrid_vxlan0"
		}},
	}
	for _, s := range steps {
		if err := s.do(); err != nil {
			t.Fatalf("%s: %v", s.what, err)
		}
		await(t, changes, s.what, s.want)
	}
}

// TestPrivilegedOwnChangesAreExplained: what the dataplane does itself gives no reason for a check, except for the device.
func TestPrivilegedOwnChangesAreExplained(t *testing.T) { inEachMode(t, ownChangesAreExplained) }

func ownChangesAreExplained(t *testing.T, in mode) {
	ns, k := gateway(t)
	converge(t, k, in(desired()))
	changes := watch(t, ns, k)
	d := in(desired(many(50)...))
	target, a := plan.Compile(d), dump(t, k)
	ops := target.Plan(a).Ops
	if failures := k.Apply(ops); len(failures) > 0 {
		t.Fatal(failures)
	}
	for _, op := range ops {
		a.Apply(op)
	}
	// A mark after it all.
	if err := ns.Netlink.AddrAdd(ns.Link(t, "lo"), &netlink.Addr{IPNet: netnstest.IPNet(netip.MustParsePrefix("10.77.0.1/32"))}); err != nil {
		t.Fatal(err)
	}
	fdb := 0
	await(t, changes, "the mark", func(c plan.Change) bool {
		// The carrier of a new veth pair is told with some delay.
		if c.Kind != plan.ChangeLink && !target.Explains(a, c) {
			t.Errorf("not explained: %+v", c)
		}
		if c.Kind == plan.ChangeFDB {
			fdb++
		}
		if c.Kind == plan.ChangeRoute || c.Kind == plan.ChangeNeighbour {
			t.Errorf("told of our own doing: %+v", c)
		}
		return c.Kind == plan.ChangeHost && c.Addr.String() == "10.77.0.1"
	})
	if want := len(a.FDB); fdb != want || d.Device.Flow != (want == 0) {
		t.Errorf("%d FDB entries told, want %d", fdb, want)
	}
}

// TestPrivilegedLostNotifications: a receiver that does not keep up is told so.
func TestPrivilegedLostNotifications(t *testing.T) {
	ns, k := gateway(t)
	converge(t, k, desired())
	var w *Watcher
	if err := ns.Do(func() (err error) { w, err = k.Watch(); return err }); err != nil {
		t.Fatal(err)
	}
	converge(t, k, desired(many(20000)...)) // nobody reads meanwhile
	changes := make(chan plan.Change)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- w.Run(ctx, changes) }()
	await(t, changes, "that notifications were lost", func(c plan.Change) bool { return c.Kind == plan.ChangeLost })
	cancel()
	<-done
}

func TestTruncatedMessages(t *testing.T) {
	body := addVXLAN(device, 1450).b[syscall.NLMSG_HDRLEN:]
	for n := range body {
		_, _ = parseLink(body[:n])
	}
	body = routeMessage(syscall.RTM_NEWROUTE, 0, 1, plan.Route{Dst: netip.MustParsePrefix("10.0.0.0/8"), Via: local, Encap: plan.Encap{Remote: local, Local: local, VNI: 2, DF: true}}).b[syscall.NLMSG_HDRLEN:]
	for n := range body {
		_, _ = parseRoute(body[:n])
		_, _ = parseEntry(body[:n])
		_, _ = parseAddress(body[:n])
	}
	w := &Watcher{names: map[int32]string{}}
	whole := addVXLAN(device, 1450).finish(1)
	for n := range whole {
		for _, c := range w.parse(slices.Clone(whole[:n])) {
			if c.Kind != plan.ChangeLost {
				t.Errorf("%d bytes became %+v", n, c)
			}
		}
	}
}
