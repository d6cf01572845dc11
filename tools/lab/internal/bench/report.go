package bench

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// What is measured at the death of a node, in the order of Report.
const (
	Detection   = "power cut to suspicion"
	Swap        = "compare-and-swap of the record"
	Event       = "record taken to leadership event at route-sync"
	Routes      = "leadership event to all routes moved (EC2)"
	SilentThere = "silence, EC2 pod to on-premises pod"
	SilentBack  = "silence, on-premises pod to EC2 pod"
)

// budget is what each may take; zero when it is not limited by itself.
func budget(what string) time.Duration {
	switch what {
	case Detection:
		return 300 * time.Millisecond
	case Swap:
		return 50 * time.Millisecond
	case Event:
		return 5 * time.Millisecond
	case SilentThere, SilentBack:
		return 500 * time.Millisecond
	default:
		return 0
	}
}

// Planned is one kind of planned change of leaders.
type Planned struct {
	What     string
	Changes  int
	LossFree int // changes during which no packet was lost
	Lost     int // packets, in both directions, during all of them
	Took     []time.Duration
}

// Report is what was measured with one backend.
type Report struct {
	Backend    string
	EC2Latency time.Duration
	Deaths     int
	// Creates counts take-overs in which route-sync tried to create a route that
	// existed: it had last read it before the old leader made it.
	Creates int
	Planned []Planned

	samples map[string][]time.Duration
}

func (r *Report) add(what string, d time.Duration) {
	if r.samples == nil {
		r.samples = map[string][]time.Duration{}
	}
	r.samples[what] = append(r.samples[what], d)
}

// Missed returns an error that names everything that is not as it must be: a packet lost in a
// planned change, or a median over its budget. A single sample over its budget is left to the
// reader of the table, since other work on the machine makes those. Silences are not judged:
// they contain calls to EC2, which take as long as the caller wants.
func (r *Report) Missed() error {
	var missed []error
	for _, what := range []string{Detection, Swap, Event} {
		d := slices.Sorted(slices.Values(r.samples[what]))
		if len(d) == 0 {
			continue
		}
		if p50 := quantile(d, 0.5); p50 > budget(what) {
			missed = append(missed, fmt.Errorf("%s: the median is %s, the budget %s", what, milliseconds(p50), milliseconds(budget(what))))
		}
	}
	for _, p := range r.Planned {
		if p.Lost > 0 {
			missed = append(missed, fmt.Errorf("%s: %d packets lost in %d of %d changes, want none", p.What, p.Lost, p.Changes-p.LossFree, p.Changes))
		}
	}
	return errors.Join(missed...)
}

// String makes two Markdown tables.
func (r *Report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d deaths of the active node, backend %s, EC2 calls of %v:\n\n| what | p50 | p99 | max | budget |\n|---|---|---|---|---|\n",
		r.Deaths, r.Backend, r.EC2Latency)
	for _, what := range []string{Detection, Swap, Event, Routes, SilentThere, SilentBack} {
		d := slices.Sorted(slices.Values(r.samples[what]))
		if len(d) == 0 {
			continue
		}
		limit := ""
		if l := budget(what); l > 0 {
			limit = milliseconds(l)
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", what, milliseconds(quantile(d, 0.5)), milliseconds(quantile(d, 0.99)), milliseconds(d[len(d)-1]), limit)
	}
	fmt.Fprintf(&b, "\nTake-overs in which route-sync first tried to create a route that existed: %d of %d.\n\n", r.Creates, r.Deaths)
	b.WriteString("| planned, a packet a millisecond each way | without loss | packets lost | took p50 | max |\n|---|---|---|---|---|\n")
	for _, p := range r.Planned {
		d := slices.Sorted(slices.Values(p.Took))
		if len(d) == 0 {
			continue
		}
		fmt.Fprintf(&b, "| %s | %d of %d | %d | %s | %s |\n", p.What, p.LossFree, p.Changes, p.Lost, milliseconds(quantile(d, 0.5)), milliseconds(d[len(d)-1]))
	}
	return b.String()
}

// quantile is the smallest sample that at least the share q of them do not exceed.
// sorted must not be empty.
func quantile(sorted []time.Duration, q float64) time.Duration {
	rank := int(q * float64(len(sorted)))
	if float64(rank) < q*float64(len(sorted)) {
		rank++
	}
	return sorted[max(rank, 1)-1]
}

// milliseconds shows a duration with two digits at least.
func milliseconds(d time.Duration) string {
	ms := float64(d) / float64(time.Millisecond)
	if ms < 10 {
		return fmt.Sprintf("%.1f ms", ms)
	}
	return fmt.Sprintf("%.0f ms", ms)
}
