package e2e

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hybridgateway/gateway/tools/lab/internal/demo"
	"github.com/hybridgateway/gateway/tools/lab/internal/lab"
	"github.com/hybridgateway/gateway/tools/lab/internal/timeline"
)

// benchRounds is how many nodes die, and how many hand-overs there are.
const benchRounds = 20

// figures are measured durations by what they are about.
type figures struct {
	names []string
	all   map[string][]time.Duration
}

func (f *figures) add(name string, d time.Duration) {
	if f.all == nil {
		f.all = make(map[string][]time.Duration)
	}
	if _, known := f.all[name]; !known {
		f.names = append(f.names, name)
	}
	f.all[name] = append(f.all[name], d)
}

func (f *figures) String() string {
	var b strings.Builder
	b.WriteString("| what | samples | p50 | p99 | max |\n|---|---|---|---|---|\n")
	for _, name := range f.names {
		d := slices.Sorted(slices.Values(f.all[name]))
		at := func(q float64) time.Duration { return d[min(len(d)-1, int(q*float64(len(d))))].Round(time.Millisecond) }
		fmt.Fprintf(&b, "| %s | %d | %v | %v | %v |\n", name, len(d), at(0.5), at(0.99), d[len(d)-1].Round(time.Millisecond))
	}
	return b.String()
}

// TestBenchElection measures how long traffic is silent when the node of the active gateway dies, and where the time
// goes; and what planned hand-overs cost. It runs only when BENCH_ELECTION is set: make bench-election.
func TestBenchElection(t *testing.T) {
	if os.Getenv("BENCH_ELECTION") == "" {
		t.Skip("needs BENCH_ELECTION=1: a measurement, see make bench-election")
	}
	binDir, manifests := programs(t)
	claim, err := lab.Take(testDir, testPrefix)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(claim.Clean(), claim.Release()); err != nil {
			t.Error(err)
		}
	})
	l, err := lab.Up(t.Context(), lab.Options{
		Prefix: testPrefix, Dir: testDir, BinDir: binDir, Manifests: manifests, EC2Latency: ec2Latency,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := l.StartGateways(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := &suite{l}
	var f figures
	for range benchRounds {
		s.benchDeath(t, &f)
	}
	lost := 0
	for range benchRounds {
		lost += s.benchHandOver(t, &f)
	}
	t.Logf("calls to EC2 take %v\n%s\npackets lost in %d planned hand-overs, one a millisecond in each direction: %d", ec2Latency, &f, benchRounds, lost)
	if lost > 0 {
		t.Errorf("planned hand-overs lost %d packets, want none", lost)
	}
}

func (s *suite) benchDeath(t *testing.T, f *figures) {
	t.Helper()
	h := s.healthy(t)
	pair := s.probes(t)
	died := time.Now()
	if err := demo.Die(s.Lab, h.Active); err != nil {
		t.Fatal(err)
	}
	if err := demo.WaitActive(within(t), s.Lab, h.Standby); err != nil {
		t.Fatal(err)
	}
	received(t, pair, 20)
	there, back := pair.Stop()
	f.add("node dies: silence, EC2 pod to on-premises pod", there.Silence)
	f.add("node dies: silence, on-premises pod to EC2 pod", back.Silence)
	spans, err := s.Traces.Wait(within(t), func(x timeline.Span) bool {
		return x.Name == "takeover" && x.Gateway == h.Standby.Name && x.End.After(died)
	})
	if err != nil {
		t.Fatal(err)
	}
	takeover := spans[len(spans)-1]
	swap, err := s.Traces.Wait(within(t), func(x timeline.Span) bool {
		return x.TraceID == takeover.TraceID && x.Name == "record.compare-and-swap" && x.Attributes["purpose"] == "take-over" && x.Attributes["outcome"] == "swapped"
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range takeover.Events {
		switch e.Name {
		case "take-over possible":
			f.add("node dies: until it is noticed", e.At.Sub(died))
		case "leadership published":
			f.add("node dies: until the leadership event", e.At.Sub(died))
		case "converged":
			f.add("node dies: until converged", e.At.Sub(died))
		}
	}
	f.add("node dies: the write of the record", swap[0].End.Sub(swap[0].Start))
	if err := demo.Revive(s.Lab, h.Active); err != nil {
		t.Fatal(err)
	}
}

// benchHandOver ends all five processes of the active gateway as a rolling update does, and returns how many packets were lost.
func (s *suite) benchHandOver(t *testing.T, f *figures) (lost int) {
	t.Helper()
	h := s.healthy(t)
	pair, err := demo.StartProbes(t.Context(), s.Lab, time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	received(t, pair, 50)
	began := time.Now()
	if err := h.Active.Terminate(30 * time.Second); err != nil {
		t.Fatal(err)
	}
	f.add("planned hand-over: until the old leader has ended", time.Since(began))
	if err := demo.WaitActive(within(t), s.Lab, h.Standby); err != nil {
		t.Fatal(err)
	}
	if err := h.Active.Start(); err != nil {
		t.Fatal(err)
	}
	s.healthy(t)
	received(t, pair, 50)
	there, back := pair.Stop()
	return there.Lost + back.Lost
}
