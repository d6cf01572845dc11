package probe

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestRecord(t *testing.T) {
	start := time.Unix(1000, 0)
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	peer, other := netip.MustParseAddr("10.0.1.20"), netip.MustParseAddr("10.0.1.30")
	got := func(seq uint64, ms int) arrival { return arrival{seq: seq, at: at(ms), from: peer} }
	tests := []struct {
		name     string
		arrivals []arrival
		want     Result
	}{
		{"all arrive", []arrival{got(0, 1), got(1, 11), got(2, 21), got(3, 31)},
			Result{Received: 4, Silence: 10 * time.Millisecond, SilenceFrom: at(1), SilenceTo: at(11), Sources: []netip.Addr{peer}}},
		{"one lost in the middle", []arrival{got(0, 1), got(1, 11), got(3, 31)},
			Result{Received: 3, Lost: 1, Silence: 20 * time.Millisecond, SilenceFrom: at(11), SilenceTo: at(31), LostFrom: at(20), LostTo: at(20), Sources: []netip.Addr{peer}}},
		{"silence until the end", []arrival{got(0, 1)},
			Result{Received: 1, Lost: 3, Silence: 39 * time.Millisecond, SilenceFrom: at(1), SilenceTo: at(40), LostFrom: at(10), LostTo: at(30), Sources: []netip.Addr{peer}}},
		{"nothing arrives", nil,
			Result{Lost: 4, Silence: 40 * time.Millisecond, SilenceFrom: at(0), SilenceTo: at(40), LostFrom: at(0), LostTo: at(30)}},
		{"duplicate, out of order, from two addresses", []arrival{got(0, 1), got(2, 21), {seq: 1, at: at(22), from: other}, got(2, 23), got(3, 31)},
			Result{Received: 4, Duplicates: 1, Reordered: 1, Silence: 20 * time.Millisecond, SilenceFrom: at(1), SilenceTo: at(21), Sources: []netip.Addr{peer, other}}},
		{"a stray is ignored", []arrival{got(0, 1), got(1, 11), got(77, 12), got(2, 21), got(3, 31)},
			Result{Received: 4, Silence: 10 * time.Millisecond, SilenceFrom: at(1), SilenceTo: at(11), Sources: []netip.Addr{peer}}},
		{"silence until an arrival after the sender's end", []arrival{got(0, 1), got(1, 11), got(2, 21), got(3, 55)},
			Result{Received: 4, Silence: 34 * time.Millisecond, SilenceFrom: at(21), SilenceTo: at(55), Sources: []netip.Addr{peer}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRecord(start)
			for i := range 4 {
				r.sent = append(r.sent, at(10*i))
			}
			for _, a := range tt.arrivals {
				r.receive(a)
			}
			tt.want.Name, tt.want.Interval, tt.want.Sent = "p", 10*time.Millisecond, 4
			res := r.result("p", 10*time.Millisecond, at(40))
			if d := cmp.Diff(tt.want, res, cmpopts.EquateEmpty(), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); d != "" {
				t.Error(d)
			}
		})
	}
}
