package e2e

import (
	"context"
	"errors"
	"os"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hybridgateway/gateway/libs/registercheck"
	"github.com/hybridgateway/gateway/tools/lab/internal/demo"
	"github.com/hybridgateway/gateway/tools/lab/internal/gateway"
	"github.com/hybridgateway/gateway/tools/lab/internal/history"
	"github.com/hybridgateway/gateway/tools/lab/internal/lab"
)

const (
	// checkTime is many times what the check of a lab's whole history takes.
	checkTime = 2 * time.Minute
	// recordHost has what keeps the record, with either backend.
	recordHost = "cp"
)

// testMoves has the leadership go to the other gateway, each time for another reason. What became of the record is for
// testHistory to judge. Both gateways forward, so no packet may be lost.
func (s *suite) testMoves(t *testing.T) {
	signal := func(sig os.Signal) func(context.Context, *lab.Health) error {
		return func(_ context.Context, h *lab.Health) error { return h.Active.Process(gateway.Election).Signal(sig) }
	}
	healLinks := func(context.Context, *lab.Health) error { return s.World.HealAll() }
	for _, move := range []struct {
		name        string
		begin, mend func(context.Context, *lab.Health) error
	}{
		{
			"transfer", func(ctx context.Context, h *lab.Health) error { return s.Operator.Transfer(ctx, h.Active, h.Standby) },
			healLinks,
		},
		{
			"leader's election killed", func(_ context.Context, h *lab.Health) error { return h.Active.Process(gateway.Election).Kill() },
			func(_ context.Context, h *lab.Health) error { return h.Active.Process(gateway.Election).Start() },
		},
		{"leader's election stalled", signal(unix.SIGSTOP), signal(unix.SIGCONT)},
		{
			"leader cut off from the record",
			func(_ context.Context, h *lab.Health) error { return s.World.Partition(h.Active.Name, recordHost) }, healLinks,
		},
		{
			// What it writes is done, and it is never told.
			"leader's answers lost",
			func(_ context.Context, h *lab.Health) error { return s.World.Cut(recordHost, h.Active.Name) }, healLinks,
		},
		{
			// The leader goes on writing until it learns that the record was taken.
			"gateways cut off from each other",
			func(_ context.Context, h *lab.Health) error { return s.World.Partition(h.Active.Name, h.Standby.Name) }, healLinks,
		},
	} {
		t.Run(move.name, func(t *testing.T) {
			h := s.healthy(t)
			pair := s.probes(t)
			if err := move.begin(within(t), h); err != nil {
				t.Error(err)
			}
			if err := demo.WaitActive(within(t), s.Lab, h.Standby); err != nil {
				t.Error(err)
			}
			received(t, pair, 20)
			if err := move.mend(within(t), h); err != nil {
				t.Error(err)
			}
			after := s.healthy(t)
			received(t, pair, 20)
			lostNothing(t, pair)
			if after.Epoch <= h.Epoch {
				t.Errorf("the epoch is %d, after %d", after.Epoch, h.Epoch)
			}
		})
	}
}

// testHistory judges whether one register could have been behind all that the gateways did to the record since the lab came
// up. It ends their election services, and is the last in its lab: what one log tells of, another that is read
// earlier might not tell yet.
func (s *suite) testHistory(t *testing.T) {
	for _, g := range s.Gateways {
		if err := g.Process(gateway.Election).Kill(); err != nil {
			t.Fatal(err)
		}
	}
	for shard, operations := range s.histories(t) {
		t.Logf("shard %s: %v", shard, tally(operations))
		for _, g := range s.Gateways {
			if !slices.ContainsFunc(operations, func(o registercheck.Operation) bool {
				return o.Client == g.Name && o.Outcome == registercheck.Swapped
			}) {
				t.Errorf("%s never wrote the record of shard %s: the history proves little", g.Name, shard)
			}
		}
		if err := registercheck.Check(operations, checkTime); err != nil {
			t.Errorf("the record of shard %s: %v", shard, err)
		}
		// Were an answer wrong, it would be found.
		err := registercheck.Check(doctored(t, operations), checkTime)
		if violation := new(registercheck.ViolationError); !errors.As(err, &violation) {
			t.Errorf("a wrong answer is not found in the history of shard %s: %v", shard, err)
		}
	}
}

// histories are what the logs of all gateways tell, by shard.
func (s *suite) histories(t *testing.T) map[string][]registercheck.Operation {
	t.Helper()
	all := map[string][]registercheck.Operation{}
	for _, g := range s.Gateways {
		log, err := os.Open(g.Process(gateway.Election).Log())
		if err != nil {
			t.Fatal(err)
		}
		defer log.Close()
		shards, err := history.Read(log, g.Name)
		if err != nil {
			t.Fatal(err)
		}
		for shard, operations := range shards {
			all[shard] = append(all[shard], operations...)
		}
	}
	if len(all) == 0 {
		t.Error("nobody tells what was done to the record")
	}
	return all
}

// tally counts operations by what they were, or came to.
func tally(operations []registercheck.Operation) map[string]int {
	counts := map[string]int{}
	for _, o := range operations {
		if o.Write == "" {
			counts["read"]++
		} else {
			counts[string(o.Outcome)]++
		}
	}
	return counts
}

// doctored is the history with one answer changed: a read finds what another write had replaced before the read began.
func doctored(t *testing.T, operations []registercheck.Operation) []registercheck.Operation {
	t.Helper()
	made := map[uint64]registercheck.Operation{}
	for _, o := range operations {
		if o.Outcome == registercheck.Swapped {
			made[o.Version] = o
		}
	}
	for i, read := range operations {
		for _, o := range made {
			old, known := made[o.Expected]
			if read.Write == "" && known && o.Return < read.Call {
				changed := slices.Clone(operations)
				changed[i].Read, changed[i].Version = old.Write, old.Version
				return changed
			}
		}
	}
	t.Fatal("no read after two writes: the history proves little")
	return nil
}
