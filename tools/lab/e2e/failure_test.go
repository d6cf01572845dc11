package e2e

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hybridgateway/gateway/tools/ec2standin"
	"github.com/hybridgateway/gateway/tools/lab/internal/demo"
	"github.com/hybridgateway/gateway/tools/lab/internal/gateway"
	"github.com/hybridgateway/gateway/tools/lab/internal/lab"
)

// holdWrites lets EC2 carry out no write until the returned function is called, so
// that something can be killed in the middle of a change of leaders, however long this
// machine takes for it: the routes are not yet in place then.
func (s *suite) holdWrites(t *testing.T) (release func()) {
	t.Helper()
	held := make(chan struct{})
	release = sync.OnceFunc(func() { close(held) })
	t.Cleanup(release)
	s.EC2.SetFaults(ec2standin.Faults{Latency: ec2Latency, Hook: func(c ec2standin.Call) {
		if c.Mutating && !c.DryRun {
			<-held
		}
	}})
	return release
}

// testKills kills each of the ten processes under a probe, lets the traffic go
// on without it for a while, and starts it again; then the same in the middle of
// whatever a gateway does.
func (s *suite) testKills(t *testing.T) {
	for _, service := range gateway.Services() {
		for _, who := range []string{"active", "standby"} {
			t.Run(who+" "+service, func(t *testing.T) { s.testKill(t, who, service) })
		}
		t.Run("leader's "+service+" during a hand-over", func(t *testing.T) { s.testKillDuringHandOver(t, service, true) })
		t.Run("successor's "+service+" during a hand-over", func(t *testing.T) { s.testKillDuringHandOver(t, service, false) })
		t.Run("successor's "+service+" as it takes over from the dead", func(t *testing.T) { s.testKillDuringTakeover(t, service) })
		t.Run(service+" as it starts", func(t *testing.T) { s.testKillDuringStart(t, service) })
	}
	t.Run("election that stays away", s.testElectionStaysAway)
}

// pids are the processes of gateways, by name.
func pids(gateways ...*gateway.Gateway) map[string]int {
	list := map[string]int{}
	for _, g := range gateways {
		for _, service := range gateway.Services() {
			list[g.Name+"/"+service] = g.Process(service).PID()
		}
	}
	return list
}

// sameExcept fails the test when a process is not the one it was, or has ended.
// It must be asked before the lab is healed, which starts what has ended.
func (s *suite) sameExcept(t *testing.T, before map[string]int, killed ...string) {
	t.Helper()
	for _, g := range s.Gateways {
		for _, service := range gateway.Services() {
			p := g.Process(service)
			was, known := before[p.Name()]
			if !known || slices.Contains(killed, p.Name()) {
				continue
			}
			if !p.Running() || p.PID() != was {
				t.Errorf("%s ended although another was killed (process %d, now %d): %v", p.Name(), was, p.PID(), p.Failure())
			}
		}
	}
}

func (s *suite) testKill(t *testing.T, who, service string) {
	h := s.healthy(t)
	g := h.Active
	if who == "standby" {
		g = h.Standby
	}
	before := pids(s.Gateways...)
	pair := s.probes(t)
	if err := g.Process(service).Kill(); err != nil {
		t.Fatal(err)
	}
	received(t, pair, 50)
	s.sameExcept(t, before, g.Process(service).Name())
	if err := g.Process(service).Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.WaitHealthy(within(t)); err != nil {
		t.Error(err)
	}
	s.sameExcept(t, before, g.Process(service).Name())
	after := s.healthy(t)
	received(t, pair, 20)
	lostNothing(t, pair)
	// A leader whose election is silent for as long as this may be replaced.
	if after.Active != h.Active && (who != "active" || service != gateway.Election) {
		t.Errorf("%s leads after the restart, %s did before", after.Active.Name, h.Active.Name)
	}
}

// testElectionStaysAway leaves the leader without its election until another
// gateway leads: that costs no packet either, for both forward.
func (s *suite) testElectionStaysAway(t *testing.T) {
	h := s.healthy(t)
	before := pids(s.Gateways...)
	pair := s.probes(t)
	if err := h.Active.Process(gateway.Election).Kill(); err != nil {
		t.Fatal(err)
	}
	if err := demo.WaitActive(within(t), s.Lab, h.Standby); err != nil {
		t.Fatal(err)
	}
	received(t, pair, 20)
	s.sameExcept(t, before, h.Active.Process(gateway.Election).Name())
	after := s.healthy(t)
	lostNothing(t, pair)
	if after.Active != h.Standby || after.Epoch <= h.Epoch {
		t.Errorf("%s leads in epoch %d after %s did in %d", after.Active.Name, after.Epoch, h.Active.Name, h.Epoch)
	}
}

// waitTakingOver waits until a gateway leads. It must not have converged yet: a
// kill after that would prove nothing about the change of leaders.
func (s *suite) waitTakingOver(t *testing.T, g *gateway.Gateway) {
	t.Helper()
	var role gateway.Role
	err := lab.Poll(within(t), g.Name+" to take over", func(ctx context.Context) error {
		st, err := s.Operator.Status(ctx, g)
		if err != nil {
			return err
		}
		if role = gateway.RoleIn(st); !role.Active {
			return errNotYet
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if role.Converged {
		t.Error("the change of leaders was over before the kill: the test proves nothing")
	}
}

// testKillDuringHandOver kills a process of the gateway that hands over, or of
// the one that takes over, which is started again.
func (s *suite) testKillDuringHandOver(t *testing.T, service string, leaders bool) {
	h := s.healthy(t)
	victim := h.Standby
	if leaders {
		victim = h.Active
	}
	before := pids(h.Standby)
	pair := s.probes(t)
	release := s.holdWrites(t)
	ended := make(chan error, 1)
	go func() { ended <- h.Active.Terminate(30 * time.Second) }()
	s.waitTakingOver(t, h.Standby)
	if err := victim.Process(service).Kill(); err != nil {
		t.Error(err)
	}
	release()
	received(t, pair, 20)
	s.sameExcept(t, before, victim.Process(service).Name())
	if !leaders {
		if err := victim.Process(service).Start(); err != nil {
			t.Error(err)
		}
	}
	// Of the leader's processes one was killed, which is what its error says.
	if err := <-ended; err != nil && !leaders {
		t.Error(err)
	}
	s.sameExcept(t, before, victim.Process(service).Name())
	s.healthy(t)
	received(t, pair, 20)
	lostNothing(t, pair)
}

// testKillDuringTakeover kills a process of the gateway that is taking over from
// one whose node has died, and starts it again: traffic comes back.
func (s *suite) testKillDuringTakeover(t *testing.T, service string) {
	h := s.healthy(t)
	before := pids(h.Standby)
	pair := s.probes(t)
	release := s.holdWrites(t)
	if err := demo.Die(s.Lab, h.Active); err != nil {
		t.Fatal(err)
	}
	s.waitTakingOver(t, h.Standby)
	victim := h.Standby.Process(service)
	if err := victim.Kill(); err != nil {
		t.Error(err)
	}
	release()
	s.sameExcept(t, before, victim.Name())
	if err := victim.Start(); err != nil {
		t.Error(err)
	}
	if err := demo.WaitActive(within(t), s.Lab, h.Standby); err != nil {
		t.Error(err)
	}
	received(t, pair, 20)
	s.sameExcept(t, before, victim.Name())
	there, back := pair.Stop()
	t.Log(there, back)
	if err := demo.Revive(s.Lab, h.Active); err != nil {
		t.Fatal(err)
	}
	s.healthy(t)
}

// testKillDuringStart kills a process of the active gateway before it is ready.
func (s *suite) testKillDuringStart(t *testing.T, service string) {
	h := s.healthy(t)
	before := pids(s.Gateways...)
	pair := s.probes(t)
	victim := h.Active.Process(service)
	// Each time it comes a little further.
	for _, after := range []time.Duration{0, 5 * time.Millisecond, 20 * time.Millisecond, 80 * time.Millisecond} {
		if err := victim.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := victim.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(after)
	}
	if err := victim.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := victim.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.WaitHealthy(within(t)); err != nil {
		t.Error(err)
	}
	s.sameExcept(t, before, victim.Name())
	received(t, pair, 20)
	lostNothing(t, pair)
}

func (s *suite) testHandOver(t *testing.T) {
	h := s.healthy(t)
	pair := s.probes(t)
	if err := h.Active.Terminate(30 * time.Second); err != nil {
		t.Error(err)
	}
	if err := demo.WaitActive(within(t), s.Lab, h.Standby); err != nil {
		t.Fatal(err)
	}
	if ok, err := h.Active.HasDevice(); err != nil || !ok {
		t.Errorf("the tunnel device outlives its processes: %v, %v", ok, err)
	}
	received(t, pair, 20)
	after := s.healthy(t)
	received(t, pair, 20)
	lostNothing(t, pair)
	if after.Active != h.Standby {
		t.Errorf("%s leads, want %s", after.Active.Name, h.Standby.Name)
	}
}

func (s *suite) testNodeDies(t *testing.T) {
	h := s.healthy(t)
	pair := s.probes(t)
	died := time.Now()
	if err := demo.Die(s.Lab, h.Active); err != nil {
		t.Fatal(err)
	}
	if err := demo.WaitActive(within(t), s.Lab, h.Standby); err != nil {
		t.Fatal(err)
	}
	brieflySilent(t, pair)
	s.suspected(t, h.Standby, lab.DefaultShard, died)
	s.checkTrace(t, h.Standby, died)

	// It comes back, and stands by.
	if err := demo.Revive(s.Lab, h.Active); err != nil {
		t.Fatal(err)
	}
	after := s.healthy(t)
	if after.Standby != h.Active {
		t.Errorf("%s stands by, want the revived %s", after.Standby.Name, h.Active.Name)
	}
	want, err := h.Standby.KernelEntries()
	if err != nil {
		t.Fatal(err)
	}
	if len(want) == 0 {
		t.Fatal("the active gateway holds nothing")
	}
	// Both hold the same entries, but for what the kernel derives from the
	// device's own address.
	if err := demo.WaitEntries(within(t), h.Active, want); err != nil {
		t.Error(err)
	}
}

// suspected expects that a gateway took over a shard, after a moment, because the leader's
// heartbeats had stopped: a record that expires is taken as well, and only seconds later.
func (s *suite) suspected(t *testing.T, by *gateway.Gateway, shard string, since time.Time) {
	t.Helper()
	if err := demo.CheckSuspected(within(t), s.Lab, by.Name, shard, since); err != nil {
		t.Error(err)
	}
}

// checkTrace expects a takeover in one trace, from the record to the routes.
func (s *suite) checkTrace(t *testing.T, by *gateway.Gateway, since time.Time) {
	t.Helper()
	lines, err := demo.Timeline(within(t), s.Lab, by.Name, since)
	if err != nil {
		t.Error(err)
		return
	}
	var all strings.Builder
	for _, l := range lines {
		all.WriteString(l.String() + "\n")
	}
	t.Log("\n" + all.String())
	steps := []string{"takeover", "compare-and-swap", "leadership event", "ReplaceRoute", "converged"}
	if s.Options.VTEPMode == lab.Published {
		steps = append(steps, "CiliumVTEPConfig")
	}
	for _, want := range steps {
		if !strings.Contains(all.String(), want) {
			t.Errorf("the trace has no %q", want)
		}
	}
}

// testAPIServerAway takes the API server away for longer than a lease lasts:
// nobody may lead, and no packet may be lost.
func (s *suite) testAPIServerAway(t *testing.T) {
	s.healthy(t)
	pair := s.probes(t)
	if err := s.Cluster.Kill(); err != nil {
		t.Fatal(err)
	}
	err := lab.Poll(within(t), "the leader to stop", func(ctx context.Context) error {
		for _, g := range s.Gateways {
			st, err := s.Operator.Status(ctx, g)
			if err != nil {
				return err
			}
			if gateway.RoleIn(st).Active {
				return errStillLeads
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	received(t, pair, 50)
	if err := s.Cluster.Restart(within(t)); err != nil {
		t.Fatal(err)
	}
	s.healthy(t)
	received(t, pair, 20)
	lostNothing(t, pair)
}
