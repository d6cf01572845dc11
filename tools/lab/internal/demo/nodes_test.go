package demo

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hybridgateway/gateway/tools/lab/internal/onprem"
)

func TestWithoutLeavesNothingOfANode(t *testing.T) {
	entries := []string{
		"fdb 192.168.1.11 02:00:00:00:00:11",
		"fdb 192.168.1.12 02:00:00:00:00:12",
		"neighbour 169.254.0.1 02:00:00:00:00:11",
		"neighbour 169.254.0.2 02:00:00:00:00:12",
		"route 100.64.1.0/24 via 169.254.0.1",
		"route 100.64.2.0/24 via 169.254.0.2",
		"route 100.65.2.0/24 via 169.254.0.2",
	}
	got := without(entries, onprem.Spec{
		Name: "node2", IP: netip.MustParseAddr("192.168.1.12"),
		PodCIDRs: []netip.Prefix{netip.MustParsePrefix("100.64.2.0/24"), netip.MustParsePrefix("100.65.2.0/24")},
	})
	want := []string{entries[0], entries[2], entries[4]}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if len(entries) != 7 || entries[1] == "" {
		t.Error("the list it was given has changed")
	}
}
