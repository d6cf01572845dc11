package kernel

import (
	"maps"
	"net/netip"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hybridgateway/gateway/services/dataplane/internal/plan"
)

// BenchmarkPrivilegedGuard measures what the guard costs: small packets from a WAN through the tunnel into a cloud, with the
// guard on and off in turns, at three sizes. What the generator itself costs is in both figures. Its figures are to be read, not judged.
func BenchmarkPrivilegedGuard(t *testing.B) {
	const rounds = 11
	for _, n := range []int{10, 1000, 10000} {
		s := newStreet(t)
		d := desired(append(many(n-1), vtep("z", "172.16.0.9", "100.127.1.0/24"))...)
		converge(t, s.kernel, d)
		guard := plan.SetGuard{Lengths: 1 << 24, Sources: slices.Collect(maps.Keys(dump(t, s.kernel).Guard.Sources))}
		took := func(ops ...plan.Op) time.Duration {
			start := time.Now()
			if failures := s.kernel.Apply(ops); len(failures) > 0 {
				t.Fatal(failures)
			}
			return time.Since(start)
		}
		var on, without []float64
		for range rounds {
			took(guard)
			on = append(on, s.rate(t))
			took(plan.DeleteGuard{})
			without = append(without, s.rate(t))
		}
		slices.Sort(on)
		slices.Sort(without)
		t.Logf("%6d nodes: guard on %.0f packets/s (from %.0f to %.0f), off %.0f (from %.0f to %.0f), ratio of the medians %.3f", n,
			on[rounds/2], on[0], on[rounds-1], without[rounds/2], without[0], without[rounds-1], on[rounds/2]/without[rounds/2])

		anew := took(guard)
		one := plan.Source{Outer: vtep("", "172.17.0.1").Underlay, Inner: vtep("", "0.0.0.0", "100.126.0.0/24").PodCIDRs[0]}
		admit := took(plan.Admit{Sources: []plan.Source{one}})
		expel := took(plan.Expel{Sources: []plan.Source{one}, Outers: []netip.Addr{one.Outer}})
		t.Logf("%6d nodes: one admitted in %v, expelled in %v; all made anew in %v", n, admit, expel, anew)
	}
}

// rate sends packets of many flows as quickly as they are forwarded and returns how many arrived in a second.
func (s *street) rate(t testing.TB) float64 {
	t.Helper()
	const packets = 15_000
	var flows [][]byte
	for i := range uint16(64) {
		flows = append(flows, forged{outer: "172.16.0.9", inner: "100.127.1.7"}.packets(i)[0])
	}
	before := s.gateway.Link(t, "eth1").Attrs().Statistics.TxPackets
	start := time.Now()
	for i := range packets {
		if err := unix.Sendto(s.raw, flows[i%len(flows)], 0, &unix.SockaddrInet4{Addr: local.As4()}); err != nil {
			t.Fatal(err)
		}
	}
	took := time.Since(start)
	arrived := s.gateway.Link(t, "eth1").Attrs().Statistics.TxPackets - before
	if arrived < packets*9/10 {
		t.Fatalf("only %d of %d packets were forwarded", arrived, packets)
	}
	return float64(arrived) / took.Seconds()
}
