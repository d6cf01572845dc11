package demo

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/hybridgateway/gateway/tools/lab/internal/gateway"
	"github.com/hybridgateway/gateway/tools/lab/internal/lab"
	"github.com/hybridgateway/gateway/tools/lab/internal/onprem"
	"github.com/hybridgateway/gateway/tools/lab/internal/probe"
)

// NewNode describes the n-th on-premises node, with one pod network.
func NewNode(n int) onprem.Spec {
	return onprem.Spec{
		Name:     fmt.Sprintf("node%d", n),
		IP:       netip.AddrFrom4([4]byte{192, 168, 1, byte(10 + n)}),
		PodCIDRs: []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{100, 64, byte(n), 0}), 24)},
	}
}

func (d *demo) nodesComeAndGo(ctx context.Context) error {
	spec := NewNode(len(d.lab.World.Nodes()) + 1)
	d.say.Why("%s (%s, pods in %s) is set up on-premises and joins the cluster: its CiliumNode is created, which is all the gateways get to know.",
		spec.Name, spec.IP, spec.PodCIDRs[0])
	took, err := Join(ctx, d.lab, spec)
	if err != nil {
		return err
	}
	d.say.OK("the first packet from an EC2 pod reached its pod %s after the CiliumNode was asked for", ms(took))
	d.figure("new hybrid node: forwarding after %s", ms(took))

	leaver := d.lab.World.Nodes()[1]
	d.say.Doing("%s (%s, pods in %s) leaves: its CiliumNode is deleted, and it is switched off", leaver.Name, leaver.IP, networks(leaver.Spec))
	left := time.Now()
	if err := LeaveClean(ctx, d.lab, leaver.Spec); err != nil {
		return err
	}
	d.say.OK("after %s the kernels of both gateways hold nothing of %s: no route, no neighbour, no FDB entry; all others stand", ms(time.Since(left)), leaver.Name)
	return nil
}

func networks(s onprem.Spec) string {
	parts := make([]string, len(s.PodCIDRs))
	for i, c := range s.PodCIDRs {
		parts[i] = c.String()
	}
	return strings.Join(parts, " and ")
}

// Join sets a node up, registers it while a packet a millisecond is sent to its
// pod, and returns how long it took from the request until the first arrived.
func Join(ctx context.Context, l *lab.Lab, s onprem.Spec) (time.Duration, error) {
	n, err := l.AddNode(ctx, s)
	if err != nil {
		return 0, err
	}
	m, err := l.World.Machine("ec2-1")
	if err != nil {
		return 0, err
	}
	h, err := l.Host(m.Name)
	if err != nil {
		return 0, err
	}
	pod := n.Pods()[0]
	p, err := probe.Start(ctx, probe.Config{
		Name: "EC2 pod to new pod", From: h, To: pod.Host, Source: m.IP, Target: pod.IP, Interval: time.Millisecond,
	})
	if err != nil {
		return 0, err
	}
	asked := time.Now()
	if err := l.RegisterNode(ctx, n); err != nil {
		p.Stop()
		return 0, err
	}
	if err := p.WaitReceived(ctx, 1); err != nil {
		p.Stop()
		return 0, err
	}
	took := p.FirstArrival().Sub(asked)
	p.Stop()
	return took, nil
}

// LeaveClean removes a node, and returns when the kernels of all gateways hold
// nothing of it and everything else they held before.
func LeaveClean(ctx context.Context, l *lab.Lab, s onprem.Spec) error {
	want := map[string][]string{}
	for _, g := range l.Gateways {
		before, err := g.KernelEntries()
		if err != nil {
			return err
		}
		want[g.Name] = without(before, s)
		if len(want[g.Name]) == len(before) {
			return fmt.Errorf("%s never had an entry of %s: %v", g.Name, s.Name, before)
		}
	}
	if err := l.RemoveNode(ctx, s.Name); err != nil {
		return err
	}
	for _, g := range l.Gateways {
		if err := WaitEntries(ctx, g, want[g.Name]); err != nil {
			return err
		}
	}
	return nil
}

// WaitEntries waits until the kernel of a gateway holds exactly these entries.
func WaitEntries(ctx context.Context, g *gateway.Gateway, want []string) error {
	return lab.Poll(ctx, "the kernel of "+g.Name, func(context.Context) error {
		got, err := g.KernelEntries()
		if err != nil {
			return err
		}
		if !slices.Equal(got, want) {
			return fmt.Errorf("it holds %v instead of %v", got, want)
		}
		return nil
	})
}

// without leaves out what is about a node: entries with its address, with one of
// its networks, or with the hardware address that its FDB entry has.
func without(entries []string, s onprem.Spec) []string {
	marks := []string{s.IP.String()}
	for _, c := range s.PodCIDRs {
		marks = append(marks, c.String())
	}
	for _, e := range entries {
		if f := strings.Fields(e); len(f) == 3 && f[0] == "fdb" && f[1] == s.IP.String() {
			marks = append(marks, f[2])
		}
	}
	return slices.DeleteFunc(slices.Clone(entries), func(e string) bool {
		return slices.ContainsFunc(strings.Fields(e), func(word string) bool { return slices.Contains(marks, word) })
	})
}
