package probe

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Result is what a probe has found out.
type Result struct {
	Name     string
	Interval time.Duration
	Sent     int
	Received int // distinct packets
	Lost     int // sent and never received
	// Duplicates and Reordered are packets that came twice, or after one that
	// was sent later.
	Duplicates, Reordered int
	// Refused counts packets that the sender's kernel would not send.
	Refused int
	// Silence is the longest time without an arrival; SilenceFrom and
	// SilenceTo are its ends. It is about one interval when nothing is lost.
	Silence                time.Duration
	SilenceFrom, SilenceTo time.Time
	// LostBetween are the moments the first and the last lost packet were sent.
	LostFrom, LostTo time.Time
	// Sources are the addresses the receiver saw packets come from, sorted.
	Sources []netip.Addr
}

func (r Result) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %d sent, %d lost, longest silence %s", r.Name, r.Sent, r.Lost, r.Silence.Round(time.Millisecond))
	if r.Refused > 0 {
		fmt.Fprintf(&b, ", %d refused by the sender's kernel", r.Refused)
	}
	if r.Duplicates > 0 {
		fmt.Fprintf(&b, ", %d duplicates", r.Duplicates)
	}
	return b.String()
}

// arrival is one received packet.
type arrival struct {
	seq  uint64
	at   time.Time
	from netip.Addr
}

// record collects what was sent and received. It is plain data; the probe
// guards it.
type record struct {
	started time.Time
	sent    []time.Time // by sequence number
	refused int
	got     map[uint64]bool
	highest uint64
	dup     int
	late    int
	first   time.Time // of the first arrival
	last    time.Time // of the last arrival
	gapFrom time.Time
	gapTo   time.Time
	sources map[netip.Addr]bool
}

func newRecord(started time.Time) *record {
	return &record{started: started, last: started, got: map[uint64]bool{}, sources: map[netip.Addr]bool{}}
}

func (r *record) receive(a arrival) {
	if a.seq >= uint64(len(r.sent)) {
		return // not one of ours
	}
	r.sources[a.from] = true
	r.gap(a.at)
	if len(r.got) == 0 {
		r.first = a.at
	}
	r.last = a.at
	switch {
	case r.got[a.seq]:
		r.dup++
		return
	case a.seq < r.highest:
		r.late++
	}
	r.got[a.seq] = true
	r.highest = max(r.highest, a.seq)
}

// gap notes the silence that ends now.
func (r *record) gap(now time.Time) {
	if now.Sub(r.last) > r.gapTo.Sub(r.gapFrom) {
		r.gapFrom, r.gapTo = r.last, now
	}
}

// result sums up. until is the moment the sender stopped: a silence may last
// until then.
func (r *record) result(name string, interval time.Duration, until time.Time) Result {
	if r.last.Before(until) {
		r.gap(until)
	}
	res := Result{
		Name: name, Interval: interval,
		Sent: len(r.sent), Received: len(r.got), Lost: len(r.sent) - len(r.got),
		Duplicates: r.dup, Reordered: r.late, Refused: r.refused,
		Silence: r.gapTo.Sub(r.gapFrom), SilenceFrom: r.gapFrom, SilenceTo: r.gapTo,
	}
	for seq, at := range r.sent {
		if r.got[uint64(seq)] {
			continue
		}
		if res.LostFrom.IsZero() {
			res.LostFrom = at
		}
		res.LostTo = at
	}
	for a := range r.sources {
		res.Sources = append(res.Sources, a)
	}
	slices.SortFunc(res.Sources, netip.Addr.Compare)
	return res
}
