package publish

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

func said(p *Progress, node string, reports ...Report) string {
	text := ""
	for _, s := range p.Say(node, reports) {
		text += fmt.Sprintf("%s %s %s %s;", s.Node, s.Endpoint, s.State, s.Error)
	}
	return text + fmt.Sprint(p.counts)
}

func TestProgress(t *testing.T) {
	p := NewProgress()
	synced := func(at string) Report { return Report{Endpoint: "e", Synced: true, Time: at} }
	for i, step := range []struct{ got, want string }{
		{said(p, "a", synced("12:00:00")), "a e synced ;[0 1 0]"},
		{said(p, "b", Report{Endpoint: "e"}), "[1 1 0]"},
		{func() string { p.Begin(); return fmt.Sprint(p.counts) }(), "[2 0 0]"},
		{said(p, "a", synced("12:00:00")), "[2 0 0]"},             // of what was before
		{said(p, "a", synced("12:00:07")), "a e synced ;[1 1 0]"}, // taken
		{said(p, "a", synced("12:00:07")), "[1 1 0]"},             // nothing new
		{said(p, "b", Report{Endpoint: "e", Error: "map full"}), "b e failed map full;[0 1 1]"},
		{said(p, "b", synced("12:00:09")), "b e synced ;[0 2 0]"},
		{said(p, "c", synced("")), "c e synced ;[0 3 0]"},         // a new node
		{said(p, "a"), "[0 2 0]"},                                 // gone
		{said(p, "a", synced("12:00:07")), "a e synced ;[0 3 0]"}, // back, with the endpoint
	} {
		if step.got != step.want {
			t.Errorf("step %d: got %q, want %q", i, step.got, step.want)
		}
	}
	if len(p.All()) != 3 {
		t.Errorf("standings: %v", p.All())
	}
}

// The counts are those of the standings, whatever is said.
func TestProgressCounts(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 0))
		p := NewProgress()
		for range 50 {
			if r.IntN(8) == 0 {
				p.Begin()
			}
			var reports []Report
			for e := range r.IntN(3) {
				reports = append(reports, Report{Endpoint: fmt.Sprint(e), Synced: r.IntN(2) == 0, Time: fmt.Sprint(r.IntN(3)), Error: []string{"", "full"}[r.IntN(2)]})
			}
			p.Say(fmt.Sprint(r.IntN(4)), reports)
			var counts [states]int
			for _, s := range p.All() {
				counts[s.State]++
			}
			if counts != p.counts {
				t.Fatalf("seed %d: counted %v, standings are %v", seed, p.counts, p.All())
			}
		}
	}
}
