package world_test

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/hybridgateway/gateway/tools/lab/internal/onprem"
	"github.com/hybridgateway/gateway/tools/lab/internal/world"
)

func TestPrivilegedNodesComeAndGo(t *testing.T) {
	w, srv := stand(t, "d", world.Options{Nodes: -1})
	if len(w.Nodes()) != 0 {
		t.Fatalf("world without nodes has %d", len(w.Nodes()))
	}
	spec := onprem.Spec{
		Name: "node9", IP: netip.MustParseAddr("192.168.1.99"),
		PodCIDRs: []netip.Prefix{netip.MustParsePrefix("100.64.99.0/24"), netip.MustParsePrefix("100.65.99.0/24")},
	}
	for i := range 3 {
		n, err := w.AddNode(spec)
		must(t, err)
		if _, err := w.AddNode(spec); err == nil {
			t.Error("added a node twice")
		}
		if len(n.Pods()) != 2 {
			t.Fatalf("pods: %d, want one per CIDR", len(n.Pods()))
		}
		if i == 0 {
			plainGateway(t, w, "gw1", onprem.VNI)
		}
		steer(t, w, srv, "gw1")
		p := flow(t, w, "ec2-1", "node9-pod2", "100.65.99.10", time.Millisecond)
		received(t, p, 20)
		whole(t, p)
		must(t, w.RemoveNode("node9"))
		if _, err := w.Host("node9-pod1"); err == nil {
			t.Error("a pod outlives its node")
		}
	}
	if err := w.RemoveNode("node9"); err == nil {
		t.Error("removed a node twice")
	}
	// What is sent to a node that has gone vanishes.
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if _, err := hostOf(t, w, "gw1").Dial(ctx, "tcp4", "192.168.1.99:1"); !isTimeout(err) {
		t.Errorf("dial to a node that has gone: %v, want silence", err)
	}
}
