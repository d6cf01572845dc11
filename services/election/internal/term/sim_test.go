package term

import (
	"container/heap"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

var (
	simSeed  = flag.Uint64("sim-seed", 0, "replay the simulation with this seed only, and print what happens")
	simCount = flag.Uint64("sim-count", 1000, "number of seeds to simulate")
)

// The simulation runs two or three gateways against a register whose calls are delayed,
// reordered and lost, with clocks that run at different rates, while gateways are cut off,
// stalled, killed and restarted, told to stop, and the record is touched or deleted by
// others. At every moment:
//
//   - at most one gateway has authority that has not ended;
//   - every change of the holder has a greater epoch than all before, and a holder never
//     writes under an epoch that another incarnation began;
//   - what a gateway publishes never goes back to an older epoch.
//
// After the last fault there is a leader within the time in which a record expires.
func TestSimulation(t *testing.T) {
	if *simSeed != 0 {
		s := newSim(*simSeed)
		s.trace = func(line string) { fmt.Fprintln(t.Output(), line) }
		if err := s.run(); err != nil {
			t.Fatal(err)
		}
		return
	}
	stats := map[string]int{}
	for n := range *simCount {
		seed := n + 1
		if n%10 == 0 {
			seed = rand.Uint64() // a few that were never tried
		}
		s := newSim(seed)
		if err := s.run(); err != nil {
			t.Fatalf("seed %d: %v\nreplay: go test ./internal/term -run TestSimulation -sim-seed=%d", seed, err, seed)
		}
		for what, n := range s.stats {
			stats[what] += n
		}
	}
	t.Logf("%d seeds: %v", *simCount, stats)
	for _, what := range []string{"took vacant", "took expired", "took handover", "took restarted", "lost", "converged", "done"} {
		if stats[what] == 0 {
			t.Errorf("no seed exercised %q", what)
		}
	}
}

const (
	simFaults = 40 * time.Second // faults happen in this time
	// simSettle is a record's expiry, a gateway's restart, and some tries.
	simSettle = 8 * time.Second
)

type sim struct {
	rng   *rand.Rand
	trace func(string)
	stats map[string]int

	now   time.Duration
	queue events
	seq   int
	err   error

	nodes   []*node
	deletes bool // the record is deleted by others; then no process restarts

	// The register.
	version uint64
	present bool
	record  Record
	highest uint64
	owner   map[uint64]string // epoch -> incarnation that began it
}

type node struct {
	id     int
	term   *Term
	starts int
	alive  bool
	// The node's clock reads offset + rate × time.
	offset time.Duration
	rate   float64
	// cutOut and cutIn are until when its calls, or the replies to it, are lost.
	cutOut, cutIn time.Duration
	stalled       time.Duration
	timer         int // number of the timer that counts
	authority     time.Duration
	epoch         uint64
}

type event struct {
	at  time.Duration
	seq int
	do  func()
}

type events []event

func (e events) Len() int { return len(e) }
func (e events) Less(i, j int) bool {
	return e[i].at < e[j].at || e[i].at == e[j].at && e[i].seq < e[j].seq
}
func (e events) Swap(i, j int) { e[i], e[j] = e[j], e[i] }
func (e *events) Push(x any)   { *e = append(*e, x.(event)) }
func (e *events) Pop() any {
	old := *e
	x := old[len(old)-1]
	*e = old[:len(old)-1]
	return x
}

func newSim(seed uint64) *sim {
	s := &sim{
		rng:   rand.New(rand.NewPCG(seed, 0)),
		trace: func(string) {},
		stats: map[string]int{},
		owner: map[uint64]string{},
		// An epoch that nobody remembers cannot be exceeded.
		deletes: seed%5 == 0,
	}
	for i := range 2 + s.rng.IntN(2) {
		s.nodes = append(s.nodes, &node{
			id:     i,
			offset: s.duration(0, time.Hour),
			rate:   0.95 + 0.1*s.rng.Float64(),
		})
	}
	return s
}

func (s *sim) duration(from, to time.Duration) time.Duration {
	return from + time.Duration(s.rng.Int64N(int64(to-from)))
}

func (s *sim) after(d time.Duration, do func()) {
	s.seq++
	heap.Push(&s.queue, event{s.now + d, s.seq, do})
}

func (s *sim) run() error {
	for _, n := range s.nodes {
		s.after(s.duration(0, time.Second), func() { s.start(n) })
	}
	s.after(s.duration(0, 3*time.Second), s.fault)
	for s.now < simFaults+simSettle && s.err == nil {
		e := heap.Pop(&s.queue).(event)
		s.now = e.at
		e.do()
	}
	if s.err == nil && !s.led() {
		s.err = fmt.Errorf("%v after the last fault nobody leads; the record is %s", simSettle, s.record)
	}
	return s.err
}

func (s *sim) led() bool {
	for _, n := range s.nodes {
		if n.authority > s.now {
			return true
		}
	}
	return false
}

func (s *sim) start(n *node) {
	if n.alive {
		return
	}
	n.alive = true
	n.starts++
	n.epoch = 0
	n.term = New(testConfig(fmt.Sprintf("n%d", n.id), fmt.Sprintf("n%d.%d", n.id, n.starts)))
	s.note(n, "starts")
	s.step(n, Candidacy{Standing: true, Gateway: testGateway(byte(n.id))})
	s.poll(n, n.starts)
}

func (s *sim) poll(n *node, life int) {
	if !n.alive || n.starts != life {
		return
	}
	s.read(n)
	s.after(s.duration(200*time.Millisecond, 300*time.Millisecond), func() { s.poll(n, life) })
}

// latency is mostly some milliseconds, and sometimes seconds.
func (s *sim) latency() time.Duration {
	if s.rng.IntN(200) == 0 {
		return s.duration(0, 3*time.Second)
	}
	return s.duration(time.Millisecond, 30*time.Millisecond)
}

func (s *sim) read(n *node) {
	s.after(s.latency(), func() {
		if n.cutOut <= s.now {
			s.reply(n, Observation{Version: s.version, Present: s.present, Record: s.record})
		}
	})
}

// reply brings an input to the process that runs now, unless it is lost or the process is
// gone by then.
func (s *sim) reply(n *node, in Input) {
	life := n.starts
	s.after(s.latency(), func() {
		if n.cutIn <= s.now && n.starts == life {
			s.step(n, in)
		}
	})
}

func (s *sim) swap(n *node, c CompareAndSwap) {
	life := n.starts
	answered := false
	answer := func(r Result) {
		if !answered && n.starts == life {
			answered = true
			s.step(n, r)
		}
	}
	s.after(time.Duration(float64(c.Timeout)/n.rate), func() { answer(Result{Write: c.Record.Write, Outcome: Unknown}) })
	if s.rng.IntN(50) == 0 {
		s.after(s.latency(), func() { answer(Result{Write: c.Record.Write, Outcome: Failed}) })
		return
	}
	s.after(s.latency(), func() {
		if n.cutOut > s.now {
			return
		}
		r := Result{Write: c.Record.Write, Outcome: Conflict}
		if s.present && s.version == c.Expected || !s.present && c.Expected == 0 {
			s.write(c.Record, c.Purpose)
			r = Result{Write: c.Record.Write, Outcome: Swapped, Version: s.version}
		}
		s.after(s.latency(), func() {
			if n.cutIn <= s.now && s.rng.IntN(100) != 0 {
				answer(r)
			}
		})
	})
}

// write changes the register and checks that epochs grow.
func (s *sim) write(r Record, p Purpose) {
	s.trace(fmt.Sprintf("%9.3f    register: %s %s", s.now.Seconds(), p, r))
	if p == TakeOver {
		if r.Epoch <= s.highest && !s.deletes {
			s.fail("%s is taken under an epoch that is not greater than %d", r, s.highest)
		}
		s.owner[r.Epoch] = r.Incarnation
	} else if s.owner[r.Epoch] != r.Incarnation && p != Release {
		s.fail("%s is written under an epoch that %s began", r, s.owner[r.Epoch])
	}
	s.highest = max(s.highest, r.Epoch)
	s.present, s.record = true, r
	s.change()
}

// change is a new version of the register, which watchers may learn of.
func (s *sim) change() {
	s.version++
	for _, n := range s.nodes {
		if n.alive && n.cutOut <= s.now && s.rng.IntN(50) != 0 {
			s.reply(n, Observation{Version: s.version, Present: s.present, Record: s.record})
		}
	}
}

func (s *sim) step(n *node, in Input) {
	if !n.alive || s.err != nil {
		return
	}
	if n.stalled > s.now {
		life := n.starts
		s.after(n.stalled-s.now, func() {
			if n.starts == life {
				s.step(n, in)
			}
		})
		return
	}
	local := n.offset + time.Duration(float64(s.now)*n.rate)
	for _, a := range n.term.Step(local, in) {
		switch a := a.(type) {
		case CompareAndSwap:
			s.note(n, a.String())
			s.swap(n, a)
		case Read:
			s.read(n)
		case SetTimer:
			s.setTimer(n, a)
		case Publish:
			s.note(n, a.String())
			s.published(n, a.Leadership)
		case Done:
			s.note(n, a.String())
			s.stats["done"]++
			n.alive = false
			s.after(s.duration(0, 2*time.Second), func() { s.start(n) })
		}
	}
}

func (s *sim) setTimer(n *node, a SetTimer) {
	n.timer++
	number, life := n.timer, n.starts
	if a.At == 0 {
		return
	}
	// One more nanosecond, since the conversion rounds.
	at := time.Duration(float64(a.At-n.offset)/n.rate) + 1
	s.after(max(0, at-s.now), func() {
		if n.timer == number && n.starts == life {
			s.step(n, Tick{})
		}
	})
}

func (s *sim) published(n *node, l Leadership) {
	if l.Epoch < n.epoch {
		s.fail("n%d went back from epoch %d to %d", n.id, n.epoch, l.Epoch)
	}
	if l.Role == Active && l.Epoch > n.epoch || l.Cause == Lost || l.Cause == Converged {
		what := l.Cause.String()
		if l.Role == Active && l.Cause != Converged {
			what = "took " + what
		}
		s.stats[what]++
	}
	n.epoch = l.Epoch
	n.authority = 0
	if l.Role != Active {
		return
	}
	n.authority = time.Duration(float64(l.ValidUntil-n.offset) / n.rate)
	for _, o := range s.nodes {
		if o != n && o.authority > s.now {
			s.fail("n%d leads while n%d may act for another %v", n.id, o.id, o.authority-s.now)
		}
	}
	if !l.Converged {
		s.reply(n, RoutesConverged{Epoch: l.Epoch})
	}
}

// fault does something bad, and comes again.
func (s *sim) fault() {
	if s.now > simFaults {
		return
	}
	n := s.nodes[s.rng.IntN(len(s.nodes))]
	until := min(s.now+s.duration(0, 6*time.Second), simFaults)
	switch s.rng.IntN(9) {
	case 0:
		n.cutOut, n.cutIn = until, until
	case 1:
		n.cutIn = until
	case 2:
		n.cutOut = until
	case 3: // the register is away for all
		for _, n := range s.nodes {
			n.cutOut, n.cutIn = until, until
		}
	case 4:
		n.stalled = until
	case 5:
		if n.alive && !s.deletes {
			s.note(n, "is killed")
			n.alive = false
			s.after(s.duration(0, 6*time.Second), func() { s.start(n) })
		}
	case 6:
		if !s.deletes {
			s.step(n, Stop{})
		}
	case 7:
		s.step(n, Candidacy{})
		s.after(s.duration(0, 4*time.Second), func() {
			s.step(n, Candidacy{Standing: true, Gateway: testGateway(byte(n.id))})
		})
	case 8:
		if s.deletes && s.present {
			s.trace(fmt.Sprintf("%9.3f    register: deleted", s.now.Seconds()))
			s.present, s.record = false, Record{}
		}
		s.change() // otherwise somebody touches it
	}
	s.after(s.duration(0, 4*time.Second), s.fault)
}

func (s *sim) note(n *node, what string) {
	s.trace(fmt.Sprintf("%9.3f n%d %s", s.now.Seconds(), n.id, what))
}

func (s *sim) fail(format string, args ...any) {
	if s.err == nil {
		s.err = fmt.Errorf("at %v: %s", s.now, strings.TrimSpace(fmt.Sprintf(format, args...)))
		s.trace(s.err.Error())
	}
}
