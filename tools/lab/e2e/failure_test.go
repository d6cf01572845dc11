package e2e

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/hybridgateway/gateway/tools/lab/internal/demo"
	"github.com/hybridgateway/gateway/tools/lab/internal/gateway"
	"github.com/hybridgateway/gateway/tools/lab/internal/lab"
	"github.com/hybridgateway/gateway/tools/lab/internal/probe"
)

// testKills kills each of the ten processes under a probe, lets the traffic go
// on without it for a while, and starts it again.
func (s *suite) testKills(t *testing.T) {
	for _, who := range []string{"active", "standby"} {
		for _, service := range gateway.Services() {
			t.Run(who+" "+service, func(t *testing.T) { s.testKill(t, who, service) })
		}
	}
	t.Run("election that stays away", s.testElectionStaysAway)
	for _, service := range []string{gateway.Election, gateway.RouteSync, gateway.VtepRegistry} {
		t.Run("successor's "+service+" during a hand-over", func(t *testing.T) { s.testKillDuringHandOver(t, service) })
	}
}

func (s *suite) testKill(t *testing.T, who, service string) {
	h := s.healthy(t)
	g := h.Active
	if who == "standby" {
		g = h.Standby
	}
	pair := s.probes(t)
	if err := g.Process(service).Kill(); err != nil {
		t.Fatal(err)
	}
	received(t, pair, 50)
	if err := g.Process(service).Start(); err != nil {
		t.Fatal(err)
	}
	after := s.healthy(t)
	received(t, pair, 20)
	lostNothing(t, pair)
	if who == "active" && service == gateway.Election {
		return // the other gateway may well have noticed before it was back
	}
	if after.Active != h.Active {
		t.Errorf("%s leads after the restart, %s did before", after.Active.Name, h.Active.Name)
	}
}

// testElectionStaysAway leaves the leader without its election until another
// gateway leads: that costs no packet either, for both forward.
func (s *suite) testElectionStaysAway(t *testing.T) {
	h := s.healthy(t)
	pair := s.probes(t)
	if err := h.Active.Process(gateway.Election).Kill(); err != nil {
		t.Fatal(err)
	}
	if err := demo.WaitActive(within(t), s.Lab, h.Standby); err != nil {
		t.Fatal(err)
	}
	received(t, pair, 20)
	after := s.healthy(t)
	lostNothing(t, pair)
	if after.Active != h.Standby || after.Epoch <= h.Epoch {
		t.Errorf("%s leads in epoch %d after %s did in %d", after.Active.Name, after.Epoch, h.Active.Name, h.Epoch)
	}
}

// testKillDuringHandOver kills a process of the gateway that is just taking
// over, and starts it again.
func (s *suite) testKillDuringHandOver(t *testing.T, service string) {
	h := s.healthy(t)
	pair := s.probes(t)
	ended := make(chan error, 1)
	go func() { ended <- h.Active.Terminate(30 * time.Second) }()
	err := lab.Poll(within(t), "the hand-over to begin", func(ctx context.Context) error {
		st, err := s.Operator.Status(ctx, h.Standby)
		if err != nil {
			return err
		}
		if !gateway.RoleIn(st).Active {
			return errNotYet
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if err := h.Standby.Process(service).Kill(); err != nil {
		t.Error(err)
	}
	received(t, pair, 20)
	if err := h.Standby.Process(service).Start(); err != nil {
		t.Error(err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
	s.healthy(t)
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
	received(t, pair, 20)
	there, back := pair.Stop()
	for _, r := range []probe.Result{there, back} {
		t.Log(r)
		if r.Silence > demo.MaxSilence {
			t.Errorf("%s: silent for %s, at most %s is allowed", r.Name, r.Silence, demo.MaxSilence)
		}
	}
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

// checkTrace expects a takeover in one trace, from the record to the routes.
func (s *suite) checkTrace(t *testing.T, by *gateway.Gateway, since time.Time) {
	t.Helper()
	lines, err := demo.Timeline(within(t), s.Traces, by.Name, since)
	if err != nil {
		t.Error(err)
		return
	}
	var all strings.Builder
	for _, l := range lines {
		all.WriteString(l.String() + "\n")
	}
	t.Log("\n" + all.String())
	for _, want := range []string{"takeover", "compare-and-swap", "leadership event", "ReplaceRoute", "CiliumVTEPConfig", "converged"} {
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
