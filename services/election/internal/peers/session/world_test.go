package session

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/hybridgateway/gateway/services/election/internal/peers/wire"
)

const millisecond = time.Millisecond

// world is some gateways with the network between them, in faked time that goes in steps of a millisecond.
type world struct {
	now     time.Duration
	random  *rand.Rand
	loss    float64
	delay   time.Duration
	jitter  time.Duration
	nodes   []*node
	reports []report
	// cut says whether what one gateway sends to another is lost.
	cut map[[2]int]bool
	// captured is everything that was sent from one gateway to another, if it is to be kept.
	captured map[[2]int][]wire.Heartbeat
	drops    map[Reason]int
}

type node struct {
	config   Config
	dead     bool
	sessions map[int]*Session
	// queue is what the kernel holds for it.
	queue []packet
	// stalled: the process does not run until then. paused: nor does its kernel receive.
	stalled, paused time.Duration
	phase           time.Duration
}

type packet struct {
	at        time.Duration
	from      int
	heartbeat wire.Heartbeat
}

type report struct {
	at     time.Duration
	by, of int
	Report
}

func (r report) String() string {
	line := fmt.Sprintf("%s %d: %d %s", r.at, r.by, r.of, r.Change)
	if r.Falsely {
		line += "!"
	}
	return line
}

func newWorld(seed uint64, configs ...Config) *world {
	w := &world{
		// Not zero, for the clock of a node that just booted is nothing special.
		now: time.Hour, random: rand.New(rand.NewPCG(seed, 1)), delay: millisecond / 2,
		cut: make(map[[2]int]bool), drops: make(map[Reason]int),
	}
	for i, c := range configs {
		w.nodes = append(w.nodes, &node{config: c, phase: time.Duration(i) * millisecond})
	}
	for i := range w.nodes {
		w.start(i)
	}
	return w
}

// config is the one that most tests use; the defaults are the service's.
func config(i int) Config {
	return Config{Self: wire.Self{ID: fmt.Sprintf("gateway-%d", i)}, Period: 18 * millisecond, Multiplier: 15, Least: 5 * millisecond}
}

func pair() *world { return newWorld(1, config(0), config(1)) }

// start starts, or restarts, the process of a gateway.
func (w *world) start(i int) {
	n := w.nodes[i]
	n.dead, n.sessions, n.queue = false, make(map[int]*Session), nil
	for j := range w.nodes {
		if j != i {
			c := n.config
			for k := range c.Secret {
				c.Secret[k] = byte(w.random.Uint32())
			}
			n.sessions[j] = New(c, w.now)
		}
	}
}

// run lets time pass.
func (w *world) run(d time.Duration) {
	for end := w.now + d; w.now < end; w.now += millisecond {
		for i := range w.nodes {
			w.step(i)
		}
	}
}

func (w *world) step(i int) {
	n := w.nodes[i]
	if n.dead || w.now < n.stalled {
		return
	}
	ready := 0
	for _, p := range n.queue {
		if p.at > w.now {
			break
		}
		ready++
	}
	due := (w.now-n.phase)%(5*millisecond) == 0
	for j := range w.nodes {
		due = due || j != i && n.sessions[j].Next() <= w.now
	}
	if !due {
		return
	}
	for _, p := range n.queue[:ready] {
		at := p.at
		w.do(i, p.from, n.sessions[p.from].Step(w.now, Receive{At: at, Heartbeat: p.heartbeat}))
	}
	n.queue = n.queue[ready:]
	for j := range w.nodes {
		if j != i {
			w.do(i, j, n.sessions[j].Step(w.now, Tick{Listened: w.now}))
		}
	}
}

func (w *world) do(by, of int, actions []Action) {
	for _, a := range actions {
		switch a := a.(type) {
		case Send:
			w.send(by, of, a.Heartbeat)
		case Report:
			w.reports = append(w.reports, report{w.now, by, of, a})
		case Drop:
			w.drops[a.Reason]++
		}
	}
}

func (w *world) send(from, to int, h wire.Heartbeat) {
	if w.captured != nil {
		w.captured[[2]int{from, to}] = append(w.captured[[2]int{from, to}], h)
	}
	if w.cut[[2]int{from, to}] || w.nodes[to].dead || w.loss > 0 && w.random.Float64() < w.loss {
		return
	}
	at := w.now + w.delay
	if w.jitter > 0 {
		at += time.Duration(w.random.Int64N(int64(w.jitter)))
	}
	w.deliver(from, to, max(at, w.nodes[to].paused), h)
}

// deliver puts a heartbeat into the kernel's queue, in the order of arrival.
func (w *world) deliver(from, to int, at time.Duration, h wire.Heartbeat) {
	n := w.nodes[to]
	i := len(n.queue)
	for i > 0 && n.queue[i-1].at > at {
		i--
	}
	n.queue = append(n.queue, packet{})
	copy(n.queue[i+1:], n.queue[i:])
	n.queue[i] = packet{at, from, h}
}

// stall keeps a process from running; what the network brings waits in its kernel.
func (w *world) stall(i int, d time.Duration) { w.nodes[i].stalled = w.now + d }

// pause stops a whole machine: what the network brings is stamped when it runs again.
func (w *world) pause(i int, d time.Duration) {
	w.stall(i, d)
	n := w.nodes[i]
	n.paused = w.now + d
	for k := range n.queue {
		n.queue[k].at = max(n.queue[k].at, n.paused)
	}
}

// setBoth cuts or mends both directions.
func (w *world) setBoth(a, b int, cut bool) {
	w.cut[[2]int{a, b}], w.cut[[2]int{b, a}] = cut, cut
}

// take returns the reports since the last call.
func (w *world) take() []report {
	r := w.reports
	w.reports = nil
	return r
}

func (w *world) condition(by, of int) Condition { return w.nodes[by].sessions[of].Peer().Condition }
