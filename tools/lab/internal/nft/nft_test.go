package nft

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/nftables"

	"github.com/hybridgateway/gateway/tools/lab/internal/netns/netnstest"
)

func TestRanges(t *testing.T) {
	for _, tt := range []struct {
		name     string
		prefixes []string
		want     []string // start, or end with a bar
	}{
		{"none", nil, nil},
		{"one", []string{"10.0.0.0/16"}, []string{"10.0.0.0", "10.1.0.0|"}},
		{"host bits", []string{"10.0.9.9/16"}, []string{"10.0.0.0", "10.1.0.0|"}},
		{"neighbours become one", []string{"100.65.0.0/16", "100.64.0.0/16"}, []string{"100.64.0.0", "100.66.0.0|"}},
		{"inner ones go", []string{"10.0.1.0/24", "10.0.0.0/16", "10.0.0.0/8", "10.0.1.1/32"}, []string{"10.0.0.0", "11.0.0.0|"}},
		{"apart", []string{"10.0.0.0/24", "10.0.2.0/24"}, []string{"10.0.0.0", "10.0.1.0|", "10.0.2.0", "10.0.3.0|"}},
		{"up to the end", []string{"192.0.0.0/2"}, []string{"192.0.0.0"}},
		{"all", []string{"0.0.0.0/0", "10.0.0.0/8"}, []string{"0.0.0.0"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var prefixes []netip.Prefix
			for _, p := range tt.prefixes {
				prefixes = append(prefixes, netip.MustParsePrefix(p))
			}
			var got []string
			for _, e := range Ranges(prefixes) {
				a, _ := netip.AddrFromSlice(e.Key)
				s := a.String()
				if e.IntervalEnd {
					s += "|"
				}
				got = append(got, s)
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestPrivilegedTheKernelTakesEveryPart(t *testing.T) {
	h := netnstest.Host(t, netnstest.Prefix(t, "nft")+"h")
	prefixes, pairs, devices := Prefixes("prefixes"), Pairs("pairs"), Devices("devices")
	table := NewTable(h, nftables.TableFamilyIPv4, "t")
	a := netip.MustParseAddr("10.0.0.1")
	err := table.Commit(func(b *Batch) {
		b.Counter("c")
		b.AddSet(prefixes, Ranges([]netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("0.0.0.0/1")})...)
		b.AddSet(pairs, Pair(a, a))
		b.AddSet(devices, Device("lo"))
		b.Chain("input", &Hook{Hook: nftables.ChainHookInput, Priority: *nftables.ChainPriorityFilter})
		b.Chain("more", nil)
		for i, p := range []Part{
			In("lo"), Out("lo"), InAmong(devices), OutAmong(devices), Among(InnerDst, prefixes),
			PairAmong(Src, Dst, pairs), Is(Src, a), IsNot(Dst, a), UDPTo(8472), VNIIsNot(2), Share(0.5), Jump("more"),
		} {
			b.Rule("input", p, Count("c"), Accept)
			b.Counter(fmt.Sprint("n", i))
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := table.Commit(func(b *Batch) {
		b.SetElements(prefixes)
		b.Remove(devices, Device("lo"))
		b.Insert(devices, Device("eth0"))
		b.FlushChain("more")
	}); err != nil {
		t.Fatal(err)
	}
	if counts, err := table.Counters(); err != nil || len(counts) != 13 {
		t.Errorf("counters %v, %v", counts, err)
	}
	if err := table.Commit(func(b *Batch) { b.Remove(devices, Device("lo")) }); err == nil {
		t.Error("removed an element that is not there")
	}
	if err := FlushAll(h); err != nil {
		t.Fatal(err)
	}
}
