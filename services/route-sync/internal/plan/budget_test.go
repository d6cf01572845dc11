package plan

import (
	"net/netip"
	"slices"
	"testing"
	"time"
)

func TestBudget(t *testing.T) {
	b := newBudget(Bucket{Burst: 10, PerSecond: 5})
	b.refill(time.Hour)
	for range 10 {
		if b.ready(0) > time.Hour {
			t.Fatal("empty too early")
		}
		b.spend(time.Hour)
	}
	if got := b.ready(0) - time.Hour; got < 199*time.Millisecond || got > 201*time.Millisecond {
		t.Errorf("the next call may be made in %s", got)
	}
	if got := b.ready(0.5) - time.Hour; got < 1099*time.Millisecond || got > 1101*time.Millisecond {
		t.Errorf("a call that leaves half may be made in %s", got)
	}
	b.refill(2 * time.Hour)
	if b.tokens != 10 {
		t.Errorf("%g tokens after an hour", b.tokens)
	}
	b.empty(2 * time.Hour)
	if b.ready(0) <= 2*time.Hour {
		t.Error("EC2 said that its bucket is empty")
	}
	none := newBudget(Bucket{})
	none.spend(time.Hour)
	if none.ready(1) != 0 {
		t.Error("no bucket limits")
	}
}

func many(tables, networks int) func(*Config) {
	return func(c *Config) {
		c.Tables, c.Destinations, c.Parallel = nil, nil, 64
		for i := range tables {
			c.Tables = append(c.Tables, "rtb-"+string(rune('a'+i)))
		}
		for i := range networks {
			c.Destinations = append(c.Destinations, netip.PrefixFrom(netip.AddrFrom4([4]byte{100, 64, byte(i), 0}), 24))
		}
	}
}

// When there are more routes than tokens the first tables are whole first, and no call is made that EC2 would refuse.
func TestBucketMovesTheBusiestTablesFirst(t *testing.T) {
	r := newRig(t, many(5, 20), func(c *Config) { c.Bucket = EC2Writes() })
	r.observe(1, "eni-other")
	r.actions()
	r.reads(to("eni-other"))
	r.observe(2, "eni-me")
	first := map[string]int{}
	for _, a := range r.actions() {
		if w, is := a.(Write); is {
			first[w.Table]++
			r.done(w, Done)
		}
	}
	if len(first) != 3 || first["rtb-a"] != 20 || first["rtb-b"] != 20 || first["rtb-c"] != 10 {
		t.Errorf("of 50 calls at once: %v", first)
	}
	calls := 50
	for r.state.Converged() == 0 {
		r.now = r.state.Wake()
		for _, a := range r.actions() {
			switch a := a.(type) {
			case Write:
				calls++
				r.done(a, Done)
			case Read:
				r.state.ReadDone(a, ReadResult{Tables: r.written()}, r.now)
			}
		}
		r.actions() // what has ended is seen at once
		if r.now > time.Hour+time.Minute {
			t.Fatal("not converged within a minute")
		}
	}
	if took := r.now - time.Hour; calls != 100 || took < 10*time.Second || took > 11*time.Second {
		t.Errorf("%d calls in %s", calls, took)
	}
}

// written is what the tables are once all that was acknowledged is visible.
func (r *rig) written() map[string]Table {
	tables := map[string]Table{}
	for _, route := range r.state.routes {
		if tables[route.key.Table] == nil {
			tables[route.key.Table] = Table{}
		}
		tables[route.key.Table][route.key.Destination] = route.seen
	}
	return tables
}

// With tokens enough the tables take turns.
func TestBucketThatIsLargeEnough(t *testing.T) {
	r := newRig(t, many(5, 10), func(c *Config) { c.Bucket = EC2Writes() })
	r.observe(1, "eni-other")
	r.actions()
	r.reads(to("eni-other"))
	r.observe(2, "eni-me")
	var tables []string
	for _, a := range r.actions() {
		if w, is := a.(Write); is {
			tables = append(tables, w.Table)
		}
	}
	if len(tables) != 50 || !slices.Equal(tables[:5], r.state.config.Tables) {
		t.Errorf("%d calls, the first for %v", len(tables), tables[:5])
	}
}

// In the long run there is one read for every ten tables and ten seconds, whatever happens, and some are left for a
// takeover at any time.
func TestReadBudget(t *testing.T) {
	r := newRig(t, many(10, 1))
	reads := 0
	count := func(until time.Duration) {
		for r.now < until {
			for _, a := range r.state.Next(r.now) {
				switch a := a.(type) {
				case Inspect:
					reads++
					r.state.InspectDone(a, true, false, Result{}, r.now)
				case Read:
					reads++
					r.read = a
					r.reads(to("eni-me"))
				case Write:
					r.done(a, Done)
				}
			}
			r.now = min(until, r.state.Wake())
		}
	}
	for epoch := uint64(1); epoch < 60; epoch++ {
		r.observe(epoch, []string{"eni-me", "eni-other"}[epoch%2])
		count(r.now + time.Minute)
	}
	if reads > 59*6+16 {
		t.Errorf("%d reads in 59 minutes", reads)
	}
	count(r.now + time.Hour)
	reads = 0
	r.observe(60, "eni-me")
	start := r.now
	count(start + 4*time.Second + time.Millisecond)
	if reads < 4 { // its own interface, and the routes after 1, 2 and 4 seconds
		t.Errorf("%d reads after a takeover", reads)
	}
}

// Routes left over from another configuration that lead to the gateway before are part of the takeover, and take what
// the bucket has; those that lead here already wait for the half that is left for others.
func TestBucketIsForLeftoversThatLeadElsewhere(t *testing.T) {
	for target, want := range map[string]time.Duration{"eni-other": 0, "eni-me": 3 * time.Second} {
		t.Run(target, func(t *testing.T) {
			r := newRig(t, many(4, 10), withList, func(c *Config) { c.Bucket = EC2Writes() })
			var entries []string
			for _, d := range r.state.config.Destinations {
				entries = append(entries, d.String())
			}
			r.observe(1, "eni-other")
			r.actions()
			r.reads(to(target))
			r.readsLists(pl(entries...))
			r.observe(2, "eni-me")
			start, deletes := r.now, 0
			for deletes < 40 && r.now < start+time.Minute {
				actions := r.actions()
				for _, a := range actions {
					switch a := a.(type) {
					case Write:
						if a.Verb == Delete {
							deletes++
						}
						r.done(a, Done)
					case Read:
						r.state.ReadDone(a, ReadResult{Tables: r.written()}, r.now)
					}
				}
				if len(actions) == 0 {
					r.now = r.state.Wake()
				}
			}
			if took := r.now - start; deletes != 40 || took < want || want == 0 && took > 0 {
				t.Errorf("%d are gone after %s", deletes, took)
			}
		})
	}
}
