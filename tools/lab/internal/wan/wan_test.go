package wan_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/hybridgateway/gateway/tools/lab/internal/netns"
	"github.com/hybridgateway/gateway/tools/lab/internal/netns/netnstest"
	"github.com/hybridgateway/gateway/tools/lab/internal/wan"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// between is a WAN with two nodes, and a VPC that is one host at its far end.
func between(t *testing.T) (w *wan.WAN, node, other, vpc *netns.Host) {
	t.Helper()
	prefix := netnstest.Prefix(t, "wan")
	router := netnstest.Host(t, prefix+"wan")
	node, other, vpc = netnstest.Host(t, prefix+"a"), netnstest.Host(t, prefix+"b"), netnstest.Host(t, prefix+"vpc")
	w, err := wan.New(wan.Config{
		Host: router, OnPrem: netip.MustParsePrefix("192.168.1.0/24"), Router: netip.MustParseAddr("192.168.1.1"),
	})
	must(t, err)
	t.Cleanup(func() { must(t, w.Close()) })
	must(t, w.Attach("a", node, netip.MustParseAddr("192.168.1.11")))
	must(t, w.Attach("b", other, netip.MustParseAddr("192.168.1.12")))

	anywhere := netip.MustParsePrefix("0.0.0.0/0")
	must(t, netns.Connect(netns.End{Host: router, Name: wan.VPCDevice}, netns.End{Host: vpc, Name: "eth0"}))
	must(t, router.AddAddr(wan.VPCDevice, netip.MustParsePrefix("10.0.0.1/24")))
	must(t, vpc.AddAddr("eth0", netip.MustParsePrefix("10.0.0.2/24")))
	must(t, vpc.SetRoute(anywhere, netip.MustParseAddr("10.0.0.1"), "eth0"))
	return w, node, other, vpc
}

// roundTrip is how long it takes to be refused by the other end.
func roundTrip(t *testing.T, from *netns.Host, to string) time.Duration {
	t.Helper()
	start := time.Now()
	if _, err := from.Dial(context.Background(), "tcp4", net.JoinHostPort(to, "1")); !errors.Is(err, unix.ECONNREFUSED) {
		t.Fatalf("dial %s: %v, want refused", to, err)
	}
	return time.Since(start)
}

// quick tells whether a round trip takes less than limit, which on a machine that stalls not each does.
func quick(t *testing.T, from *netns.Host, to string, limit time.Duration) bool {
	t.Helper()
	for range 20 {
		if roundTrip(t, from, to) < limit {
			return true
		}
	}
	return false
}

func TestPrivilegedDelayIsForTheVPCOnly(t *testing.T) {
	w, node, other, vpc := between(t)
	roundTrip(t, node, "10.0.0.2")
	const delay = 300 * time.Millisecond
	must(t, w.SetDelay(delay))
	if d := roundTrip(t, node, "10.0.0.2"); d < 2*delay {
		t.Errorf("node to VPC took %v", d)
	}
	if d := roundTrip(t, vpc, "192.168.1.12"); d < 2*delay {
		t.Errorf("VPC to node took %v", d)
	}
	if !quick(t, node, "192.168.1.12", delay) {
		t.Error("node to node takes the delay")
	}
	if !quick(t, other, "192.168.1.1", delay) {
		t.Error("node to its router takes the delay")
	}
	must(t, w.SetDelay(0))
	if !quick(t, node, "10.0.0.2", delay) {
		t.Error("node to VPC takes the delay after it was taken out")
	}
	// Close takes it out as well.
	must(t, w.SetDelay(delay))
}

func TestPrivilegedNonsenseIsRefused(t *testing.T) {
	w, node, _, _ := between(t)
	for _, err := range []error{w.SetDelay(-1), w.SetLoss(-0.1), w.SetLoss(1.1), w.Detach("nobody")} {
		if err == nil {
			t.Error("accepted")
		}
	}
	must(t, w.SetLoss(1))
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if _, err := node.Dial(ctx, "tcp4", "10.0.0.2:1"); !errors.Is(err, context.DeadlineExceeded) && !isTimeout(err) {
		t.Errorf("dial through total loss: %v", err)
	}
	must(t, w.SetLoss(0))
	roundTrip(t, node, "10.0.0.2")
	if d, err := w.Drops(); err != nil || d.Lost == 0 || d.Cut != 0 {
		t.Errorf("drops %+v, %v", d, err)
	}
}

func isTimeout(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}
