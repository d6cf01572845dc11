package probe_test

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/hybridgateway/gateway/tools/lab/internal/netns"
	"github.com/hybridgateway/gateway/tools/lab/internal/netns/netnstest"
	"github.com/hybridgateway/gateway/tools/lab/internal/probe"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestPrivilegedProbeSeesLossInOneDirection(t *testing.T) {
	prefix := netnstest.Prefix(t, "pb")
	a, b := netnstest.Host(t, prefix+"a"), netnstest.Host(t, prefix+"b")
	if err := netns.Connect(netns.End{Host: a, Name: "eth0"}, netns.End{Host: b, Name: "eth0"}); err != nil {
		t.Fatal(err)
	}
	addrA, addrB := netip.MustParseAddr("10.9.9.1"), netip.MustParseAddr("10.9.9.2")
	for h, addr := range map[*netns.Host]netip.Addr{a: addrA, b: addrB} {
		if err := h.AddAddr("eth0", netip.PrefixFrom(addr, 24)); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	pair, err := probe.StartPair(ctx,
		probe.Config{Name: "a to b", From: a, To: b, Source: addrA, Target: addrB, Interval: time.Millisecond},
		probe.Config{Name: "b to a", From: b, To: a, Source: addrB, Target: addrA, Interval: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if err := pair.WaitReceived(ctx, 20); err != nil {
		t.Fatal(err)
	}
	// A wrong neighbour makes packets from a to b vanish on the link.
	mac, err := b.MAC("eth0")
	if err != nil {
		t.Fatal(err)
	}
	wrong := append([]byte{}, mac...)
	wrong[5] ^= 1
	if err := a.SetNeighbour("eth0", addrB, wrong); err != nil {
		t.Fatal(err)
	}
	if err := pair.Back.WaitReceived(ctx, 50); err != nil {
		t.Fatal(err)
	}
	if err := a.SetNeighbour("eth0", addrB, mac); err != nil {
		t.Fatal(err)
	}
	if err := pair.WaitReceived(ctx, 20); err != nil {
		t.Fatal(err)
	}
	there, back := pair.Stop()
	if back.Lost != 0 || there.Lost < 10 || there.Silence < 10*time.Millisecond {
		t.Errorf("want loss there only, got %v and %v", there, back)
	}
	if there.LostFrom.IsZero() || there.SilenceFrom.After(there.LostTo) || there.Refused != 0 {
		t.Errorf("silence and loss disagree: %+v", there)
	}
	if len(there.Sources) != 1 || there.Sources[0] != addrA {
		t.Errorf("sources %v, want %v", there.Sources, addrA)
	}
}
