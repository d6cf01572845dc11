package session

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

var (
	seedFlag  = flag.Uint64("seed", 0, "simulate this seed only")
	hoursFlag = flag.Int("hours", 0, "simulated hours of TestFalseSuspicions for each loss")
)

// TestSimulation lets gateways die, return, stall and lose sight of each other at random, and checks what each may think.
func TestSimulation(t *testing.T) {
	if *seedFlag != 0 {
		simulate(t, *seedFlag)
		return
	}
	seeds := []uint64{}
	for s := uint64(1); s <= 60; s++ {
		seeds = append(seeds, s)
	}
	for range 10 {
		seeds = append(seeds, rand.Uint64())
	}
	for _, s := range seeds {
		if simulate(t, s); t.Failed() {
			t.Fatalf("replay with: go test ./internal/peers/session -run TestSimulation -seed %d", s)
		}
	}
}

func simulate(t *testing.T, seed uint64) {
	t.Helper()
	random := rand.New(rand.NewPCG(seed, 2))
	n := 2 + random.IntN(4)
	var configs []Config
	for i := range n {
		configs = append(configs, config(i))
	}
	w := newWorld(seed, configs...)
	w.loss = []float64{0, 0.01, 0.05}[random.IntN(3)]
	w.jitter = 5 * millisecond
	// reason has until when a gateway may suspect another: {who, whom}.
	reason := make(map[[2]int]time.Duration)
	for range 60 {
		disturb(w, random, reason)
		d := time.Duration(random.IntN(800)) * millisecond
		for by := range n {
			for of := range n {
				if w.nodes[of].dead || w.cut[[2]int{of, by}] {
					reason[[2]int{by, of}] = max(reason[[2]int{by, of}], w.now+d+time.Second)
				}
			}
		}
		w.run(d)
		for _, r := range w.take() {
			// One that restarted and does not hear us cannot prove that it lives.
			unproven := r.Peer.Session != w.nodes[r.of].sessions[r.by].number && w.cut[[2]int{r.by, r.of}]
			if r.Change == BecameSuspected && r.at > reason[[2]int{r.by, r.of}] && !unproven {
				t.Errorf("seed %d: %s without a reason", seed, r)
			}
		}
	}
	settle(t, w, seed)
}

// disturb does one thing to a gateway, or to what one sends to another.
func disturb(w *world, random *rand.Rand, reason map[[2]int]time.Duration) {
	i, j := random.IntN(len(w.nodes)), random.IntN(len(w.nodes))
	n := w.nodes[i]
	short := time.Duration(random.IntN(200)) * millisecond
	what := random.IntN(8)
	if what <= 3 && w.now < n.stalled+100*millisecond {
		return // two stalls without a heartbeat between them are one that is longer
	}
	switch what {
	case 0:
		w.stall(i, short)
	case 1:
		w.pause(i, short)
	case 2: // The process is replaced so quickly that there is time for the handshake, which needs both directions.
		clear(w.cut)
		w.start(i)
		w.stall(i, short*3/4)
	case 3: // Others may suspect one that stalls for long, it may not suspect them.
		w.stall(i, 15*short)
		for by := range w.nodes {
			reason[[2]int{by, i}] = max(reason[[2]int{by, i}], w.now+15*short+time.Second)
		}
	case 4:
		w.cut[[2]int{i, j}] = true
	case 5:
		clear(w.cut)
	case 6:
		n.dead = true
	case 7:
		if n.dead {
			w.start(i)
		}
	}
}

// settle checks that all agree once the last trouble is over.
func settle(t *testing.T, w *world, seed uint64) {
	t.Helper()
	clear(w.cut)
	w.run(4 * time.Second) // stalls of up to three seconds end
	w.take()
	for i, a := range w.nodes {
		for j, b := range w.nodes {
			if i == j || a.dead {
				continue
			}
			got := w.condition(i, j)
			if b.dead && (got == Alive || got == Unheard) || !b.dead && got != Alive {
				t.Errorf("seed %d: in the end %d thinks that %d is %s (dead: %v)", seed, i, j, got, b.dead)
			}
		}
	}
}

// TestFalseSuspicions counts them in simulated hours, for docs/election-liveness.md. With -hours it takes about a second
// for each hour and loss.
func TestFalseSuspicions(t *testing.T) {
	minutes, settings := 60**hoursFlag, []setting{{18 * millisecond, 15}}
	if minutes == 0 {
		minutes = 2
	} else {
		settings = append(settings, setting{10 * millisecond, 25}, setting{12 * millisecond, 21}, setting{15 * millisecond, 17},
			setting{20 * millisecond, 14}, setting{25 * millisecond, 10}, setting{30 * millisecond, 10}, setting{100 * millisecond, 3})
	}
	for _, s := range settings {
		for _, loss := range []float64{0, 0.01, 0.05, 0.10} {
			for _, stalls := range []bool{false, true} {
				count, hours := falseSuspicions(s, loss, stalls, minutes)
				t.Logf("%s x %d, loss %.0f %%, stalls of 200 ms every second: %v: %d in %.1f hours of one direction", s.period, s.multiplier, loss*100, stalls, count, hours)
				if s.multiplier == 15 && loss <= 0.05 && count > 0 && *hoursFlag == 0 {
					t.Errorf("%d false suspicions at a loss of %.0f %%", count, loss*100)
				}
			}
		}
	}
}

type setting struct {
	period     time.Duration
	multiplier uint8
}

func falseSuspicions(s setting, loss float64, stalls bool, minutes int) (count int, hours float64) {
	var configs []Config
	for i := range 2 {
		c := config(i)
		c.Period, c.Multiplier = s.period, s.multiplier
		configs = append(configs, c)
	}
	w := newWorld(7, configs...)
	w.loss = loss
	for second := range minutes * 60 {
		if stalls {
			w.stall(second%2, 200*millisecond)
		}
		w.run(time.Second)
		for _, r := range w.take() {
			if r.Change == BecameSuspected {
				count++
			}
		}
	}
	return count, 2 * float64(minutes) / 60
}

func ExampleSession_analysis() {
	// The probability that m heartbeats in a row are lost, times how many begin such a row in an hour.
	for _, s := range []setting{{100 * millisecond, 3}, {25 * millisecond, 10}, {18 * millisecond, 15}} {
		p := 1.0
		for range s.multiplier {
			p *= 0.05
		}
		fmt.Printf("%s x %d: %.1e per hour at a loss of 5 %%\n", s.period, s.multiplier, p*0.95*float64(time.Hour/s.period))
	}
	// Output:
	// 100ms x 3: 4.3e+00 per hour at a loss of 5 %
	// 25ms x 10: 1.3e-08 per hour at a loss of 5 %
	// 18ms x 15: 5.8e-15 per hour at a loss of 5 %
}
