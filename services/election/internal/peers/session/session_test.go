package session

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hybridgateway/gateway/services/election/internal/peers/wire"
)

// changes are the reports without their times: "0: 1 up" means that gateway 0 says that 1 is up, and a "!" that
// it was suspected until then although it lived.
func changes(reports []report) string {
	var lines []string
	for _, r := range reports {
		lines = append(lines, strings.TrimPrefix(r.String(), r.at.String()+" "))
	}
	slices.Sort(lines)
	return strings.Join(lines, ", ")
}

func want(t *testing.T, w *world, expected string) {
	t.Helper()
	if got := changes(w.take()); got != expected {
		t.Errorf("at %s: reported %q, want %q", w.now, got, expected)
	}
}

func up(t *testing.T, w *world) {
	t.Helper()
	w.run(200 * millisecond)
	for i := range w.nodes {
		for j := range w.nodes {
			if i != j && w.condition(i, j) != Alive {
				t.Fatalf("%d thinks that %d is %s", i, j, w.condition(i, j))
			}
		}
	}
	w.take()
}

func TestHandshake(t *testing.T) {
	w := pair()
	w.run(60 * millisecond)
	want(t, w, "0: 1 up, 1: 0 up")
	p := w.nodes[0].sessions[1].Peer()
	if p.State != wire.Up || p.Self.ID != "gateway-1" || p.Detect != 270*millisecond || p.Session == 0 {
		t.Errorf("peer is %+v", p)
	}
	w.run(time.Minute)
	want(t, w, "")
}

func TestNobodyThere(t *testing.T) {
	w := pair()
	w.nodes[1].dead = true
	w.run(10 * time.Second)
	want(t, w, "")
	if got := w.condition(0, 1); got != Unknown {
		t.Errorf("who was never heard is %s", got)
	}
}

// The bounds of the target: never before the silence that was agreed on, and soon after.
func TestDeath(t *testing.T) {
	for phase := range 40 {
		w := pair()
		up(t, w)
		w.run(time.Duration(phase) * millisecond)
		w.nodes[1].dead = true
		died := w.now
		w.run(2 * time.Second)
		r := w.take()
		if len(r) != 1 || r[0].Change != BecameSuspected {
			t.Fatalf("reported %v", r)
		}
		if took := r[0].at - died; took > 300*millisecond || took < 240*millisecond {
			t.Errorf("death was seen after %s", took)
		}
		if r[0].Peer.State != wire.Down || r[0].at-r[0].Peer.Heard < 270*millisecond {
			t.Errorf("reported %+v", r[0])
		}
	}
}

func TestStallsMoveNothing(t *testing.T) {
	for phase := range 40 {
		w := pair()
		up(t, w)
		w.run(time.Duration(phase) * millisecond)
		w.stall(1, 200*millisecond)
		w.run(time.Second)
		w.pause(0, 200*millisecond)
		w.run(time.Second)
		want(t, w, "")
	}
}

// A sender that stalls for 200 ms may lose the last heartbeat before it, and what it sends when it wakes.
func TestStallWithLoss(t *testing.T) {
	for phase := range 40 {
		w := pair()
		up(t, w)
		w.run(time.Duration(phase) * millisecond)
		w.cut[[2]int{1, 0}] = true
		w.run(16 * millisecond)
		w.stall(1, 200*millisecond)
		w.run(201 * millisecond)
		w.cut[[2]int{1, 0}] = false
		w.run(time.Second)
		want(t, w, "")
	}
}

// However long we stall ourselves, those who did not are not suspected.
func TestOwnStall(t *testing.T) {
	for _, d := range []time.Duration{300 * millisecond, time.Second, time.Minute} {
		w := newWorld(1, config(0), config(1), config(2))
		up(t, w)
		w.stall(0, d)
		w.run(d + time.Second)
		// It learns that it was suspected, and thinks nothing worse of them than that.
		want(t, w, "0: 1 recovered, 0: 1 unheard, 0: 2 recovered, 0: 2 unheard, "+
			"1: 0 recovered!, 1: 0 suspected, 2: 0 recovered!, 2: 0 suspected")
	}
}

// The kernel of a paused machine receives nothing, and when it goes on the process may run first.
func TestOwnPause(t *testing.T) {
	w := pair()
	up(t, w)
	w.cut[[2]int{1, 0}] = true
	w.pause(0, time.Second)
	w.run(time.Second + 5*millisecond)
	w.cut[[2]int{1, 0}] = false
	w.run(time.Second)
	want(t, w, "1: 0 recovered!, 1: 0 suspected")
}

// Silence that was not listened to is none.
func TestListened(t *testing.T) {
	w := pair()
	up(t, w)
	s := w.nodes[0].sessions[1]
	heard := s.Peer().Heard
	for now := w.now; now < w.now+time.Second; now += 5 * millisecond {
		w.do(0, 1, s.Step(now, Tick{Listened: heard + 269*millisecond}))
	}
	want(t, w, "")
	w.do(0, 1, s.Step(w.now+time.Second, Tick{Listened: heard + 270*millisecond}))
	want(t, w, "0: 1 suspected")
}

func TestRestart(t *testing.T) {
	t.Run("quick", func(t *testing.T) {
		w := pair()
		up(t, w)
		before := w.nodes[0].sessions[1].Peer().Session
		w.nodes[1].dead = true
		w.run(150 * millisecond)
		w.start(1)
		w.run(80 * millisecond)
		want(t, w, "0: 1 restarted, 1: 0 up")
		if w.nodes[0].sessions[1].Peer().Session == before {
			t.Error("the session is the one from before the restart")
		}
	})
	t.Run("slow", func(t *testing.T) {
		w := pair()
		up(t, w)
		w.nodes[1].dead = true
		w.run(time.Second)
		want(t, w, "0: 1 suspected")
		w.start(1)
		w.run(80 * millisecond)
		want(t, w, "0: 1 recovered, 1: 0 up")
	})
	t.Run("both", func(t *testing.T) {
		w := pair()
		up(t, w)
		w.start(0)
		w.start(1)
		w.run(80 * millisecond)
		want(t, w, "0: 1 up, 1: 0 up")
	})
	t.Run("again and again", func(t *testing.T) {
		w := pair()
		up(t, w)
		for range 20 {
			w.start(1)
			w.run(80 * millisecond)
			want(t, w, "0: 1 restarted, 1: 0 up")
		}
	})
	t.Run("dies in the handshake", func(t *testing.T) {
		w := pair()
		up(t, w)
		w.start(1)
		w.run(20 * millisecond)
		w.nodes[1].dead = true
		w.run(time.Second)
		if got := w.condition(0, 1); got != Suspected {
			t.Errorf("the dead one is %s", got)
		}
	})
}

func TestAsymmetry(t *testing.T) {
	w := pair()
	up(t, w)
	w.cut[[2]int{0, 1}] = true
	w.run(350 * millisecond)
	// 1 hears nothing; 0 hears that it is not heard.
	want(t, w, "0: 1 unheard, 1: 0 suspected")
	if got := w.nodes[0].sessions[1].Peer().State; got != wire.Init {
		t.Errorf("state is %s", got)
	}
	w.run(time.Minute)
	want(t, w, "")
	w.cut[[2]int{0, 1}] = false
	w.run(100 * millisecond)
	want(t, w, "0: 1 recovered, 1: 0 recovered!")

	// From the start.
	w = pair()
	w.cut[[2]int{0, 1}] = true
	w.run(time.Second)
	want(t, w, "")
	w.cut[[2]int{0, 1}] = false
	w.run(100 * millisecond)
	want(t, w, "0: 1 up, 1: 0 up")
}

func TestPartition(t *testing.T) {
	w := pair()
	up(t, w)
	w.setBoth(0, 1, true)
	w.run(350 * millisecond)
	want(t, w, "0: 1 suspected, 1: 0 suspected")
	w.run(time.Hour / 60)
	w.setBoth(0, 1, false)
	w.run(300 * millisecond)
	r := changes(w.take())
	if !strings.Contains(r, "0: 1 recovered") || !strings.Contains(r, "1: 0 recovered") {
		t.Errorf("reported %q", r)
	}
}

func TestLeave(t *testing.T) {
	w := pair()
	up(t, w)
	leave := func() {
		for range 3 {
			w.do(1, 0, w.nodes[1].sessions[0].Step(w.now, Leave{}))
		}
		w.nodes[1].dead = true
	}
	leave()
	w.run(10 * time.Second)
	want(t, w, "0: 1 left")
	w.start(1)
	w.run(80 * millisecond)
	want(t, w, "0: 1 up, 1: 0 up")
}

func TestSelfChanges(t *testing.T) {
	w := pair()
	up(t, w)
	s := w.nodes[1].sessions[0]
	self := w.nodes[1].config.Self
	self.Health = wire.Standing
	shards, err := wire.NewShards(wire.Shard{Name: "default", Epoch: 3})
	if err != nil {
		t.Fatal(err)
	}
	self.Converged = shards
	w.do(1, 0, s.Step(w.now, SetSelf{self}))
	w.run(12 * millisecond)
	want(t, w, "0: 1 changed")
	if got := w.nodes[0].sessions[1].Peer().Self; got != self {
		t.Errorf("heard %+v", got)
	}
	// Who changes its mind all the time does not flood the others.
	before := s.sequence
	for i := range 1000 {
		self.Converged[0].Epoch = uint64(i)
		w.do(1, 0, s.Step(w.now, SetSelf{self}))
		w.run(millisecond)
	}
	if sent := s.sequence - before; sent > 250 {
		t.Errorf("%d heartbeats in a second", sent)
	}
}

func TestNegotiation(t *testing.T) {
	slow := config(1)
	slow.Period, slow.Multiplier, slow.Least = 50*millisecond, 4, 30*millisecond
	w := newWorld(1, config(0), slow)
	up(t, w)
	if got := w.nodes[0].sessions[1].Peer().Detect; got != 200*millisecond {
		t.Errorf("the slow one is suspected after %s", got)
	}
	before := w.nodes[0].sessions[1].sequence
	w.run(3 * time.Second)
	if sent := w.nodes[0].sessions[1].sequence - before; sent < 95 || sent > 112 {
		t.Errorf("%d heartbeats in 3 s to one that wants one per 30 ms", sent)
	}
	if got := w.nodes[1].sessions[0].Peer().Detect; got != 15*30*millisecond {
		t.Errorf("the fast one is suspected after %s", got)
	}
}

func TestSlowWhenNobodyIsThere(t *testing.T) {
	w := pair()
	w.nodes[1].dead = true
	w.run(time.Minute)
	s := w.nodes[0].sessions[1]
	before := s.sequence
	w.run(18 * time.Second)
	if sent := s.sequence - before; sent > 120 {
		t.Errorf("%d heartbeats in 18 s to one that is not there", sent)
	}
	w.start(1)
	w.run(100 * millisecond)
	want(t, w, "0: 1 up, 1: 0 up")
	before = s.sequence
	w.run(time.Second)
	if sent := s.sequence - before; sent < 55 {
		t.Errorf("%d heartbeats in a second after it came", sent)
	}
}

func TestValidate(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"secret":          func(c *Config) { c.Secret = [32]byte{} },
		"period short":    func(c *Config) { c.Period = 0 },
		"period fraction": func(c *Config) { c.Period++ },
		"period long":     func(c *Config) { c.Period = 2 * time.Second },
		"detect long":     func(c *Config) { c.Period, c.Multiplier = 500*millisecond, 30 },
		"multiplier":      func(c *Config) { c.Multiplier = 2 },
		"least":           func(c *Config) { c.Least = 0 },
		"self":            func(c *Config) { c.Self.ID = "" },
	} {
		c := config(0)
		c.Secret[0] = 1
		if err := c.Validate(); err != nil {
			t.Fatal(err)
		}
		change(&c)
		if err := c.Validate(); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestStrings(t *testing.T) {
	for c := Unknown; c <= Left; c++ {
		if c.String() == "invalid" {
			t.Errorf("condition %d has no name", c)
		}
	}
	for c := CameUp; c <= SelfChanged; c++ {
		if c.String() == "invalid" {
			t.Errorf("change %d has no name", c)
		}
	}
}

// A condition begins when the peer is first thought so of.
func TestSince(t *testing.T) {
	w := pair()
	up(t, w)
	s := w.nodes[0].sessions[1]
	began := s.Peer().Since
	if began < time.Hour || began > w.now {
		t.Errorf("alive since %s, now it is %s", began, w.now)
	}
	w.run(time.Second)
	if again := s.Peer().Since; again != began {
		t.Errorf("alive since %s, and before since %s", again, began)
	}
	w.nodes[1].dead = true
	w.run(time.Second)
	if p := s.Peer(); p.Condition != Suspected || p.Since < p.Heard+p.Detect || p.Since > w.now {
		t.Errorf("got %+v", p)
	}
}
