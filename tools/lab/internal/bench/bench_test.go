package bench

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/hybridgateway/gateway/tools/lab/internal/timeline"
)

func TestQuantile(t *testing.T) {
	var d []time.Duration
	for i := 1; i <= 20; i++ {
		d = append(d, time.Duration(i))
	}
	for _, tt := range []struct {
		q       float64
		samples []time.Duration
		want    time.Duration
	}{
		{0.5, d, 10}, {0.99, d, 20}, {0.95, d, 19}, {0, d, 1}, {1, d, 20}, {0.5, d[:1], 1}, {0.99, d[:3], 3}, {0.5, d[:3], 2},
	} {
		if got := quantile(tt.samples, tt.q); got != tt.want {
			t.Errorf("quantile %v of %d samples is %d, want %d", tt.q, len(tt.samples), got, tt.want)
		}
	}
}

func TestRead(t *testing.T) {
	died := time.Unix(1000, 0)
	at := func(ms int) time.Time { return died.Add(time.Duration(ms) * time.Millisecond) }
	span := func(name string, from, to int, attributes map[string]string) timeline.Span {
		return timeline.Span{Name: name, Start: at(from), End: at(to), Attributes: attributes}
	}
	root := span("takeover", -10, 400, nil)
	root.Events = []timeline.Event{{Name: "take-over possible", At: at(270)}, {Name: "converged", At: at(400)}}
	swap := func(outcome string, from, to int) timeline.Span {
		return span("record.compare-and-swap", from, to, map[string]string{"purpose": "take-over", "outcome": outcome})
	}
	converge := span("record.compare-and-swap", 390, 399, map[string]string{"purpose": "converge", "outcome": "swapped"})
	routes := span("routes.takeover", 284, 386, nil)
	spans := []timeline.Span{swap("conflict", 271, 272), swap("swapped", 273, 282), routes, converge, root}
	got, err := read(spans, died)
	if err != nil {
		t.Fatal(err)
	}
	want := takeover{detection: 270 * time.Millisecond, swap: 9 * time.Millisecond, event: 2 * time.Millisecond, routes: 102 * time.Millisecond}
	if got != want {
		t.Errorf("read %+v, want %+v", got, want)
	}
	if got, err := read(append(spans, span("ec2.CreateRoute", 284, 300, nil)), died); err != nil || !got.created {
		t.Errorf("with a CreateRoute: %+v, %v", got, err)
	}
	for i, missing := range []string{"", "record.compare-and-swap", "routes.takeover", "", "takeover"} {
		if missing == "" {
			continue
		}
		less := append(append([]timeline.Span(nil), spans[:i]...), spans[i+1:]...)
		if _, err := read(less, died); !errors.Is(err, errIncomplete) || !strings.Contains(err.Error(), missing) {
			t.Errorf("without %s: %v", missing, err)
		}
	}
	if _, err := read(spans, at(300)); err == nil {
		t.Error("a take-over that was possible before the death is taken for one of the death")
	}
}

func TestReport(t *testing.T) {
	r := &Report{Backend: "etcd", EC2Latency: 100 * time.Millisecond, Deaths: 2, Creates: 1, Planned: []Planned{
		{What: "SIGTERM", Changes: 2, LossFree: 1, Lost: 3, Took: []time.Duration{time.Second, 2 * time.Second}},
		{What: "nothing", Changes: 0},
	}}
	r.add(Detection, 280*time.Millisecond)
	r.add(Detection, 270*time.Millisecond)
	r.add(Event, 1500*time.Microsecond)
	r.add(Routes, 102*time.Millisecond)
	want := `2 deaths of the active node, backend etcd, EC2 calls of 100ms:

| what | p50 | p99 | max | budget |
|---|---|---|---|---|
| power cut to suspicion | 270 ms | 280 ms | 280 ms | 300 ms |
| record taken to leadership event at route-sync | 1.5 ms | 1.5 ms | 1.5 ms | 5.0 ms |
| leadership event to all routes moved (EC2) | 102 ms | 102 ms | 102 ms |  |

Take-overs in which route-sync first tried to create a route that existed: 1 of 2.

| planned, a packet a millisecond each way | without loss | packets lost | took p50 | max |
|---|---|---|---|---|
| SIGTERM | 1 of 2 | 3 | 1000 ms | 2000 ms |
`
	if got := r.String(); got != want {
		t.Errorf("the report is\n%s\nwant\n%s", got, want)
	}
}

func TestMissed(t *testing.T) {
	const ms = time.Millisecond
	within := map[string][]time.Duration{
		// The median is judged, not the worst; a silence not at all.
		Detection:   {300 * ms, 300 * ms, 900 * ms},
		Swap:        {9 * ms, 50 * ms, 60 * ms},
		Event:       {1 * ms, 5 * ms, 18 * ms},
		Routes:      {2000 * ms},
		SilentThere: {2000 * ms},
	}
	for _, tt := range []struct {
		name    string
		samples map[string][]time.Duration
		planned Planned
		want    string // "" when all is well
	}{
		{"all is well", nil, Planned{Changes: 3, LossFree: 3}, ""},
		{"detection", map[string][]time.Duration{Detection: {270 * ms, 301 * ms, 302 * ms}}, Planned{}, "power cut to suspicion: the median is 301 ms, the budget 300 ms"},
		{"swap", map[string][]time.Duration{Swap: {51 * ms, 60 * ms, 1 * ms}}, Planned{}, "compare-and-swap of the record: the median is 51 ms, the budget 50 ms"},
		{"event", map[string][]time.Duration{Event: {5100 * time.Microsecond}}, Planned{}, "record taken to leadership event at route-sync: the median is 5.1 ms, the budget 5.0 ms"},
		{"loss", nil, Planned{What: "SIGTERM", Changes: 3, LossFree: 2, Lost: 1}, "SIGTERM: 1 packets lost in 1 of 3 changes, want none"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := &Report{Backend: "etcd", Planned: []Planned{tt.planned}}
			for what, list := range within {
				if other, ok := tt.samples[what]; ok {
					list = other
				}
				for _, d := range list {
					r.add(what, d)
				}
			}
			var got string
			if err := r.Missed(); err != nil {
				got = err.Error()
			}
			if got != tt.want {
				t.Errorf("missed %q, want %q", got, tt.want)
			}
		})
	}
	both := &Report{Planned: []Planned{{What: "a", Changes: 1, Lost: 2}, {What: "b", Changes: 1, Lost: 3}}}
	if err := both.Missed(); err == nil || !strings.Contains(err.Error(), "a: 2 packets") || !strings.Contains(err.Error(), "b: 3 packets") {
		t.Errorf("of two it tells %v", err)
	}
}
