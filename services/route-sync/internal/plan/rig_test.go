package plan

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

// rig drives a State step by step, with a clock of its own.
type rig struct {
	t     *testing.T
	state *State
	now   time.Duration
	read  Read // the last that was handed out
}

const (
	interval = 10 * time.Second
	forever  = 1000 * time.Hour
)

func newRig(t *testing.T, change ...func(*Config)) *rig {
	t.Helper()
	c := Config{
		Shard: "default", Interface: "eni-me", Interval: interval, Parallel: 4,
		Tables:       []string{"rtb-a", "rtb-b"},
		Destinations: []netip.Prefix{netip.MustParsePrefix("100.64.0.0/16"), netip.MustParsePrefix("100.65.0.0/16")},
	}
	for _, f := range change {
		f(&c)
	}
	return &rig{t: t, state: New(c), now: time.Hour}
}

func one(c *Config) { c.Tables, c.Destinations = c.Tables[:1], c.Destinations[:1] }

// next wants exactly the given actions, in order. It returns the writes.
func (r *rig) next(want ...string) []Write {
	r.t.Helper()
	var got []string
	var writes []Write
	for _, a := range r.actions() {
		got = append(got, a.String())
		switch a := a.(type) {
		case Write:
			writes = append(writes, a)
		case Read:
			r.read = a
		}
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		r.t.Fatalf("at %s the actions are\n\t%s\nwant\n\t%s", r.now-time.Hour, strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
	return writes
}

// actions are those of Next but for what check_test.go and probe_test.go are about.
func (r *rig) actions() []Action {
	var actions []Action
	for _, a := range r.state.Next(r.now) {
		switch a := a.(type) {
		case Inspect:
			r.state.InspectDone(a, true, false, Result{}, r.now)
		case Probe:
			r.state.ProbeDone(a, Result{}, r.now)
		case Read:
			r.read = a
			actions = append(actions, a)
		default:
			actions = append(actions, a)
		}
	}
	return actions
}

func (r *rig) wait(d time.Duration) { r.now += d }

// observe is the leadership event in which this gateway, or the one with another interface, holds the record.
func (r *rig) observe(epoch uint64, holder string) {
	l := Leadership{Shard: "default", Epoch: epoch, Holder: holder}
	if holder == "eni-me" {
		l.Active, l.ValidUntil = true, forever
	}
	r.state.Observe(l, r.now)
}

func (r *rig) done(w Write, o Outcome) {
	detail := ""
	if o.Failure() {
		detail = "because"
	}
	r.state.WriteDone(w, Result{Outcome: o, Detail: detail}, r.now)
}

// reads ends the last read: every route of every table is as given.
func (r *rig) reads(route Route) {
	tables := map[string]Table{}
	for _, t := range r.state.config.Tables {
		tables[t] = Table{}
		for _, d := range r.state.config.Destinations {
			if route.Kind != Absent {
				tables[t][To(d)] = route
			}
		}
	}
	r.state.ReadDone(r.read, ReadResult{Tables: tables}, r.now)
}

// statuses wants the given conditions, as "table destination condition target", of all routes.
func (r *rig) conditions(want ...Condition) {
	r.t.Helper()
	var got []Condition
	for _, route := range r.state.routes {
		got = append(got, r.state.status(route).Condition)
	}
	if !slices.Equal(got, want) {
		r.t.Fatalf("the routes are %v, want %v", got, want)
	}
}

func to(eni string) Route { return Route{Kind: Interface, Target: eni} }

const readAll, readOne = "read rtb-a rtb-b", "read rtb-a"

// standby is a gateway that has seen the given route in its one table, and another gateway hold epoch 1.
func standby(t *testing.T, seen Route) *rig {
	t.Helper()
	r := newRig(t, one)
	r.observe(1, "eni-other")
	r.next(readOne)
	r.reads(seen)
	r.next()
	return r
}
